"""A warm start between sizes: a generator goes on as the coarser part of a larger one."""

from __future__ import annotations

import copy
from dataclasses import replace

from sidgan.config import GeneratorConfig, require, require_same
from sidgan.nn import Generator
from sidgan.nn.baselines import build


def begun(start: Generator, config: GeneratorConfig) -> Generator:
    """A generator of ``config`` that begins with the weights of ``start``.

    Where ``start`` is smaller, its blocks, their motions, RGB blocks, encoder stages and audio encoder are taken over
    at their resolutions; the finer ones, and the encoders' way down to its size, are new. As a ``trunk`` all of it is
    taken over, and the larger one begins where it was. Where ``start`` has a trunk that ``config`` is of, that goes on.

    Where only ``config`` hears the sounds around a frame, their shares are new. A compared system goes on as it is.

    Raises:
        ConfigError: they differ in more than these, or are not equally wide where both have a level.
    """
    if start.config.trunk == config.size:
        start = trunk_of(start)
    small = start.config if start.config.audio_context else replace(start.config, audio_context=config.audio_context)
    if small.size >= config.size or not small.kind == config.kind == "sidgan":
        require_same(small, config)
    else:
        grown = replace(small, size=config.size, base=config.base, rgb_levels=config.rgb_levels, trunk=config.trunk)
        moves = tuple(r for r in config.warp_levels if r <= small.size)
        require_same(grown, replace(config, warp_levels=moves))
        require(config.trunk in (0, small.size), f"trunk must be 0 or {small.size}, the size of the first weights")
    if start.config == config:
        return start
    widths = {r: (small.channels(r), config.channels(r)) for r in small.levels}
    differ = ", ".join(f"{mine} at {r} instead of {its}" for r, (mine, its) in widths.items() if mine != its)
    require(not differ, f"the weights to start from have other widths: {differ}; choose base and cmax to match")
    net = build(config)
    mine, its = net.state_dict(), start.state_dict()
    net.load_state_dict({k: its[k] if k in its and its[k].shape == v.shape else v for k, v in mine.items()})
    return net


def trunk_of(net: Generator) -> Generator:
    """The smaller generator within one with a trunk, with weights of its own; ``net`` itself where there is none."""
    config = net.config
    if not config.trunk:
        return net
    small = replace(
        config, size=config.trunk, base=config.channels(config.trunk), trunk=0,
        rgb_levels=tuple(r for r in config.rgb_levels if r <= config.trunk),
        warp_levels=tuple(r for r in config.warp_levels if r <= config.trunk),
    )  # fmt: skip
    trunk = Generator(small)
    trunk.load_state_dict({k: v for k, v in net.state_dict().items() if k in trunk.state_dict()})
    return trunk.train(net.training)


def onto(net: Generator, trunk: Generator) -> Generator:
    """A copy of ``net`` with other weights for its trunk, the opposite of `trunk_of`; without one, ``trunk`` itself."""
    if not net.config.trunk:
        return trunk
    grown = copy.deepcopy(net)
    grown.load_state_dict({**net.state_dict(), **trunk.state_dict()})
    return grown

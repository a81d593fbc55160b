"""Warm start between sizes: a trained generator becomes the coarser part of a larger one."""

from __future__ import annotations

import copy
from dataclasses import replace

from sidgan.config import GeneratorConfig
from sidgan.nn import Generator
from sidgan.nn.baselines import build
from sidgan.settings import require, require_same


def warm_start(start: Generator, config: GeneratorConfig) -> Generator:
    """A generator of ``config`` that is initialised with the weights of ``start``.

    If ``start`` is smaller, its blocks, their motion layers, RGB blocks, encoder stages and audio encoder are copied at
    their resolutions; finer blocks, and the encoder stages down to the size of ``start``, are new. As a ``trunk``, all
    of ``start`` is copied, and the output at its size is unchanged. If ``start`` has a trunk of the size of ``config``,
    only this trunk is used.

    If only ``config`` uses audio context around a frame, its weights are new. Baselines are only resumed unchanged.

    Raises:
        ConfigError: the two differ in other settings, or in the width of a common level.
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
    """A copy of the trunk of a generator, as a generator; ``net`` itself if it has no trunk."""
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


def with_trunk(net: Generator, trunk: Generator) -> Generator:
    """A copy of ``net`` with the weights of ``trunk``, the inverse of `trunk_of`; ``trunk`` if ``net`` has no trunk."""
    if not net.config.trunk:
        return trunk
    grown = copy.deepcopy(net)
    grown.load_state_dict({**net.state_dict(), **trunk.state_dict()})
    return grown

"""Runs all checks and draws the conclusion."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sidgan.doctor import findings
from sidgan.doctor.findings import Finding
from sidgan.errors import SidganError, counted
from sidgan.types import Show
from sidgan.version import __version__

if TYPE_CHECKING:
    from sidgan.doctor.speed import Speed

GROUPS = {
    "Needed": findings.packages, "Weights": findings.weights, "Extras": findings.extras,
    "Published files": findings.downloads, "Conflicts": findings.conflicts,
}  # fmt: skip


@dataclass(frozen=True)
class Checkup:
    """The results of all checks.

    Attributes:
        found: group -> findings.
        device: the device that would run the network, with its precision; empty if needed packages do not work.
        engines: the engines that can run it here, the default first.
        speed: the measured speed, or the error of the measurement; ``None`` if it was not measured.
    """

    found: dict[str, tuple[Finding, ...]]
    device: str
    engines: tuple[str, ...]
    speed: Speed | str | None

    @property
    def fit(self) -> bool:
        """Whether everything that dubbing needs works, and the speed measurement did not fail."""
        needed = [one for group in self.found.values() for one in group if one.needed]
        return all(one.state == "ok" for one in needed) and not isinstance(self.speed, str)

    def lines(self) -> list[str]:
        """The results as lines of text."""
        text = [f"sidgan {__version__}, Python {sys.version.split()[0]}, {sys.platform}"]
        for group, found in self.found.items():
            width = max((len(one.name) for one in found), default=0)
            text += [f"{group}:", *(line for one in found for line in one.lines(width))] if found else []
        if self.device:
            text += [f"Device: {self.device}", f"Engines: {self.engines[0]} (default)"
                     + "".join(f", {name}" for name in self.engines[1:])]  # fmt: skip
        if self.speed is not None:
            text.append(f"Speed: {self.speed if isinstance(self.speed, str) else self.speed.line()}")
        return [*text, "This computer can dub." if self.fit else "This computer cannot dub yet: see what is Needed."]

    def to_dict(self) -> dict[str, Any]:
        """The results as JSON-able values."""
        speed: Any = self.speed
        if speed is not None and not isinstance(speed, str):
            speed = asdict(speed) | {"minute": speed.minute}
        return {"sidgan": __version__, "python": sys.version.split()[0], "platform": sys.platform, "fit": self.fit,
                "device": self.device, "engines": list(self.engines), "speed": speed,
                "found": {group: [asdict(one) for one in found] for group, found in self.found.items()}}  # fmt: skip


def examine(
    *, device: str = "auto", timed: bool = True, progress: Show = lambda share, text: None
) -> Checkup:
    """Run all checks; with ``timed``, also dub about fifty frames to measure the speed.

    Raises:
        ConfigError: there is no such device.
    """
    found = {}
    for i, (group, look) in enumerate(GROUPS.items()):
        progress(0.1 * i, group)
        found[group] = _findings(look)
    works = all(one.state == "ok" for one in found["Needed"])
    if works:
        found["Needed"] += (findings.encoders(), findings.space(Path.cwd()))
    described, engines = _device(device, found["Extras"]) if works else ("", ())
    speed: Speed | str | None = None
    if timed and works:
        from sidgan.doctor.speed import measure

        try:
            speed = measure(device, lambda share, text: progress(0.5 + share / 2, text))
        except SidganError as error:
            speed = str(error)
    return Checkup(found, described, engines, speed)


def _findings(look: Callable[[], Any]) -> tuple[Finding, ...]:
    """The findings of a check; none if the check needs a missing package, which `findings.packages` reports."""
    try:
        return tuple(look())
    except ImportError:
        return ()


def _device(name: str, extras: tuple[Finding, ...]) -> tuple[str, tuple[str, ...]]:
    """A description of the device with its precision, and the engines that can run on it, the default first."""
    import torch

    from sidgan.engine import choose_device, choose_precision

    chosen = choose_device(name)
    precision = "bf16" if choose_precision(chosen).startswith("bf16") else "fp32"
    if chosen.type == "cuda":
        hardware = f"{chosen}, {torch.cuda.get_device_name(chosen)}"
    else:
        reason = "; torch is built without CUDA" if torch.version.cuda is None else "; torch sees no GPU"
        hardware = f"cpu ({counted(torch.get_num_threads(), 'thread')}{reason})"
    installed = {one.name for one in extras if one.state == "ok"}
    others = () if chosen.type == "cuda" else tuple(name for name in ("openvino", "onnx") if name in installed)
    return f"{hardware}, {precision}", ("torch", *others)

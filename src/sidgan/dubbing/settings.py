"""The settings of a dub, defined once for the Python API, the command line, job lists and the journal."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

from sidgan import media
from sidgan.arguments import require_types
from sidgan.blend.steady import STEADY
from sidgan.dubbing.analysis.choice import FACES, Faces
from sidgan.dubbing.silence import SILENCES, Silence
from sidgan.settings import require, require_between
from sidgan.timeline import LENGTHS, Length
from sidgan.types import Clip

Damage = Literal["stop", "pass"]
Background = Literal["original"] | Path
DAMAGES: tuple[str, ...] = get_args(Damage)

#: Settings that the journal records in another form: photo, voices and background by the digests of their files, engine
#: and device by what they are on this machine, encoder and quality together as one `media.Encoding`.
NOTED_OTHERWISE = frozenset({"face", "speakers", "background", "engine", "device", "encoder", "crf", "lossless"})


def face_of(given: int | str | Path | None) -> int | Path | None:
    """Parse the option ``face``: the number of a person, or a photo of them."""
    if given is None:
        return None
    if isinstance(given, str | PathLike):
        return int(given) if isinstance(given, str) and given.isdecimal() else Path(given)
    return int(given)


def background_of(given: str | Path | None) -> Background | None:
    """Parse the option ``background``: ``original``, or a file."""
    return None if given is None else "original" if given == "original" else Path(given)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """How a video is dubbed; `sidgan.dub` documents each setting.

    Raises:
        ConfigError: an impossible setting.
    """

    faces: Faces = "largest"
    face: int | Path | None = None
    speakers: Mapping[int, Path] = field(default_factory=dict)
    background: Background | None = None
    silence: Silence = "close"
    length: Length = "cut"
    device: str = "auto"
    engine: str = "torch"
    encoder: str = "x264"
    crf: int = 16
    lossless: bool = False
    steady: float = STEADY
    emphasis: float = 1.0
    on_damage: Damage = "stop"

    def __post_init__(self) -> None:
        require_types({one.name: getattr(self, one.name) for one in fields(Settings)}, Settings)
        for name, kind in (("crf", int), ("steady", float), ("emphasis", float)):  # the journal cannot hold NumPy's
            object.__setattr__(self, name, kind(getattr(self, name)))
        object.__setattr__(self, "face", face_of(self.face))  # callers from Python may pass text
        object.__setattr__(self, "background", background_of(self.background))
        for name, known in (("faces", FACES), ("silence", SILENCES), ("length", LENGTHS), ("on_damage", DAMAGES)):
            value = getattr(self, name)
            require(value in known, f"{name} must be {', '.join(known[:-1])} or {known[-1]}, not {value!r}")
        for name, most in (("crf", 51), ("steady", 1), ("emphasis", 3)):
            require_between(self, 0, most, name)
        require(all(isinstance(number, Integral) for number in self.speakers),
                "speakers go by the numbers of people, such as {1: 'anna.wav'}")  # fmt: skip
        object.__setattr__(self, "speakers", {int(number): file for number, file in self.speakers.items()})
        numbers = [*self.speakers, *([self.face] if isinstance(self.face, int) else [])]
        require(all(number > 0 for number in numbers), "people are numbered from 1; sidgan faces lists them")
        require(
            self.face is None or not self.speakers,
            "give face or speakers, not both: each of them chooses who is redrawn",
        )
        require(
            self.faces == "largest" or (self.face is None and not self.speakers),
            f"give faces {self.faces}, or face or speakers, not both: each of them chooses who is redrawn",
        )
        require(
            self.background is None or self.length != "keep",
            "background cannot go with length keep: each decides what follows a shorter voice",
        )

    @property
    def encoding(self) -> media.Encoding:
        """How pictures are encoded."""
        return media.Encoding(self.encoder, self.crf, lossless=self.lossless)

    def fitting(self, clip: Clip) -> Settings:
        """The settings for a clip; a photo is held for as long as the voice lasts, whatever a video would do."""
        return replace(self, length="hold") if clip.still else self

    def noted(self) -> dict[str, Any]:
        """Plain values for the journal that determine the output's bytes: all but those of `NOTED_OTHERWISE`."""
        names = [one.name for one in fields(Settings) if one.name not in NOTED_OTHERWISE]
        return {"encoding": str(self.encoding), **{name: getattr(self, name) for name in names}}

"""A clip of a synthetic person speaking a line: pictures, true landmarks and sound, in sync by construction."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from sidgan.synth.person import Person, pose
from sidgan.synth.render import Portrait, Size
from sidgan.synth.speech import Line, length, mouth
from sidgan.synth.voice import voice
from sidgan.types import Byte, Float


@dataclass(frozen=True)
class Shot:
    """One frame: ``time`` s, ``image`` (H, W, 3) uint8 RGB, true ``landmarks`` (68, 2) px in iBUG order.

    ``opening`` is the distance between the lips over the distance between the outer eye corners.
    """

    time: Fraction
    image: Byte
    landmarks: Float
    opening: float


@dataclass(frozen=True)
class Scene:
    """A person, a line and a camera. Iterating renders the `Shot`s one at a time; equal scenes give equal bytes.

    Attributes:
        seconds: length of the clip; the default is the length of the line. Beyond the line there is silence.
        rate: frames per second.
        size: (H, W) px.
        face_px, centre: height and centre of the head in px (see `Portrait`).
        motion: amount of head motion; 0 is none, 1 is natural.
    """

    person: Person
    line: Line
    seconds: float | None = None
    rate: Fraction = Fraction(25)
    size: Size = (512, 512)
    face_px: float | None = None
    centre: tuple[float, float] | None = None
    motion: float = 1.0

    @property
    def duration(self) -> float:
        """Length of the clip in seconds."""
        return length(self.line) if self.seconds is None else self.seconds

    def __len__(self) -> int:
        return int(self.duration * self.rate + Fraction(1, 1000))

    @property
    def times(self) -> list[Fraction]:
        """Presentation times of the frames, s."""
        return [Fraction(i) / self.rate for i in range(len(self))]

    def __iter__(self) -> Iterator[Shot]:
        portrait = Portrait(self.person, self.size, self.face_px, self.centre)
        seconds = [float(t) for t in self.times]
        states = zip(mouth(self.line, seconds), pose(self.person.seed, seconds, self.motion), strict=True)
        for time, (lips, head) in zip(self.times, states, strict=True):
            image, points = portrait.render(lips, head), portrait.landmarks(lips, head)
            yield Shot(time, image, points, portrait.opening(lips))

    def audio(self, rate: int = 16000) -> Float:
        """The voice: mono float32, ``round(duration * rate)`` samples at ``rate`` Hz."""
        count = round(self.duration * rate)
        spoken = voice(self.line, self.person, rate)[:count]
        return np.pad(spoken, (0, count - len(spoken)))

"""Videos of synthetic people, for users without footage: each hard case of Figure 6, and a few plain faces."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from sidgan import media
from sidgan.config import FPS
from sidgan.synth import Line, Person, Portrait, mouth, pose, random_line, voice
from sidgan.synth.person import Pose
from sidgan.types import Byte

SOUND = 16_000  #: sample rate, Hz


@dataclass(frozen=True)
class Drawn:
    """A synthetic person, and how they are rendered.

    Attributes:
        person: their looks. size: side of the square image, px. head: height of the head, px.
        turned: yaw of the head, degrees.
        before: draws an occlusion: (image, position in the clip from 0 to 1) -> image.
        seed: random seed of the spoken line.
    """

    person: Person
    size: int = 384
    head: float = 290
    turned: float = 0.0
    before: Callable[[Byte, float], Byte] | None = None
    seed: int = 0


def hand(picture: Byte, share: float) -> Byte:
    """Draw a hand that covers chin and mouth in the middle of a clip; ``share`` is the position in it, 0 to 1."""
    size = picture.shape[0]
    covered = picture.copy()
    reach = np.clip(1 - abs(share - 0.5) / 0.28, 0, 1)  # how high the hand is, 1 in the middle of the clip
    if reach <= 0:
        return covered
    top = int(size * (1.02 - 0.42 * reach))
    skin, dark = (196, 148, 120), (150, 104, 82)
    for finger in range(4):
        x = int(size * (0.40 + 0.065 * finger))
        cv2.line(covered, (x, top + abs(finger - 1) * 7), (x + 6, size), dark, size // 15, cv2.LINE_AA)
        cv2.line(covered, (x, top + abs(finger - 1) * 7), (x + 6, size), skin, size // 18, cv2.LINE_AA)
    return covered


#: Name -> hard case of Figure 6.
CASES = {
    "beard": Drawn(replace(Person.random(11), beard=1.0, moustache=1.0, style="short"), seed=1),
    "side": Drawn(Person.random(5), turned=27.0, seed=2),
    "occlusion": Drawn(Person.random(21), before=hand, seed=3),
    "low": Drawn(Person.random(8), size=208, head=130, seed=4),
}
#: Two people for Figure 1, and a few for Figures 5 and 8.
PLAIN = {f"drawn-{i}": Drawn(Person.random(seed), seed=seed) for i, seed in enumerate((3, 14, 27), 1)}


def film(how: Drawn, out: Path, seconds: float) -> None:
    """Write a video of a synthetic person who speaks a random line, with sound.

    Raises:
        OutputError: the video cannot be written.
    """
    line = random_line(np.random.default_rng(how.seed), seconds)
    count = round(seconds * SOUND)
    spoken = voice(line, how.person, SOUND)[:count]
    sound = np.pad(spoken, (0, count - len(spoken)))
    media.write_clip(out, _frames(how, line, seconds), Fraction(FPS), sound, SOUND, crf=12)


def _frames(how: Drawn, line: Line, seconds: float) -> Iterator[Byte]:
    count = int(seconds * FPS)
    times = [i / FPS for i in range(count)]
    portrait = Portrait(how.person, (how.size, how.size), how.head)
    states = zip(mouth(line, times), pose(how.person.seed, times, 0.6), strict=True)
    for i, (lips, head) in enumerate(states):
        turned: Pose = replace(head, yaw=head.yaw / 2 + how.turned) if how.turned else head
        picture = portrait.render(lips, turned)
        yield picture if how.before is None else how.before(picture, i / max(1, count - 1))

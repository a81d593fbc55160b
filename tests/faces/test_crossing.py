"""People who cross: nobody is followed where somebody else hides them, and all are found when they come out."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidgan import geometry, media
from sidgan.faces import Tracker
from sidgan.synth import Mouth, Person, Portrait, Pose
from sidgan.types import Byte, Float

SIZE, MIDDLE, FACE_PX = (300, 640), 320, 150
HIDDEN, CLEAR = 70, 130  # px between the two faces: less hides one of them, more shows both whole


def crossing(behind: Float, before: Float) -> list[Byte]:
    """Somebody in front of whom somebody else goes by; the middles of their faces are at these x in each frame."""
    first, second = (Portrait(Person.random(seed), SIZE, FACE_PX).render(Mouth(), Pose()) for seed in (6, 9))
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    head = ((x - MIDDLE) / (0.42 * FACE_PX)) ** 2 + ((y - 0.46 * SIZE[0]) / (0.62 * FACE_PX)) ** 2 < 1
    shoulders = ((x - MIDDLE) / (0.95 * FACE_PX)) ** 2 + ((y - 1.15 * SIZE[0]) / (0.85 * FACE_PX)) ** 2 < 1
    shape = cv2.GaussianBlur(np.float32(head | shoulders), (0, 0), 1.5)

    def shifted(image: np.ndarray, to: float, border: int) -> np.ndarray:
        return cv2.warpAffine(image, np.array([[1, 0, to - MIDDLE], [0, 1, 0]]), SIZE[::-1], borderMode=border)

    pictures = []
    for here, there in zip(behind.tolist(), before.tolist(), strict=True):
        share = shifted(shape, there, cv2.BORDER_CONSTANT)[..., None]
        back, front = (shifted(image, to, cv2.BORDER_REFLECT_101) for image, to in ((first, here), (second, there)))
        pictures.append((back * (1 - share) + front * share).astype(np.uint8))
    return pictures


FRAMES = np.arange(90.0)
PASSING = {
    "they cross": (470 - 3.4 * FRAMES, 170 + 3.4 * FRAMES),
    "one goes by": (np.full(90, 320.0), 100 + 5 * FRAMES),
    "one goes before the other and stays": (np.full(90, 320.0), 120 + np.minimum(5 * FRAMES, 200)),
}


@pytest.mark.parametrize("how", PASSING)
def test_nobody_is_followed_where_somebody_hides_them(how: str, tmp_path: Path) -> None:
    behind, before = PASSING[how]
    media.write_clip(tmp_path / "film.mp4", crossing(behind, before), Fraction(25), crf=18, preset="ultrafast")
    tracker = Tracker()
    for frame in media.read_frames(media.probe(tmp_path / "film.mp4")):
        tracker.add(frame)
    seen = {0: set[int](), 1: set[int]()}
    for track in tracker.finish():
        for row in np.flatnonzero(track.visible).tolist():
            at, _, side = geometry.face_square(track.landmarks[row])
            index = track.first + row
            off = np.abs([before[index] - at, behind[index] - at])
            who = int(off.argmin())
            assert off[who] < 0.2 * side, "neither of them is there"
            assert index not in seen[who], "one face is followed twice"
            seen[who].add(index)
    apart = np.abs(behind - before)
    assert seen[0] == set(range(90)), "nothing hides the one in front"
    assert not seen[1] & set(np.flatnonzero(apart < HIDDEN).tolist())
    assert not set(np.flatnonzero(apart > CLEAR).tolist()) - seen[1]

"""Shot cuts: found on drawn cuts, not on fast motion, flashes or what passes before the camera."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidgan import media
from sidgan.faces import Tracker
from sidgan.shots import CutFinder
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Byte, Frame

SIZE = (180, 240)


def shot(seed: int, frames: int = 8, **how: object) -> list[Byte]:
    scene = Scene(Person.random(seed), LINES["hello"], seconds=frames / 25 + 0.001, size=SIZE, **how)  # type: ignore
    return [one.image for one in scene]


def frames(images: list[Byte], folder: Path) -> Iterator[Frame]:
    media.write_clip(folder / "film.mp4", images, Fraction(25), crf=12)
    return media.read_frames(media.probe(folder / "film.mp4"))


def cuts(images: list[Byte], folder: Path) -> list[int]:
    tracker = Tracker()
    for frame in frames(images, folder):
        tracker.add(frame)
    return tracker.cuts


def test_every_drawn_cut_is_found_where_it_is(tmp_path: Path) -> None:
    one, other = shot(1, 5), shot(2, 4)
    assert cuts(one[:3] + other + one[3:], tmp_path) == [3, 7]


def test_a_change_of_framing_is_a_cut_and_no_track_goes_on(tmp_path: Path) -> None:
    images = shot(4, 6, face_px=110) + shot(4, 6, face_px=90, centre=(70.0, 70.0))
    tracker = Tracker()
    for frame in frames(images, tmp_path):
        tracker.add(frame)
    assert tracker.cuts == [6]
    assert [track.frames for track in tracker.finish()] == [range(6), range(6, 12)]


def moved(room: Byte, step: int) -> list[Byte]:
    """A camera that is swung over a room, with the blur of an open shutter."""
    blurred = cv2.blur(room, (max(1, step // 2), 1))
    return [blurred[:, step * i : step * i + SIZE[1]] for i in range(12)]


@pytest.fixture(scope="module")
def room() -> Byte:
    noise = np.random.default_rng(0).uniform(0, 255, (12, 60, 3)).astype(np.float32)
    return np.clip(cv2.resize(noise, (900, SIZE[0]), interpolation=cv2.INTER_CUBIC), 0, 255).astype(np.uint8)


def test_fast_motion_is_no_cut(room: Byte, tmp_path: Path) -> None:
    assert cuts(moved(room, 14), tmp_path) == []  # 6 % of the width from frame to frame
    still = [room[:, : SIZE[1]]] * 4
    assert cuts(still + [room[:, 600 : 600 + SIZE[1]]] * 4, tmp_path) == [4]  # elsewhere in the same room is


def test_flash_and_lamp_are_no_cuts(tmp_path: Path) -> None:
    images = shot(5, 6)
    images[2] = np.clip(images[2] * 1.2 + 30, 0, 255).astype(np.uint8)
    images[4:] = [(image * 0.5).astype(np.uint8) for image in images[4:]]
    assert cuts(images, tmp_path) == []


def test_a_fast_head_and_a_hand_are_no_cuts(tmp_path: Path) -> None:
    images = shot(6, 8, motion=3.0)
    for i in range(2, 7):
        x = 60 + 25 * (i - 2)
        images[i] = cv2.circle(images[i].copy(), (x, 140), 30, (180, 140, 120), -1)
    assert cuts(images, tmp_path) == []


@pytest.mark.clips
def test_real_shots_have_no_cut_inside_and_one_between(clips: Path) -> None:
    names = ["retalking_1.mp4", "visualvoice_interview_2spk.mp4", "anchor_FAzSK8PLmGI_720p.mp4"]
    finder, found, count = CutFinder(), [], 0
    for name in names:
        for frame in islice(media.read_frames(media.probe(clips / "test" / name)), 20):
            found += [count] * bool(finder.add(frame))
            count += 1
    assert found == [20, 40]

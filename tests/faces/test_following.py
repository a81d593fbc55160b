"""How a face is followed while it moves, hides and comes back; in a world where it is known where the face is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pytest

from sidgan.faces import Box, Tracker, head_pose, overlap, shots, smooth
from sidgan.faces.shots import CutFinder
from sidgan.synth import Mouth, Person, Portrait, Pose
from sidgan.types import Byte, Face, FaceTrack, Float, Frame, PixelFormat, PlaneMap

SIDE = 80.0  # px of the face's box
FACE = Portrait(Person.random(3), (256, 256), face_px=190).landmarks(Mouth(), Pose())
FACE = ((FACE - FACE.mean(0)) * SIDE / np.ptp(FACE)).astype(np.float32)
GREY = Frame(0, Fraction(0), tuple(np.full((240, 320), 128, np.uint8) for _ in range(3)),
             PixelFormat("yuv444p", 8, False, "bt601", PlaneMap()), None)  # fmt: skip


class World:
    """One face at ``at`` (x, y) px, or nowhere; a detector that sees it, and landmarks that lean towards their box."""

    def __init__(self) -> None:
        self.at: tuple[float, float] | None = (100.0, 100.0)
        self.margin = 0.0  #: px by which the detector's box is larger on each side
        self.asked: list[Box] = []
        self.tracker = Tracker(self, self.landmarks)

    @property
    def box(self) -> Box:
        assert self.at is not None
        half, (x, y) = SIDE / 2 + self.margin, self.at
        return x - half, y - half, x + half, y + half

    def search(self, luma: Byte, fine: bool) -> list[Face]:
        return [] if self.at is None else [Face(self.box, 1.0, FACE + np.float32(self.at))]

    def confirm(self, luma: Byte, box: Box, others: Sequence[Box] = ()) -> float | None:
        self.asked.append(box)
        return 1.0 if self.at is not None and overlap(box, self.box) > 0.6 else None

    def landmarks(self, luma: Byte, box: Box) -> Float:
        middle = np.float32([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        near = self.at is not None and np.abs(middle - np.float32(self.at)).max() < SIDE / 2
        true = np.float32(self.at) if near else middle
        return np.asarray(FACE + true + 0.3 * (middle - true), np.float32)

    def show(self, first: int, stop: int) -> None:
        for index in range(first, stop):
            self.tracker.add(Frame(index, Fraction(index, 25), GREY.planes, GREY.format, None))


def ends(track: FaceTrack) -> tuple[int, int]:
    return track.first, track.frames.stop


def test_a_face_that_is_gone_for_a_second_is_given_up() -> None:
    world = World()
    world.show(0, 12)
    world.at = None
    world.show(12, 60)
    assert not world.tracker.here()
    (track,) = world.tracker.finish()
    assert ends(track) == (0, 11)  # it was last confirmed in frame 10
    assert track.visible.all()


def test_a_face_that_comes_back_soon_is_the_same_one() -> None:
    world = World()
    world.show(0, 12)
    world.at = None
    world.show(12, 24)
    world.at = (104.0, 100.0)
    world.show(24, 40)
    (track,) = world.tracker.finish()
    assert ends(track) == (0, 40)
    assert not track.visible[11:24].any(), "nothing confirms it after frame 10"
    assert track.visible[24:].all()


def test_a_face_that_is_lost_is_searched_for_at_once() -> None:
    world = World()
    world.show(0, 7)
    world.at = (240.0, 150.0)
    world.show(7, 20)
    assert sorted(ends(track) for track in world.tracker.finish()) == [(0, 6), (10, 20)]


def test_a_face_that_is_found_again_is_confirmed_where_it_was_found() -> None:
    world = World()
    world.show(0, 7)
    world.at = None
    world.show(7, 11)
    world.at, world.margin = (125.0, 100.0), 6.0
    world.show(11, 30)
    assert np.subtract(world.asked[-1], world.box) == pytest.approx([0, 0, 0, 0], abs=1)
    assert len(world.tracker.finish()) == 1


def test_a_fast_face_is_looked_for_again_where_it_was_seen() -> None:
    world = World()
    world.show(0, 2)
    world.at = (120.0, 100.0)
    world.show(2, 3)
    (points,) = world.tracker.here().values()
    assert abs(points.mean(0)[0] - FACE.mean(0)[0] - 120) < 3


def test_a_crop_does_not_tremble_with_its_landmarks() -> None:
    shaken = FACE + 100 + np.random.default_rng(0).normal(0, 1, (80, 1, 2)).astype(np.float32)
    track = smooth(0, shaken, np.ones(80, np.float32))
    tremor = np.diff(track.matrices[:, :, 2], 2, axis=0)
    assert np.abs(tremor).max() < 0.1


def test_a_camera_that_swings_faster_and_faster_makes_no_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = iter([0.02, 0.2, 0.36, 0.6, 0.05, 0.05, 0.05, 0.05, 0.6, 0.2])
    monkeypatch.setattr(shots, "new_share", lambda last, now: next(shares))
    finder = CutFinder()
    found = [finder.add(GREY) for _ in range(11)]
    assert found == [False, False, None, False, False, *[False] * 4, True, None]


@pytest.mark.parametrize("turn", [Pose(yaw=25), Pose(yaw=-25), Pose(pitch=12), Pose(pitch=-12), Pose(roll=10)])
def test_a_head_is_turned_as_it_looks(turn: Pose) -> None:
    portrait = Portrait(Person.random(3), (256, 256), face_px=190)
    before, after = (head_pose(portrait.landmarks(Mouth(), pose)) for pose in (Pose(), turn))
    known = np.array([-turn.yaw, turn.pitch, turn.roll])
    moved = (after - before)[known != 0] / known[known != 0]
    assert 0.5 < moved < 1.5

"""How a face is followed while it moves, hides and comes back; in a world where it is known where the face is."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest

from sidgan.faces import Box, Tracker, head_pose, overlap, shots, smooth, tracker
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
        self.sure = 1.0  #: the detector's score
        self.asked: list[Box] = []
        self.shown = -1  #: the frame that is shown
        self.past: dict[int, list[Box]] = {}  #: where faces are in each frame
        self.tracker = Tracker(self, self.landmarks)

    @property
    def box(self) -> Box:
        assert self.at is not None
        half, (x, y) = SIDE / 2 + self.margin, self.at
        return x - half, y - half, x + half, y + half

    def search(self, luma: Byte, fine: bool) -> list[Face]:
        return [] if self.at is None else [Face(self.box, self.sure, FACE + np.float32(self.at))]

    def places(self) -> list[Box]:
        return [] if self.at is None else [self.box]

    def confirm(self, luma: Byte, box: Box, others: Sequence[Box] = ()) -> float | None:
        self.asked.append(box)
        return self.sure if any(overlap(box, one) > 0.6 for one in self.past[int(luma[0, 0])]) else None

    def landmarks(self, luma: Byte, box: Box) -> Float:
        middle = np.float32([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
        near = self.at is not None and np.abs(middle - np.float32(self.at)).max() < SIDE / 2
        true = np.float32(self.at) if near else middle
        return np.asarray(FACE + true + 0.3 * (middle - true), np.float32)

    def show(self, first: int, stop: int) -> None:
        for index in range(first, stop):
            self.shown, self.past[index] = index, self.places()
            luma, *chroma = GREY.planes
            luma = luma.copy()
            luma[0, 0] = index  # pictures that can be told from one another
            self.tracker.add(Frame(index, Fraction(index, 25), (luma, *chroma), GREY.format, None))

    def hide(self, first: int, stop: int, back: tuple[float, float]) -> None:
        """Frames ``first`` to ``stop - 1`` without the face, which is at ``back`` after them."""
        self.at = None
        self.show(first, stop)
        self.at = back


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
    world.hide(12, 24, back=(104.0, 100.0))
    world.show(24, 40)
    (track,) = world.tracker.finish()
    assert ends(track) == (0, 40)
    assert not track.visible[11:24].any(), "nothing confirms it after frame 10"
    assert track.visible[24:].all()


def test_a_face_that_came_back_costs_no_more_than_before() -> None:
    world = World()
    world.show(0, 12)
    world.hide(12, 17, back=(102.0, 100.0))
    world.show(17, 18)
    world.asked.clear()
    world.show(18, 25)
    assert len(world.asked) == 1, "it is confirmed every five frames, not in each"


def test_a_face_that_is_lost_is_searched_for_at_once() -> None:
    world = World()
    world.show(0, 7)
    world.at = (240.0, 150.0)
    world.show(7, 20)
    assert sorted(ends(track) for track in world.tracker.finish()) == [(0, 6), (10, 20)]


def test_a_face_that_is_found_again_is_confirmed_where_it_was_found() -> None:
    world = World()
    world.show(0, 7)
    world.hide(7, 11, back=(125.0, 100.0))
    world.margin = 6.0
    world.show(11, 30)
    assert np.subtract(world.asked[-1], world.box) == pytest.approx([0, 0, 0, 0], abs=1)
    (track,) = world.tracker.finish()
    assert track.visible[12:].all(), "the whole picture is searched in frame 12"


def test_who_comes_out_elsewhere_after_a_while_is_found_within_half_a_second() -> None:
    world = World()
    world.show(0, 12)
    world.hide(12, 22, back=(240.0, 150.0))
    world.show(22, 40)
    *_, last = sorted(world.tracker.finish(), key=lambda track: track.first)
    assert 22 <= last.first <= 22 + 12


def test_who_comes_in_soon_after_a_video_begins_is_found_at_once() -> None:
    world = World()
    world.hide(0, 5, back=(100.0, 100.0))
    world.show(5, 20)
    (track,) = world.tracker.finish()
    assert ends(track) == (6, 20)


def test_how_sure_the_detector_is_is_told_of_now() -> None:
    world = World()
    world.show(0, 12)
    world.sure = 0.4
    world.show(12, 30)
    (track,) = world.tracker.finish()
    assert track.scores[15:] == pytest.approx(0.4)


def test_a_face_that_is_found_twice_for_a_while_has_one_track() -> None:
    class Double(World):
        """The detector also finds a larger face around it, with the same landmarks, in one search."""

        def search(self, luma: Byte, fine: bool) -> list[Face]:
            around, (x, y) = 1.9 * SIDE / 2, self.at or (0, 0)
            wide = Face((x - around, y - around, x + around, y + around), 0.5, FACE + np.float32((x, y)))
            return [*super().search(luma, fine), *[wide] * (25 <= self.shown < 50)]

        def confirm(self, luma: Byte, box: Box, others: Sequence[Box] = ()) -> float | None:
            return 0.5 if box[2] - box[0] > 1.5 * SIDE else super().confirm(luma, box, others)

    world = Double()
    world.show(0, 40)
    assert len(world.tracker.here()) == 2
    (track,) = world.tracker.finish()
    assert ends(track) == (0, 40)


def test_a_fast_face_is_looked_for_again_where_it_was_seen() -> None:
    world = World()
    world.show(0, 2)
    world.at = (120.0, 100.0)
    world.show(2, 3)
    (points,) = world.tracker.here().values()
    assert abs(points.mean(0)[0] - FACE.mean(0)[0] - 120) < 3


class Crowd(World):
    """Several faces, in pictures that change suddenly in one frame, and maybe are of another shot in one frame."""

    def __init__(
        self, patch: pytest.MonkeyPatch, sudden: int = -1, *, doubtful: int = -1, **faces: tuple[float, float]
    ) -> None:
        self.faces, self.hidden = faces, set[str]()
        finder = SimpleNamespace(change=0.0, sudden=False)

        def add(frame: Frame) -> bool | None:
            finder.sudden = frame.index == sudden
            return None if frame.index == doubtful else False

        finder.add = add
        patch.setattr(tracker, "CutFinder", lambda: finder)
        super().__init__()

    def boxes(self) -> list[tuple[Box, tuple[float, float]]]:
        there = [at for name, at in self.faces.items() if name not in self.hidden]
        return [((x - SIDE / 2, y - SIDE / 2, x + SIDE / 2, y + SIDE / 2), (x, y)) for x, y in there]

    def search(self, luma: Byte, fine: bool) -> list[Face]:
        return [Face(box, 1.0, FACE + np.float32(at)) for box, at in self.boxes()]

    def places(self) -> list[Box]:
        return [box for box, _ in self.boxes()]

    def landmarks(self, luma: Byte, box: Box) -> Float:
        self.at = max(((overlap(box, one), at) for one, at in self.boxes()), default=(0.0, None))[1]
        return super().landmarks(luma, box)

    def tracks(self) -> list[tuple[tuple[int, int], float]]:
        """(first, stop) and the x in the last frame of each track, by time and place."""
        return sorted((ends(track), round(float((track.landmarks[-1] - FACE).mean(0)[0])))
                      for track in self.tracker.finish())  # fmt: skip


def test_two_who_put_their_heads_together_are_both_followed(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Crowd(monkeypatch, ann=(80, 100), ben=(200, 100))
    for index in range(60):
        world.faces["ben"] = max(118.0, 200.0 - 4 * index), 100
        world.show(index, index + 1)
    assert world.tracks() == [((0, 60), 80), ((0, 60), 118)]
    assert all(track.visible.all() for track in world.tracker.finish())
    world.hidden = {"ann", "ben"}
    world.show(60, 69)
    world.hidden = set()
    world.show(69, 80)
    assert all(track.visible[69:].all() and not track.visible[61:69].any() for track in world.tracker.finish())


@pytest.mark.parametrize("index", [12, 15])
def test_a_face_that_jumps_where_the_picture_changes_is_where_it_is_at_once(
    index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Crowd(monkeypatch, index, ann=(100, 100))
    world.show(0, index)
    world.faces["ann"] = 130, 100
    world.show(index, index + 1)
    (points,) = world.tracker.here().values()
    assert np.abs(points - FACE - (130, 100)).max() < 1
    world.show(index + 1, 30)
    assert world.tracks() == [((0, 30), 130)]
    assert not world.tracker.cuts


@pytest.mark.parametrize("index", [12, 15])
def test_where_the_picture_changes_and_others_are_there_a_shot_begins(
    index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Crowd(monkeypatch, index, ann=(60, 60), ben=(60, 180))
    world.show(0, index)
    world.faces = {"cora": (240.0, 60.0)}
    world.show(index, 30)
    assert world.tracker.cuts == [index]
    assert world.tracks() == [((0, index), 60), ((0, index), 60), ((index, 30), 240)]


@pytest.mark.parametrize("index", [11, 12, 15])
def test_where_somebody_stays_the_shot_goes_on_and_others_are_found_at_once(
    index: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Crowd(monkeypatch, index, ann=(60, 60), ben=(60, 180))
    world.show(0, index)
    world.faces["ben"] = 240, 180
    world.show(index, 30)
    assert not world.tracker.cuts
    assert world.tracks() == [((0, index), 60), ((0, 30), 60), ((index, 30), 240)]


def test_where_all_are_gone_and_nobody_is_there_they_may_come_back_where_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = Crowd(monkeypatch, 12, ann=(60, 60))
    for index in range(12):
        world.faces["ann"] = 60 + 5 * index, 60
        world.show(index, index + 1)
    world.hidden = {"ann"}
    world.show(12, 20)
    world.hidden = set()
    world.show(20, 40)
    assert not world.tracker.cuts
    assert world.tracks() == [((0, 40), 115)]


@pytest.mark.parametrize("change", ["sudden", "doubtful"])
def test_no_shot_begins_where_nobody_was_seen_before(change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world = Crowd(monkeypatch, ann=(60, 60), **{change: 14})  # type: ignore[arg-type]
    world.show(0, 8)
    world.hidden = {"ann"}
    world.show(8, 14)
    world.faces["ben"] = 240, 60
    world.show(14, 20)
    world.hidden = set()
    world.show(20, 40)
    assert not world.tracker.cuts
    assert [at for _, at in world.tracks()] == [60, 240]


@pytest.mark.parametrize(("gone", "cuts"), [({"ann"}, []), ({"ann", "ben"}, [12])])
def test_what_may_be_a_cut_is_one_if_all_faces_are_gone(
    gone: set[str], cuts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    world = Crowd(monkeypatch, doubtful=12, ann=(60, 60), ben=(60, 180))
    world.show(0, 12)
    world.hidden = gone
    world.show(12, 30)
    assert world.tracker.cuts == cuts


def test_who_comes_in_soon_after_a_cut_is_found_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A camera is swung from one person to another: there is a cut where nothing can be told for a while."""
    world = Crowd(monkeypatch, doubtful=12, ann=(60, 60))
    world.show(0, 12)
    world.faces = {}
    world.show(12, 16)
    world.faces = {"ben": (240.0, 60.0)}
    world.show(16, 40)
    assert world.tracker.cuts == [12]
    assert world.tracks() == [((0, 12), 60), ((18, 40), 240)]


def test_who_is_hidden_where_the_picture_changes_is_where_they_come_out(monkeypatch: pytest.MonkeyPatch) -> None:
    world = Crowd(monkeypatch, 17, ann=(60, 60), ben=(60, 180))
    world.show(0, 12)
    world.hidden = {"ben"}
    world.show(12, 20)
    world.hidden, world.faces["ben"] = set(), (68, 180)
    world.show(20, 40)
    assert not world.tracker.cuts
    assert world.tracks() == [((0, 40), 60), ((0, 40), 68)]
    (ben,) = [track for track in world.tracker.finish() if track.landmarks.mean() > 100]
    assert (~ben.visible).nonzero()[0].tolist() == [*range(11, 20)], "last confirmed in frame 10"


@pytest.mark.parametrize(("change", "stays"), [("doubtful", None), ("sudden", None), ("sudden", "ben")])
def test_who_is_gone_shortly_before_a_picture_changes_is_not_seen_until_then(
    change: str, stays: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ann was last confirmed in frame 10; nothing says that she was there in frames 11 to 13."""
    people = {"ann": (60.0, 60.0)} | ({stays: (60.0, 180.0)} if stays else {})
    world = Crowd(monkeypatch, **people, **{change: 14})  # type: ignore[arg-type]
    world.show(0, 12)
    world.hidden = {"ann"}
    world.show(12, 14)
    world.faces["cora"] = 240.0, 60.0
    world.show(14, 40)
    assert world.tracker.cuts == ([] if stays else [14])
    assert world.tracks()[0] == ((0, 11), 60)


def test_frames_before_a_face_was_found_again_say_nothing_of_those_after(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ann is lost in frame 15, found again a little aside in frame 17, and gone when she is to be confirmed in 20."""
    world = Crowd(monkeypatch, ann=(60, 60))
    world.show(0, 12)
    world.hidden = {"ann"}
    world.show(12, 16)
    world.hidden, world.faces = set(), {"ann": (92.0, 60.0)}
    world.show(16, 20)
    world.hidden = {"ann"}
    world.show(20, 40)
    (ann,) = world.tracker.finish()
    assert ann.visible.nonzero()[0].tolist() == [*range(11), 17], "frames 18 and 19 are not confirmed"


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

"""Shot cuts: found on drawn cuts, not on fast motion, flashes or what passes before the camera."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from sidgan import media
from sidgan.faces import SMOOTHED, Tracker, smooth
from sidgan.faces.shots import CutFinder, jumps, thumbnail
from sidgan.geometry import MOUTH
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Byte, FaceTrack, Float, Frame

SIZE = (180, 240)


def shot(seed: int, frames: int = 8, **how: object) -> list[Byte]:
    scene = Scene(Person.random(seed), LINES["hello"], seconds=frames / 25 + 0.001, size=SIZE, **how)  # type: ignore
    return [one.image for one in scene]


def frames(images: list[Byte], folder: Path) -> Iterator[Frame]:
    media.write_clip(folder / "film.mp4", images, Fraction(25), crf=6)
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


def test_what_spreads_over_the_picture_is_no_cut_but_a_cut_after_it_is(room: Byte, tmp_path: Path) -> None:
    random, calm = np.random.default_rng(1), room[:, : SIZE[1]]

    def covered(share: float) -> list[Byte]:
        """Two equal frames, as of footage at a lower rate, in which something new hides this share of the picture."""
        image, new = calm.copy(), random.uniform(0, 255, (12, 16, 3)).astype(np.float32)
        width = round(share * SIZE[1])
        image[:, :width] = np.clip(cv2.resize(new, SIZE[::-1], interpolation=cv2.INTER_CUBIC), 0, 255)[:, :width]
        return [image, image]

    images = [calm, calm, *(image for share in (0.2, 0.3, 0.45, 0.3) for image in covered(share))]
    other = room[:, 600 : 600 + SIZE[1]]
    finder = CutFinder()
    found = [finder.add(frame) for frame in frames([*images, other, other], tmp_path)]
    assert [index for index, cut in enumerate(found) if cut] == [len(images)]
    assert None in found, "where it begins, faces must tell"


def test_cuts_are_found_in_10_bits(tmp_path: Path) -> None:
    one, other = shot(1, 5), shot(2, 4)
    media.write_clip(tmp_path / "film.mp4", one[:3] + other, Fraction(25), crf=12)
    with av.open(str(tmp_path / "film.mp4")) as source, av.open(str(tmp_path / "deep.mkv"), "w") as target:
        stream = target.add_stream("ffv1", rate=25, width=SIZE[1], height=SIZE[0], pix_fmt="yuv420p10le")
        for picture in source.decode(video=0):
            target.mux(stream.encode(picture.reformat(format="yuv420p10le")))
        target.mux(stream.encode())
    finder, deep, plain = CutFinder(), *(media.read_frames(media.probe(tmp_path / name)) for name in
                                         ("deep.mkv", "film.mp4"))  # fmt: skip
    for index, (frame, like) in enumerate(zip(deep, plain, strict=True)):
        assert finder.add(frame) == (index == 3)
        assert max(np.abs(a.astype(int) - b).max() for a, b in zip(thumbnail(frame), thumbnail(like), strict=True)) <= 1


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


def followed(images: list[Byte], folder: Path) -> FaceTrack:
    tracker = Tracker()
    for frame in frames(images, folder):
        tracker.add(frame)
    (track,) = tracker.finish()
    assert track.visible.all()
    return track


def test_between_alike_framings_the_person_goes_on_and_the_crop_is_right_at_once(tmp_path: Path) -> None:
    takes = [shot(6, 16, face_px=110), shot(6, 16, face_px=100, centre=(122.0, 92.0))]
    both = followed(takes[0] + takes[1], tmp_path).matrices
    alone = np.concatenate([followed(take, tmp_path).matrices for take in takes])
    aside = np.linalg.norm(both[:, :, 2] - alone[:, :, 2], axis=1) / alone[:, 0, 0]
    assert aside.max() < 0.03, "of the side; it was 0.07"
    assert np.abs(both[:, 0, 0] / alone[:, 0, 0] - 1).max() < 0.03, "it was 0.06"


def test_a_lively_head_jumps_where_the_whole_picture_does(tmp_path: Path) -> None:
    first = shot(4, 16, face_px=110, motion=3.0)
    then = shot(4, 30, face_px=110, motion=3.0, centre=(123.0, 91.0))[14:]
    both, one, other = (followed(take, tmp_path) for take in (first + then, first, then))
    side = both.matrices[0, 0, 0]
    aside = both.matrices[:, :, 2] - np.concatenate([one.matrices, other.matrices])[:, :, 2]
    assert np.linalg.norm(aside, axis=1).max() < 0.03 * side, "it was 0.045"
    mouth = (both.landmarks - np.concatenate([one.landmarks, other.landmarks]))[:, MOUTH].mean(1)
    assert np.linalg.norm(mouth, axis=1).max() < 0.012 * side, "it was 0.021"


def head(tremble: float = 0.2, frames: int = 90) -> Float:
    """(N, 68, 2) landmarks of a head that turns faster than people do, found with a tremble of so many px."""
    shots = Scene(Person.random(4), LINES["hello"], seconds=frames / 25 + 0.001, size=SIZE, motion=4.0)
    points = np.stack([shot.landmarks for shot in shots])
    return points + np.random.default_rng(0).normal(0, tremble, points.shape)


def test_a_head_that_is_elsewhere_at_once_has_jumped_and_no_turn_has() -> None:
    points, still = head(), np.zeros(90)
    assert jumps(points, still) == []
    turn = np.interp(np.arange(90), [40, 44], [0, 40])[:, None, None]  # 10 px a frame, half of the face in four
    assert jumps(points + turn, still) == []
    away = points + np.where(np.arange(90) < 40, 0, 8)[:, None, None]
    assert jumps(away, still) == [40]
    assert jumps(away[37:], still[37:]) == [], "too near the beginning to be told"
    assert jumps(away[:5], still[:5]) == []


def test_a_head_that_jumps_a_little_has_jumped_if_the_picture_changes_at_once() -> None:
    points, still = head(), np.full(90, 0.4)
    flash = np.where(np.arange(90) == 40, 1.2, still)
    away = points + np.where(np.arange(90) < 40, 0, 2)[:, None, None]
    assert jumps(away, flash) == [40]
    assert jumps(away, still) == jumps(away, np.roll(flash, 1)) == []
    assert jumps(points, flash) == [], "a picture that changes alone"
    moving = np.where(np.arange(90) >= 40, 1.2, still)
    assert jumps(away, moving) == [], "and goes on changing, as when a camera begins to move"


def test_a_track_that_is_cut_off_jumps_where_the_whole_one_does() -> None:
    points = head(4.0) + np.where(np.arange(90) < 50, 0, 80)[:, None, None]
    sure = np.ones(90, np.float32)
    whole = smooth(0, points, sure)
    for first, end in [(0, end) for end in range(46, 60)] + [(first, 90) for first in range(40, 54)]:
        part = smooth(first, points[first:end], sure[first:end])
        inner = slice(first + SMOOTHED if first else 0, end - SMOOTHED if end < 90 else 90)
        there = slice(inner.start - first, inner.stop - first)
        assert np.array_equal(part.matrices[there], whole.matrices[inner])


@pytest.mark.clips
def test_real_shots_have_no_cut_inside_and_one_between(clips: Path) -> None:
    names = ["retalking_1.mp4", "visualvoice_interview_2spk.mp4", "anchor_FAzSK8PLmGI_720p.mp4"]
    finder, found, count = CutFinder(), [], 0
    for name in names:
        for frame in islice(media.read_frames(media.probe(clips / "test" / name)), 20):
            found += [count] * bool(finder.add(frame))
            count += 1
    assert found == [20, 40]


@pytest.mark.parametrize(("closer", "aside"), [(1.1, 0.0), (1.2, 0.1), (1.25, -0.15), (1.4, 0.0)])
def test_a_face_is_found_in_every_frame_where_cuts_go_closer_and_back(
    closer: float, aside: float, tmp_path: Path
) -> None:
    """A film of somebody at ease, in which an editor cuts to a part of the picture, as to hide what was left out."""
    size, every = (360, 480), 14
    scene = [*Scene(Person.random(5), LINES["hello"], seconds=56 / 25 + 0.001, size=size, face_px=150)]
    whole = np.float32([[1, 0, 0], [0, 1, 0]])
    part = np.float32([[closer, 0, (1 - closer + 2 * aside) * 240], [0, closer, (1 - closer - aside) * 180]])
    views = [part if (i // every) % 2 else whole for i in range(len(scene))]
    images = [cv2.warpAffine(one.image, view, size[::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
              for one, view in zip(scene, views, strict=True)]  # fmt: skip
    tracker, found = Tracker(), dict[int, Float]()
    for frame in frames(images, tmp_path):
        tracker.add(frame)
    for track in reversed(tracker.finish()):  # the most prominent last
        found |= {index: track.landmarks[row] for row, index in enumerate(track.frames) if track.visible[row]}
    assert sorted(found) == list(range(len(scene)))
    assert set(tracker.cuts) <= set(range(every, len(scene), every))
    for index, points in found.items():
        true = scene[index].landmarks @ views[index][:, :2].T + views[index][:, 2]
        assert np.linalg.norm(points - true, axis=1).mean() < 0.06 * np.ptp(true[:, 0]), index


def test_after_a_sudden_change_nobody_is_taken_for_who_is_beside_them(tmp_path: Path) -> None:
    """Two faces side by side, of which the small one is not found at a coarse scale, while the lamp goes on behind."""
    large = [one.image for one in Scene(Person.random(3), LINES["hello"], seconds=1.2, size=(480, 480), face_px=330)]
    small = [one.image for one in Scene(Person.random(5), LINES["hello"], seconds=1.2, size=(140, 140), face_px=76)]
    images = []
    for index, (one, other) in enumerate(zip(large, small, strict=True)):
        picture = np.full((480, 560, 3), 60, np.uint8)
        picture[:, :480], picture[150:290, 420:] = one, other
        picture[400:, ::16] = 255 * (index >= 15)  # a fence is lit at once
        images.append(picture)
    tracker = Tracker()
    for frame in frames(images, tmp_path):
        tracker.add(frame)
    first, second = tracker.finish()
    assert first.frames == second.frames == range(30)
    assert first.visible.all()
    assert second.visible.all()
    apart = np.linalg.norm(first.landmarks.mean(1) - second.landmarks.mean(1), axis=1)
    assert apart.min() > 150

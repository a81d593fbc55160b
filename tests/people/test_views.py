"""A face that turns is drawn from reference pictures of the side from which it is seen."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from sidgan import audio, geometry, load_generator, media
from sidgan.dubbing.analysis import Analysis, analyse
from sidgan.dubbing.analysis.rehearsal import rehearse
from sidgan.dubbing.redrawing import Job, redraw
from sidgan.dubbing.voice import listen
from sidgan.engine import Engine
from sidgan.people import Likeness, TrackedFace, View, mixed
from sidgan.people.views import FRONTAL, MIXED, REFERENCE_FRAMES
from sidgan.synth import Person, Scene, pose, random_line, scene
from sidgan.types import FaceTrack, Float, Opening

FRONT, ASIDE = 55, 80  #: frames of the film in which the person faces the camera, and is turned away from it
YAW = 36.0  #: degrees


def track(yaw: Float) -> TrackedFace:
    """A face of 200 px that turns as told, and speaks all the time."""
    count = len(yaw)
    points = np.tile(np.random.default_rng(1).uniform(0.2, 0.8, (68, 2)).astype(np.float32), (count, 1, 1))
    points[:, 66] = points[:, 62]
    points[:, 66, 1] += 0.1 * np.random.default_rng(2).uniform(0, 1, count)
    matrices = np.tile(np.array([[200, 0, 0], [0, 200, 0]], np.float32), (count, 1, 1))
    turned = np.stack([yaw, 0 * yaw, 0 * yaw], 1).astype(np.float32)
    found = TrackedFace(FaceTrack(7, np.ones(count, bool), 200 * points, matrices, np.ones(count, np.float32), turned))
    found.find_views()
    return found


def test_who_faces_the_camera_is_seen_from_one_side() -> None:
    face = track(np.full(100, 12.0))
    (view,) = face.views
    assert view.rows.all()
    assert (view.shares == 1).all()


@pytest.mark.parametrize("side", [-1, 1])
def test_who_is_turned_all_the_time_has_as_many_pictures_to_choose_from_as_others(side: int) -> None:
    """Interviews show people in half profile; the one frame turned least shows only one mouth."""
    rng = np.random.default_rng(0)
    face = track(side * rng.uniform(32, 44, 100))
    (view,) = face.views
    closed, wide, _ = face.candidates(view, 3)
    assert len(closed) > 10
    assert len(wide) > 2
    assert not set(closed) & set(wide)
    assert (view.shares == 1).all()
    assert all(face.refusal(index) is None for index in face.track.frames)


def test_each_side_has_references_of_its_own() -> None:
    there, back = np.linspace(0, 40, 20), np.linspace(40, -40, 20)
    yaw = np.concatenate([np.zeros(60), there, np.full(60, 40), back, np.full(40, -40)])
    face = track(yaw)
    left, front, right = face.views
    for view, inside in ((left, yaw < -FRONTAL + 2), (front, np.abs(yaw) < FRONTAL + 2), (right, yaw > FRONTAL - 2)):
        groups = face.candidates(view, 3)
        assert len(groups) == 3
        assert all(inside[face.row(index)] for group in groups for index in group)
    shares = np.stack([view.shares for view in face.views])
    assert np.allclose(shares.sum(0), 1)
    assert (shares >= 0).all()
    assert np.abs(np.diff(shares, axis=1)).max() < 0.6, "nothing jumps"
    far = np.abs(np.abs(yaw) - FRONTAL) > 2 * MIXED
    assert np.isin(shares[:, far], (0, 1)).all()
    assert (shares.argmax(0)[far] == np.where(np.abs(yaw) < FRONTAL, 1, np.where(yaw < 0, 0, 2))[far]).all()


def test_two_opposite_sides_meet_in_the_middle() -> None:
    face = track(np.concatenate([np.full(50, -35.0), np.linspace(-35, 35, 15), np.full(50, 35.0)]))
    one, other = face.views
    assert one.shares[0] == other.shares[-1] == 1
    assert one.shares[57] == pytest.approx(0.5, abs=0.01)


def test_a_face_that_turns_away_too_briefly_stays_as_filmed_there() -> None:
    brief = REFERENCE_FRAMES - 10
    yaw = np.concatenate([np.zeros(60), np.full(brief, 45.0), np.zeros(20), np.full(brief, -26.0), np.zeros(20)])
    face = track(yaw)
    assert len(face.views) == 1
    refused = np.array([face.refusal(index) is not None for index in face.track.frames])
    assert (refused == (yaw == 45)).all(), "a little turned, it is still drawn from the front"
    assert face.refusal(face.track.first + 62) == "face seen too briefly from this side"
    assert all(view.shares[yaw == -26].all() for view in face.views)


def test_frames_that_cannot_be_redrawn_make_no_view() -> None:
    yaw = np.concatenate([np.zeros(60), np.full(40, 45.0)])
    face = track(yaw)
    assert len(face.views) == 2
    hidden = dataclasses.replace(face.track, visible=yaw == 0)
    face = TrackedFace(hidden)
    face.find_views()
    assert len(face.views) == 1


def test_drawings_from_two_views_are_mixed_by_their_shares() -> None:
    rows = np.ones(4, bool)
    dark, light = (View(rows, share) for share in (np.array([1, 0.75, 0.5, 0]), np.array([0, 0.25, 0.5, 1])))
    asked = {}

    def draw(view: View, some: Sequence[int]) -> np.ndarray:
        asked[view] = list(some)
        return np.full((len(some), 2, 2, 3), 200 if view is light else 40, np.uint8)

    faces = mixed((dark, light), [3, 1, 0, 2], draw)
    assert faces[:, 0, 0, 0].tolist() == [200, 80, 40, 120]
    assert asked == {dark: [1, 2, 3], light: [0, 1, 3]}
    assert (mixed((light,), [0, 1], draw) == 200).all()


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Somebody who speaks to the camera, then to a side."""

    def turning(seed: int, times: Sequence[float], amount: float = 1.0) -> list:
        aside = YAW * np.clip((np.array(times) * 25 - FRONT) / 25, 0, 1)
        usual = pose(seed, times, amount)
        return [dataclasses.replace(one, yaw=0.3 * one.yaw + by) for one, by in zip(usual, aside, strict=True)]

    path = tmp_path_factory.mktemp("views") / "film.mp4"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scene, "pose", turning)
        line = random_line(np.random.default_rng(5), (FRONT + ASIDE) / 25)
        shots = Scene(Person.random(3), line, (FRONT + ASIDE) / 25, Fraction(25), (320, 320), 200)
        media.write_clip(path, (shot.image for shot in shots), 25, shots.audio(16_000), 16_000, crf=12)
    return path


@pytest.fixture(scope="module")
def seen(film: Path) -> Analysis:
    return analyse(media.probe(film), "largest", lambda *_: None)


def test_the_mouth_of_a_turned_face_is_drawn_better_from_its_own_side(film: Path, seen: Analysis) -> None:
    clip, (person,) = media.probe(film), seen.usable
    engine = Engine(load_generator("bundled"), "cpu").fitting(128)
    rehearse(clip, seen, engine, {})
    assert len(person.views) == 2
    frames = {frame.index: frame for frame in media.read_frames(clip)}
    views = sorted(person.views, key=lambda view: int(view.rows.argmax()))
    assert all(len(view.chosen) == engine.references for view in views), "the pictures of each are tried"
    used = {index for view in views for index in view.chosen}
    rows = [row for row in range(FRONT + 25, FRONT + ASIDE, 4) if views[1].rows[row] and row not in used]
    mels = audio.mel_windows(listen(film).mel, [seen.times[row] for row in rows])

    def crop(row: int) -> np.ndarray:
        return geometry.crop_face(frames[row], person.track.matrices[row], engine.size).image

    def error(view: View) -> float:
        likeness = Likeness.of([crop(row) for row in view.chosen], person.points[list(view.chosen)])
        jobs = [Job(person, row, crop(row), mel, 1.0) for row, mel in zip(rows, mels, strict=True)]
        drawn = redraw(engine, jobs, likeness, engine.encode_reference(likeness.pictures, view.opening))
        off = drawn.astype(float) - np.stack([job.crop for job in jobs])
        hidden = np.stack([geometry.mask_image(person.boxes[row], engine.size) for row in rows]) > 0
        return float(np.square(off[hidden]).mean())

    front, aside = map(error, views)
    assert aside < front / 2, "3 dB"


def test_the_choice_for_each_view_is_kept(seen: Analysis, tmp_path: Path) -> None:
    for view, chosen in zip(seen.people[0].views, ((1, 2, 3), ()), strict=True):
        view.chosen, view.opening = chosen, Opening(0.3 * len(chosen))
    seen.save(tmp_path / "seen.npz")
    (again,) = Analysis.load(tmp_path / "seen.npz").people
    assert [view.chosen for view in again.views] == [(1, 2, 3), ()]
    assert [view.opening.further for view in again.views] == pytest.approx([0.9, 0])
    assert all((one.rows == two.rows).all() for one, two in zip(again.views, seen.people[0].views, strict=True))

"""Hands and things before faces: drawn, seen by the bundled network, and left before the redrawn mouth."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from typer.testing import CliRunner

from sidgan import checkpoint, geometry, media, poses
from sidgan.blend.steady import Steady
from sidgan.cli import app
from sidgan.config import OcclusionConfig
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.data.occluders import SIDE, Example, Face, occluded
from sidgan.dubbing import Dubber, redrawing
from sidgan.dubbing.analysis import Analysis, analyse, covering, trust
from sidgan.errors import CheckpointError, ConfigError
from sidgan.nn import Generator
from sidgan.people import TrackedFace
from sidgan.synth import LINES, Scene
from sidgan.synth import Person as Drawn
from sidgan.train.loop import LoopConfig, run
from sidgan.train.occlusion import OcclusionTask, OcclusionTrainConfig, drawn, faces_of

SMALL = OcclusionTrainConfig(model=OcclusionConfig(width=8), batch=8, precision="32-true")


@pytest.fixture(scope="module")
def clips() -> list[PackedClip]:
    """1.6 s of each of six drawn people who speak, at 96 px."""
    found = []
    for seed in range(6):
        shots = list(Scene(Drawn.random(300 + seed), LINES["hello"], 1.58, size=(240, 240)))
        unit = geometry.square_matrix(geometry.face_square(shots[0].landmarks))
        pull = geometry.crop_matrix(unit, SIDE)
        how = cv2.INTER_AREA | cv2.WARP_INVERSE_MAP
        images = np.stack([cv2.warpAffine(shot.image, pull, (SIDE, SIDE), flags=how) for shot in shots])
        marks = np.stack([shot.landmarks for shot in shots])
        found.append(PackedClip(
            name=f"drawn{seed}", images=torch.from_numpy(images).permute(0, 3, 1, 2),
            mels=torch.zeros(len(shots), 1, 80, 28), masks=torch.zeros(len(shots), 4),
            landmarks=geometry.to_unit(np.repeat(unit[None], len(shots), 0), marks).astype(np.float32),
        ))  # fmt: skip
    return found


@pytest.fixture(scope="module")
def packed(clips: list[PackedClip]) -> PackedSet:
    return PackedSet.of(clips)


@pytest.fixture(scope="module")
def faces(packed: PackedSet) -> list[Face]:
    """Ten of their faces."""
    rng, one = np.random.default_rng(0), faces_of(packed)
    return [one(rng) for _ in range(10)]


# -------------------------------------------------------------------------------------------------------- drawing


def test_only_what_is_marked_as_hidden_was_changed(faces: list[Face], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidgan.data.occluders._augmented", lambda rng, *images: Example(*images))
    shares = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        chosen = faces[int(np.random.default_rng(seed).integers(len(faces)))]
        first = iter([chosen])
        picture, usual, hidden = occluded(rng, lambda rng: next(first, faces[0]), 1.0)  # noqa: B023  called at once
        assert hidden.min() >= 0
        assert hidden.max() <= 1 + 1e-5
        assert np.abs(picture - chosen.picture)[hidden == 0].max() < 1e-3
        changed = np.abs(usual - chosen.usual).max(-1)
        assert not usual.any() or changed.max() < 1e-3 or (changed < 0.45 * 255).all()  # something, but half seen
        shares.append(hidden.mean())
    assert 0.02 < np.mean(shares) < 0.5
    assert np.mean(np.array(shares) > 0.01) > 0.8


def test_clear_faces_have_nothing_hidden_and_the_same_seed_draws_the_same(packed: PackedSet) -> None:
    images, usual, hidden = drawn(np.random.default_rng(3), faces_of(packed), 4, 0.0)
    assert images.shape == usual.shape == (4, 3, 48, 48)
    assert hidden.max() == 0
    again, covers = (drawn(np.random.default_rng(3), faces_of(packed), 6, 1.0) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(again, covers, strict=True))


# ------------------------------------------------------------------------------------------------------- training


def task(packed: PackedSet, **change: Any) -> OcclusionTask:
    config = dataclasses.replace(SMALL, **change)
    return OcclusionTask(config, packed, {"held": packed}, Fabric(accelerator="cpu", devices=1))


def test_coverings_are_learnt(packed: PackedSet, tmp_path: Path) -> None:
    learner = task(packed, loop=LoopConfig(steps=60), lr=5e-3)
    losses = [learner.step(i)["loss"] for i in range(60)]
    assert np.mean(losses[-10:]) < 0.88 * np.mean(losses[:10])
    assert set(learner.evaluate(60, tmp_path)) == {"held_overlap", "held_false"}


def test_a_resumed_run_ends_as_one_that_was_not_interrupted(packed: PackedSet, tmp_path: Path) -> None:
    weights = []
    for name, ends in (("whole", [4]), ("parts", [2, 4])):
        folder = tmp_path / name
        folder.mkdir()
        for steps in ends:
            learner = task(packed, loop=LoopConfig(steps=4))  # the rate follows from the length of the whole run
            run(learner, folder, LoopConfig(steps=steps), say=lambda line: None)
        weights.append(checkpoint.load_occlusion(folder).state_dict())
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])


def test_from_the_command_line(faces: list[Face], tmp_path: Path) -> None:
    data = tmp_path / "data"
    (data / "clips").mkdir(parents=True)
    many = [face.picture.astype(np.uint8) for face in faces] * 2
    points = np.stack([face.points for face in faces] * 2)
    media.write_clip(data / "clips" / "one.mp4", many, Fraction(25), crf=4, chroma444=True)
    mel, count = np.zeros((80, 100), np.float16), len(many)
    masks = np.tile(np.array([0.2, 0.5, 0.8, 1], np.float32), (count, 1))
    np.savez(data / "clips" / "one.npz", mel=mel, masks=masks, landmarks=points.astype(np.float32))
    record = {"name": "one", "file": "one", "frames": count, "kept": True, "splits": {"train": (0, count)}}
    (data / "manifest.jsonl").write_text(json.dumps(record) + "\n", encoding="utf-8")
    done = CliRunner().invoke(app, ["train", "occlusion", str(data), "--steps", "2", "--run", str(tmp_path / "r"),
                                    "--set", "batch=2", "--set", "model.width=8", "--device", "cpu"])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert checkpoint.load_occlusion(tmp_path / "r").config.width == 8
    with pytest.raises(CheckpointError, match="not a generator"):
        checkpoint.load_generator(tmp_path / "r")


def test_impossible_settings() -> None:
    for change in ({"covered": 2}, {"batch": 0}, {"lr": 0}, {"ema": 1}):
        with pytest.raises(ConfigError):
            dataclasses.replace(SMALL, **change)
    with pytest.raises(ConfigError):
        OcclusionConfig(width=12)


# --------------------------------------------------------------------------------------------------------- seeing


def test_the_bundled_network_sees_hands_before_people_it_does_not_know(packed: PackedSet) -> None:
    net = checkpoint.load_occlusion()
    images, usual, hidden = drawn(np.random.default_rng(0), faces_of(packed), 192, 1.0)
    with torch.inference_mode():
        seen = (net(images, usual) > 0).float()
        clear = (net(*drawn(np.random.default_rng(0), faces_of(packed), 192, 0.0)[:2]) > 0).float()
    there = hidden > 0.5
    assert (seen * there).sum() / there.sum() > 0.6
    assert (seen * ~there).sum() / (~there).sum() < 0.04
    assert clear.mean() < 0.03


def test_a_face_is_seen_the_same_whoever_comes_with_it() -> None:
    faces, usual = np.random.default_rng(0).integers(0, 256, (2, 19, 48, 48, 3), np.uint8)
    together = covering.cell_scores(faces, usual)
    assert together.shape == (19, 24, 24)
    assert np.array_equal(together[11:13], covering.cell_scores(faces[11:13], usual[11:13]))


def test_a_face_is_compared_with_others_in_the_same_pose(
    clips: list[PackedClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Brighter than usual is covered, says this network; and by itself it finds everything covered but what is dark."""
    count = 60
    points = np.repeat(clips[0].landmarks[:1], count, 0)
    points[::2, :, 0] += 0.1  # every other frame is turned
    pictures = np.full((count, 48, 48, 3), 80, np.uint8)
    pictures[::2] = 200
    pictures[21], pictures[22], pictures[23] = 110, 230, 60  # something is before the face, but what is dark
    points[50, :, 0] += 0.3  # a pose of its own
    pictures[50] = 250
    points[21, 48:, 1] += 0.5  # a mouth that opens wide is no other pose

    def brighter(faces: np.ndarray, usual: np.ndarray) -> np.ndarray:
        more = np.maximum(faces.astype(int) - usual, 0).max((1, 2, 3))
        return np.repeat(np.repeat(more[:, None, None], 24, 1), 24, 2).astype(np.uint8)

    def found(wanted: list[int], last: int = count) -> list[int]:
        rows = np.arange(last)
        alone = covering.alone(pictures[wanted])
        cells = covering.scores(alone, np.array(wanted), pictures[:last].__getitem__, rows, points[:last])
        return [int(value) for value in cells[:, 0, 0]]

    monkeypatch.setattr(covering, "cell_scores", brighter)
    assert found([4, 5, 21, 22, 23, 50]) == [0, 0, 30, 30, 0, 0]
    for last in (15, 24):
        assert found([7], last=last) == [80], "too few to compare with: what the network says of the face alone"
    assert found([23], last=30) == [0]


@pytest.mark.parametrize(("share", "turned", "seen"), [(0.4, 0.0, True), (0.6, 0.0, False), (0.4, 0.1, False)])
def test_a_hand_that_rests_at_the_chin_is_not_usual(
    share: float, turned: float, seen: bool, clips: list[PackedClip], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not where it is there for less than half of the time; nor is what is there whenever the head is turned."""
    count = 100
    held = np.arange(count) < share * count
    points = np.repeat(clips[0].landmarks[:1], count, 0)
    points[~held, :, 0] += 0.002 + turned  # so the frames with the hand are the most alike
    pictures = np.full((count, 48, 48, 3), 80, np.uint8)
    pictures[held, 24:] = 250

    def brighter(faces: np.ndarray, usual: np.ndarray) -> np.ndarray:
        more = np.maximum(faces.astype(int) - np.maximum(usual, 80), 0).max(-1)
        return np.minimum(2 * more, 255)[:, ::2, ::2].astype(np.uint8)

    monkeypatch.setattr(covering, "cell_scores", brighter)
    rows = np.arange(count)
    alone = covering.alone(pictures)
    clear = covering.bare(rows, alone, points)
    assert np.array_equal(clear, rows[~held] if share < 0.5 else rows)
    cells = covering.scores(alone[[20, 80]], np.array([20, 80]), pictures.__getitem__, rows, points, clear)
    assert (cells[0].max() > 200) == seen
    assert cells[1].max() == 0


def test_a_comparison_alone_finds_nothing(clips: list[PackedClip], monkeypatch: pytest.MonkeyPatch) -> None:
    def surer(faces: np.ndarray, usual: np.ndarray) -> np.ndarray:
        return np.full((len(faces), 24, 24), 200 if usual.any() else 70, np.uint8)

    monkeypatch.setattr(covering, "cell_scores", surer)
    points = np.repeat(clips[0].landmarks[:1], 60, 0)
    faces = np.full((2, 48, 48, 3), 90, np.uint8)
    found = covering.scores(covering.alone(faces), np.array([5, 6]), lambda row: faces[0], np.arange(60), points)
    assert found.min() == found.max() == 70


def test_a_long_track_is_compared_with_good_frames_from_all_of_it() -> None:
    good = np.ones(3000, bool)
    good[1000:1200] = False
    rows = poses.compared(good)
    assert len(rows) == poses.COMPARED
    assert (rows[0], rows[-1]) == (0, 2999)
    assert good[rows].all()
    assert np.diff(rows).max() < 220


def test_a_hand_that_stays_before_a_face_while_it_is_not_found_is_not_usual(faces: list[Face]) -> None:
    cells, good = np.zeros((60, 24, 24), np.uint8), np.ones(60, bool)
    cells[15:, 12:, :8] = 240
    good[15:] = False
    found = covering.covers(cells, np.stack([faces[0].points] * 60), good)
    assert (found[:, 15, 4] > 0).nonzero()[0].tolist() == list(range(14, 60))


def test_what_is_always_there_is_not_a_covering(faces: list[Face]) -> None:
    points = np.stack([faces[0].points] * 60)
    cells = np.zeros((60, 24, 24), np.uint8)
    cells[:, 20:, 8:16] = 210  # a beard
    cells[10:14, 20:, 16:] = 200  # what is hardly seen
    cells[20] += 40  # and what is next to nothing
    cells[30:34, 12:20, :8] = 240  # a hand
    found = covering.covers(cells, points, np.ones(60, bool))
    assert found[:, 20:, 8:].max() == 0
    assert found[:29].max() == 0
    assert (found[:, 15, 4] > 0).nonzero()[0].tolist() == list(range(29, 35))


def test_what_does_not_reach_in_from_outside_is_not_a_covering(faces: list[Face]) -> None:
    points = faces[0].points
    lips = np.round(points[48:60].mean(0) * 24).astype(int)
    cells = np.zeros((24, 24), np.uint8)
    cells[lips[1] - 2 : lips[1] + 2, lips[0] - 2 : lips[0] + 2] = 255  # a mouth, wide open
    assert covering.reaching_in(cells, points).max() == 0
    assert covering.reaching_in(np.pad(np.full((8, 24), 255, np.uint8), ((0, 16), (0, 0))), points).max() == 0  # hair
    cells[lips[1], : lips[0]] = 255  # now an arm leads there
    assert np.array_equal(covering.reaching_in(cells, points), cells)


def test_how_much_of_lips_and_face_is_hidden(faces: list[Face]) -> None:
    points = np.stack([faces[0].points] * 5)
    covers = np.zeros((5, 24, 24), np.uint8)
    covers[1, :12] = 255  # forehead and eyes
    covers[2, :, :] = 255
    covers[3, int(24 * points[3, geometry.OUTER_LIPS, 1].max()) + 2 :] = 255  # the chin
    covers[4] = 255
    covers[4, :, 12:] = 100  # hardly anything, beside what is covered
    lips, face = covering.hidden_shares(covers, points)
    assert lips[:4].tolist() == [0, 0, 1, 0]
    assert face[3] > 0.1
    assert 0.1 < lips[4] < 0.9
    assert 0.1 < face[4] < 0.9
    assert face[0] == 0
    assert face[1] < 0.1
    assert face[2] == 1
    clear = covering.clear(np.pad(np.full((12, 24), 255, np.uint8), ((0, 12), (0, 0))), 96)
    assert clear[:40].max() == 0
    assert clear[56:].min() == 1
    assert covering.clear(np.full((24, 24), 128, np.uint8), 48) == pytest.approx(0.5), "what is half sure fades"


# -------------------------------------------------------------------------------------------------------- dubbing


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with talk.mp4, a drawn person with something over the lips in frames 12 to 15; voice.wav."""
    folder = tmp_path_factory.mktemp("covered")
    scene = Scene(Drawn(3), LINES["hello"], 40.2 / 25, size=(240, 240))
    images = []
    for i, shot in enumerate(scene):
        image = shot.image.copy()
        if 12 <= i < 16:
            cv2.ellipse(image, (118, 168), (44, 24), 10, 0, 360, (150, 104, 80), -1, cv2.LINE_AA)
            cv2.line(image, (110, 168), (60, 238), (150, 104, 80), 34, cv2.LINE_AA)
        images.append(image)
    media.write_clip(folder / "talk.mp4", images, Fraction(25), crf=0)
    media.write_wav(folder / "voice.wav", Scene(Drawn(5), LINES["morning"], 2).audio(16_000), 16_000)
    return folder


def test_a_face_whose_lips_are_covered_is_left_alone_and_told(film: Path, generator: Generator, tmp_path: Path) -> None:
    report = Dubber(generator=generator, device="cpu").dub(
        film / "talk.mp4", film / "voice.wav", tmp_path / "out.mkv", lossless=True
    )
    told = [(first, last) for first, last, reason in report.passed if reason == "face partly covered"]
    assert any(first <= 13 and last >= 14 for first, last in told)
    assert all(first >= 8 and last <= 20 for first, last in told)


def test_what_was_seen_is_kept_with_the_first_pass(film: Path, tmp_path: Path) -> None:
    seen = analyse(media.probe(film / "talk.mp4"), "largest", lambda stage, done, total: None)
    seen.save(tmp_path / "seen.npz")
    (person,), (again,) = seen.people, Analysis.load(tmp_path / "seen.npz").people
    assert person.covers[13].max() > 128
    assert 30 not in person.covers
    assert list(again.covers) == list(person.covers)
    assert all(np.array_equal(again.covers[row], cover) for row, cover in person.covers.items())
    assert person.doubts == again.doubts


def test_the_hand_stays_before_the_redrawn_mouth(film: Path) -> None:
    seen = analyse(media.probe(film / "talk.mp4"), "largest", lambda stage, done, total: None)
    (person,) = seen.people
    frame = next(iter(media.read_frames(media.probe(film / "talk.mp4"))))
    crop = geometry.crop_face(frame, person.track.matrices[0], 64).image
    job = redrawing.Job(person, 0, crop, np.zeros((1, 80, 28), np.float32), 1.0)
    person.covers = {}
    free = redrawing.finished(frame, job, crop[:, ::-1].copy(), Steady(0)).alpha
    person.covers[0] = np.pad(np.full((24, 12), 255, np.uint8), ((0, 0), (0, 12)))
    half = redrawing.finished(frame, job, crop[:, ::-1].copy(), Steady(0)).alpha
    side = len(free)
    assert free[:, : side // 2 - 8].max() > 0.9
    assert half[:, : side // 2 - 8].max() == 0
    assert np.array_equal(half[:, side // 2 + 8 :], free[:, side // 2 + 8 :])


def test_nobody_is_drawn_after_a_picture_with_a_hand_in_it(film: Path) -> None:
    (person,) = analyse(media.probe(film / "talk.mp4"), "largest", lambda stage, done, total: None).people
    covered = {person.track.first + row for row in person.covers}
    assert covered
    person.doubts = {}
    assert not covered & {index for group in person.candidates(person.views[0], 2) for index in group}
    person.covers = dict.fromkeys(range(len(person.track)), np.full((24, 24), 255, np.uint8))
    assert person.candidates(person.views[0], 2) != []


def test_covers_lower_the_confidence(film: Path) -> None:
    track = analyse(media.probe(film / "talk.mp4"), "largest", lambda stage, done, total: None).people[0].track
    person, looks = TrackedFace(track), np.full((len(track), 12, 12, 3), 128, np.uint8)
    before = np.zeros((len(track), 24, 24), np.uint8)
    assert (trust.trust(person, looks, before).confidence[5:-5] > trust.SURE).all()
    before[20:30] = 255
    found = trust.trust(person, looks, before)
    assert (found.confidence[22:28] < trust.SURE).all()
    assert found.reason(25) == "face partly covered"

"""Speech carried from one drawn person to another."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from dying import end_at_once
from typer.testing import CliRunner

from sidgan import audio, faces, geometry, media
from sidgan.carry import Motion, View, blended, brightness, colour_match, destination, redraw
from sidgan.cli import app
from sidgan.data import transfer
from sidgan.data.dataset import PackedSet, read_crops
from sidgan.data.drawn import drawn_twice
from sidgan.errors import ConfigError, DataError, SidganError
from sidgan.synth import Person, Portrait, Pose, mouth, pose, random_line

SIZE, COUNT = 128, 40
TRAIN = {"a": (0, 40), "b": (5, 35), "c": (0, 40), "held": None}  # of the people's frames


def film(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Crops, landmarks in px of them, and the matrices of a drawn person who speaks and moves."""
    times = np.arange(COUNT) / 25 + 0.3
    shapes = mouth(random_line(np.random.default_rng(seed), COUNT / 25 + 0.6), times)
    portrait = Portrait(Person.random(seed), (200, 200), face_px=130)
    images, points, matrices = [], [], []
    for shape, where in zip(shapes, pose(seed, times, 0.5), strict=True):
        found = portrait.landmarks(shape, where)
        square = geometry.square_matrix(geometry.face_square(found))
        matrix = geometry.crop_matrix(square, SIZE)
        picture = portrait.render(shape, where)
        images.append(cv2.warpAffine(picture, matrix, (SIZE, SIZE), flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP))
        points.append(geometry.transform(geometry.invert(matrix), found))
        matrices.append(square)
    return np.stack(images), np.stack(points).astype(np.float32), np.stack(matrices)


@pytest.fixture(scope="module")
def filmed() -> dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]]:
    return {name: film(seed) for seed, name in enumerate(("a", "b", "c"), start=3)} | {"held": film(3)}


@pytest.fixture(scope="module")
def data(filmed: dict, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder; what lies outside of the training frames is white and loud."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "clips").mkdir()
    records = []
    for k, (name, (images, points, matrices)) in enumerate(filmed.items()):
        first, last = TRAIN[name] or (0, 0)
        shown = images.copy()
        shown[:first], shown[last:] = 255, 255
        unit = (points + 0.5) / SIZE
        mel = np.full((80, 16 * COUNT // 5 + 16), 4.0, np.float16)
        if TRAIN[name]:
            end = mel.shape[1] if last == COUNT else last * 16 // 5
            mel[:, -(-first * 16 // 5) : end] = -3 + 0.01 * np.arange(mel.shape[1])[-(-first * 16 // 5) : end] + k
        media.write_clip(root / "clips" / f"{name}.mp4", shown, Fraction(25), crf=4, chroma444=True)
        np.savez(root / "clips" / f"{name}.npz", mel=mel, landmarks=unit, masks=geometry.mask_boxes(unit),
                 matrices=matrices, pose=np.zeros((COUNT, 3), np.float32))  # fmt: skip
        splits = {"train": [first, last]} if TRAIN[name] else {"heldout": [0, COUNT]}
        records.append({"name": name, "file": name, "kept": True, "frames": COUNT, "size": SIZE, "splits": splits})
    (root / "manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    return root


@pytest.fixture(scope="module")
def made(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("made")
    transfer.multiply(data, out, 3, seed=1)
    return out


def records(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]


def seen_opening(images: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The opening that a landmark detector sees."""
    found = []
    for image, around in zip(images, points, strict=True):
        grey = cv2.cvtColor(cv2.resize(image, None, fx=2, fy=2), cv2.COLOR_RGB2GRAY)
        found.append(faces.landmarks(grey, faces.box_of(2 * around + 0.5)))
    return Motion.of(np.array(found)).opening


def test_the_mouth_follows_the_donor_and_not_its_owner(filmed: dict) -> None:
    (images, points, _), (others, heard, _) = filmed["a"], filmed["c"]
    target, donor = Motion.of(points), Motion.of(heard)
    aims = destination(target, donor.speech(), 1.2)
    closed = View(images[target.opening.argmin()], points[target.opening.argmin()])
    result = np.stack([redraw(View(images[i], points[i]), closed, aims[i], View(others[i], heard[i]), np.ones(3))
                       for i in range(COUNT)])  # fmt: skip
    seen = seen_opening(result, aims)
    assert np.corrcoef(seen, donor.opening)[0, 1] > 0.85
    assert abs(np.corrcoef(donor.opening, target.opening)[0, 1]) < 0.6  # or the next line would say nothing
    assert np.corrcoef(seen, target.opening)[0, 1] < np.corrcoef(seen, donor.opening)[0, 1] - 0.3
    for i in range(COUNT):
        nose = int(points[i, geometry.NOSE_BASE, 1])
        assert (result[i, :nose] == images[i, :nose]).all()
        assert (result[i, nose:] != images[i, nose:]).any()


def test_the_chin_follows_the_lower_lip(filmed: dict) -> None:
    (_, points, _), (_, heard, _) = filmed["a"], filmed["c"]
    target, donor = Motion.of(points), Motion.of(heard)
    moved = destination(target, donor.speech(), 1.0)[:, :, 1] - points[:, :, 1]
    lip, chin = moved[:, 57], moved[:, 8]
    assert np.corrcoef(lip, chin)[0, 1] > 0.8
    assert 0.4 < np.polyfit(lip, chin, 1)[0] < 0.9


def test_ones_own_speech_gives_ones_own_landmarks(filmed: dict) -> None:
    _, points, _ = filmed["a"]
    motion = Motion.of(points)
    aims = destination(motion, motion.speech(), 1.0)
    lips = np.abs(aims - points)[:, geometry.MOUTH]
    assert np.median(lips) < 0.5  # px; slow nods are told from speech only roughly
    assert lips.max() < 3
    still = slice(17, 48)
    assert np.abs(aims[:, still] - points[:, still]).max() < 1e-3


def test_a_head_that_turns_keeps_its_mouth_in_the_middle() -> None:
    times = np.arange(100) / 25 + 0.3
    shapes = mouth(random_line(np.random.default_rng(3), 4.6), times)
    portrait = Portrait(Person.random(3), (200, 200), face_px=130)
    points = np.stack([portrait.landmarks(shape, Pose(yaw=20 * np.sin(1.5 * t)))
                       for shape, t in zip(shapes, times, strict=True)]).astype(np.float32)  # fmt: skip
    motion = Motion.of(points)
    aims = destination(motion, motion.speech(), 1.0)
    assert np.abs(aims - points)[:, geometry.MOUTH, 0].mean() < 0.3


def test_an_amplitude_is_how_far_lips_move(filmed: dict) -> None:
    target, donor = Motion.of(filmed["a"][1]), Motion.of(filmed["c"][1])
    once, twice = (np.ptp(Motion.of(destination(target, donor.speech(), by)).opening) for by in (1.0, 2.0))
    assert 1.6 < twice / once < 2.4


def test_head_motion_is_not_speech(filmed: dict) -> None:
    _, points, _ = filmed["a"]
    angle = np.radians(20 * np.sin(np.arange(COUNT) / 5))
    turn = np.stack([np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)], 1).reshape(-1, 2, 2)
    moved = 1.7 * points @ turn.transpose(0, 2, 1) + 30 * np.sin(np.arange(COUNT))[:, None, None]
    assert np.allclose(Motion.of(moved).speech(), Motion.of(points).speech(), atol=1e-4)


def test_brightness_is_of_both_cheeks_and_a_black_picture_has_one(filmed: dict) -> None:
    _, points, _ = filmed["a"]
    lit = np.full((1, SIZE, SIZE, 3), 40, np.uint8)
    lit[:, :, SIZE // 2 :] = 200
    assert brightness(lit, points[:1]) == pytest.approx(121, abs=8)
    black = brightness(np.zeros_like(lit), points[:1])
    assert colour_match(black, black) == pytest.approx(1)
    assert colour_match(brightness(lit, points[:1]), black).max() < 2, "teeth do not shine"


def test_a_blended_face_is_both_peoples_within_its_outline_only(filmed: dict) -> None:
    (images, points, _), (others, theirs, _) = filmed["a"], filmed["c"]
    face, other = View(images[0], points[0]), View(others[0], theirs[0])
    assert np.abs(blended(face, other, points[0], 0.0, np.ones(3)).astype(int) - images[0]).max() <= 1
    whole = blended(face, other, theirs[0], 1.0, np.ones(3)).astype(int)
    inner = np.s_[int(theirs[0][27, 1]) : int(theirs[0][57, 1]), int(theirs[0][39, 0]) : int(theirs[0][42, 0])]
    assert np.abs(whole[inner] - others[0][inner]).mean() < 1
    dim = blended(face, other, theirs[0], 1.0, np.full(3, 0.5)).astype(int)
    assert np.abs(dim[inner] - others[0][inner] / 2).mean() < 1
    half = blended(face, other, theirs[0], 0.5, np.ones(3)).astype(int)
    own = blended(face, other, theirs[0], 0.0, np.ones(3)).astype(int)
    assert (whole[:4] == own[:4]).all()  # hair and backdrop are the first one's
    assert np.abs(half[inner] - (whole[inner] + own[inner]) / 2).max() <= 1


def test_blended_people_are_new_and_speak_in_sync(filmed: dict, data: Path, made: Path, tmp_path: Path) -> None:
    said, plain = transfer.multiply(data, tmp_path / "x", 3, seed=1, blend=1.0), records(made)
    seen = []
    for record, usual in zip(said, plain, strict=True):
        source = record["transfer"]
        assert source["blended"] != source["target"] == usual["transfer"]["target"]
        assert source["donor"] == usual["transfer"]["donor"]
        assert 0.3 <= source["share"] <= 0.7
        images = read_crops(tmp_path / "x" / "clips" / f"{record['file']}.mp4")
        with np.load(tmp_path / "x" / "clips" / f"{record['file']}.npz") as arrays:
            points = arrays["landmarks"] * SIZE - 0.5
        first, last = source["donor_frames"]
        heard = Motion.of(filmed[source["donor"]][1]).opening[first:last]
        assert np.corrcoef(Motion.of(points).opening, heard)[0, 1] > 0.95
        seen.append(np.corrcoef(seen_opening(images, points), heard)[0, 1])
    assert np.median(seen) > 0.8  # a drawn beard can hide lips from the detector
    assert "blended" not in plain[0]["transfer"]


def test_heads_turned_otherwise_are_not_blended(data: Path, tmp_path: Path) -> None:
    for name, yaw in (("a", 0), ("b", 20), ("c", -20)):
        (tmp_path / "clips").mkdir(exist_ok=True)
        with np.load(data / "clips" / f"{name}.npz") as arrays:
            turned = dict(arrays) | {"pose": np.full((COUNT, 3), (yaw, 0, 0), np.float32)}
        np.savez(tmp_path / "clips" / f"{name}.npz", **turned)
        (tmp_path / "clips" / f"{name}.mp4").write_bytes((data / "clips" / f"{name}.mp4").read_bytes())
    (tmp_path / "manifest.jsonl").write_text("\n".join((data / "manifest.jsonl").read_text().splitlines()[:3]))
    made = transfer.multiply(tmp_path, tmp_path / "x", 3, blend=1.0)
    assert all("blended" not in record["transfer"] for record in made)


def test_only_training_frames_are_used(data: Path, made: Path) -> None:
    people = transfer.by_person(data)
    assert sorted(people) == ["a", "b", "c"]
    for name, (stretch,) in people.items():
        material = transfer.load(stretch)
        assert (stretch.first, stretch.last) == TRAIN[name]
        assert len(material.images) == len(stretch)
        assert material.images.mean() < 200  # nothing of the white frames
        assert material.arrays["mel"].max() < 4  # nor of their sound
    for record in records(made):
        source = record["transfer"]
        assert set(record["splits"]) == {"train"}
        assert source["target"] != source["donor"]
        for side in ("target", "donor"):
            (first, last), allowed = source[f"{side}_frames"], TRAIN[source[side]]
            assert allowed[0] <= first < last <= allowed[1]


def test_sound_is_the_donors_at_the_same_frames(data: Path, made: Path) -> None:
    for record in records(made):
        source = record["transfer"]
        with np.load(data / "clips" / f"{source['donor']}.npz") as donor:
            mel = donor["mel"].astype(np.float32)
        with np.load(made / "clips" / f"{record['file']}.npz") as arrays:
            ours = arrays["mel"].astype(np.float32)
            assert np.allclose(arrays["masks"], geometry.mask_boxes(arrays["landmarks"]))
        for i in range(3, record["frames"] - 3):
            theirs = audio.mel_window(mel, Fraction(source["donor_frames"][0] + i, 25))
            assert (audio.mel_window(ours, Fraction(i, 25)) == theirs).all()


def test_the_result_trains_and_everyone_takes_a_turn(data: Path, made: Path) -> None:
    loaded = PackedSet([data, made], ["train"])
    assert len(loaded.clips) == 6
    windows = loaded.windows(np.random.default_rng(0), 4, 5)
    assert windows.target.shape == (4, 5, 3, SIZE, SIZE)
    assert {record["identity"] for record in records(made)} == {"a", "b", "c"}


def test_same_seed_same_clips(data: Path, made: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["multiply", str(data), str(tmp_path / "x"), "--count", "2", "--seed", "1"])
    assert result.exit_code == 0, result.output
    first, again = records(made)[:2], records(tmp_path / "x")
    assert again == first
    for record in first:
        ours, theirs = (read_crops(root / "clips" / f"{record['file']}.mp4") for root in (made, tmp_path / "x"))
        assert (ours == theirs).all()


def test_stopped_it_goes_on_and_makes_the_same(
    data: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, write = tmp_path / "x", media.write_clip
    calls = []

    def die_in_the_second(path: Path, *rest: object, **more: object) -> None:
        calls.append(path)
        if len(calls) == 2:
            path.write_bytes(b"half a clip")
            raise KeyboardInterrupt
        write(path, *rest, **more)

    monkeypatch.setattr(media, "write_clip", die_in_the_second)
    with pytest.raises(KeyboardInterrupt):
        transfer.multiply(data, out, 2, seed=1)
    assert not (out / "manifest.jsonl").exists()
    assert transfer.multiply(data, out, 2, seed=1) == records(made)[:2]
    assert transfer.multiply(data, out, 3, seed=1) == records(out) == records(made)
    assert [path.name for path in calls].count(calls[0].name) == 1  # no clip is made twice, but for the half one
    assert len(calls) == 4
    for path in (made / "clips").iterdir():
        assert (out / "clips" / path.name).read_bytes() == path.read_bytes()


def test_what_cannot_be_done_is_said(data: Path, made: Path, tmp_path: Path) -> None:
    for other in ({"seed": 2}, {"seed": 1, "blend": 0.5}):
        with pytest.raises(ConfigError, match="other data, seed or share"):
            transfer.multiply(data, made, 3, **other)
    with pytest.raises(ConfigError, match="new folder"):
        transfer.multiply(data, data, 1)
    with pytest.raises(ConfigError, match="positive"):
        transfer.multiply(data, tmp_path / "x", 0)
    for share in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="between 0 and 1"):
            transfer.multiply(data, tmp_path / "x", 1, blend=share)
    (tmp_path / "manifest.jsonl").write_text((data / "manifest.jsonl").read_text().splitlines()[0])
    with pytest.raises(DataError, match="at least two"):
        transfer.multiply(tmp_path, tmp_path / "x", 1)
    assert not (tmp_path / "x").exists()


def test_a_killed_worker_is_one_clear_line(data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "_make", end_at_once)
    monkeypatch.setattr(transfer, "_pairs", lambda *_: [(1, 2, 3)] * 2)  # nothing that a process would need modules for
    monkeypatch.setattr(transfer, "Job", lambda *job: job)
    with pytest.raises(SidganError, match=r"^a worker process was killed, .* fewer --workers$"):
        transfer.multiply(data, tmp_path / "x", 2, workers=2)


def test_drawn_people_say_what_the_donor_said(filmed: dict, data: Path, tmp_path: Path) -> None:
    said = transfer.multiply(data, tmp_path, 3, seed=3, draw=1.0)
    assert len({record["identity"] for record in said}) == 3
    told, seen, turned = [], [], []
    for record in said:
        source = record["transfer"]
        assert set(source) == {"donor", "donor_frames", "drawn"}
        assert record["splits"] == {"train": [0, record["frames"]]}
        base = tmp_path / "clips" / record["file"]
        images = read_crops(base.with_name(base.name + ".mp4"))
        with np.load(base.with_name(base.name + ".npz")) as arrays:
            points, turn = arrays["landmarks"] * SIZE - 0.5, arrays["pose"]
            assert arrays["matrices"].shape == (record["frames"], 2, 3)
            assert (arrays["masks"] == geometry.mask_boxes(arrays["landmarks"])).all()
        assert images.shape == (record["frames"], SIZE, SIZE, 3)
        first, last = source["donor_frames"]
        heard = Motion.of(filmed[source["donor"]][1]).opening[first:last]
        told.append(np.corrcoef(Motion.of(points).opening, heard)[0, 1])
        seen.append(np.corrcoef(seen_opening(images, points), heard)[0, 1])
        turned.append(np.ptp(turn[:, 0]))
    assert np.median(told) > 0.8  # found in drawn pictures, not always well
    assert np.median(seen) > 0.8  # in the crops
    assert max(turned) > 5  # degrees
    assert len(PackedSet([data, tmp_path], ["train"]).clips) == 6


def test_a_drawn_person_says_two_things_with_one_head(data: Path) -> None:
    """Which is the truth of a dub: only what a mouth moves differs."""
    first, second = (transfer.load(stretch).motion for (stretch, *_) in list(transfer.by_person(data).values())[:2])
    own, other = first[np.arange(25)], second[np.arange(20)]
    (alone, same), (made, truth) = (drawn_twice(own, voice, 64, np.random.default_rng(4)) for voice in (own, other))
    assert (same == alone.images).all()
    assert (made.images == alone.images).all()
    assert truth.shape == (20, 64, 64, 3)
    differs = np.abs(truth.astype(int) - made.images[:20]).max((0, 3))
    assert differs[:20].max() < 0.1 * differs[36:].max(), "eyes and brow are where they were"
    assert differs[36:].max() > 40


def test_a_share_is_drawn_and_belongs_to_what_a_folder_was_begun_with(data: Path, tmp_path: Path) -> None:
    made = transfer.multiply(data, tmp_path / "x", 3, seed=1, draw=0.5)
    assert 0 < sum("drawn" in record["transfer"] for record in made) < 3
    with pytest.raises(ConfigError, match="share of blended or drawn faces"):
        transfer.multiply(data, tmp_path / "x", 3, seed=1)
    with pytest.raises(ConfigError, match="share of drawn faces must be between 0 and 1"):
        transfer.multiply(data, tmp_path / "y", 3, draw=2.0)

"""Anybody's videos beside the true ones: drawn people, whose videos are copied, spoilt, cut and shifted."""

import json
import math
import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from made_files import copy_clip

from sidgan import checkpoint, media, metrics
from sidgan.config import SyncNetConfig
from sidgan.errors import ConfigError, DataError, InputError, OutputError
from sidgan.evaluation import EvalResult, NetworkFiles, VideoSettings, evaluate_videos, notes, write_report
from sidgan.evaluation.cuts import Cuts
from sidgan.nn import SyncNet, SyncNet2016
from sidgan.provenance.mark import SENTENCE
from sidgan.synth import Person, Scene, random_line
from sidgan.types import FaceTrack

SIDE, COUNT = 200, 30
HOW = VideoSettings(size=128, id_every=0)


def write(path: Path, images: Sequence[np.ndarray], sound: np.ndarray | None, rate: int = 25, crf: int = 10) -> None:
    media.write_clip(path, images, Fraction(rate), sound, 16000, crf=crf)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[np.ndarray], np.ndarray]:
    """Pictures and sound of somebody who talks for 1.2 s while the head moves."""
    line = random_line(np.random.default_rng(3), COUNT / 25)
    scene = Scene(Person.random(3), line, rate=Fraction(25), size=(SIDE, SIDE))
    return [shot.image for shot in scene], scene.audio(16000)


@pytest.fixture(scope="module")
def folders(made: Any, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """True videos, results, and an expert."""
    images, sound = made
    root = tmp_path_factory.mktemp("videos")
    true, mine = root / "true", root / "mine"
    (true / "day").mkdir(parents=True)
    (mine / "day").mkdir(parents=True)
    for name in ("day/same", "soft", "late", "short", "fast", "small", "gone", "mute", "wall", "black"):
        write(true / f"{name}.mp4", images, sound)
    grey = [np.full((SIDE, SIDE, 3), 90, np.uint8)] * COUNT
    blurred = [cv2.GaussianBlur(image, (0, 0), 2) for image in images]
    write(mine / "day" / "same.mkv", images, sound)
    write(mine / "soft.mov", blurred, sound, crf=20)
    write(mine / "late.mp4", [images[0]] * 3 + images[:-3], sound)
    write(mine / "short.mp4", images[:-2], sound)
    write(mine / "fast.mp4", images, sound, rate=30)
    write(mine / "small.mp4", [cv2.resize(image, (100, 100)) for image in images], sound)
    write(mine / "extra.mp4", images[:6], sound)
    write(mine / "mute.mp4", images, None)
    write(true / "wall.mp4", grey, sound)
    write(mine / "wall.mp4", grey, sound)
    write(mine / "black.mp4", images[:20] + [np.zeros_like(image) for image in images[20:]], sound)
    torch.manual_seed(0)
    expert = root / "expert.safetensors"
    checkpoint.save(expert, SyncNet(SyncNetConfig(face=96, width=1, audio_width=1, blocks=0.0)))
    return true, mine, expert


@pytest.fixture(scope="module")
def judged(folders: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, EvalResult]:
    true, mine, expert = folders
    out = tmp_path_factory.mktemp("judged") / "out"
    return out, evaluate_videos(out, mine, true, expert=expert, settings=HOW)["videos"]


def records(out: Path) -> dict[str, Any]:
    return {r["name"]: r for r in map(json.loads, (out / "records.jsonl").read_text().splitlines())}


def test_what_cannot_be_compared_is_named_and_never_averaged_in(judged: tuple[Path, EvalResult]) -> None:
    out, result = judged
    found = {name: r["excluded"] for name, r in records(out).items()}
    assert found["late"] == "pictures are shifted (+3 frames)"
    assert found["short"] == "another length (28 frames, not 30)"
    assert found["fast"] == "another rate (30.000 fps, not 25.000)"
    assert found["small"] == "another size (100x100, not 200x200)"
    assert found["gone"] == "no result of this name"
    assert found["extra"] == "no true video of this name"
    assert found["wall"] == "no face in the true video"
    assert {name for name, why in found.items() if why is None} == {"day/same", "soft", "mute", "black"}
    assert {r.clip for r in result.records} == {"day/same", "soft", "mute", "black"}
    assert any(n.startswith("videos: 1 clip not judged: pictures are shifted (") for n in notes(out))


def test_figures_grow_with_the_damage(judged: tuple[Path, EvalResult]) -> None:
    values = {(r.clip, r.row): r.values for r in judged[1].records}
    same, soft = values["day/same", "result"], values["soft", "result"]
    assert values["day/same", "truth"]["psnr"] == 100
    assert same["psnr"] > 45, "the same pictures in another container"
    assert 20 < soft["psnr"] < same["psnr"] - 5
    assert soft["ssim"] < same["ssim"]
    assert same["lmd"] < soft["lmd"] < 5
    assert same["opening"] > 0.95
    assert same["sync"] == pytest.approx(values["day/same", "truth"]["sync"], abs=0.01)


def test_a_result_without_sound_or_face_is_told(judged: tuple[Path, EvalResult]) -> None:
    found = records(judged[0])
    values = {(r.clip, r.row): r.values for r in judged[1].records}
    assert not found["mute"]["sound"]
    assert math.isnan(values["mute", "result"]["sync"])
    assert not math.isnan(values["mute", "truth"]["sync"])
    assert found["black"]["no_face_in_result"] == 10
    assert found["black"]["counts"]["composite"]["result"]["lmd"] == found["black"]["judged"] - 10
    assert found["black"]["counts"]["composite"]["result"]["psnr"] == found["black"]["judged"] == COUNT - 1
    with np.load(judged[0] / "frames" / "black.npz") as frames:
        assert np.isnan(frames["composite/result/lmd"]).sum() == 10
        assert frames["side"].shape == frames["yaw"].shape == (COUNT - 1,)


def test_what_a_result_lacks_is_told_beside_the_table(judged: tuple[Path, EvalResult]) -> None:
    told = notes(judged[0])
    faceless = ("no face in 10 of 116 judged frames, which are left out of the figures for lips and mouth opening "
                "(black)")  # fmt: skip
    assert f"videos: {faceless}" in told
    assert "videos: 1 result without sound, and so without sync figures (mute)" in told
    page = write_report(judged[0]).read_text(encoding="utf-8")
    assert faceless in page
    assert "the finished videos as they are" in page
    assert "pasted into the true frame" not in page, "that is how drawn mouths are judged"
    assert "alt='frames of black, from top to bottom: truth, result'" in page


def test_a_dub_in_place_of_a_true_video_is_told(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    true, mine, expert = folders
    swapped, dubs = tmp_path / "true", tmp_path / "mine"
    swapped.mkdir()
    dubs.mkdir()
    copy_clip(mine / "soft.mov", swapped / "dub.mp4", tags={"comment": SENTENCE})
    copy_clip(true / "soft.mp4", dubs / "dub.mp4")
    evaluate_videos(tmp_path / "out", dubs, swapped, expert=expert, settings=HOW)
    assert any("1 true video marked as altered by sidgan (dub)" in note for note in notes(tmp_path / "out"))
    copy_clip(mine / "soft.mov", dubs / "dub.mp4", tags={"comment": SENTENCE})
    copy_clip(true / "soft.mp4", swapped / "dub.mp4")
    evaluate_videos(tmp_path / "right", dubs, swapped, expert=expert, settings=HOW)
    assert not any("marked" in note for note in notes(tmp_path / "right"))


def test_frames_are_counted_by_why_they_are_not_judged(
    made: Any, folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    images, sound = made
    grey = [np.full((SIDE, SIDE, 3), 90, np.uint8)] * 5
    (tmp_path / "true").mkdir()
    write(tmp_path / "true" / "fast.mp4", images, sound, rate=50)
    write(tmp_path / "true" / "late.mp4", grey + images[:20], sound[: 4 * 640])
    out = tmp_path / "out"
    evaluate_videos(out, tmp_path / "true", tmp_path / "true", expert=folders[2], settings=HOW)
    found = records(out)
    assert found["fast"]["skipped"] == {"reference": 1, "between the ticks of 25 fps": COUNT // 2}, "the last one too"
    assert found["late"]["skipped"] == {"reference": 1, "no face, or not in the longest stretch with it": 5}
    assert not found["late"]["sound"], "it ends before the face comes"
    assert found["late"]["values"]["composite"]["truth"]["sync"] is None


def test_two_processes_and_a_second_run_give_the_same(
    judged: tuple[Path, EvalResult], folders: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    true, mine, expert = folders
    for folder, name in ((true, "soft.mp4"), (mine, "soft.mov"), (true, "wall.mp4"), (mine, "wall.mp4")):
        (tmp_path / folder.name).mkdir(exist_ok=True)
        (tmp_path / folder.name / name).symlink_to(folder / name)
    out = tmp_path / "out"
    for workers in (2, 1):
        evaluate_videos(out, tmp_path / mine.name, tmp_path / true.name, expert=expert, settings=HOW, workers=workers)
        for name in ("records/soft.json", "records/wall.json", "frames/soft.npz"):
            assert (out / name).read_bytes() == (judged[0] / name).read_bytes()


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="this system cannot claim room on a disk")
def test_a_full_disk_is_told_before_it_is_written_to(
    folders: tuple[Path, Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that is written into a full disk would end the process with a bus error."""

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "true").mkdir()
    (tmp_path / "true" / "soft.mp4").symlink_to(folders[0] / "soft.mp4")
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(OutputError, match=r"room for 1 MB of face crops .*no space left .* another folder in TMPDIR"):
        evaluate_videos(tmp_path / "out", tmp_path / "true", tmp_path / "true", expert=folders[2], settings=HOW)
    assert not list((tmp_path / "out" / "records").iterdir()), "to be gone on with"


def test_nothing_to_judge_is_an_error(folders: tuple[Path, Path, Path], tmp_path: Path) -> None:
    true, _, expert = folders
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no videos"):
        evaluate_videos(tmp_path / "out", tmp_path / "empty", true, expert=expert, settings=HOW)
    assert not (tmp_path / "out").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "x.mp4").write_bytes((true / "soft.mp4").read_bytes()[:3000])
    (tmp_path / "true").mkdir()
    (tmp_path / "true" / "x.mp4").write_bytes((true / "soft.mp4").read_bytes())
    with pytest.raises(DataError, match="none of 1 clip could be judged"):
        evaluate_videos(tmp_path / "out", tmp_path / "other", tmp_path / "true", expert=expert, settings=HOW)
    assert records(tmp_path / "out")["x"]["excluded"].startswith("cannot be judged")
    with pytest.raises(ConfigError, match="id_every must be 0 or more, not -1"):
        VideoSettings(id_every=-1)


def test_the_published_judge_sees_whole_frames(folders: tuple[Path, Path, Path], made: Any, tmp_path: Path) -> None:
    *_, expert = folders
    (tmp_path / "true").mkdir()
    images, sound = made
    write(tmp_path / "true" / "same.mp4", images[:20], sound[: 20 * 640])
    torch.manual_seed(0)
    torch.save(SyncNet2016().state_dict(), tmp_path / "lag.model")
    networks = NetworkFiles(lag_expert=tmp_path / "lag.model")
    found = evaluate_videos(tmp_path / "out", tmp_path / "true", tmp_path / "true", expert=expert, settings=HOW,
                            networks=networks)["videos"].means["composite"]  # fmt: skip
    assert records(tmp_path / "out")["same"]["lag_faces"] == "pipeline"
    assert found["result"]["lag_d"] == found["truth"]["lag_d"]
    assert found["result"]["lag_d"].mean > 0


def test_what_is_cut_for_it_is_the_face_in_the_whole_frame(made: Any, tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", made[0][:8], None, crf=1)
    squares = np.tile([100.0, 105.0, 40.0], (8, 1))
    matrix = np.float32([[160, 0, 20], [0, 160, 20]])
    nothing = np.zeros((8, 68, 2))
    track = FaceTrack(0, np.ones(8, bool), nothing, np.tile(matrix, (8, 1, 1)), np.ones(8), np.zeros((8, 3)))
    cuts = Cuts(tmp_path / "cuts", track, 8, 64, squares)
    for index, frame in enumerate(media.read_frames(media.probe(tmp_path / "a.mp4"))):
        cuts.add(frame, index)
    assert cuts.faces is not None
    for i in (0, 7):
        expected = metrics.pipeline_crop(made[0][i], squares[i])
        apart = np.abs(cuts.faces[i].permute(1, 2, 0).numpy().astype(int) - expected)
        assert apart.mean() < 3

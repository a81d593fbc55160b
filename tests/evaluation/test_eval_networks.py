"""FID and LSE inside the protocol: made with stand-ins, which give the numbers other names."""

import json
import math
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from sidgan import checkpoint, downloads, media
from sidgan.cli import app
from sidgan.config import GeneratorConfig, SyncNetConfig
from sidgan.errors import CheckpointError, ConfigError, DataError, DownloadError, SidganError
from sidgan.evaluation import COLUMNS, EvalResult, NetworkFiles, Record, Settings, evaluate_to, notes, table
from sidgan.evaluation.lists import by_split
from sidgan.evaluation.parts import original_sounds, sounds_below
from sidgan.evaluation.prepared import _jobs
from sidgan.evaluation.results import PAPER
from sidgan.evaluation.rows import heard_samples, shuffled
from sidgan.files import digest
from sidgan.metrics import frechet
from sidgan.nn import Generator, SyncNet, SyncNet2016

COUNT, SIZE = 16, 64
HOW = Settings(rows=("truth", "model"), systems=("composite",), id_every=0)


class Stand(nn.Module):
    """Takes pictures and gives 2048 numbers, as Inception does."""

    def forward(self, images: torch.Tensor, return_features: bool = True) -> torch.Tensor:
        means = images.float().mean((2, 3)) / 255
        return torch.cat([means, torch.zeros(len(images), 2045)], 1)


@pytest.fixture(autouse=True, scope="module")
def only_what_is_said() -> Iterator[None]:
    """A feature that is always 0 adds nothing to a distance; those of `Stand` would take seconds, each time."""
    whole = frechet.frechet_distance

    def short(mean_a: np.ndarray, cov_a: np.ndarray, mean_b: np.ndarray, cov_b: np.ndarray) -> float:
        said = np.flatnonzero(cov_a.any(0) | cov_b.any(0) | (mean_a != 0) | (mean_b != 0))
        square = np.ix_(said, said)
        return whole(mean_a[said], cov_a[square], mean_b[said], cov_b[square])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(frechet, "frechet_distance", short)
        yield


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Stand-ins for Inception and the SyncNet of 2016."""
    root = tmp_path_factory.mktemp("networks")
    torch.jit.script(Stand()).save(str(root / "inception-2015-12-05.pt"))
    torch.manual_seed(0)
    torch.save(SyncNet2016().state_dict(), root / "syncnet_v2.model")
    return root / "inception-2015-12-05.pt", root / "syncnet_v2.model"


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two prepared clips of noise, and beside them the videos with sound that they were prepared from."""
    root = tmp_path_factory.mktemp("set")
    (root / "data" / "clips").mkdir(parents=True)
    (root / "videos").mkdir()
    rng, lines = np.random.default_rng(0), []
    for name in ("one", "two"):
        images = list(rng.integers(0, 256, (COUNT, SIZE, SIZE, 3), np.uint8))
        media.write_clip(root / "data" / "clips" / f"{name}.mp4", images, Fraction(25), crf=10, chroma444=True)
        sound = rng.uniform(-0.5, 0.5, 640 * COUNT).astype(np.float32)
        media.write_clip(root / "videos" / f"{name}.mp4", images, Fraction(25), sound, 16000)
        np.savez(
            root / "data" / "clips" / f"{name}.npz", mel=np.zeros((80, 80), np.float16),
            landmarks=np.tile(rng.uniform(0.2, 0.9, (68, 2)), (COUNT, 1, 1)).astype(np.float32),
            masks=np.tile(np.float32([0.25, 0.5, 0.75, 1]), (COUNT, 1)),
        )  # fmt: skip
        lines.append({"name": name, "file": name, "frames": COUNT, "kept": True, "splits": {"heldout": [0, COUNT]}})
    (root / "data" / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    small = GeneratorConfig(size=SIZE, base=2, cmax=4, rgb_levels=(SIZE,), audio_levels=(16,), audio_width=1)
    checkpoint.save(root / "model.safetensors", Generator(small))
    checkpoint.save(root / "expert.safetensors", SyncNet(SyncNetConfig(face=96, width=1, audio_width=1, blocks=0.0)))
    return root


def run(
    prepared: Path, out: Path, networks: NetworkFiles | Callable[[], NetworkFiles], workers: int = 1,
    sounds: bool = True,
) -> EvalResult:  # fmt: skip
    found = evaluate_to(
        out, prepared / "model.safetensors", [prepared / "data"], expert=prepared / "expert.safetensors", settings=HOW,
        networks=networks, sounds=prepared / "videos" if sounds else None, workers=workers,
    )  # fmt: skip
    return found["heldout"]


@pytest.fixture(scope="module")
def judged(prepared: Path, files: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    out = tmp_path_factory.mktemp("judged") / "out"
    return out, table({"heldout": run(prepared, out, NetworkFiles(*files, fid_every=2))})


def test_the_papers_columns_come_first_and_in_its_order() -> None:
    assert [COLUMNS[name][0].split()[0] for name in PAPER] == ["FID", "SSIM", "PSNR", "ID", "LMD", "LSE-D", "LSE-C"]
    names = ["zeta", "mouth_psnr", "lse_c", "lmd", "psnr", "lse_d", "id", "ssim"]
    records = tuple(Record(c, "model", 9, dict.fromkeys(names, 1.0)) for c in "ab")
    head = table({"test": EvalResult({}, records, {"composite": {"model": {"fid": 2.0, "face_fd": 0.1}}})}).split("\n")
    order = ["FID", "SSIM", "PSNR", "ID", "LMD", "LSE-D", "LSE-C", "mouth dB", "face FD", "zeta"]
    places = [head[0].index(f"  {name}") for name in order]
    assert places == sorted(places)


def test_numbers_of_other_files_have_other_names(judged: tuple[Path, str], files: tuple[Path, Path]) -> None:
    out, text = judged
    assert "FD custom" in text
    assert "lag-D custom" in text
    assert "FID" not in text
    assert "LSE" not in text
    means = json.loads((out / "summary.json").read_text())["heldout"]["means"]["composite"]
    assert not {"fid", "lse_d", "lse_c", "lse_offset"} & set(means["model"])
    assert means["truth"]["fd_custom"]["mean"] == pytest.approx(0, abs=1e-9)
    assert means["model"]["fd_custom"]["mean"] > 0
    assert means["model"]["lag_d"]["mean"] > 0
    protocol = json.loads((out / "protocol.json").read_text())
    networks = protocol["networks"]
    assert networks["inception"] == {"sha256": digest(files[0]), "published": False}
    assert networks["lag_expert"]["sha256"] == digest(files[1])
    assert networks["fid_every"] == 2
    record = json.loads((out / "records.jsonl").read_text().splitlines()[0])
    assert record["lag_faces"] == "direct"
    with np.load(out / "features" / "one.npz") as kept:
        assert kept["fd_custom/composite/model"].shape == (COUNT // 2, 2048)
    assert any("no FID and LSE" in line for line in notes(out))


def test_two_processes_and_going_on_give_the_same_bytes(
    prepared: Path, judged: tuple[Path, str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    networks = NetworkFiles(*files, fid_every=2)
    run(prepared, tmp_path, networks, workers=2)
    names = ("summary.json", "records.jsonl", "protocol.json", "strips/one.jpg")
    for name in names:
        assert (tmp_path / name).read_bytes() == (judged[0] / name).read_bytes(), name
    (tmp_path / "summary.json").unlink()
    (tmp_path / "records" / "two.json").unlink()
    run(prepared, tmp_path, networks)
    for name in names:
        assert (tmp_path / name).read_bytes() == (judged[0] / name).read_bytes(), name
    with pytest.raises(ConfigError, match=r"networks.fid_every was 2 and is 1"):
        run(prepared, tmp_path, NetworkFiles(*files))


def test_files_with_the_published_digest_get_the_published_names(
    prepared: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in (("INCEPTION", files[0]), ("SYNCNET_V2", files[1])):
        monkeypatch.setattr(downloads, name, replace(getattr(downloads, name), sha256=digest(path)))
    monkeypatch.setenv("SIDGAN_CACHE", str(files[0].parent))
    networks = NetworkFiles().or_published()
    assert networks == NetworkFiles(*files)
    values = run(prepared, tmp_path / "a", networks).means["composite"]["model"]
    assert list(values)[:7] == list(PAPER)
    assert not math.isnan(values["fid"].mean + values["lse_d"].mean + values["lse_c"].mean)
    assert not any("no FID" in line or "no LSE" in line for line in notes(tmp_path / "a"))
    silent = run(prepared, tmp_path / "b", networks, sounds=False).means["composite"]["model"]
    assert math.isnan(silent["lse_d"].mean)
    assert any("--sounds" in line for line in notes(tmp_path / "b"))


def test_sound_is_read_from_the_part_of_a_file_that_a_clip_came_from(
    prepared: Path, files: tuple[Path, Path], tmp_path: Path
) -> None:
    """As clips of AVSpeech and HDTF, whose names are those of no file; it is found where they were prepared."""
    data, films = tmp_path / "data", tmp_path / "films"
    shutil.copytree(prepared / "data", data)
    films.mkdir()
    sound = np.random.default_rng(3).uniform(-0.5, 0.5, 640 * 50).astype(np.float32)
    media.write_clip(films / "whole.mp4", [np.zeros((64, 64, 3), np.uint8)] * 50, Fraction(25), sound, 16000)
    lines = [json.loads(line) for line in (data / "manifest.jsonl").read_text().splitlines()]
    for line, start, shift in zip(lines, (0.4, 0.8), (0, 2), strict=True):
        line |= {"name": f"PPPPPPPPPPP/{start}", "identity": "PPPPPPPPPPP", "source": "whole.mp4",
                 "span": [start, start + COUNT / 25], "start": start, "corrected": shift,
                 "splits": {"heldout": [3, COUNT]}}  # fmt: skip
    (data / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    whole = media.read_audio(films / "whole.mp4")
    choice = by_split([line | {"folder": str(data)} for line in lines], ["heldout"])
    for job, begin in zip(_jobs(choice, HOW, sounds_below(films, choice)), (0.4, 0.8 - 2 / 25), strict=True):
        first = round(16000 * begin) + 640 * 3
        heard = job.part.samples()
        assert heard is not None
        assert np.array_equal(heard, whole[first : first + 640 * (COUNT - 3)])
    assert original_sounds(choice) == {}, "nobody knows where they were prepared"
    (data / "prepare.json").write_text(json.dumps({"root": str(films)}))
    assert original_sounds(choice) == sounds_below(films, choice)
    lines[0]["splits"] = {"heldout": [0, COUNT]}
    (data / "manifest.jsonl").write_text(json.dumps(lines[0]) + "\n")
    evaluate_to(tmp_path / "out", prepared / "model.safetensors", [data], expert=prepared / "expert.safetensors",
                settings=HOW, networks=NetworkFiles(None, files[1]))  # fmt: skip
    record = json.loads((tmp_path / "out" / "records.jsonl").read_text())
    assert (record["lag_faces"], record["person"]) == ("direct", "PPPPPPPPPPP")
    (films / "whole.mp4").rename(films / "other.mp4")
    assert original_sounds(choice) == {}
    with pytest.raises(DataError, match=r"films has no file for PPPPPPPPPPP/0.4;"):
        sounds_below(films, choice)


def test_files_of_another_kind_are_told_before_anything_is_loaded(files: tuple[Path, Path], tmp_path: Path) -> None:
    inception, judge = files
    text = tmp_path / "text"
    text.write_text("no weights", encoding="utf-8")
    for wrong in (judge, text):
        with pytest.raises(CheckpointError, match=f"{wrong.name} is not a TorchScript file; give the file as it was"):
            NetworkFiles(inception=wrong)
    for wrong in (inception, text):
        with pytest.raises(CheckpointError, match=f"{wrong.name} cannot be read as weights; give the file as it was"):
            NetworkFiles(lag_expert=wrong)
    assert NetworkFiles(inception, judge).describe().keys() == {"inception", "lag_expert", "fid_every"}


def test_what_cannot_be_had_is_told_at_once(
    prepared: Path, files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path / "cache"))
    for name in ("INCEPTION", "SYNCNET_V2"):
        monkeypatch.setattr(downloads, name, replace(getattr(downloads, name), url="http://127.0.0.1:9/none"))
    with pytest.raises(DownloadError, match="put it into"):
        NetworkFiles().or_published()
    with pytest.raises(CheckpointError, match="no weights file"):
        NetworkFiles(tmp_path / "none.pt")
    torch.jit.script(nn.Linear(3, 3)).save(str(tmp_path / "line.pt"))
    with pytest.raises(CheckpointError, match="does not accept the input"):
        run(prepared, tmp_path / "out", NetworkFiles(tmp_path / "line.pt"), sounds=False)
    with pytest.raises(ConfigError, match="--published"):
        run(prepared, tmp_path / "other", NetworkFiles())
    (prepared / "videos" / "two.mp4").rename(tmp_path / "two.mp4")
    try:
        with pytest.raises(DataError, match="has no file for two"):
            run(prepared, tmp_path / "other", NetworkFiles(None, files[1]))
    finally:
        (tmp_path / "two.mp4").rename(prepared / "videos" / "two.mp4")


@pytest.mark.parametrize(("arguments", "says"), [
    (("bundled", "none"), "none"),
    (("bundled", "{data}", "--split", "night"), "no clips for"),
    (("bundled", "{data}", "--sounds", "empty"), "empty"),
    (("--videos", "empty", "--truth", "empty"), "empty"),
    (("--videos", "empty"), "or --videos and --truth"),
])  # fmt: skip
def test_nothing_is_fetched_before_there_is_something_to_judge(
    arguments: tuple[str, ...], says: str, prepared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fetch(*_: object) -> Path:
        pytest.fail("fetched for nothing")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(downloads, "fetch", fetch)
    (tmp_path / "empty").mkdir()
    given = [one.format(data=prepared / "data") for one in arguments]
    result = CliRunner().invoke(app, ["eval", *given, "--published", "--out", "judged"])
    assert isinstance(result.exception, SidganError)
    assert says in str(result.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["empty"]


def test_networks_are_fetched_when_clips_are_found(
    prepared: Path, judged: tuple[Path, str], files: tuple[Path, Path], tmp_path: Path
) -> None:
    fetched = table({"heldout": run(prepared, tmp_path / "out", lambda: NetworkFiles(*files, fid_every=2))})
    assert fetched == judged[1]


def test_samples_are_those_of_the_mels() -> None:
    own = np.repeat(np.arange(20, dtype=np.float32), 640)
    other = np.repeat(np.arange(100, 107, dtype=np.float32), 640)
    heard = {row: heard_samples(row, "x", own, other) for row in ("model", "wrong", "silent", "shuffled", "swapped")}
    frames = {row: None if s is None else s[::640].tolist() for row, s in heard.items()}
    assert frames["silent"] is None
    assert frames["model"] == list(range(20))
    assert frames["wrong"] == [*range(10, 20), *range(10)]
    assert frames["shuffled"] == shuffled(20, "x").tolist()
    assert frames["swapped"] == [100 + i % 7 for i in range(20)]
    assert heard_samples("swapped", "x", own, None) is None

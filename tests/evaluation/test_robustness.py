"""Where a model gets worse: what is disturbed is disturbed as stated, and nothing else."""

import json
import shutil
import xml.etree.ElementTree as ET
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from small import save_networks

from sidgan import audio, media
from sidgan.data.listing import ClipSource
from sidgan.data.packing import PrepareConfig, prepare_clip
from sidgan.data.prepare import prepare
from sidgan.errors import ConfigError, DataError
from sidgan.evaluation import RobustnessSettings, disturb, robustness_to
from sidgan.evaluation.factor_chart import draw
from sidgan.evaluation.factors import Level, Table, notes, pooled, tabulate
from sidgan.evaluation.parts import Part
from sidgan.evaluation.robustness import Sound
from sidgan.nn import middle
from sidgan.synth import Person, Scene, random_line

RATE = audio.SAMPLE_RATE
SMALL = PrepareConfig(size=64)
HOW = RobustnessSettings(("yaw", "side", "size", "babble", "rate"), max_frames=21)


def film(path: Path, seed: int, seconds: float = 1.6, rate: Fraction = Fraction(25), quiet: float = 0.0) -> Path:
    """A drawn person, silent for the first ``quiet`` s."""
    scene = Scene(Person.random(seed), random_line(np.random.default_rng(seed), seconds), rate=rate, size=(200, 200))
    sound = scene.audio(RATE)
    sound[: round(quiet * RATE)] = 0
    media.write_clip(path, (shot.image for shot in scene), rate, sound, RATE, crf=6)
    return path


@pytest.fixture(scope="module")
def footage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two drawn people, one filmed at another rate."""
    root = tmp_path_factory.mktemp("footage")
    film(root / "ann.mp4", 3)
    film(root / "bob.mp4", 4, rate=Fraction(30000, 1001))
    return root


@pytest.fixture(scope="module")
def prepared(footage: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Both packed, all of it for judging."""
    root = tmp_path_factory.mktemp("prepared")
    rules = footage.parent / "rules.toml"
    rules.write_text('never_train = ["*"]\n')
    prepare(footage, root, SMALL, splits=rules)
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A generator and an expert as small as they get."""
    return save_networks(tmp_path_factory.mktemp("weights"), 64)


@pytest.fixture(scope="module")
def judged(prepared: Path, weights: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder with every kind of factor."""
    out = tmp_path_factory.mktemp("judged") / "out"
    robustness_to(out, weights[0], [prepared], splits=["test"], expert=weights[1], settings=HOW)
    return out


# -- the sound of the source


def packed_mel(target: Path) -> np.ndarray:
    with np.load(target.with_name(target.name + ".npz")) as arrays:
        return arrays["mel"]


@pytest.mark.parametrize(
    ("name", "start", "end", "shift"), [("bob", 0.0, None, 0), ("ann", 0.4, 1.5, 0), ("ann", 0.0, None, 2),
                                        ("bob", 0.4, None, -3)]
)  # fmt: skip
def test_sound_read_again_gives_the_packed_mel_to_the_bit(
    footage: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, start: float, end: float | None,
    shift: int,
) -> None:  # fmt: skip
    from sidgan.data import packing
    from sidgan.data.offset import Offset

    if shift:
        monkeypatch.setattr(packing, "estimate_offset", lambda *_: Offset(shift, 99.0))
    (tmp_path / "clips").mkdir()
    source = ClipSource(footage / f"{name}.mp4", name, start=start, end=end)
    record = prepare_clip(source, tmp_path, PrepareConfig(size=64, min_seconds=0.5))
    assert record["kept"], record
    assert record["corrected"] == shift
    record = json.loads(json.dumps(record))  # what a manifest can hold
    samples = Sound(source, record["start"], record["corrected"], record["frames"]).read()
    packed = packed_mel(tmp_path / "clips" / name)
    mel = audio.log_mel(samples).astype(np.float16)[:, : packed.shape[1]]
    assert np.array_equal(mel, packed)
    part = Part(str(tmp_path), record, 3, 12, 12)
    assert torch.equal(disturb.windows(samples, [Fraction(i, 25) for i in range(3, 12)]), part.mels())


def test_the_manifest_leads_back_to_the_sound(tmp_path: Path) -> None:
    from sidgan.data.prepare import _about
    from sidgan.evaluation.robustness import _sound

    record = {"name": "a", "start": 1.24, "corrected": -1, "frames": 40}
    for clip in (ClipSource(tmp_path / "x/a.mp4", "a", start=1.2, end=3.0, audio=tmp_path / "y/a.m4a"),
                 ClipSource(tmp_path / "a.mp4", "a")):  # fmt: skip
        manifest = json.loads(json.dumps(record | _about(clip, tmp_path)))
        found = _sound(Part("unused", manifest, 0, 40, 40), tmp_path)
        assert found == Sound(clip, 1.24, -1, 40)
        assert found.path == (clip.audio or clip.path)


def test_another_sound_in_the_source_is_noticed(
    footage: Path, prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    moved, other = tmp_path / "footage", tmp_path / "prepared"
    shutil.copytree(footage, moved)
    shutil.copytree(prepared, other)
    settings = json.loads((other / "prepare.json").read_text())
    (other / "prepare.json").write_text(json.dumps(settings | {"root": str(moved)}))
    shutil.copy(moved / "bob.mp4", moved / "ann.mp4")
    how = RobustnessSettings(("pink",), clips=1, max_frames=21)
    (other / "manifest.jsonl").write_text((prepared / "manifest.jsonl").read_text().splitlines()[0] + "\n")
    with pytest.raises(DataError, match="no longer gives the sound that was packed; prepare it again"):
        robustness_to(tmp_path / "out", weights[0], [other], splits=["test"], expert=weights[1], settings=how)


# -- disturbances


def test_noise_has_the_stated_ratio_and_colour() -> None:
    rng = np.random.default_rng(0)
    speech = np.concatenate([np.zeros(RATE), 0.1 * rng.standard_normal(RATE), np.zeros(RATE)]).astype(np.float32)
    span = slice(RATE, 2 * RATE)
    for kind in ("white", "pink"):
        other = disturb.noise(kind, len(speech), 7)
        assert np.array_equal(other, disturb.noise(kind, len(speech), 7))
        assert not np.array_equal(other, disturb.noise(kind, len(speech), 8))
        added = disturb.mixed(speech, other, 5, span) - speech
        ratio = 10 * np.log10(np.mean(speech[span] ** 2) / np.mean(added[span] ** 2))
        assert ratio == pytest.approx(5, abs=0.01)
    power = np.abs(np.fft.rfft(disturb.noise("pink", 8 * RATE, 1))) ** 2
    hertz = np.fft.rfftfreq(8 * RATE, 1 / RATE)
    octaves = [power[(hertz >= f) & (hertz < 2 * f)].sum() for f in (250, 500, 1000, 2000)]
    assert max(octaves) / min(octaves) < 1.2
    with pytest.raises(DataError, match="silent"):
        disturb.mixed(speech, other, 5, slice(0, 100))


def test_babble_is_of_all_voices_equally() -> None:
    t = np.arange(RATE) / RATE
    low, high = np.sin(2 * np.pi * 200 * t), 0.01 * np.sin(2 * np.pi * 1500 * t)[: RATE // 2]
    spectrum = np.abs(np.fft.rfft(disturb.babble([low, high, np.zeros(5)], RATE)))
    assert spectrum[200] == pytest.approx(spectrum[1500], rel=0.01)
    with pytest.raises(DataError, match="no other voice"):
        disturb.babble([np.zeros(100)], 50)


@pytest.mark.parametrize("tempo", [0.75, 1.25, 1.5, 2.0])
def test_stretched_sound_keeps_pitch_and_clock(tempo: float) -> None:
    t = np.arange(6 * RATE) / RATE
    bursts = (np.sin(2 * np.pi * 400 * t) * (np.sin(2 * np.pi * t) > 0)).astype(np.float32)
    out = media.stretch(bursts, RATE, tempo)
    assert len(out) == round(len(bursts) / tempo)
    spectrum = np.abs(np.fft.rfft(out))
    assert np.argmax(spectrum) / (len(out) / RATE) == pytest.approx(400, abs=5)
    loud = np.convolve(out**2, np.ones(160) / 160, "same") > 0.2
    starts = np.flatnonzero(loud[1:] & ~loud[:-1]) / RATE
    for second in range(1, 6):
        assert np.abs(starts - second / tempo).min() < 0.025


def test_faster_speech_shows_the_nearest_true_frames(blob) -> None:
    clip = blob(16, 30)
    samples = np.random.default_rng(0).standard_normal(3 * RATE).astype(np.float32)
    double = disturb.sped_up(clip, samples, 0, Fraction(2))
    assert torch.equal(double.images, clip.images[::2])
    half_more = disturb.sped_up(clip, samples, 0, Fraction(3, 2))
    assert torch.equal(half_more.images[:5], clip.images[[0, 1, 3, 4, 6]]), "1.5 -> 1 and 4.5 -> 4: the earlier one"
    assert len(half_more) == len(half_more.mels) == len(half_more.masks) == len(half_more.landmarks) == 20
    slow = disturb.sped_up(clip, samples, 0, Fraction(3, 4))
    assert len(slow) == 39
    assert torch.equal(slow.images[:4], clip.images[[0, 1, 1, 2]])
    same = disturb.sped_up(clip, samples, 4, Fraction(1))
    assert torch.equal(same.mels, disturb.windows(samples, [Fraction(i, 25) for i in range(4, 34)]))


def test_a_later_part_of_a_clip_hears_its_own_sound_when_sped_up(blob) -> None:
    clip, burst = blob(16, 24), np.zeros(4 * RATE, np.float32)
    burst[2 * RATE : 2 * RATE + 1600] = np.random.default_rng(0).standard_normal(1600)
    fast = disturb.sped_up(clip, burst, 40, Fraction(2))  # the burst belongs to frame 50, the tenth of this part
    loudness = middle(fast.mels, 16).float().mean((1, 2, 3))
    assert int(loudness.argmax()) in (5, 6)


def test_smaller_pictures_hold_less_detail_and_nothing_else_changes(blob) -> None:
    clip = blob(64, 12)
    seen = disturb.smaller(clip, 16)
    assert seen.images.shape == clip.images.shape
    assert (seen.images.float() - clip.images.float()).mean().abs() < 1
    assert seen.images.float().diff(dim=-1).abs().max() < clip.images.float().diff(dim=-1).abs().max() / 2
    assert seen.mels is clip.mels
    assert seen.masks is clip.masks


# -- the result


def test_tables_say_what_was_measured(judged: Path) -> None:
    result = json.loads((judged / "robustness.json").read_text())
    assert result["protocol"]["protocol"] == "sidgan-eval-1"
    assert result["protocol"]["mode"] == "robustness"
    tables = {t["factor"]: {level["level"]: level for level in t["levels"]} for t in result["tables"]}
    assert list(tables) == ["yaw", "side", "size", "babble", "rate"]
    assert list(tables["yaw"]) == ["0-10", "10-20", "20-30", "30-45", "45+"]
    assert sum(level["frames"] for level in tables["yaw"].values()) == 2 * 20, "each judged frame is in one bin"
    assert list(tables["size"]) == ["clean", "48", "32"], "64 px and more would change nothing in crops of 64 px"
    assert list(tables["babble"]) == ["clean", "20", "10", "5", "0"]
    assert list(tables["rate"]) == ["0.75", "1", "1.25", "1.5", "2"]
    assert tables["rate"]["2"]["frames"] == 2 * 10
    clean = tables["babble"]["clean"]["rows"]
    assert clean == tables["rate"]["1"]["rows"]
    assert clean["truth"]["open_error"]["mean"] == clean["truth"]["lmd"]["mean"] == 0
    assert tables["babble"]["0"]["rows"]["reference"] == clean["reference"], "who does not listen does not mind noise"
    assert tables["size"]["32"]["rows"]["reference"]["mouth_psnr"]["mean"] < clean["reference"]["mouth_psnr"]["mean"]
    for level in ("20", "0"):
        rows = tables["babble"][level]["rows"]
        assert rows["model"] != clean["model"]
        change = rows["model"]["mouth_psnr"]["mean"] - clean["model"]["mouth_psnr"]["mean"]
        assert rows["change"]["mouth_psnr"]["mean"] == pytest.approx(change)
    records = [json.loads(line) for line in (judged / "records.jsonl").read_text().splitlines()]
    means = [record["values"]["rate 1.5"]["model"]["lmd"] for record in records]
    assert tables["rate"]["1.5"]["rows"]["model"]["lmd"]["mean"] == pytest.approx(np.mean(means))
    ET.parse(judged / "robustness.svg")


def test_a_silent_clip_is_left_out_where_noise_is_measured_and_nowhere_else(
    footage: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    films = tmp_path / "films"
    shutil.copytree(footage, films)
    film(films / "mute.mp4", 6, quiet=1.1)
    (tmp_path / "rules.toml").write_text('never_train = ["*"]\n')
    prepare(films, tmp_path / "data", SMALL, splits=tmp_path / "rules.toml")
    how = RobustnessSettings(("side", "white", "rate"), max_frames=21)
    tables = robustness_to(tmp_path / "out", weights[0], [tmp_path / "data"], splits=["test"], expert=weights[1],
                           settings=how)  # fmt: skip
    side, white, rate = tables
    assert sum(level.clips for level in side.levels) == 3
    assert [level.clips for level in rate.levels] == [3] * 5
    assert [level.clips for level in white.levels] == [2] * 5, "clean and noisy means are of the same clips"
    assert white.text().splitlines()[-1] == "  without mute: its sound is silent, so no signal-to-noise ratio exists"
    assert json.loads((tmp_path / "out" / "robustness.json").read_text())["tables"][1]["unsuited"].keys() == {"mute"}
    ET.fromstring(draw([Table("white", [], {"mute": "silent"})], "no clip suits it"))


def test_the_same_again_and_in_two_processes(
    judged: Path, prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    before = {p.name: p.read_bytes() for p in judged.iterdir() if p.is_file()}
    stamp = (judged / "frames" / "ann@test.npz").stat().st_mtime_ns
    robustness_to(judged, weights[0], [prepared], splits=["test"], expert=weights[1], settings=HOW)
    assert (judged / "frames" / "ann@test.npz").stat().st_mtime_ns == stamp, "what was done is not done again"
    assert before == {p.name: p.read_bytes() for p in judged.iterdir() if p.is_file()}
    less = RobustnessSettings(("babble",), max_frames=HOW.max_frames)
    robustness_to(tmp_path, weights[0], [prepared], splits=["test"], expert=weights[1], settings=less, workers=2)
    alone, among = ([json.loads(line)["values"] for line in (out / "records.jsonl").read_text().splitlines()]
                    for out in (tmp_path, judged))  # fmt: skip
    for one, other in zip(alone, among, strict=True):
        assert one == {level: other[level] for level in one}, "nor do other factors change a figure"


def test_bins_pool_frames_and_draw_clips() -> None:
    one, two = np.array([1.0, 1, 1, np.nan]), np.array([4.0])
    found = pooled([one, two])
    assert found.mean == pytest.approx(7 / 4)
    assert (found.low, found.high) == (1, 4)
    alone = pooled([one])
    assert alone.mean == 1
    assert np.isnan(alone.low)
    assert np.isnan(pooled([np.array([np.nan])]).mean)
    thin = Table("yaw", [Level("0-10", 3, 9, {}), Level("45+", 1, 2, {})])
    assert notes([thin]) == ["yaw: fewer than 2 clips, so no interval: 45+ (1)"]


def test_a_picture_of_few_factors_has_room_for_its_words() -> None:
    picture = ET.fromstring(draw([Table("yaw", [Level("0-10", 3, 9, {})])], "Where model.safetensors gets worse"))
    for text in picture.findall("{*}text"):
        if text.get("text-anchor") is None:
            assert float(text.get("x", 0)) + 5 * len(text.text or "") < float(picture.get("width", 0)), text.text


def test_a_frame_without_a_pose_is_in_no_bin(judged: Path, tmp_path: Path) -> None:
    shutil.copytree(judged, tmp_path / "out")
    path = tmp_path / "out" / "frames" / "ann@test.npz"
    with np.load(path) as arrays:
        held = dict(arrays)
    held["yaw"][:4] = np.nan
    np.savez(path, **held)
    records = [json.loads(line) for line in (judged / "records.jsonl").read_text().splitlines()]
    (before,), (after,) = (tabulate(out, records, {"yaw": ["clean"]}) for out in (judged, tmp_path / "out"))
    assert [level.frames for level in after.levels] == [before.levels[0].frames - 4, 0, 0, 0, 0]


def test_bad_input_gives_one_clear_line(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    old = tmp_path / "old"
    shutil.copytree(prepared, old)
    lines = [json.loads(line) for line in (old / "manifest.jsonl").read_text().splitlines()]
    for line in lines:
        del line["source"]
    (old / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = "does not say from which files the clips came; prepare it again, or leave sound out with --factors yaw"
    with pytest.raises(DataError, match=text):
        robustness_to(tmp_path / "x", weights[0], [old], splits=["test"], settings=RobustnessSettings(("rate",)))
    quiet = RobustnessSettings(("yaw",), max_frames=22, clips=1)
    assert robustness_to(tmp_path / "out", weights[0], [old], splits=["test"], expert=weights[1], settings=quiet)
    (old / "prepare.json").unlink()
    with pytest.raises(DataError, match=r"prepare\.json does not say where the clips came from; prepare it again"):
        robustness_to(tmp_path / "x", weights[0], [old], splits=["test"], settings=RobustnessSettings(("pink",)))
    with pytest.raises(ConfigError, match="unknown factor 'snow'; factors: yaw, side"):
        RobustnessSettings(("snow",))
    with pytest.raises(ConfigError, match="max_frames must be above 20"):
        RobustnessSettings(max_frames=20)
    first = (prepared / "manifest.jsonl").read_text().splitlines()[0]
    alone = tmp_path / "alone"
    shutil.copytree(prepared, alone)
    (alone / "manifest.jsonl").write_text(first + "\n")
    with pytest.raises(ConfigError, match="babble needs other clips"):
        robustness_to(tmp_path / "x", weights[0], [alone], splits=["test"], settings=RobustnessSettings(("babble",)))
    assert not (tmp_path / "x").exists()


def test_the_command_prints_a_table_for_each_factor(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from sidgan.cli import app

    result = CliRunner().invoke(app, [
        "robustness", str(weights[0]), str(prepared), "--out", str(tmp_path / "out"), "--expert", str(weights[1]),
        "--split", "test", "--clips", "1", "--factors", "yaw,size", "--max-frames", "21", "--device", "cpu",
    ])  # fmt: skip
    assert result.exit_code == 0, result.exception
    assert "head turned to the side" in result.stdout
    assert "face reduced" in result.stdout
    assert "change" in result.stdout


def test_clips_of_one_name_in_two_folders_are_not_taken_for_one(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    shutil.copytree(prepared, tmp_path / "again")
    with pytest.raises(ConfigError, match="ann is in two of the folders; judge the folders one by one"):
        robustness_to(tmp_path / "out", weights[0], [prepared, tmp_path / "again"], splits=["test"],
                      settings=RobustnessSettings(("yaw",)))  # fmt: skip
    assert not (tmp_path / "out").exists()


def test_the_command_names_clips_that_it_left_out(prepared: Path, weights: tuple[Path, Path], tmp_path: Path) -> None:
    from marked import sidgan

    later = tmp_path / "later"
    shutil.copytree(prepared, later)
    lines = [json.loads(line) for line in (later / "manifest.jsonl").read_text().splitlines()]
    for line, span in zip(lines, ([0, 15], [5, 30]), strict=True):
        line["splits"] = {"test": span}
    (later / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    code, said = sidgan("robustness", weights[0], later, "--out", tmp_path / "out", "--expert", weights[1],
                        "--split", "test", "--factors", "yaw", "--device", "cpu")  # fmt: skip
    assert code == 0, said
    assert "test: 1 clip not judged: too short (ann)" in said
    with np.load(tmp_path / "out" / "frames" / "bob@test.npz") as arrays:
        assert arrays["frame"].tolist() == list(range(6, 30)), "numbered as in the packed clip"


def test_the_command_says_that_intervals_of_few_are_too_narrow(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    from marked import sidgan

    code, said = sidgan("robustness", weights[0], prepared, "--out", tmp_path / "out", "--expert", weights[1],
                        "--split", "test", "--factors", "yaw", "--max-frames", 21, "--device", "cpu")  # fmt: skip
    assert code == 0, said
    assert "the intervals are over 2 clips; with fewer than 10 they are too narrow" in said

"""Result folders: the same bytes however they came about, nothing mixed, nothing averaged in that cannot be judged."""

import gc
import json
import os
import shutil
import signal
import time
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_files import contents
from marked import sidgan
from small import save_networks

from sidgan import checkpoint, media
from sidgan.data.dataset import PackedSet
from sidgan.data.transfer import Stretch
from sidgan.errors import CheckpointError, ConfigError, DataError, OutputError
from sidgan.evaluation import NetworkFiles, Settings, evaluate, evaluate_to, measures, notes, robustness_to, table

COUNT, SIZE = 8, 64
USED = ("truth", "model", "silent", "swapped")
HOW = Settings(rows=USED)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of three clips (and one for training), as `sidgan prepare` leaves them; noise for faces."""
    root = tmp_path_factory.mktemp("prepared")
    (root / "clips").mkdir()
    rng = np.random.default_rng(0)
    lines = []
    for name, split in (("a/one", "heldout"), ("a/two", "heldout"), ("b/three", "heldout"), ("b/four", "train")):
        file = name.replace("/", "__")
        images = rng.integers(0, 256, (1, SIZE, SIZE, 3), np.uint8).repeat(COUNT, 0)
        images[:, 40:56, 20:44] = rng.integers(0, 256, (COUNT, 1, 1, 1), np.uint8)
        media.write_clip(root / "clips" / f"{file}.mp4", list(images), Fraction(25), crf=10, chroma444=True)
        np.savez(
            root / "clips" / f"{file}.npz", mel=rng.uniform(-4, 4, (80, 60)).astype(np.float16),
            landmarks=np.tile(rng.uniform(0.2, 0.9, (68, 2)), (COUNT, 1, 1)).astype(np.float32),
            masks=np.tile(np.float32([0.25, 0.5, 0.75, 1]), (COUNT, 1)), pose=np.full((COUNT, 3), 12.0, np.float32),
            matrices=np.tile(np.float32([[150, 0, 0], [0, 150, 0]]), (COUNT, 1, 1)),
        )  # fmt: skip
        lines.append({"name": name, "file": file, "frames": COUNT, "kept": True, "splits": {split: [0, COUNT]}})
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return root


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A generator and an expert as small as they get."""
    return save_networks(tmp_path_factory.mktemp("weights"), SIZE)


@pytest.fixture(scope="module")
def judged(prepared: Path, weights: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A result folder, made by one process in one go."""
    out = tmp_path_factory.mktemp("judged") / "out"
    evaluate_to(out, weights[0], [prepared], expert=weights[1], settings=HOW)
    return out


def test_one_process_or_two_give_the_same_bytes(
    prepared: Path, weights: tuple[Path, Path], judged: Path, tmp_path: Path
) -> None:
    evaluate_to(tmp_path, weights[0], [prepared], expert=weights[1], settings=HOW, workers=2)
    assert contents(tmp_path) == contents(judged)


def test_a_killed_run_goes_on_to_the_same_bytes(
    prepared: Path, weights: tuple[Path, Path], judged: Path, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    gc.collect()  # a decoder that is closed in the child waits for threads that are not there
    child = os.fork()
    if not child:
        try:
            sidgan("eval", weights[0], prepared, "--out", out, "--expert", weights[1], "--device", "cpu",
                   "--rows", ",".join(USED))  # fmt: skip
        finally:
            os._exit(0)
    until = time.monotonic() + 60
    while not (out / "records" / "a__one.json").exists() and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert (out / "records" / "a__one.json").exists()
    assert not (out / "records.jsonl").exists()
    stamp = (out / "frames" / "a__one.npz").stat().st_mtime_ns
    evaluate_to(out, weights[0], [prepared], expert=weights[1], settings=HOW)
    assert (out / "frames" / "a__one.npz").stat().st_mtime_ns == stamp, "what was done is not done again"
    assert contents(out) == contents(judged)


def test_a_result_folder_says_what_was_found(
    prepared: Path, weights: tuple[Path, Path], judged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidgan.data.dataset.MIN_FRAMES", 2)
    protocol = json.loads((judged / "protocol.json").read_text())
    assert protocol["protocol"] == "sidgan-eval-1"
    assert {len(protocol[k]) for k in ("model", "expert", "code")} == {64}
    assert protocol["clips"] == protocol["clips"] | {"list": "heldout", "count": 3}
    records = [json.loads(line) for line in (judged / "records.jsonl").read_text().splitlines()]
    assert [r["name"] for r in records] == ["a/one", "a/two", "b/three"]
    memory = evaluate(checkpoint.load_generator(weights[0]), PackedSet(prepared, ["heldout"]),
                      expert=checkpoint.load_syncnet(weights[1]), rows=USED)  # fmt: skip
    one = {(r.system, r.row): r.values for r in memory.records if r.clip == "a/one"}
    assert len(one) == 2 * len(USED)
    for system, rows in records[0]["values"].items():
        assert list(rows) == list(USED)
        for row, values in rows.items():
            np.testing.assert_equal({k: np.nan if v is None else v for k, v in values.items()}, one[system, row])
    assert (records[0]["frames"], records[0]["judged"]) == (COUNT, COUNT - 1)
    assert records[0]["counts"]["raw"]["model"] == records[0]["counts"]["raw"]["model"] | {"psnr": 7, "id": 2}
    with np.load(judged / "frames" / "a__one.npz") as frames:
        assert frames["frame"].tolist() == list(range(1, COUNT))
        assert (frames["yaw"] == 12).all()
        assert (frames["side"] == 150).all()
        found = records[0]["values"]["composite"]["silent"]["psnr"]
        assert np.mean(frames["composite/silent/psnr"]) == pytest.approx(found)
    summary = json.loads((judged / "summary.json").read_text())["heldout"]
    each = [r["values"]["raw"]["model"]["psnr"] for r in records]
    assert summary["means"]["raw"]["model"]["psnr"]["mean"] == pytest.approx(np.mean(each))
    told = notes(judged)
    assert told[0] == "heldout: 3 frames not judged: reference"
    assert told[1] == "heldout: the intervals are over 3 clips; with fewer than 10 they are too narrow"
    assert "no FID and LSE" in told[2]
    assert "sidgan info --downloads" in told[2]


def test_figures_of_another_way_are_not_mixed_in(
    prepared: Path, weights: tuple[Path, Path], judged: Path, tmp_path: Path
) -> None:
    before = contents(judged)
    cases = [({"settings": Settings(mask="lower", rows=USED)}, 'settings.mask was "query" and is "lower"'),
             ({"splits": ["train"]}, "clips.count was 3 and is 1, clips.list was"),
             ({"expert": "bundled"}, "other settings: the sync expert differs; choose another --out, or remove"),
             ({"settings": Settings(id_every=0, rows=USED)}, "settings.id_every was 5 and is 0")]  # fmt: skip
    for other, text in cases:
        with pytest.raises(ConfigError, match="made with other settings") as error:
            evaluate_to(judged, weights[0], [prepared], **{"expert": weights[1], "settings": HOW} | other)
        assert text in str(error.value)
    assert contents(judged) == before


def test_clips_that_cannot_be_judged_are_named_and_count_in_no_mean(
    prepared: Path, weights: tuple[Path, Path], judged: Path, tmp_path: Path
) -> None:
    import shutil

    broken = tmp_path / "set"
    shutil.copytree(prepared, broken)
    (broken / "clips" / "a__one.mp4").write_bytes(b"nothing")
    (broken / "clips" / "b__three.npz").unlink()
    rows = ("truth", "swapped")
    results = evaluate_to(tmp_path / "out", weights[0], [broken], expert=weights[1], settings=Settings(rows=rows))
    records = {r["name"]: r for r in map(json.loads, (tmp_path / "out" / "records.jsonl").read_text().splitlines())}
    assert records["a/one"]["excluded"].startswith("cannot be judged (cannot read")
    assert "cannot be read" in records["b/three"]["excluded"]
    assert {r.clip for r in results["heldout"].records} == {"a/two"}
    assert {r.row for r in results["heldout"].records} == {"truth"}, "whose voice it would get cannot be read"
    assert "(1 clip)" in table(results)
    told = [line for line in notes(tmp_path / "out") if "clip not judged" in line]
    assert len(told) == 2
    assert told[0].startswith("heldout: 1 clip not judged: cannot be judged (a/one); a/one: cannot read "), "why"
    assert told[1].endswith("No such file or directory")
    shutil.copy(prepared / "clips" / "b__three.npz", broken / "clips")
    shutil.copy(prepared / "clips" / "a__one.mp4", broken / "clips")
    mended = evaluate_to(tmp_path / "out", weights[0], [broken], expert=weights[1], settings=Settings(rows=rows))
    assert {r.clip for r in mended["heldout"].records} == {"a/one", "a/two", "b/three"}, "files that change are judged"
    (broken / "clips" / "a__one.mp4").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"no clips for test in .*; the splits are heldout \(3\), train \(1\);"):
        evaluate_to(tmp_path / "x", weights[0], [broken], splits=["test"])


def test_a_damaged_clip_takes_no_other_with_it(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    import shutil

    broken = tmp_path / "set"
    shutil.copytree(prepared, broken)
    (broken / "clips" / "b__three.npz").write_bytes(b"nothing")
    how = Settings(rows=("truth", "swapped"), id_every=0)
    found = evaluate_to(tmp_path / "out", weights[0], [broken], expert=weights[1], settings=how)["heldout"].records
    rows = {(r.clip, r.row) for r in found}
    assert rows == {("a/one", "truth"), ("a/one", "swapped"), ("a/two", "truth")}, "the voice of b/three is a/two's"


@pytest.mark.parametrize(("what", "spoil", "told"), [
    ("mel", lambda mel: mel * np.nan, "mels contain values that are not finite"),
    ("masks", lambda masks: masks * np.nan, "masks contain values that are not finite"),
    ("landmarks", lambda points: points[:3], f"landmarks of 3 frames, not {COUNT}"),
])  # fmt: skip
def test_what_is_packed_must_be_numbers_for_each_frame(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path, what: str, spoil: Any, told: str
) -> None:
    import shutil

    broken = tmp_path / "set"
    shutil.copytree(prepared, broken)
    path = broken / "clips" / "a__one.npz"
    with np.load(path) as arrays:
        packed = dict(arrays)
    np.savez(path, **packed | {what: spoil(packed[what])})
    how = Settings(rows=("truth", "model"), id_every=0)
    evaluate_to(tmp_path / "out", weights[0], [broken], expert=weights[1], settings=how)
    line = next(line for line in notes(tmp_path / "out") if "clip not judged" in line)
    assert line.endswith(f"a__one.npz cannot be read ({told}); remove it and prepare again")


def test_distances_between_sets_see_all_clips(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def colours(look: measures.FrameBatch) -> np.ndarray:
        assert len(look.pictures) == len(look.images)
        return look.images.double().mean((2, 3)).numpy() / 255

    monkeypatch.setitem(measures.SETS, "hue", measures.SetMetric(colours, every=2))
    how = Settings(rows=("truth", "reference"))
    means = evaluate_to(tmp_path, weights[0], [prepared], expert=weights[1], settings=how)["heldout"].means
    assert means["composite"]["truth"]["hue"].mean == pytest.approx(0, abs=1e-9)
    assert means["composite"]["reference"]["hue"].mean > 0
    with np.load(tmp_path / "features" / "a__two.npz") as kept:
        assert kept["hue/composite/reference"].shape == (4, 3)
        assert kept["face_fd/composite/reference"].shape == (2, 128), "where identities were asked for"
    assert means["raw"]["truth"]["face_fd"].mean == pytest.approx(0, abs=1e-9)
    assert means["raw"]["reference"]["face_fd"].mean > 1e-6


def test_revoiced_clips_are_a_system_of_their_own(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidgan.evaluation.revoicing.SHORTEST", 5)
    monkeypatch.setattr("sidgan.evaluation.prepared.SHORTEST", 5)
    how = Settings(rows=("model",), revoice=True)
    text = table(evaluate_to(tmp_path, weights[0], [prepared], expert=weights[1], settings=how))
    assert "heldout, revoiced (3 clips)" in text
    assert {"donor", "elsewhere"} <= set(text.split())


def test_figures_that_do_not_say_how_they_were_made_are_not_taken_over(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    how = Settings(rows=("truth",), id_every=0)
    evaluate_to(tmp_path / "out", weights[0], [prepared], expert=weights[1], settings=how)
    (tmp_path / "out" / "protocol.json").unlink()
    with pytest.raises(ConfigError, match=r"protocol\.json cannot be read .*; choose another --out"):
        evaluate_to(tmp_path / "out", weights[0], [prepared], expert=weights[1],
                    settings=Settings(rows=("truth",), id_every=0, mask="lower"))  # fmt: skip
    assert not (tmp_path / "out" / "protocol.json").exists()


def test_rows_that_nobody_could_dub_are_told(prepared: Path, weights: tuple[Path, Path], tmp_path: Path) -> None:
    how = Settings(rows=("truth", "swapped"), id_every=0)
    evaluate_to(tmp_path / "one", weights[0], [prepared], splits=["train"], expert=weights[1], settings=how)
    assert "train: no row swapped: it needs the sound of another clip, and there is only one" in notes(tmp_path / "one")
    how = Settings(rows=("truth",), id_every=0, revoice=True)
    evaluate_to(tmp_path / "two", weights[0], [prepared], expert=weights[1], settings=how)
    assert "heldout: no revoiced clips: --revoice needs three clips of more than 25 frames" in notes(tmp_path / "two")


def test_a_pair_of_references_needs_a_third_frame_to_judge(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    how = Settings(rows=("model",), id_every=0, reference="pair", max_frames=2)
    with pytest.raises(DataError, match=r"the first \(a/one\): too short \(2 frames\)"):
        evaluate_to(tmp_path / "out", weights[0], [prepared], expert=weights[1], settings=how)
    monkeypatch.setattr("sidgan.data.dataset.MIN_FRAMES", 2)
    clips = PackedSet(prepared, ["heldout"])
    shown = {"rows": ("model",), "id_every": 0, "reference": "pair", "max_frames": 2}
    assert not evaluate(checkpoint.load_generator(weights[0]), clips, **shown).records
    assert len(evaluate(checkpoint.load_generator(weights[0]), clips, **shown, score_reference=True).records) == 6


def test_frames_have_the_numbers_of_the_packed_clip(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    import shutil

    later = tmp_path / "set"
    shutil.copytree(prepared, later)
    lines = [json.loads(line) for line in (later / "manifest.jsonl").read_text().splitlines()]
    lines[0]["splits"] = {"heldout": [3, COUNT]}
    (later / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    how = Settings(rows=("truth",), id_every=0)
    evaluate_to(tmp_path / "out", weights[0], [later], expert=weights[1], settings=how)
    with np.load(tmp_path / "out" / "frames" / "a__one.npz") as arrays:
        assert arrays["frame"].tolist() == list(range(4, COUNT))


def test_pieces_of_one_video_count_as_one_person(prepared: Path, weights: tuple[Path, Path], tmp_path: Path) -> None:
    cut = tmp_path / "cut"
    shutil.copytree(prepared, cut)
    lines = [json.loads(line) for line in (cut / "manifest.jsonl").read_text().splitlines()]
    told = [{"span": [0, 1]}, {"span": [1, 2]}, {"span": None}, {"span": [2, 3], "identity": "ann"}]
    lines = [line | {"source": "film.mp4"} | facts for line, facts in zip(lines, told, strict=True)]
    (cut / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    evaluate_to(tmp_path / "out", weights[0], [cut], expert=weights[1], settings=Settings(rows=("truth",)))
    records = [json.loads(line) for line in (tmp_path / "out" / "records.jsonl").read_text().splitlines()]
    assert [record["person"] for record in records] == ["film.mp4", "film.mp4", None]
    assert any("intervals are over 2 clips" in line for line in notes(tmp_path / "out")), "two pieces count as one"
    takes_turns = [Stretch(cut, line, name, 0, COUNT).person for line in lines for name in ("a_p000", "grid/a/b_p000")]
    assert takes_turns == ["film.mp4", "grid/a", "film.mp4", "grid/a", "a_p000", "grid/a", "ann", "ann"]


def test_the_command_line_explains_what_is_missing(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    from typer.testing import CliRunner

    from sidgan.cli import app

    for arguments, text in (
        (["bundled", str(prepared)], "give --out"),
        (["--out", "x"], "or --videos and --truth"),
        ([str(prepared), str(prepared), "--out", str(tmp_path / "x")], "is a folder; give a weights file"),
        (["bundled", str(prepared), "--out", str(tmp_path / "x"), "--rows", "modell"], "unknown row 'modell'"),
    ):
        result = CliRunner().invoke(app, ["eval", *arguments])
        assert text in str(result.exception), arguments
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(("arguments", "told"), [
    (("--videos", "a", "--truth", "b", "--split", "test", "--reference", "pair"), "--split, --reference: only for"),
    (("--videos", "a", "--truth", "b", "--sounds", "c"), "--sounds: only for prepared clips"),
    (("bundled", "data", "--size", "256"), "--size: only for --videos"),
    (("bundled", "data", "--spans", "words.txt"), "--spans is only for --clips lrw"),
])  # fmt: skip
def test_an_option_that_would_be_passed_over_is_an_error(arguments: tuple[str, ...], told: str, tmp_path: Path) -> None:
    code, said = sidgan("eval", *arguments, "--out", tmp_path / "out")
    assert code == 2
    assert told in said
    assert not (tmp_path / "out").exists()


def test_an_expert_in_place_of_a_model_leaves_no_folder(prepared: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds a syncnet, not a generator"):
        evaluate_to(tmp_path / "out", checkpoint.bundled("syncnet"), [prepared])
    assert not (tmp_path / "out").exists()


def test_a_run_that_came_to_no_figure_does_not_keep_its_folder(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path
) -> None:
    (tmp_path / "wrong.pt").write_text("no network")
    how = Settings(rows=("truth",), id_every=0)
    with pytest.raises(CheckpointError, match=r"wrong\.pt is not a TorchScript file; give"):
        evaluate_to(tmp_path / "out", weights[0], [prepared], expert=weights[1], settings=how,
                    networks=NetworkFiles(tmp_path / "wrong.pt"))  # fmt: skip
    assert evaluate_to(tmp_path / "out", weights[0], [prepared], expert=weights[1], settings=how)


def test_a_full_disk_is_one_line(
    prepared: Path, weights: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match=r"npz cannot be written: no space left"):
        evaluate_to(tmp_path / "out", weights[0], [prepared], expert=weights[1],
                    settings=Settings(rows=("truth",), id_every=0))  # fmt: skip


def test_one_folder_needs_no_list(tmp_path):
    for judge in (evaluate_to, robustness_to):
        for data in ("nowhere", Path("nowhere"), ["nowhere"]):
            with pytest.raises(DataError, match=r"^nowhere holds no manifest"):
                judge(tmp_path / "out", "bundled", data)
    assert not list(tmp_path.iterdir())

"""What is packed from data sets: spans, annotated faces, side files, limits, failures, and runs that were killed."""

from __future__ import annotations

import gc
import json
import os
import signal
import time
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from marked import sidgan

from sidgan import media
from sidgan.data import packing, sources
from sidgan.data.dataset import PackedSet, read_crops
from sidgan.data.listing import ClipSource, files_below
from sidgan.data.packing import PrepareConfig, prepare_clip, sharpness_of
from sidgan.data.prepare import prepare
from sidgan.errors import InputError
from sidgan.evaluation import lists
from sidgan.faces import smooth
from sidgan.synth import LINES, Person, Scene, random_line

SMALL = PrepareConfig(size=64)

pytestmark = pytest.mark.usefixtures("one_thread", "known_faces")


def scene(seed: int, seconds: float, size: int = 200) -> Scene:
    return Scene(Person.random(seed), random_line(np.random.default_rng(seed), seconds), size=(size, size))


def film(path: Path, seed: int, seconds: float) -> None:
    drawn = scene(seed, seconds)
    media.write_clip(path, [shot.image for shot in drawn], Fraction(25), drawn.audio(16000), 16000)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """3.2 s of two people side by side, with a key frame each second; the sound is the left one's."""
    path = tmp_path_factory.mktemp("people") / "PPPPPPPPPPP.mp4"
    one, other = scene(3, 3.2), scene(4, 3.2)
    pictures = [np.hstack([a.image, b.image]) for a, b in zip(one, other, strict=False)]
    media.write_clip(path, pictures, Fraction(25), one.audio(16000), 16000)
    return path


def packed(source: ClipSource, out: Path, config: PrepareConfig = SMALL) -> dict:
    (out / "clips").mkdir(parents=True, exist_ok=True)
    return prepare_clip(source, out, config)


# ------------------------------------------------------------------------------------------------------ spans, points


@pytest.mark.parametrize("start", [0, Fraction(1, 3), 2, Fraction(61, 25), Fraction(5, 2), 3, 9])
def test_a_span_is_what_reading_from_the_beginning_gives(people: Path, start: Fraction) -> None:
    clip = media.probe(people)
    end = start + Fraction(1, 2)
    expected = [f for f in media.read_frames(clip) if start <= f.time < end]
    found = list(media.read_span(clip, Fraction(start), end))
    assert [f.time for f in found] == [f.time for f in expected]
    assert [f.index for f in found] == list(range(len(found)))
    for a, b in zip(found, expected, strict=True):
        assert all(np.array_equal(p, q) for p, q in zip(a.planes, b.planes, strict=True))


def test_a_span_of_a_file_is_packed_as_the_same_part_of_the_whole(people: Path, tmp_path: Path) -> None:
    left = (0.25, 0.5)  # of two who are equally large
    whole = packed(ClipSource(people, "whole", point=left), tmp_path)
    part = packed(ClipSource(people, "part", start=1.0, end=2.6, point=left), tmp_path)
    assert (whole["start"], part["start"]) == (0, 1)
    assert part["frames"] == 40
    assert whole["signature"] != part["signature"]
    arrays = {n: np.load(tmp_path / "clips" / f"{n}.npz") for n in ("whole", "part")}
    mel = arrays["whole"]["mel"][:, 80 : 80 + 120].astype(float)
    assert np.abs(arrays["part"]["mel"][:, 2:120].astype(float) - mel[:, 2:]).max() < 0.1
    crops = [read_crops(tmp_path / "clips" / f"{n}.mp4").astype(float) for n in ("whole", "part")]
    assert np.abs(crops[0][35:55] - crops[1][10:30]).mean() < 6, "the same face at the same time"


@pytest.mark.parametrize(("x", "person"), [(0.25, 3), (0.75, 4)])
def test_the_annotated_face_is_taken(people: Path, tmp_path: Path, x: float, person: int) -> None:
    record = packed(ClipSource(people, "one", point=(x, 0.5), end=1.6), tmp_path)
    matrices = np.load(tmp_path / "clips" / "one.npz")["matrices"]
    middle = matrices[:, 0, 2] + matrices[:, 0, 0] / 2
    assert record["kept"]
    assert (np.abs(middle / 400 - x) < 0.1).all()


def test_a_point_without_a_face_is_told(people: Path, tmp_path: Path) -> None:
    wide = tmp_path / "wide.mp4"
    pictures = [np.hstack([shot.image, np.full((200, 1000, 3), 90, np.uint8)]) for shot in scene(3, 1.2)]
    media.write_clip(wide, pictures, Fraction(25), scene(3, 1.2).audio(16000), 16000)
    record = packed(ClipSource(wide, "far", point=(0.9, 0.5)), tmp_path)
    assert record["reason"].startswith("no face at the annotated point (")


def test_sound_may_lie_in_a_file_beside(people: Path, tmp_path: Path) -> None:
    side, silent = tmp_path / "a.wav", tmp_path / "a.mp4"
    media.write_wav(side, media.read_audio(people), 16000)
    media.write_clip(silent, [rgb for _, rgb in media.read_rgb(people)][:40], Fraction(25))
    assert packed(ClipSource(silent, "without"), tmp_path)["reason"] == "no sound"
    record = packed(ClipSource(silent, "with", audio=side), tmp_path)
    assert record["kept"]
    side.write_bytes(side.read_bytes() + b"\0\0")
    assert packed(ClipSource(silent, "with", audio=side), tmp_path)["signature"] != record["signature"]


# ------------------------------------------------------------------------------------------------------------ limits


def test_blurred_faces_are_rejected_and_leave_nothing(tmp_path: Path) -> None:
    pictures = [shot.image for shot in scene(3, 1.4)]
    soft = [cv2.GaussianBlur(p, (0, 0), 4) for p in pictures]
    for name, shown in (("sharp", pictures), ("soft", soft)):
        media.write_clip(tmp_path / f"{name}.mp4", shown, Fraction(25), scene(3, 1.4).audio(16000), 16000)
    config = PrepareConfig(size=64, min_sharpness=30.0)
    assert packed(ClipSource(tmp_path / "sharp.mp4", "sharp"), tmp_path, config)["kept"]
    assert packed(ClipSource(tmp_path / "soft.mp4", "soft"), tmp_path)["kept"], "the limit is off"
    record = packed(ClipSource(tmp_path / "soft.mp4", "soft"), tmp_path, config)
    assert record["reason"].startswith("blurred (")
    assert record["sharpness"] < 30
    assert [p.name for p in (tmp_path / "clips").glob("soft*")] == ["soft.json"]


def test_sharpness_does_not_depend_on_the_packed_size() -> None:
    image = next(iter(scene(3, 1.0))).image
    big = cv2.resize(image, (256, 256), interpolation=cv2.INTER_CUBIC)
    small = cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)
    assert sharpness_of(big) == pytest.approx(sharpness_of(small), rel=0.5)


def test_another_face_in_the_crop_is_seen() -> None:
    base = np.random.default_rng(0).uniform(0, 1, (68, 2))
    base[36:48, 1], base[33] = 0.2, (0.5, 0.5)

    def track(x: float, first: int = 0, frames: int = 40):
        points = np.tile(base * 100 + [x, 0], (frames, 1, 1)).astype(np.float32)
        return smooth(first, points, np.ones(frames, np.float32))

    me = track(0)
    assert packing._crowded(me, [me]) == 0
    assert packing._crowded(me, [me, track(60)]) == 1
    assert packing._crowded(me, [me, track(400)]) == 0
    assert packing._crowded(me, [me, track(60, first=30)]) == pytest.approx(0.25)
    assert packing._crowded(me, [me, track(60, first=60)]) == 0


@pytest.mark.parametrize(
    ("change", "reason"),
    [({"max_roll": 0.01}, "turned away"), ({"min_evidence": 999.0}, "no evidence that sound and picture match"),
     ({"min_loudness": 0.0}, "silent"), ({"min_seconds": 3.0}, "face seen too briefly")],
)  # fmt: skip
def test_each_limit_has_its_reason(people: Path, tmp_path: Path, change: dict, reason: str) -> None:
    record = packed(ClipSource(people, "x", end=1.6), tmp_path, PrepareConfig(size=64, **change))
    assert record["reason"].startswith(reason + " (")


def test_a_mouth_beyond_the_edge_is_no_example(tmp_path: Path) -> None:
    shots = Scene(Person.random(6), LINES["hello"], seconds=1.6, size=(300, 320), face_px=190, motion=0.3)
    lips, below = (round(float(np.mean([shot.landmarks[i, 1] for shot in shots]))) for i in (62, 57))
    for line, reason in [(lips & ~1, "mouth or eyes beyond the edge of the picture"), (below + 30 & ~1, None)]:
        path = tmp_path / f"{line}.mp4"
        media.write_clip(path, [shot.image[:line] for shot in shots], Fraction(25), shots.audio(16000), 16000)
        record = packed(ClipSource(path, f"{line}"), tmp_path)
        assert record["kept"] == (reason is None), record
        assert record["beyond"] < packing.BEYOND or record["reason"].startswith(reason + " (in ")


def test_sound_that_is_far_off_is_rejected_where_that_is_wanted(
    people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "estimate_offset", lambda *_: packing_offset(9, 20.0))
    source = ClipSource(people, "x", end=1.6)
    assert packed(source, tmp_path)["corrected"] == 9
    record = packed(source, tmp_path, PrepareConfig(size=64, max_offset=6))
    assert record["reason"] == "sound and picture are too far apart (+9 frames)"


def packing_offset(frames: int, evidence: float):
    from sidgan.data.offset import Offset

    return Offset(frames, evidence)


# ---------------------------------------------------------------------------------------------------------- whole runs


def test_a_data_set_becomes_a_manifest_with_people_and_splits(people: Path, tmp_path: Path) -> None:
    root, out = tmp_path / "set", tmp_path / "out"
    root.mkdir()
    (root / people.name).symlink_to(people)
    (root / "avspeech_test.csv").write_text("PPPPPPPPPPP,0,1.6,0.25,0.5\nPPPPPPPPPPP,1,x,0.5,0.5\n")
    (root / "avspeech_train.csv").write_text("PPPPPPPPPPP,1.0,3.0,0.75,0.5\nQQQQQQQQQQQ,1.0,3.0,0.75,0.5\n")
    told: list[str] = []
    records = prepare(root, out, SMALL, source="avspeech", report=told.append)
    assert told == ["avspeech_test.csv:2: expected an id and four numbers, not 'PPPPPPPPPPP,1,x,0.5,0.5'"]
    assert [(r["name"], r["identity"], r["span"], r["splits"]) for r in records] == [
        ("PPPPPPPPPPP/0.00-1.60", "PPPPPPPPPPP", (0, 1.6), {"test": (0, 40)}),
        ("PPPPPPPPPPP/1.00-3.00", "PPPPPPPPPPP", (1, 3), {"aside": (0, 50)}),
    ]  # fmt: skip
    import hashlib

    assert {r["sha256"] for r in records} == {hashlib.sha256(people.read_bytes()).hexdigest()}
    assert len(PackedSet(out, ["test"])) == 40
    kinds = [json.loads(line)["kind"] for line in (out / "skipped.jsonl").read_text().splitlines()]
    assert sorted(kinds) == ["bad", "missing"]


def test_long_clips_are_cut_into_equal_pieces(people: Path, tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    (root / "talk.mp4").symlink_to(people)
    records = prepare(root, tmp_path / "out", SMALL, cut=2)
    assert [(r["name"], r["span"], r["frames"]) for r in records] == [
        ("talk_p000", (0, 1.6), 40), ("talk_p001", (1.6, 3.2), 40)
    ]  # fmt: skip
    assert [r["name"] for r in prepare(root, tmp_path / "out", SMALL, cut=4)] == ["talk"]
    rules, told = tmp_path / "rules.toml", list[str]()
    rules.write_text("never_train = ['talk', 'test/*']")
    again = prepare(root, tmp_path / "out", SMALL, cut=2, splits=rules, report=told.append)
    assert [r["splits"] for r in again] == [{"test": (0, 40)}] * 2, "a rule for the clip holds for its pieces"
    assert told == [f"a rule of {rules}: no clip matches 'test/*'"]
    (root / "talk_p001.mp4").write_bytes(b"cannot be looked at, so it stays whole")
    with pytest.raises(InputError, match="talk_p001 and talk_p001 would be packed under the same name"):
        prepare(root, tmp_path / "out", SMALL, cut=2)


def test_links_to_folders_are_followed_and_those_that_lead_nowhere_are_told(people: Path, tmp_path: Path) -> None:
    root, store = tmp_path / "set", tmp_path / "store"
    root.mkdir()
    store.mkdir()
    (store / "talk.mp4").symlink_to(people)
    (store / "gone.mp4").symlink_to(tmp_path / "nowhere.mp4")
    (store / "round").symlink_to(root)
    (root / "a").symlink_to(store)
    (root / "b").symlink_to(store)
    assert [p.relative_to(root).as_posix() for p in files_below(root)] == ["a/gone.mp4", "a/talk.mp4"]
    told: list[str] = []
    records = prepare(root, tmp_path / "out", SMALL, report=told.append)
    assert [(r["name"], r["kept"]) for r in records] == [("a/gone", False), ("a/talk", True)]
    assert len(told) == 1
    assert told[0].startswith("a/gone: ")
    assert "No such file" in told[0]


def test_cutting_leaves_the_test_list_as_it_is(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "hdtf"
    root.mkdir()
    (root / "WDA_annotion_time.txt").write_text("Ann0.mp4 0:00-0:02\nBob0.mp4 0:00-0:03\n")
    for name in ("Ann0", "Bob0"):
        (root / f"{name}.mp4").symlink_to(people)
    for module in (sources, lists):
        monkeypatch.setattr(module, "HDTF_TEST_SECONDS", 3)
    records = prepare(root, tmp_path / "out", SMALL, source="hdtf", cut=1)
    assert {r["name"]: list(r["splits"]) for r in records} == {
        "WDA_Ann/Ann0_0_p000": ["train"], "WDA_Ann/Ann0_0_p001": ["train"], "WDA_Bob/Bob0_0": ["test"]}  # fmt: skip
    assert [r["name"] for r, _ in lists.choose(records, "hdtf").clips] == ["WDA_Bob/Bob0_0"]
    rules = tmp_path / "rules.toml"
    rules.write_text("")
    assert len(prepare(root, tmp_path / "out", SMALL, source="hdtf", splits=rules, cut=1)) == 5, "no test clips then"


def test_too_many_failures_stop_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "set"
    root.mkdir()
    for i in range(40):
        (root / f"{i:02}.mp4").write_bytes(b"nothing")
    told: list[str] = []
    with pytest.raises(InputError, match=r"11 of 40 clips of .* cannot be used, the last: .*10.mp4 .*--max-failures"):
        prepare(root, tmp_path / "out", SMALL, report=told.append)
    assert len(told) == 11
    assert not (tmp_path / "out" / "manifest.jsonl").exists()
    records = prepare(root, tmp_path / "out", SMALL, max_failures=1)
    assert len(records) == 40
    assert all(r["failed"] for r in records)
    (root / "avspeech_train.csv").write_text("PPPPPPPPPPP,0,1.6,0.25,0.5\n" + "nonsense\n" * 11)
    (root / "PPPPPPPPPPP.mp4").write_bytes(b"nothing")
    with pytest.raises(InputError, match=r"11 of 12 lines in .* the last: avspeech_train.csv:12: expected an id"):
        prepare(root, tmp_path / "other", SMALL, source="avspeech")


def test_an_odd_clip_does_not_end_the_run(people: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ValueError("a thing nobody\nthought of")

    monkeypatch.setattr(packing, "_best_track", broken)
    record = packed(ClipSource(people, "x", end=0.4), tmp_path)
    assert record["failed"]
    assert record["reason"].endswith("cannot be processed (ValueError: a thing nobody thought of)")


def test_names_that_would_share_a_file_are_refused(tmp_path: Path) -> None:
    for name in ("a/b.mp4", "a__b.mp4"):
        (tmp_path / "set" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "set" / name).write_bytes(b"")
    with pytest.raises(InputError, match="a/b and a__b would be packed under the same name"):
        prepare(tmp_path / "set", tmp_path / "out")


def contents(out: Path) -> dict[str, bytes]:
    files = [*(out / "clips").iterdir(), out / "manifest.jsonl"]
    return {p.name: p.read_bytes() for p in files}


def test_a_killed_run_goes_on_to_the_same_result(tmp_path: Path) -> None:
    root = tmp_path / "set"
    root.mkdir()
    film(root / "0.mp4", 3, 1.2)
    for i in (1, 2):
        (root / f"{i}.mp4").write_bytes((root / "0.mp4").read_bytes())
    prepare(root, tmp_path / "whole", SMALL)
    out = tmp_path / "killed"
    gc.collect()  # a decoder that is closed in the child waits for threads that are not there
    child = os.fork()
    if not child:
        try:
            sidgan("prepare", root, out, "--size", 64)
        finally:
            os._exit(0)
    half_written, until = out / "clips" / ".1.mp4.part", time.monotonic() + 60
    while not half_written.exists() and time.monotonic() < until:
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not (out / "manifest.jsonl").exists()
    assert not (out / "clips" / "1.json").exists()
    stamp = (out / "clips" / "0.mp4").stat().st_mtime_ns
    prepare(root, out, SMALL)
    assert (out / "clips" / "0.mp4").stat().st_mtime_ns == stamp, "what was done is not done again"
    assert contents(out) == contents(tmp_path / "whole")


def test_what_other_settings_left_behind_is_not_mixed_in(people: Path, tmp_path: Path) -> None:
    source = ClipSource(people, "x", end=1.2)
    packed(source, tmp_path)
    (tmp_path / "clips" / "x.npz").unlink()
    assert packed(source, tmp_path)["kept"]
    assert (tmp_path / "clips" / "x.npz").is_file(), "a record alone is not enough"
    (tmp_path / "clips" / "x.json").write_text("")  # as a power cut may leave it
    assert packed(source, tmp_path)["kept"]

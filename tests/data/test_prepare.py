"""From footage to packed crops; on drawn people."""

import json
import os
import sys
from fractions import Fraction

import numpy as np
import pytest
from marked import HEX, copied

from sidgan import media, provenance
from sidgan.data import splits
from sidgan.data.dataset import PackedSet, read_crops
from sidgan.data.packing import PrepareConfig, ticks
from sidgan.data.prepare import prepare
from sidgan.data.survey import survey
from sidgan.errors import DataError, OutputError
from sidgan.synth import Person, Scene, random_line
from sidgan.types import FaceTrack


def film(path, seed=3, seconds=2.6, rate=Fraction(25), size=200, sound=True):
    scene = Scene(Person.random(seed), random_line(np.random.default_rng(seed), seconds), rate=rate, size=(size, size))
    media.write_clip(path, (shot.image for shot in scene), rate, scene.audio(16000) if sound else None, 16000)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("footage")
    film(folder / "talk.mp4")
    film(folder / "fast.mp4", seed=4, rate=Fraction(30000, 1001), seconds=1.5)
    film(folder / "silent.mp4", seconds=1.2, sound=False)
    media.write_clip(folder / "nobody.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 30, Fraction(25),
                     np.zeros(19200, np.float32), 16000)  # fmt: skip
    (folder / "broken.mp4").write_bytes((folder / "talk.mp4").read_bytes()[:3000])
    return folder


def test_prepare_keeps_explains_and_resumes(folder, tmp_path):
    records = {r["name"]: r for r in prepare(folder, tmp_path / "one", PrepareConfig(size=64))}
    assert {name for name, r in records.items() if r["kept"]} == {"talk", "fast"}
    assert records["nobody"]["reason"] == "no face"
    assert records["silent"]["reason"] == "no sound"
    assert "broken.mp4" in records["broken"]["reason"]
    clips = tmp_path / "one" / "clips"
    assert read_crops(clips / "talk.mp4").shape == (records["talk"]["frames"], 64, 64, 3)
    assert abs(records["fast"]["frames"] - 1.5 * 25) <= 2
    before = {p.name: p.read_bytes() for p in clips.iterdir()}
    stamp = (clips / "talk.mp4").stat().st_mtime_ns
    (clips / "fast.json").unlink()  # as if stopped before this clip was done
    again = prepare(folder, tmp_path / "one", PrepareConfig(size=64))
    assert (clips / "talk.mp4").stat().st_mtime_ns == stamp, "finished clips are not made again"
    assert before == {p.name: p.read_bytes() for p in clips.iterdir()}, "and the result is the same"
    assert json.loads(json.dumps(again)) == [
        json.loads(line) for line in (tmp_path / "one" / "manifest.jsonl").read_text().splitlines()
    ]


def test_clips_that_are_dubs_are_prepared_and_told(folder, tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "out"
    raw.mkdir()
    edited = provenance.Stretches.of([(0, 1)])
    mark = provenance.Mark(model="bundled", weights=HEX, source=HEX, voice=HEX, edited=edited)
    copied(folder / "fast.mp4", raw / "film.mp4")
    copied(folder / "fast.mp4", raw / "dub.mp4", mark.tags()["comment"])
    copied(folder / "fast.mp4", raw / "damaged.mp4", f"{provenance.SENTENCE} and no more")
    copied(folder / "nobody.mp4", raw / "nobody.mp4", mark.tags()["comment"])
    records = {r["name"]: r for r in prepare(raw, out, PrepareConfig(size=64))}
    assert {name for name, r in records.items() if r["kept"]} == {"film", "dub", "damaged"}
    assert {name for name, r in records.items() if r.get("altered")} == {"dub", "damaged", "nobody"}
    assert survey(out).to_dict()["altered"] == 2
    told = "2 of 3 kept clips are marked as altered, dubbed by sidgan (altered in manifest.jsonl); train on originals"
    assert survey(out).lines()[-1] == told
    for name in ("dub", "damaged", "nobody"):
        (raw / f"{name}.mp4").unlink()
    prepare(raw, out, PrepareConfig(size=64))
    assert survey(out).to_dict()["altered"] == 0
    assert "altered" not in "".join(survey(out).lines())


def test_a_video_that_is_cut_is_held_out_as_a_whole(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(splits, "SHARE", 2)
    raw = tmp_path / "raw"
    raw.mkdir()
    for name in ("talk", "fast"):
        (raw / f"{name}.mp4").write_bytes((folder / f"{name}.mp4").read_bytes())
    records = prepare(raw, tmp_path / "out", PrepareConfig(size=64, min_seconds=0.5), cut=0.8)
    sides = {(r["source"], *r["splits"]) for r in records if r["kept"]}
    assert sides == {("fast.mp4", "heldout"), ("talk.mp4", "train")}


def test_packed_mels_fit_their_frames(folder, tmp_path):
    prepare(folder, tmp_path, PrepareConfig(size=64))
    data = PackedSet(tmp_path, ["train"])
    for clip in data.clips:
        assert clip.mels.shape == (len(clip), 1, 80, 28)
        assert float(clip.mels.max()) > 0, "speech is louder than silence"
    windows = data.windows(np.random.default_rng(0), 3, 5)
    assert windows.target.shape == (3, 5, 3, 64, 64)
    assert 0.1 < float(windows.mask.mean()) < 0.6
    with pytest.raises(DataError, match="no clips for heldout"):
        PackedSet(tmp_path, ["heldout"])


def test_ticks_pick_the_nearest_frame():
    times = [Fraction(i * 1001, 30000) for i in range(90)]
    track = FaceTrack(0, np.ones(90, bool), *(np.zeros(1),) * 4)
    picks = ticks(times, track)
    assert len(picks) == int(float(times[-1]) * 25) + 1
    for n, pick in enumerate(picks):
        assert abs(float(times[pick]) - n / 25) <= 1001 / 60000 + 1e-9
    slow = ticks([Fraction(i, 10) for i in range(20)], FaceTrack(0, np.ones(20, bool), *(np.zeros(1),) * 4))
    assert slow[:6] == [0, 0, 1, 1, 2, 2], "slow footage repeats frames, it does not run faster"


def test_a_folder_that_cannot_be_made_and_a_full_disk_are_one_line(folder, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="file cannot be written"):
        prepare(folder, tmp_path / "file", PrepareConfig(size=64))

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(OutputError, match=r"fast\.npz cannot be written: no space left"):  # and no clip is to blame
        prepare(folder, tmp_path / "out", PrepareConfig(size=64))


@pytest.mark.skipif(sys.platform != "linux", reason="names of files are text there")
def test_a_name_that_is_no_text_becomes_one(folder, tmp_path):
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / os.fsdecode(b"m\xfcller.mp4")).write_bytes((folder / "fast.mp4").read_bytes())
    (record,) = prepare(tmp_path / "old", tmp_path / "out", PrepareConfig(size=64))
    assert record["kept"], record
    assert record["name"] == r"m\udcfcller"
    assert len(PackedSet(tmp_path / "out", ["train"])) == record["frames"], "OpenCV dies of the name as it was"


def test_a_folder_of_shards_is_not_prepared_into(folder, tmp_path):
    (tmp_path / "shards.json").write_text("{}")
    with pytest.raises(OutputError, match="holds shards, which cannot share"):
        prepare(folder, tmp_path, PrepareConfig(size=64))
    assert [p.name for p in tmp_path.iterdir()] == ["shards.json"]

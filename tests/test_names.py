"""Names with accents: macOS stores them in another form than is typed elsewhere, and both are one name."""

from __future__ import annotations

import json
import unicodedata
from pathlib import Path

import pytest

from sidgan import jobs
from sidgan.data.dataset import read_manifest
from sidgan.data.sources import folder as videos_below
from sidgan.data.splits import HeldOut, Rules, Splits
from sidgan.errors import InputError
from sidgan.evaluation.lists import by_name
from sidgan.evaluation.videos import pairs
from sidgan.jobs import Job

COMPOSED, APART = (unicodedata.normalize(form, "zoë/müller") for form in ("NFC", "NFD"))


def film(root: Path, name: str) -> Path:
    path = root / f"{name}.mp4"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def test_videos_of_one_name_are_paired_and_stay_where_they_are(tmp_path: Path) -> None:
    mine, true = film(tmp_path / "a", APART), film(tmp_path / "b", COMPOSED)
    (pair,) = pairs(tmp_path / "a", tmp_path / "b")
    assert (pair.name, pair.result, pair.truth) == (COMPOSED, str(mine), str(true))


def test_rules_and_lists_mean_clips_however_they_are_spelt(tmp_path: Path) -> None:
    film(tmp_path, APART)
    (clip,) = videos_below(tmp_path).clips
    for rule in (APART, COMPOSED):
        splits = Splits(Rules(heldout=HeldOut(clips=(rule,), every=1)), [clip.name])
        assert splits.ranges(clip.name, 50) == {"heldout": (0, 50)}
        assert splits.idle == []
    (tmp_path / "manifest.jsonl").write_text(json.dumps({"name": APART, "splits": {"test": [0, 9]}}), encoding="utf-8")
    for line in (APART, COMPOSED):
        (tmp_path / "list.txt").write_text(line, encoding="utf-8")
        assert len(by_name(read_manifest(tmp_path), tmp_path / "list.txt").clips) == 1


def test_a_list_of_jobs_finds_its_files(tmp_path: Path) -> None:
    video, voice = film(tmp_path, APART), film(tmp_path, "plain")
    listed = tmp_path / "jobs.csv"
    listed.write_text(f"video,out,speakers\n{tmp_path / COMPOSED}.mp4,{tmp_path}/out.mp4,1={voice}", encoding="utf-8")
    (job,) = jobs.read(listed, Job(Path(), None, Path()))
    assert job.video == video
    assert job.speakers == {1: voice}
    lines = [f"{video},{tmp_path / name.replace('/', '-')}.mp4,1={voice}" for name in (COMPOSED, APART)]
    listed.write_text("\n".join(["video,out,speakers", *lines]), encoding="utf-8")
    with pytest.raises(InputError, match="more than one job for"):
        jobs.read(listed, Job(Path(), None, Path()))

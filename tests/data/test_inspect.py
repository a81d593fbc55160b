"""What a person is told and shown about a prepared folder."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from sidgan import media
from sidgan.cli import app
from sidgan.data import sheets
from sidgan.data.survey import MEASURES, survey
from sidgan.errors import DataError, OutputError


def record(name: str, frames: int = 50, **facts: object) -> dict:
    base = {"name": name, "file": name, "kept": True, "frames": frames, "size": 32, "side": 120.0, "loudness": -20.0,
            "offset": 3, "offset_evidence": 12.0, "corrected": 3, "sharpness": 80.0, "yaw": 4.0, "pitch": -2.0,
            "roll": 0.0, "identity": "ann", "source": f"{name}.mp4", "span": None,
            "splits": {"train": [0, frames]}}  # fmt: skip
    return base | facts


def rejected(name: str, reason: str, **facts: object) -> dict:
    keep = {"name", "file", "source", "span"}
    return {k: v for k, v in record(name).items() if k in keep} | {"kept": False, "reason": reason} | facts


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    root, raw = tmp_path / "data", tmp_path / "raw"
    (root / "clips").mkdir(parents=True)
    raw.mkdir()
    records = [
        record("a"), record("b", identity="bob", splits={"train": [0, 20], "heldout": [30, 50]}),
        record("c", offset=-15, offset_evidence=2.0, corrected=0, yaw=-20.0),
        rejected("d", "blurred (12)", sharpness=12.0, side=90.0),
        rejected("e", "blurred (8)", sharpness=8.0, side=70.0),
        rejected("f", "f.mp4 is not video or sound that can be read; copy it again", failed=True),
    ]  # fmt: skip
    for name in "abc":
        pictures = [np.full((32, 32, 3), (200, 30, 30), np.uint8)] * 50
        media.write_clip(root / "clips" / f"{name}.mp4", pictures, Fraction(25), crf=4, chroma444=True)
        masks = np.tile(np.array([0.2, 0.5, 0.8, 1], np.float32), (50, 1))
        np.savez(root / "clips" / f"{name}.npz", masks=masks, pose=np.tile([7.0, 1.0, 0.0], (50, 1)))
    media.write_clip(raw / "d.mp4", [np.full((48, 96, 3), 60, np.uint8)] * 5, Fraction(25))
    (root / "manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in records))
    (root / "prepare.json").write_text(json.dumps({"root": str(raw), "min_sharpness": 30.0, "max_yaw": 15.0}))
    (root / "skipped.jsonl").write_text('{"kind": "missing", "what": "x", "where": "l.txt:3"}\n')
    return root


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour, np.uint8)).all(-1).any())


def test_numbers_by_split_and_reason(prepared: Path) -> None:
    found = survey(prepared).to_dict()
    assert (found["clips"], found["kept"], found["frames"]) == (6, 3, 150)
    assert found["splits"]["train"] == {"clips": 3, "people": 2, "frames": 120, "hours": 0.001}
    assert found["splits"]["heldout"]["clips"] == 1
    assert found["rejected"] == {"blurred": 2, "cannot be read": 1}
    assert found["skipped"] == {"missing": 1}
    assert found["measured"]["seconds"]["median"] == 2
    assert found["measured"]["offset"]["clips"] == 2, "offsets that cannot be trusted are not counted"
    text = "\n".join(survey(prepared).lines())
    for line in ("3 of 6 clips kept, 150 frames", "train: 3 clips of 2 people", "2 rejected: blurred",
                 "1 listed, but missing"):  # fmt: skip
        assert line in text


def test_pictures_show_kept_rejected_and_limits(prepared: Path, tmp_path: Path) -> None:
    paths = sheets.draw(survey(prepared), tmp_path / "new" / "look")
    assert [p.name for p in paths] == ["histograms.png", "kept.png", "rejected.png"]
    charts, kept, out = (cv2.imread(str(p))[..., ::-1] for p in paths)
    for colour in (sheets.KEPT, sheets.REJECTED, sheets.LIMIT):
        assert has(charts[70:], colour), "below the legend"
    red = (np.abs(kept.astype(int) - (200, 30, 30)).max(-1) < 25).sum()
    assert red > 3 * sheets.TILE**2 * 0.8, "four crops: one clip is on two sides"
    assert has(kept, (255, 255, 0)), "the hidden region has its line"
    grey = (np.abs(out.astype(int) - 60).max(-1) < 8).sum()
    assert grey >= sheets.TILE * sheets.TILE // 2 - sheets.TILE, "the source of d, in its own shape; e and f are gone"


def test_limits_are_lines_on_the_side_they_are_on(prepared: Path) -> None:
    found = survey(prepared)
    limits = {m.key: found.limits(m) for m in MEASURES}
    assert limits["sharpness"] == [30.0]
    assert limits["yaw"] == [15.0, -15.0]
    assert limits["side"] == []


def test_folders_of_older_versions_can_be_looked_at(prepared: Path, tmp_path: Path) -> None:
    new = {"yaw", "pitch", "roll", "sharpness", "identity", "source", "span"}
    records = [json.loads(line) for line in (prepared / "manifest.jsonl").read_text().splitlines()]
    old = [{k: v for k, v in r.items() if k not in new} for r in records]
    (prepared / "manifest.jsonl").write_text("".join(json.dumps(r) + "\n" for r in old))
    for name in ("prepare.json", "skipped.jsonl"):
        (prepared / name).unlink()
    found = survey(prepared)
    assert found.to_dict()["measured"]["yaw"]["median"] == 7, "taken from the packed poses"
    assert found.splits()["train"]["people"] is None
    assert len(sheets.draw(found, tmp_path / "look")) == 3


def test_inspect_on_the_command_line(prepared: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["inspect", str(prepared), "--json"])
    values = json.loads(result.output)
    assert values["kept"] == 3
    assert [Path(p).parent for p in values["pictures"]] == [prepared / "inspect"] * 3
    assert all(Path(p).is_file() for p in values["pictures"])
    text = CliRunner().invoke(app, ["inspect", str(prepared), "-o", str(tmp_path / "p")]).output
    assert "3 of 6 clips kept" in text
    assert "histograms.png" in text
    assert "sidgan inspect" in CliRunner().invoke(app, ["inspect", "--help"]).output


def test_nothing_to_inspect(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="sidgan prepare"):
        survey(tmp_path)
    (tmp_path / "file").write_text("")
    (tmp_path / "manifest.jsonl").write_text("")
    assert survey(tmp_path).to_dict()["clips"] == 0
    assert sheets.draw(survey(tmp_path), tmp_path / "look") == [tmp_path / "look" / "histograms.png"]
    with pytest.raises(OutputError, match="choose another folder"):
        sheets.draw(survey(tmp_path), tmp_path / "file" / "look")

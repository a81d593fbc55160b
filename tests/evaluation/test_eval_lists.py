"""Which clips are judged: draws from manifests that are made up here."""

from pathlib import Path
from typing import Any

import pytest

from sidgan.errors import ConfigError, DataError, InputError
from sidgan.evaluation.lists import avspeech, by_name, by_split, choose, hdtf, lrw, overlap


def clip(name: str, split: str = "test", frames: int = 100, **facts: Any) -> dict[str, Any]:
    return {"name": name, "splits": {split: [0, frames]}, "identity": None, "span": None, "word": None} | facts


def names(choice: Any) -> list[str]:
    return sorted(record["name"] for record, _ in choice.clips)


def test_avspeech_never_tests_on_a_video_that_was_trained_on() -> None:
    records = [clip(f"v{i}/{k}", identity=f"v{i}") for i in range(2100) for k in range(2)]
    records += [clip("v7/2", "train", identity="v7")]
    choice = avspeech(records)
    assert len(choice.clips) == 3945
    assert "v7" not in {record["identity"] for record, _ in choice.clips}
    assert names(avspeech(records[::-1])) == names(choice), "the order of the manifest does not matter"
    fewer = [r for r in records if r["identity"] != "v8"]
    assert set(names(choice)) - set(names(avspeech(fewer))) <= {"v8/0", "v8/1"}, "nor does what else is missing"


def test_hdtf_takes_long_clips_and_judges_seven_minutes() -> None:
    records = [clip(f"a{i:03}", span=(5.0, 35.0 + i)) for i in range(200)]
    records += [clip("short", span=(0.0, 29.9)), clip("cut", frames=750), clip("brief", frames=749)]
    choice = hdtf(records)
    assert len(choice.clips) == 171
    assert choice.max_frames == 10_500
    few = hdtf(records[195:])
    assert names(few) == [*(f"a{i}" for i in range(195, 200)), "cut"]


def test_lrw_without_an_aligner_takes_two_of_each_word_and_says_so() -> None:
    records = [clip(f"{w}/test/{w}_{i:05}", word=(0.3, 0.8)) for w in ("ABOUT", "BACK") for i in (3, 1, 2)]
    choice = lrw(records)
    assert names(choice) == [f"{w}/test/{w}_{i:05}" for w in ("ABOUT", "BACK") for i in (1, 2)]
    assert any("not aligned" in note for note in choice.notes)


def test_lrw_with_an_aligner_takes_the_best_overlaps(tmp_path: Path) -> None:
    records = [clip(f"W/test/W_{i:05}", word=(0.4, 0.8)) for i in range(1003)]
    spans = tmp_path / "spans.txt"
    heard = {0: "0.0 0.1", 5: "0.8 1.0", 7: "0.4 1.16"}
    spans.write_text("".join(f"W/test/W_{i:05} {heard.get(i, '0.4 0.8')}\n" for i in range(1003)))
    choice = lrw(records, spans)
    assert len(choice.clips) == 1000
    assert not {0, 5, 7} & {int(n[-5:]) for n in names(choice)}
    assert not any("not aligned" in note for note in choice.notes)
    spans.write_text("W/test/W_00000 0.1 0.5\nW/test/W_00001 soon later\n")
    with pytest.raises(InputError, match=r"spans\.txt:2: expected NAME START END"):
        lrw(records, spans)


def test_overlap_of_spans() -> None:
    assert overlap((0, 2), (1, 3)) == pytest.approx(1 / 3)
    assert overlap((0, 1), (2, 3)) == 0
    assert overlap((0, 1), (0, 1)) == 1


def test_a_list_of_names(tmp_path: Path) -> None:
    records = [clip("a", "heldout"), clip("b", "train"), clip("c") | {"splits": {"train": [0, 9], "heldout": [12, 30]}}]
    listed = tmp_path / "list.txt"
    listed.write_text("c\nb\n\n")
    assert [(r["name"], s) for r, s in by_name(records, listed).clips] == [("c", "heldout"), ("b", "train")]
    assert [(r["name"], s) for r, s in by_name(records, listed, ["train"]).clips] == [("c", "train"), ("b", "train")]
    assert names(by_split(records, ["heldout"])) == ["a", "c"]
    listed.write_text("a\nd\n")
    with pytest.raises(DataError, match=r"list\.txt:2: no clip 'd'"):
        by_name(records, listed)
    listed.write_text("a\n\nb\na\n")
    with pytest.raises(DataError, match=r"list\.txt:4: 'a' is listed twice, first in list\.txt:1; leave one"):
        by_name(records, listed)
    listed.write_text("\n")
    with pytest.raises(DataError, match=r"list\.txt names no clip; write one clip name a line"):
        by_name(records, listed)


def test_lists_that_cannot_be() -> None:
    with pytest.raises(DataError, match="prepare with --source hdtf"):
        choose([clip("a")], "hdtf")
    with pytest.raises(ConfigError, match="leave --split out"):
        choose([clip("a")], "lrw", ["heldout"])
    with pytest.raises(ConfigError, match="--spans goes with"):
        choose([clip("a")], "hdtf", spans=Path("x"))
    with pytest.raises(InputError, match="no list none"):
        choose([clip("a")], "none")

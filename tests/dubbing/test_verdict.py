"""What to check first in a dub, and the page that says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidgan import dubbing, media
from sidgan.dubbing.review.verdict import Finding, findings, least_sure, seconds_of

FINE = {"seam": 0.4, "jitter": 0.1, "sharpness": 0.9}


def look(first: int, last: int, **figures: Any) -> dict[str, Any]:
    return {"first": first, "last": last, "start": first / 10, "end": (last + 1) / 10, "dubbed": last + 1 - first,
            **FINE, **figures}  # fmt: skip


def shot(first: int, last: int, confidence: float, person: int | None = 1, dubbed: int | None = None) -> dict[str, Any]:
    return {"first": first, "last": last, "start": first / 10, "end": (last + 1) / 10, "person": person,
            "confidence": confidence, "dubbed": last + 1 - first if dubbed is None else dubbed}  # fmt: skip


def report(**change: Any) -> dict[str, Any]:
    return {"frames": 100, "dubbed": 90, "passed": (), "damaged": (), "notes": (), "looks": [look(0, 99)],
            "shots": [shot(0, 99, 0.98)], **change}  # fmt: skip


def test_nothing_stands_out_where_nothing_is_wrong() -> None:
    assert findings(report()) == []
    assert findings({}) == []
    asked_for = [(90, 94, "pause of the voice"), (95, 99, "voice is over")]
    assert findings(report(passed=asked_for, shots=[shot(0, 99, 0.98), shot(0, 99, 0.0, None, 0)])) == []


def test_a_dub_that_redrew_nothing_stands_out() -> None:
    passed = [(0, 99, "pause of the voice")]
    found = findings(report(dubbed=0, passed=passed, looks=[], shots=[shot(0, 99, 0.98, dubbed=0)]))
    assert found == [Finding(4.0, 0.0, 10.0, "no mouth was redrawn at all")]


def test_the_most_doubtful_comes_first() -> None:
    found = findings(report(
        looks=[look(0, 19, seam=2.4), look(40, 99, sharpness=2.0, jitter=0.6)],
        shots=[shot(0, 49, 0.6), shot(50, 99, 0.96)],
        passed=[(20, 39, "face partly covered")], damaged=[(1.0, 3.0)],
    ))  # fmt: skip
    assert [Finding(round(one.weight, 2), *one[1:]) for one in found] == [
        (3.33, 4.0, 10.0, "redrawn skin flickers (jitter 0.60); "
                          "redrawn skin is sharper than the rest of the picture (sharpness 2.00)"),
        (3.0, 1.0, 3.0, "the video is damaged: the last good frame is held"),
        (2.0, 2.0, 4.0, "left as filmed: face partly covered"),
        (1.6, 0.0, 5.0, "the mouth of person 1 is hard to locate (confidence 0.60)"),
        (1.2, 0.0, 2.0, "an edge may be visible around the mouth (seam 2.40)"),
    ]  # fmt: skip
    assert findings(report(damaged=[(0.0, 99.0)]))[0].weight == 4.0


def test_shots_without_anybody_come_last() -> None:
    shots = [shot(0, 49, 0.98), shot(50, 99, 0.0, None, 0)]
    nobody, hidden = (50, 99, "no face"), (30, 39, "face partly covered")
    found = findings(report(shots=shots, passed=[hidden, nobody]))
    assert [(one.weight, one.text) for one in found] == [
        (1.5, "left as filmed: face partly covered"), (1.0, "left as filmed: no face"),
    ]  # fmt: skip
    assert findings(report(shots=shots, passed=[(30, 99, "no face")]))[0].weight == 4.0, "lost within a shot"


def test_an_unsure_shot_that_was_not_redrawn_is_no_finding() -> None:
    assert findings(report(shots=[shot(0, 99, 0.2, dubbed=0)])) == []
    assert least_sure([shot(0, 49, 0.2, dubbed=0), shot(0, 49, 0.8), shot(50, 99, 0.6)], 10, 49) == 0.8
    assert least_sure([shot(0, 49, 0.9), shot(50, 99, 0.6)], 49, 50) == 0.6
    assert least_sure([], 0, 9) is None


def test_frames_are_told_in_seconds_of_the_output() -> None:
    late = look(60, 99) | {"start": 8.0, "end": 14.0}  # the rate has changed at frame 40
    at = seconds_of(report(looks=[look(0, 39), late], shots=[]))
    assert [at(frame) for frame in (0, 20, 40, 60, 80, 100)] == pytest.approx([0, 2, 4, 8, 11, 14])
    (found,) = findings(report(looks=[look(0, 39), late], shots=[], passed=[(40, 59, "face turned")]))
    assert found == Finding(3.0, 4.0, 8.0, "left as filmed: face turned")


def test_the_page_shows_shots_notes_and_damage(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "out.mp4", [np.full((64, 64, 3), 99, np.uint8)] * 5, 25, np.zeros(3200, np.float32))
    told = report(
        notes=("shot 2: it is not clear <who> speaks", f"not copied from {tmp_path / 'video.mp4'}: 1 data track"),
        damaged=((1.0, 1.5),), passed=((20, 39, "face turned"),),
        shots=[shot(0, 49, 0.7), shot(50, 99, 0.91, 2), shot(50, 99, 0.0, None, 0)],
    )  # fmt: skip
    names = tmp_path / "video.mp4", {"voice": tmp_path / "voice.wav"}, tmp_path / "out.mp4"
    dubbing.write_page(told, *names, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    first, rest = page.split("</section>")
    for words in ("What to check first", "3 moments are worth a look", "left as filmed: face turned",
                  "0:02.0 to 0:04.0", "the video is damaged", "it is not clear &lt;who&gt; speaks",
                  "not copied from video.mp4: 1 data track"):  # fmt: skip
        assert words in first
    for words in ("person 2", "nobody", "0.91", "<span class='doubt'>0.70</span>", "0.50 s"):
        assert words in rest
    assert rest.count("<span class='doubt'>0.70</span>") == 2  # of the shot, and of the stretch in it
    dubbing.write_page(report(), *names, tmp_path / "page.html", {names[0]: "interview.mp4"})
    page = (tmp_path / "page.html").read_text()
    assert "Nothing stands out" in page
    assert "interview.mp4" in page
    assert "video.mp4" not in page

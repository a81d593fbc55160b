"""The page of promises names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

from marked import missing

PAGE = Path(__file__).parent.parent / "docs" / "invariants.md"


def test_every_promise_of_a_dub_names_tests_that_exist() -> None:
    _, _, rest = PAGE.read_text().partition("## Promises of a dub")
    section, _, _ = rest.partition("\n## ")
    rows = [line.split("|") for line in section.splitlines() if line.startswith("|")][2:]
    assert {row[1].split(",")[0].strip() for row in rows} == {
        "Time", "Untouched pixels", "One generation", "Memory", "Chunking", "Passing through", "Bad input",
        "Crash and resume", "Surroundings", "Softness", "Hidden mouth", "Shifts", "One window", "Streams", "Subtitles",
        "Timecode", "Pauses", "Nods and turns", "Turned faces", "Cuts",
        "Light", "Focus", "Captions", "Runs", "Lists", "Close-ups",
    }  # fmt: skip
    for row in rows:
        named = re.findall(r"`(test_\w+\.py::test_\w+)`", row[3])
        assert named, row[1]
        assert missing(named) == []

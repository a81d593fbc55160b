"""Output files of a command: an image, numbers as JSON, a table as Markdown. Each is written atomically."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from sidgan.files import check_target, write_text, writing


class Figure:
    """The paths of a figure's image and numbers; creates the folder, and raises `OutputError` if it is not writable."""

    def __init__(self, name: str, folder: Path) -> None:
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
        self.picture, self.numbers = folder / f"{name}.png", folder / f"{name}.json"
        check_target(self.picture)

    def write(self, values: dict[str, Any], as_json: bool) -> None:
        """Write the numbers, and print them if asked to."""
        text = json.dumps(values, indent=1)
        write_text(self.numbers, text)
        if as_json:
            print(text)


def write_texts(folder: Path, name: str, markdown: str, values: dict[str, Any]) -> Path:
    """Write ``NAME.md`` and ``NAME.json`` into a folder, created if missing; returns the path of ``NAME.md``.

    Raises:
        OutputError: they cannot be written.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    for end, text in ((".md", markdown), (".json", json.dumps(values, indent=1) + "\n")):
        write_text(folder / f"{name}{end}", text)
    return folder / f"{name}.md"

"""What the documentation says one can type: commands, options, names, blocks to be run."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import typer

from sidgan.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [*map(ROOT.joinpath, ("README.md", "MODEL_CARD.md", "CONTRIBUTING.md")), *sorted((ROOT / "docs").rglob("*.md"))]
MARK = re.compile(r"<!-- run( slow)? -->")
RUNNERS = re.compile(r"^torchrun .*?-m -- ")  #: what may stand before a command


@dataclass(frozen=True)
class Block:
    """A block that is to be run: on which page and line, its text, its language, and whether it takes long."""

    page: Path
    line: int
    text: str
    language: str
    slow: bool

    @property
    def name(self) -> str:
        """For reports of tests."""
        return f"{self.page.name}:{self.line}"


def marked(page: Path) -> Iterator[Block]:
    """Fenced blocks of a page that follow a mark such as ``<!-- run slow -->``."""
    lines = page.read_text(encoding="utf-8").split("\n")
    for i, line in enumerate(lines):
        if found := MARK.fullmatch(line.strip()):
            begin = next(k for k in range(i + 1, len(lines)) if lines[k])
            assert lines[begin].startswith("```"), f"{page.name}:{i + 1}: no block follows the mark"
            end = next(k for k in range(begin + 1, len(lines)) if lines[k] == "```")
            yield Block(page, begin + 1, "\n".join(lines[begin + 1 : end]), lines[begin][3:].strip(), bool(found[1]))


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """(number, line) of all lines in blocks, fenced or indented, of a page; lines that go on are joined."""
    fenced, waiting, begin = False, "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        if line.lstrip().startswith("```"):
            fenced = not fenced
            continue
        if not fenced and not line.startswith("    "):
            continue
        begin = begin if waiting else number
        waiting += line.strip()
        if waiting.endswith("\\"):
            waiting = waiting[:-1]
            continue
        yield begin, waiting
        waiting = ""


def spans(text: str) -> Iterator[tuple[int, str]]:
    """(number, text) of all code in running text; it may go over the end of a line."""
    prose = re.sub(r"(?m)^```.*?^```", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL)
    for found in re.finditer(r"`([^`]+)`", prose):
        yield prose.count("\n", 0, found.start()) + 1, " ".join(found[1].split())


def commands(line: str) -> Iterator[list[str]]:
    """The words of every ``sidgan`` command of a line of shell; comments are left out."""
    for part in (RUNNERS.sub("", re.sub(r"\s#.*", "", one).strip()) for one in line.split(";")):
        if part == "sidgan" or part.startswith("sidgan "):
            yield shlex.split(part.replace("[", "").replace("]", ""))[1:]


@cache
def root() -> Any:
    """The command line as it is parsed."""
    return typer.main.get_command(app)


def find(words: list[str]) -> tuple[Any, list[str]]:
    """The verb that words begin with, and what is left of them."""
    command, rest = root(), list(words)
    while rest and rest[0] in getattr(command, "commands", {}):
        command = command.commands[rest.pop(0)]
    return command, rest


def problem(words: list[str]) -> str | None:
    """Why the command line would refuse these words; nothing is done."""
    if "--help" in words or not words:
        return None
    command, rest = find(words)
    if hasattr(command, "commands"):
        return None if rest in ([], ["--version"]) else f"no verb {rest[0]!r}"
    try:
        command.make_context(command.name, [word.replace("...", "") for word in rest], resilient_parsing=False)
    except Exception as error:  # each kind says it in its own way
        return getattr(error, "message", None) or str(error) or type(error).__name__
    return None


def options(command: Any) -> set[str]:
    """Every option of a command, or of all below a group."""
    below = getattr(command, "commands", {}).values()
    own = {name for one in command.params for name in (*one.opts, *one.secondary_opts) if name.startswith("-")}
    return own.union(*map(options, below)) if below else own

"""Hooks of mkdocs.yml.

Markdown files of the repository root become pages, the page of all commands is generated from the command line, pages
in the navigation that do not exist are left out, and indented blocks of commands are highlighted as shell code.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
FROM_ROOT = ("MODEL_CARD.md", "CHANGELOG.md")
COMMANDS = "commands.md"
SHELL = re.compile(r"^(sidgan|make|pip|python|torchrun|pytest|docker) ")


def on_config(config: Any) -> Any:
    """Remove pages that do not exist from the navigation."""
    there = {p.relative_to(ROOT / "docs").as_posix() for p in (ROOT / "docs").rglob("*.md")}
    config.nav = _present(config.nav, there | {*FROM_ROOT, COMMANDS})
    return config


def on_files(files: Any, config: Any) -> Any:
    """Add the pages that are not files in docs/."""
    from mkdocs.structure.files import File

    for name in FROM_ROOT:
        text = (ROOT / name).read_text(encoding="utf-8").replace("](docs/", "](")
        files.append(File.generated(config, name, content=text))
    files.append(File.generated(config, COMMANDS, content=commands()))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Redirect links to files of the root to their pages, and mark indented commands as shell code."""
    # Files of the root, one folder above docs/, become pages in the same folder as those of docs/.
    text = re.sub(r"\]\(\.\./((?:\.\./)*(?:" + "|".join(FROM_ROOT) + r"))", r"](\1", markdown)
    return _coloured(text)


def commands() -> str:
    """Every command with its arguments and options, as Markdown."""
    sys.path.insert(0, str(ROOT / "src"))  # not at import, as mkdocs restores the path after importing a hook
    import typer

    from sidgan.cli import app

    top = typer.main.get_command(app)
    lines = ["# Commands", "", "As printed by `sidgan COMMAND --help`.", ""]
    for name, command in verbs(top):
        lines += [f"## sidgan {name}", "", *_described(command), ""]
    return "\n".join(lines)


def verbs(group: Any, before: str = "") -> list[tuple[str, Any]]:
    """(full name, command) of every command in a group and its subgroups, in order of definition."""
    found = []
    for name, command in group.commands.items():
        full = f"{before} {name}".strip()
        found += verbs(command, full) if hasattr(command, "commands") else [(full, command)]
    return found


def _described(command: Any) -> list[str]:
    text = re.sub(r"Example: (sidgan .*?)\.(\s|$)", r"Example: `\1`.\2", command.help or "")
    rows = []
    for one in command.params:
        if one.name == "help":
            continue
        kind = " ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts) if name.startswith("-"))
        shown = kind or f"`{one.name.upper()}`"
        default = f" ({one.default})" if _told(one) else ""
        rows.append(f"| {shown} | {getattr(one, 'help', '') or ''}{default} |".replace("\n", " "))
    return [text, "", "| | |", "|---|---|", *rows] if rows else [text]


def _told(parameter: Any) -> bool:
    return bool(getattr(parameter, "show_default", False)) and parameter.default not in (None, False, "", ())


def _present(entries: list[Any], there: set[str]) -> list[Any]:
    kept = []
    for entry in entries:
        ((title, target),) = entry.items()
        if isinstance(target, list):
            kept.append({title: _present(target, there)})
        elif target in there:
            kept.append(entry)
    return kept


def _coloured(text: str) -> str:
    """Turn indented blocks that begin with a command into fenced blocks, which are highlighted."""
    out: list[str] = []
    lines, i, fenced = text.split("\n"), 0, False
    while i < len(lines):
        fenced ^= lines[i].lstrip().startswith("```")
        begins = not fenced and lines[i].startswith("    ") and SHELL.match(lines[i][4:]) and (not out or not out[-1])
        if not begins:
            out.append(lines[i])
            i += 1
            continue
        block = []
        while i < len(lines) and (lines[i].startswith("    ") or not lines[i]):
            block.append(lines[i][4:])
            i += 1
        while not block[-1]:
            block.pop()
        out += ["```bash", *block, "```", ""]
    return "\n".join(out)

"""A grid of images with row and column names, as PNG: Figures 5, 6 and 8."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sidgan.paper.draw import page
from sidgan.types import Byte

WIDTH, HEAD, FOOT, SIDE = 1.75, 1.0, 0.55, 1.15  #: inches: width of an image; margins above, below and to the left
NOTE = 0.2  #: height of the caption below an image, inches
NAME, LINE = 24, 0.17  #: letters per line of a column's name; height of each further line, inches


@dataclass(frozen=True)
class Cell:
    """An image (H, W, 3) and a short caption below it; all images of a sheet have the same size."""

    picture: Byte
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """The content of a sheet.

    Attributes:
        title, material: texts above the images. foot: text below them.
        columns: column names. rows: (name, cells) of each row; ``None`` leaves a cell empty.
        strong: names of columns to print in bold.
        caution: a warning to the reader, or ``None``.
    """

    title: str
    material: str
    columns: Sequence[str]
    rows: Sequence[tuple[str, Sequence[Cell | None]]]
    foot: str
    strong: Sequence[str] = ()
    caution: str | None = None


def draw_sheet(sheet: Sheet, out: Path) -> None:
    """Write a sheet as PNG.

    Raises:
        SidganError: matplotlib is missing.
        OutputError: the file cannot be written.
    """
    first = next(cell.picture for _, cells in sheet.rows for cell in cells if cell is not None)
    tall = WIDTH * first.shape[0] / first.shape[1] + NOTE + 0.1
    width = SIDE + (WIDTH + 0.08) * len(sheet.columns) + 0.15
    named = [_wrapped(name, NAME) for name in sheet.columns]
    begin = HEAD + 0.3 + LINE * max(name.count("\n") for name in named)
    width, height = max(width, 7.5), begin + tall * len(sheet.rows) + FOOT
    with page(width, height, out) as figure:
        for j, name in enumerate(named):
            figure.text((SIDE + (WIDTH + 0.08) * j + WIDTH / 2) / width, 1 - (begin - 0.08) / height, name, ha="center",
                        va="bottom", fontsize=10.5, linespacing=1.15,
                        weight="bold" if sheet.columns[j] in sheet.strong else "normal")  # fmt: skip
        for i, (name, cells) in enumerate(sheet.rows):
            top = begin + tall * i
            figure.text((SIDE - 0.1) / width, 1 - (top + (tall - NOTE) / 2) / height, name, ha="right", va="center",
                        fontsize=9, linespacing=1.4)  # fmt: skip
            for j, cell in enumerate(cells):
                if cell is not None:
                    _cell(figure, cell, (SIDE + (WIDTH + 0.08) * j) / width, top, tall - NOTE - 0.1, width, height)
        _texts(figure, sheet, width, height)


def _cell(figure: Any, cell: Cell, left: float, top: float, tall: float, width: float, height: float) -> None:
    axes = figure.add_axes((left, 1 - (top + tall) / height, WIDTH / width, tall / height))
    axes.imshow(cell.picture, aspect="auto", interpolation="antialiased")
    axes.set(xticks=[], yticks=[])
    axes.grid(visible=False)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.set_xlabel(cell.note, fontsize=8, labelpad=3, color="#444444")


def _texts(figure: Any, sheet: Sheet, width: float, height: float) -> None:
    left = 0.2 / width
    figure.text(left, 1 - 0.32 / height, sheet.title, fontsize=14, weight="bold", va="center")
    figure.text(left, 1 - 0.62 / height, sheet.material, fontsize=9.5, color="#444444", va="center", wrap=True)
    if sheet.caution:
        figure.text(left, 1 - 0.86 / height, sheet.caution, fontsize=9, weight="bold", color="#c9302c", va="center")
    lines = _wrapped(sheet.foot, int(width * 15.5))
    figure.text(left, 0.1 / height, lines, fontsize=8, color="#555555", va="bottom", linespacing=1.35)


def _wrapped(text: str, letters: int) -> str:
    import textwrap

    return textwrap.fill(text, letters)

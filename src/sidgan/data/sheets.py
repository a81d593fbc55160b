"""Pictures of a prepared folder: histograms of the measurements, and contact sheets of kept and rejected clips.

Drawn with OpenCV, so that inspecting data needs no plotting library.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np

from sidgan import media
from sidgan.config import FPS
from sidgan.data.dataset import packed_arrays
from sidgan.data.survey import MEASURES, Measure, Record, Survey, described, reason_of
from sidgan.errors import OutputError, SidganError, counted
from sidgan.geometry import luma8
from sidgan.types import Byte

PAPER, INK, PALE = (255, 255, 255), (40, 40, 40), (170, 170, 170)
KEPT, REJECTED, LIMIT = (60, 110, 170), (225, 130, 50), (190, 40, 40)
PANEL = (400, 260)  #: width and height of a histogram in px
PANELS = 3  #: histograms in a row
BINS = 28
TILE, CAPTION, COLUMNS = 144, 34, 8  #: side of a tile and height of its caption in px, tiles in a row
ROWS = 2  #: of tiles, at most, for each split or reason


def draw(found: Survey, out: Path) -> list[Path]:
    """Write ``histograms.png``, ``kept.png`` and ``rejected.png`` (if there are such clips); returns the files written.

    Raises:
        OutputError: the folder cannot be written.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{out} cannot be made: {error.strerror}; choose another folder with --out") from error
    pictures = {"histograms.png": histograms(found)}
    if found.kept:
        pictures["kept.png"] = kept_sheet(found)
    if found.rejected:
        pictures["rejected.png"] = rejected_sheet(found)
    for name, picture in pictures.items():
        media.write_png(out / name, picture)
    return [out / name for name in pictures]


# -------------------------------------------------------------------------------------------------------- histograms


def histograms(found: Survey) -> Byte:
    """One histogram for each measure: kept and rejected clips stacked, limits as lines."""
    panels = [_panel(found, measure) for measure in MEASURES]
    panels += [blank(*PANEL[::-1])] * (-len(panels) % PANELS)
    rows = [np.hstack(panels[i : i + PANELS]) for i in range(0, len(panels), PANELS)]
    body = np.vstack(rows)
    head = blank(64, body.shape[1])
    text(head, f"{found.root}: {found.lines()[0]}", (14, 24), 0.52)
    x = 14
    for colour, label in ((KEPT, "kept"), (REJECTED, "rejected, as far as measured"), (LIMIT, "limit")):
        cv2.rectangle(head, (x, 39), (x + 12, 51), colour, -1)
        text(head, label, (x + 18, 50))
        x += 40 + 8 * len(label)
    return np.vstack([head, body])


def _panel(found: Survey, measure: Measure) -> Byte:
    width, height = PANEL
    image = blank(height, width)
    kept, rejected = (np.array(found.values(measure, kept=k)) for k in (True, False))
    limits = found.limits(measure)
    text(image, measure.title + (f" [{measure.unit}]" if measure.unit else ""), (40, 26), 0.46)
    left, right, top, bottom = 46, width - 24, 44, height - 40
    every = np.concatenate([kept, rejected])
    if not len(every):
        text(image, "no values", (left + 8, (top + bottom) // 2), colour=PALE)
        return image
    edges = _edges(every, limits, whole=measure.key == "offset")
    counts = [np.histogram(np.clip(v, edges[0], edges[-1]), edges)[0] for v in (kept, rejected)]
    peak = max(1, int((counts[0] + counts[1]).max()))

    def at(value: float, count: float) -> tuple[int, int]:
        across = (value - edges[0]) / (edges[-1] - edges[0])
        return round(left + across * (right - left)), round(bottom - count / peak * (bottom - top))

    for i, (a, b) in enumerate(zip(*counts, strict=True)):
        for colour, low, high in ((KEPT, 0, a), (REJECTED, a, a + b)):
            if high > low:
                (x0, y0), (x1, y1) = at(edges[i], low), at(edges[i + 1], high)
                cv2.rectangle(image, (x0 + 1, min(y1, y0 - 1)), (max(x0 + 1, x1 - 1), y0 - 1), colour, -1)
    cv2.line(image, (left, bottom), (right, bottom), INK, 1)
    for limit in limits:
        if edges[0] <= limit <= edges[-1]:
            cv2.line(image, at(limit, 0), at(limit, peak), LIMIT, 1)
    _axis(image, edges, at, peak)
    return image


def _edges(values: np.ndarray, limits: list[float], *, whole: bool) -> np.ndarray:
    """Bin edges from the 0.5th to the 99.5th percentile, widened to nearby limits; outliers go into the outer bins."""
    low, high = (float(v) for v in np.quantile(values, (0.005, 0.995)))
    span = max(high - low, 1e-3)
    for limit in limits:
        if low - 2 * span < limit < high + 2 * span:
            low, high = min(low, limit - 0.04 * span), max(high, limit + 0.04 * span)
    if whole:
        reach = max(8, int(np.ceil(max(-low, high))))
        return np.arange(-reach - 0.5, reach + 1)
    return np.linspace(low, high, BINS + 1) if high - low > 1e-2 else np.linspace(low - 1, low + 1, BINS + 1)


def _axis(image: Byte, edges: np.ndarray, at: Callable[[float, float], tuple[int, int]], peak: int) -> None:
    span = float(edges[-1] - edges[0])
    step = 10.0 ** np.floor(np.log10(span / 3))
    step *= next(m for m in (1, 2, 5, 10) if span / (m * step) <= 6)
    value = np.ceil(edges[0] / step) * step
    while value <= edges[-1]:
        x, y = at(value, 0)
        cv2.line(image, (x, y), (x, y + 4), INK, 1)
        label = f"{value + 0.0:.10g}" if abs(value) >= 1e-9 else "0"
        text(image, label, (x - 4 * len(label), y + 19))
        value += step
    x, y = at(float(edges[0]), peak)
    text(image, str(peak), (x - 8 * len(str(peak)) - 6, y + 6))
    cv2.line(image, (x - 4, y), (x, y), INK, 1)
    text(image, "clips", (x - 42, at(0, 0)[1] + 4), colour=PALE)


# ------------------------------------------------------------------------------------------------------------- sheets


def kept_sheet(found: Survey) -> Byte:
    """Middle frames of evenly spaced clips of each split; the region hidden from the network is outlined."""
    parts = [_section("yellow: the region that is hidden from the network and redrawn", [])]
    for split, facts in found.splits().items():
        records = [r for r in found.kept if split in r.get("splits", {})]
        shown = _evenly_spaced(records)
        title = f"{split}: {described(facts)}; {len(shown)} shown"
        parts.append(_section(title, [_kept_tile(found.root, record) for record in shown]))
    return np.vstack(parts)


def rejected_sheet(found: Survey) -> Byte:
    """First frames of some rejected clips for each reason, where their source files still exist."""
    parts = []
    for reason, count in found.reasons().items():
        shown = _evenly_spaced([r for r in found.rejected if reason_of(r) == reason])
        title = f"{reason}: {counted(count, 'clip')}; {len(shown)} shown"
        parts.append(_section(title, [_rejected_tile(found, record) for record in shown]))
    return np.vstack(parts)


def _evenly_spaced(records: list[Record]) -> list[Record]:
    count = min(len(records), COLUMNS * ROWS)
    return [records[i * len(records) // count] for i in range(count)]


def _kept_tile(root: Path, record: Record) -> Byte:
    base = root / "clips" / record["file"]
    middle = record["frames"] // 2
    picture = _packed_frame(base.with_name(base.name + ".mp4"), middle)
    arrays = base.with_name(base.name + ".npz")
    if picture is not None and arrays.is_file():
        with packed_arrays(arrays) as packed:
            x0, y0, x1, y1 = (packed["masks"][middle] * TILE).round().astype(int).tolist()
        picture = _fitted(picture)
        cv2.rectangle(picture, (x0, y0), (x1, min(y1, TILE - 1)), (255, 255, 0), 1)
    shift = record.get("corrected", 0)
    facts = f"{record.get('side', 0):.0f} px  {record['frames'] / FPS:.1f} s" + (f"  {shift:+d} f" if shift else "")
    return _tile(picture, record["name"], facts)


def _rejected_tile(found: Survey, record: Record) -> Byte:
    picture = None
    if "root" in found.settings and "source" in record:
        picture = _source_frame(Path(found.settings["root"]) / record["source"], (record["span"] or (0.0,))[0])
    detail = record["reason"].partition(" (")[2].removesuffix(")")
    return _tile(picture, record["name"], "" if record.get("failed") else detail)


def _packed_frame(path: Path, index: int) -> Byte | None:
    video = cv2.VideoCapture(str(path))
    for _ in range(index):
        video.grab()
    ok, image = video.read()
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB)) if ok else None


def _source_frame(path: Path, start: float) -> Byte | None:
    """The frame at ``start`` seconds in grey, which is enough to see why a clip was rejected."""
    try:
        frame = next(media.read_span(media.probe(path), Fraction(start)))
    except (SidganError, StopIteration):
        return None
    black, span = (0, 255) if frame.format.full_range else (16, 219)
    grey = (luma8(frame).astype(np.float32) - black) * (255 / span)
    return np.repeat(np.clip(grey + 0.5, 0, 255).astype(np.uint8)[..., None], 3, 2)


def _fitted(picture: Byte) -> Byte:
    """The whole picture, scaled and padded to a square tile."""
    scale = TILE / max(picture.shape[:2])
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile = np.full((TILE, TILE, 3), 225, np.uint8)
    y, x = (TILE - size[1]) // 2, (TILE - size[0]) // 2
    tile[y : y + size[1], x : x + size[0]] = small
    return tile


def _tile(picture: Byte | None, name: str, facts: str) -> Byte:
    tile = blank(TILE + CAPTION, TILE)
    tile[:TILE] = 225 if picture is None else _fitted(picture)
    if picture is None:
        text(tile, "no picture", (34, TILE // 2), colour=(130, 130, 130))
    short = name if len(name) <= 21 else "~" + name[-20:]
    text(tile, short, (1, TILE + 13), 0.36)
    text(tile, facts[:24], (1, TILE + 27), 0.36, (110, 110, 110))
    return tile


def _section(title: str, tiles: list[Byte]) -> Byte:
    gap = 8
    width = COLUMNS * (TILE + gap) + gap
    head = blank(34, width)
    text(head, title, (gap, 23), 0.52)
    rows = [head]
    for start in range(0, len(tiles), COLUMNS):
        row = blank(TILE + CAPTION, width)
        for i, tile in enumerate(tiles[start : start + COLUMNS]):
            x = gap + i * (TILE + gap)
            row[:, x : x + TILE] = tile
        rows.append(row)
    return np.vstack(rows)


def blank(height: int, width: int) -> Byte:
    """A white picture (height, width, 3)."""
    return np.full((height, width, 3), PAPER, np.uint8)


def text(
    image: Byte, words: str, at: tuple[int, int], scale: float = 0.4, colour: tuple[int, int, int] = INK
) -> None:
    """Write words on a picture in place; ``at`` is the left end of the baseline, (x, y) px."""
    plain = words.encode("ascii", "replace").decode()  # the font has only ASCII
    cv2.putText(image, plain, at, cv2.FONT_HERSHEY_SIMPLEX, scale, colour, 1, cv2.LINE_AA)

"""The HTML report of a result folder: tables, charts, best and worst clips, what was left out, and the protocol.

It is made from the folder alone, so it can be made again at any time, and it is a single file that needs no network.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from sidgan.errors import InputError, counted
from sidgan.evaluation.charts import Bar, curves, intervals
from sidgan.evaluation.meanings import DUBBERS, FINISHED, HIGHER, LOWER, MEANINGS, SYSTEMS
from sidgan.evaluation.remarks import notes
from sidgan.evaluation.results import COLUMNS, HIDDEN, PAPER, column
from sidgan.files import write_text
from sidgan.settings import by_full_name

CHARTS = (*PAPER, "mouth_psnr", "opening", "sync")  #: metrics that get a chart, if they are defined
JUDGED = ("model", "result")  #: rows by which clips are ranked
WORST, BEST = 2, 1  #: number of clips shown for each metric of the ranking
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:1100px;padding:12px;color:#1c1e21;background:#fff}
h1{font-size:1.5em}h2{margin-top:2em;border-bottom:1px solid #ccc}h3{margin:1.4em 0 .3em}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
td,th{padding:3px 9px;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
td:first-child,th:first-child{text-align:left;position:sticky;left:0;background:#fff}
.words td{text-align:left;white-space:normal;vertical-align:top;overflow-wrap:anywhere}
small,.note{color:#5c6168}.pm{color:#8a8f98;font-size:11px}tr.main td{background:#fdf0f2}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(300px,1fr));gap:6px 18px}
figure{margin:0}figcaption{font-size:13px;font-weight:600}.chart svg{width:100%;max-width:480px;display:block}
svg text{font:11px system-ui,sans-serif;fill:#444}.rule{stroke:#ececec}.frame{fill:none;stroke:#ddd}
.strip{display:flex;max-width:860px}.strip div{display:flex;flex-direction:column;font-size:12px;padding-right:6px}
.strip span{flex:1;display:flex;align-items:center}.strip img{width:100%;min-width:0;height:auto}
"""


def write_report(out: Path) -> Path:
    """Write ``report.html`` into a result folder, and return its path.

    Raises:
        InputError: the folder holds no finished result.
        OutputError: the report cannot be written.
    """
    try:
        texts = [(out / f"{name}.json").read_text(encoding="utf-8") for name in ("protocol", "summary")]
        protocol, summary = map(json.loads, texts)
        records = [json.loads(line) for line in (out / "records.jsonl").read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError) as error:
        raise InputError(f"{out} holds no finished result ({error}); let sidgan eval finish") from None
    parts = [*_head(out, protocol, summary), *_meanings(summary)]
    systems = SYSTEMS if protocol["mode"] == "model" else dict.fromkeys(SYSTEMS, FINISHED)
    for split, figures in summary.items():
        parts += _split(split, figures, systems)
        parts += _clips(out, split, [r for r in records if r["split"] == split and r["excluded"] is None])
    parts += [*_excluded(records), *_protocol(protocol)]
    write_text(out / "report.html", "\n".join(parts) + "\n")
    return out / "report.html"


def _head(out: Path, protocol: Mapping[str, Any], summary: Mapping[str, Any]) -> Iterator[str]:
    judged = "Model" if protocol["mode"] == "model" else "Videos"
    counts = "; ".join(f"{s}: {counted(f['clips'], 'clip')}, "
                       f"{counted(f['frames'], 'frame')}" for s, f in summary.items())
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>sidgan eval</title><style>{STYLE}</style></head><body>"
    yield f"<h1>{judged} judged by {escape(protocol['protocol'])}</h1><p>{escape(counts)}</p>"
    yield "<ul>" + "".join(f"<li>{escape(line)}</li>" for line in notes(out)) + "</ul>"


def _meanings(summary: Mapping[str, Any]) -> Iterator[str]:
    systems = {s: rows for split in summary.values() for s, rows in split["means"].items()}
    present = {m for rows in systems.values() for values in rows.values() for m in values}
    dubbers = dict.fromkeys(row for rows in systems.values() for row in rows)
    yield "<details><summary>What columns and rows mean</summary><table class='words'>"
    yield "<tr><td><b>column</b></td><td><b>better</b></td><td></td></tr>"
    for metric in (m for m in COLUMNS if m in present and m in MEANINGS):
        better, text = MEANINGS[metric]
        yield f"<tr><td>{_title(metric)}</td><td>{better}</td><td>{text}</td></tr>"
    yield "<tr><td><b>row</b></td><td></td><td>what is measured</td></tr>"
    for row in dubbers:
        yield f"<tr><td>{escape(row)}</td><td></td><td>{DUBBERS.get(row, '')}</td></tr>"
    yield "</table></details>"


def _split(name: str, summary: Mapping[str, Any], systems: Mapping[str, str]) -> Iterator[str]:
    yield f"<h2>{escape(name)}</h2>"
    for system, rows in summary["means"].items():
        yield f"<h3>{escape(system)}</h3><p class='note'>{systems.get(system, '')}; means over clips, &plusmn; half "
        yield f"the width of the 95&nbsp;% interval; {counted(summary['clips'], 'clip')}</p>"
        yield "<div class='scroll'><table>"
        defined = dict.fromkeys(m for values in rows.values() for m, f in values.items() if f["mean"] is not None)
        shown = [m for m in defined if m not in HIDDEN]
        yield "<tr><th></th>" + "".join(f"<th>{_title(m)}</th>" for m in shown) + "</tr>"
        for row, values in rows.items():
            cells = "".join(_cell(values.get(m), column(m)[1]) for m in shown)
            yield f"<tr{' class=main' if row in JUDGED else ''}><td>{escape(row)}</td>{cells}</tr>"
        yield "</table></div><div class='charts'>"
        for metric in (m for m in CHARTS if m in defined):
            bars = [Bar(row, *_figures(values.get(metric))) for row, values in rows.items()]
            shown_bars = [b for b in bars if not (b.label == "truth" and metric in ("psnr", "mouth_psnr"))] or bars
            if any(not math.isnan(bar.mean) for bar in shown_bars):
                better = MEANINGS[metric][0]
                heading, decimals = column(metric)
                yield intervals(f"{heading} ({_aim(better)})", shown_bars, decimals)
        yield "</div>"


def _title(metric: str) -> str:
    return escape(column(metric)[0])


def _aim(better: str) -> str:
    """Which way is better, in words."""
    return f"{better} is better" if better in (HIGHER, LOWER) else f"aim: {better}"


def _figures(figure: Mapping[str, float | None] | None) -> tuple[float, float, float]:
    """Mean, low and high of a figure, NaN where undefined."""
    mean, low, high = ((figure or {}).get(key) for key in ("mean", "low", "high"))
    return tuple(math.nan if v is None else v for v in (mean, low, high))  # type: ignore[return-value]


def _cell(figure: Mapping[str, float | None] | None, decimals: int) -> str:
    mean, low, high = _figures(figure)
    if math.isnan(mean):
        return "<td>-</td>"
    half = "" if math.isnan(low) else f" <span class='pm'>&plusmn;{(high - low) / 2:.{decimals}f}</span>"
    return f"<td>{mean:.{decimals}f}{half}</td>"


def _clips(out: Path, split: str, records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """The best and worst clips by mouth PSNR and by synchronisation; each clip is shown once."""
    chosen: dict[str, list[str]] = {}
    for metric in ("mouth_psnr", next((m for m in ("lse_c", "sync") if any(_value(r, m) for r in records)), "sync")):
        ranked = sorted((r for r in records if _value(r, metric) is not None), key=lambda r: _value(r, metric) or 0.0)
        if MEANINGS[metric][0] == LOWER:
            ranked.reverse()
        for word, group in (("worst", ranked[:WORST]), ("best", ranked[WORST:][-BEST:])):
            for record in group:
                chosen.setdefault(record["stem"], []).append(f"{word} by {COLUMNS[metric][0]}")
    if chosen:
        yield f"<h3>Best and worst clips of {escape(split)}</h3>"
    for record in (r for stem in chosen for r in records if r["stem"] == stem):
        yield f"<h4>{escape(record['name'])} <small>{escape(', '.join(chosen[record['stem']]))}</small></h4>"
        yield from _strip(out, record)
        yield from _curves(out / "frames" / f"{record['stem']}.npz", _system(record))


def _system(record: Mapping[str, Any]) -> str:
    """The first system of a record, by which clips are ranked."""
    return next(iter(record["values"]))


def _value(record: Mapping[str, Any], metric: str) -> float | None:
    rows = record["values"][_system(record)]
    return next((rows[row].get(metric) for row in JUDGED if row in rows), None)


def _strip(out: Path, record: Mapping[str, Any]) -> Iterator[str]:
    path = out / "strips" / f"{record['stem']}.jpg"
    if path.is_file():
        rows = "".join(f"<span>{escape(row)}</span>" for row in record["strip"])
        data = b64encode(path.read_bytes()).decode()
        text = escape(f"frames of {record['name']}, from top to bottom: {', '.join(record['strip'])}")
        yield f"<div class='strip'><div>{rows}</div><img alt='{text}' src='data:image/jpeg;base64,{data}'></div>"


def _curves(path: Path, system: str) -> Iterator[str]:
    if not path.is_file():  # it may have been deleted to save space
        return
    with np.load(path) as arrays:
        rows = {key.split("/")[1] for key in arrays.files if key.startswith(f"{system}/")}
        psnr = {r: arrays[f"{system}/{r}/mouth_psnr"] for r in ("model", "result", "wrong") if r in rows}
        opening = {r: arrays[f"{system}/{r}/open"] for r in ("truth", "model", "result") if r in rows}
        yield "<div class='charts'>"
        if psnr:
            yield curves("mouth PSNR, dB", arrays["frame"], psnr)
        if opening:
            yield curves("mouth opening, eye distances", arrays["frame"], opening, 2)
        yield "</div>"


def _excluded(records: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    excluded = [r for r in records if r["excluded"] is not None]
    yield f"<h2>Clips that were not judged: {len(excluded)}</h2>"
    if excluded:
        yield "<table class='words'>"
        for r in excluded:
            yield f"<tr><td>{escape(r['split'])}</td><td>{escape(r['name'])}</td><td>{escape(r['excluded'])}</td></tr>"
        yield "</table>"


def _protocol(protocol: Mapping[str, Any]) -> Iterator[str]:
    yield "<h2>How it was judged</h2><table class='words'>"
    for key, value in by_full_name(protocol).items():
        text = value if isinstance(value, str) else json.dumps(value)
        yield f"<tr><td>{escape(key)}</td><td>{escape(text)}</td></tr>"
    yield "</table></body></html>"

"""Write the review page of a dub: what to check first, what was redrawn, image quality, files, processing time.

The page is made from the plain values of a `DubReport` and from the two videos; missing values are left out. It is a
single HTML file that loads nothing from a network.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from functools import reduce
from html import escape
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

import cv2
import numpy as np

from sidgan import geometry, media, provenance
from sidgan.dubbing.review.looks import doubt
from sidgan.dubbing.review.verdict import SURE, findings, least_sure, seconds_of
from sidgan.dubbing.silence import PAUSED
from sidgan.errors import InputError, MarkError, counted
from sidgan.files import finished, writing
from sidgan.types import Byte

PICTURES = 6  #: stretches of which pictures are shown
FIRST = 8  #: findings listed at the top, at most
LISTED = 200  #: rows of a table, at most
SIDE, ROOM = 224, 1.25  #: side of a picture in px, and its width in sides of the face square
QUALITY = 88  #: of JPEG
ABOUT = {
    "seam": "brightness step added at the edge of the redrawn part, in levels of 255; 0: no visible edge",
    "jitter": "flicker added to redrawn skin, in levels of 255; 0: as calm as the source",
    "sharpness": "fine detail of redrawn skin; 1: as much as in the source",
}
HEADS = {"confidence": 2, **{name: 2 for name in ABOUT}}  #: columns of the table of image quality, and their decimals
STYLE = """
body{font:16px/1.5 system-ui,sans-serif;margin:0 auto;max-width:960px;padding:12px 16px 48px;color:#1c1e21}
h1{font-size:1.4em;line-height:1.25;overflow-wrap:anywhere}
h2{font-size:1.1em;margin:2em 0 .6em;border-bottom:1px solid #ccc}
.altered{border-left:4px solid #c8324b;padding:4px 12px;background:#fdf0f2;font-size:14px}
.verdict{border-radius:8px;padding:4px 18px 8px}.verdict h2{margin:.6em 0 .2em;border:0;font-size:1.25em}
.verdict p{margin:.4em 0}.verdict ol{margin:.4em 0;padding-left:1.4em}.verdict li{margin:.3em 0}
.fine{background:#e9f6ec}.look{background:#fff4e2}code{overflow-wrap:anywhere}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:14px}
td,th{padding:4px 16px 4px 0;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
th{font-weight:600;color:#5c6168}td:first-child,th:first-child,.words td,.words th{text-align:left}
.words td:last-child{white-space:normal;overflow-wrap:anywhere}.words td,.words th{vertical-align:top}
.doubt,.plain{padding:1px 6px;margin-right:-6px;border-radius:4px}.doubt{background:#fbd9a8}
.note{color:#5c6168;font-size:13px}
.bar{display:flex;height:28px;border-radius:4px;overflow:hidden}.bar i{display:block;min-width:2px;height:100%}
.dubbed,.time i{background:#2c7fb8}.passed{background:#cfd4da}
.ends{display:flex;justify-content:space-between;margin:4px 0 12px;color:#5c6168;font-size:13px}
.key{display:inline-block;width:11px;height:11px;margin:0 4px 0 10px;border-radius:2px}
.meter{display:inline-block;width:64px;height:8px;margin-right:10px;border-radius:4px;background:#e4e7ea;overflow:hidden}
.meter i{display:block;height:100%;background:#3a9a5b}.low i{background:#e08a1e}
.time i{display:inline-block;height:10px;border-radius:2px}.pairs{display:flex;flex-wrap:wrap;gap:16px}
figure{margin:0;width:452px;max-width:100%}figure img{width:50%;height:auto;vertical-align:top}
figcaption{font-size:13px}
@media(max-width:520px){
.framed td:nth-child(2),.framed th:nth-child(2),.framed .meter{display:none}td,th{padding-right:12px}}
"""


def write_page(
    report: Mapping[str, Any], video: Path, heard: Mapping[str, Path | str], out: Path, page: Path,
    names: Mapping[Path, str] | None = None,
) -> None:  # fmt: skip
    """Write the page of a finished job.

    Args:
        report: of the job, see `DubReport.to_dict`.
        video, out: its input and output.
        heard: {label: file or description} of its sound: the voices in the order of its mark, then the background.
        page: the ``.html`` to write.
        names: names to show for files, if other than their own.

    Raises:
        InputError: a file of the job can no longer be read.
        OutputError: the page cannot be written.
    """
    looks: Sequence[Mapping[str, Any]] = report.get("looks", ())
    files = [video, out, *(file for file in heard.values() if isinstance(file, Path))]
    shown_names = {file: file.name for file in files} | dict(names or {})
    parts = [
        *_head(shown_names[out]), *_verdict(report, shown_names), *_timeline(report), *_shots(report), *_table(report),
        *_pictures(looks, video, out), *_made_of(report, shown_names, video, heard, out), *_times(report),
        "</main></body></html>",
    ]  # fmt: skip
    with finished(page) as part, writing(page):
        # A file name that is not valid Unicode must not prevent the page.
        part.write_text("\n".join(parts) + "\n", encoding="utf-8", errors="replace")


def _head(name: str) -> Iterator[str]:
    title = escape(name)
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{title}</title><style>{STYLE}</style></head><body><main><h1>{title}</h1>"
    yield "<p class='altered'>This video is altered: a mouth was redrawn to match another voice. Everybody in it"
    yield "must have agreed to this, and everybody who watches it must be told."
    yield f"<code>sidgan verify {escape(quote(name))}</code> checks its mark.</p>"


def _verdict(report: Mapping[str, Any], shown_names: Mapping[Path, str]) -> Iterator[str]:
    """The findings, the most doubtful first, and the notes of the report."""
    if "frames" not in report:
        return
    found = findings(report)
    share = report["dubbed"] / max(report["frames"], 1)
    yield f"<section class='verdict {'look' if found else 'fine'}'><h2>What to check first</h2>"
    yield f"<p>{report['dubbed']} of {report['frames']} frames ({share:.0%}) have a redrawn mouth. "
    if not found:
        yield "<b>Nothing stands out.</b> Still, watch the video once with sound.</p>"
    else:
        many = "1 moment is worth a look:" if len(found) == 1 else f"{len(found)} moments are worth a look,"
        yield f"<b>{many}</b>{' the most doubtful moments first:' if len(found) > 1 else ''}</p><ol>"
        for one in found[:FIRST]:
            yield f"<li><b>{_moment(one.start)} to {_moment(one.end)}</b> {escape(one.text)}</li>"
        yield f"</ol>{_more(len(found), FIRST)}"
    for note in report.get("notes", ()):
        named = reduce(lambda text, file: text.replace(str(file), shown_names[file]), shown_names, str(note))
        yield f"<p>{escape(named)}</p>"
    yield "</section>"


def _made_of(
    report: Mapping[str, Any], shown_names: Mapping[Path, str], video: Path, heard: Mapping[str, Path | str], out: Path
) -> Iterator[str]:
    yield "<h2>Files, weights and figures</h2><table class='words'>"
    for what, text in _facts(report, shown_names, video, heard, out):
        yield f"<tr><th scope='row'>{what}</th><td>{escape(text)}</td></tr>"
    yield "</table>"


def _facts(
    report: Mapping[str, Any], shown_names: Mapping[Path, str], video: Path, heard: Mapping[str, Path | str], out: Path
) -> Iterator[tuple[str, str]]:
    clip, sound = media.probe(out), media.sound_span(out)
    mark = None
    with suppress(MarkError):
        mark = provenance.read(out)
    yield "video", shown_names[video] + (f", SHA-256 {mark.source}" if mark else "")
    digests = iter([mark.voice, *mark.voices] if mark else [])
    for what, file in heard.items():
        digest = next(digests, None)
        yield what, (shown_names[file] if isinstance(file, Path) else file) + (f", SHA-256 {digest}" if digest else "")
    yield "model", str(report.get("model", "")) + (f", SHA-256 {mark.weights}" if mark else "")
    if mark:
        yield "mark", f"altered by sidgan {mark.sidgan}; {'signed' if mark.signed else 'not signed'}"
    if "engine" in report:
        yield "engine", report["engine"]
    rate = f"{float(clip.frame_rate):.4g}"
    yield "picture", f"{clip.width} x {clip.height} px, {rate} frames per second, {clip.duration:.2f} s"
    yield "sound", f"{float(sound.end - sound.start):.2f} s, starting at {float(sound.start):.2f} s"
    if "dubbed" in report and "frames" in report:
        share = report["dubbed"] / max(report["frames"], 1)
        yield "redrawn", f"{report['dubbed']} of {report['frames']} frames ({share:.0%})"
    if report.get("face_side"):
        yield "face size", f"{report['face_side']:.0f} px wide"
    for figure in ABOUT:
        if report.get(figure) is not None:
            yield figure, f"{report[figure]:.2f}"
    for face in report.get("adapted", ()):
        plain = {key: value for key, value in face.items() if isinstance(value, int | float | str)}
        yield "adapted", ", ".join(f"{key} {value}" for key, value in plain.items())


def _timeline(report: Mapping[str, Any]) -> Iterator[str]:
    """A bar of all frames, redrawn or not, and tables of the stretches left as filmed and of damage."""
    passed = [(int(first), int(last), str(reason)) for first, last, reason in report.get("passed", ())]
    if "frames" not in report:
        return
    at = seconds_of(report)
    label = f"{report['dubbed']} of {report['frames']} frames are redrawn"
    label += "; the others are listed below" if passed else ""
    yield f"<h2>Where the mouth was redrawn</h2><div class='bar' role='img' aria-label='{label}'>"
    begin = 0
    for first, last, reason in [*passed, (report["frames"], report["frames"], "")]:
        for kind, a, b, title in (("dubbed", begin, first, "redrawn"), ("passed", first, last + 1, reason)):
            if a < min(b, report["frames"]):
                yield f"<i class='{kind}' style='flex:{b - a}' title='frames {a}-{b - 1}: {escape(title)}'></i>"
        begin = last + 1
    yield f"</div><p class='ends'><span>{_moment(0)}</span>"
    yield "<span><i class='key dubbed'></i>redrawn <i class='key passed'></i>as filmed</span>"
    yield f"<span>{_moment(at(report['frames']))}</span></p>"
    rows = [(_span(at(a), at(b + 1)), f"{a}-{b}", escape(reason)) for a, b, reason in passed if reason != PAUSED]
    if len(rows) < len(passed):  # a film may have hundreds of pauses
        yield f"<p>In {counted(len(passed) - len(rows), 'pause')} of the voice, the mouth stays as filmed.</p>"
    if rows:
        yield from _rows(("left as filmed", "frames", "reason"), rows, "framed words")
    damaged = [(_span(begin, end), f"{end - begin:.2f} s") for begin, end in report.get("damaged", ())]
    if damaged:
        yield "<h2>Where the video is damaged</h2>"
        yield from _rows(("damaged", "last good frame held for"), damaged)


def _shots(report: Mapping[str, Any]) -> Iterator[str]:
    """A table of all shots: who was redrawn, and the confidence that their mouth was located."""
    shots: Sequence[Mapping[str, Any]] = report.get("shots", ())
    if not shots:
        return
    rows = []
    for shot in shots:
        share = shot["dubbed"] / (shot["last"] - shot["first"] + 1)
        who = "nobody" if shot["person"] is None else f"person {shot['person']}"
        sure = "-" if shot["person"] is None else _meter(shot["confidence"], doubtful=shot["confidence"] < SURE)
        rows.append((_span(shot["start"], shot["end"]), f"{shot['first']}-{shot['last']}", sure, f"{share:.0%}", who))
    yield "<h2>Shot by shot</h2>"
    yield from _rows(("shot", "frames", "confidence", "frames redrawn", "who is redrawn"), rows, "framed")
    yield "<p class='note'>Confidence: how sure sidgan is that it found the mouth, from 0 to 1. Frames below 0.5"
    yield "are left as filmed. Highlighted figures are worth a look.</p>"


def _table(report: Mapping[str, Any]) -> Iterator[str]:
    looks = [{"confidence": least_sure(report.get("shots", ()), look["first"], look["last"]), **look}
             for look in report.get("looks", ())]  # fmt: skip
    if not looks:
        return
    heads = [name for name in HEADS if any(look.get(name) is not None for look in looks)]
    rows = [
        (_span(look["start"], look["end"]), f"{look['first']}-{look['last']}",
         *(_cell(name, look.get(name)) for name in heads))
        for look in looks
    ]  # fmt: skip
    yield "<h2>Image quality</h2>"
    yield from _rows(("redrawn", "frames", *heads), rows, "framed")
    yield "<p class='note'>"
    yield " ".join(f"{name.capitalize()}: {ABOUT[name]}." for name in heads if name in ABOUT)
    yield "Highlighted figures are worth a look.</p>"


def _rows(heads: Sequence[str], rows: Sequence[Sequence[str]], kind: str = "") -> Iterator[str]:
    """A table of at most `LISTED` rows, whose cells are HTML.

    Args:
        kind: CSS classes; ``framed`` hides the second column, which holds frame numbers, on small screens.
    """
    named = "".join(f"<th scope='col'>{head}</th>" for head in heads)
    yield f"<div class='scroll'><table class='{kind}'><tr>{named}</tr>"
    for row in rows[:LISTED]:
        yield f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>"
    yield f"</table></div>{_more(len(rows), LISTED)}"


def _moment(seconds: float) -> str:
    """Minutes and seconds, as players show them: 1:02.5."""
    tenths = round(10 * seconds)
    return f"{tenths // 600}:{tenths // 10 % 60:02}.{tenths % 10}"


def _span(start: float, end: float) -> str:
    return f"{_moment(start)} to {_moment(end)}"


def _meter(share: float, *, doubtful: bool) -> str:
    kind = "meter low" if doubtful else "meter"
    return f"<i class='{kind}'><i style='width:{share:.0%}'></i></i>{_marked(f'{share:.2f}', doubtful=doubtful)}"


def _marked(text: str, *, doubtful: bool) -> str:
    return f"<span class='{'doubt' if doubtful else 'plain'}'>{text}</span>"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "-"
    doubtful = value < SURE if name == "confidence" else doubt({name: value}) > 1
    return _marked(f"{value:.{HEADS[name]}f}", doubtful=doubtful)


def _pictures(looks: Sequence[Mapping[str, Any]], video: Path, out: Path) -> Iterator[str]:
    """Pictures before and after: the worst frame of each of the worst stretches."""
    worst = sorted((look for look in looks if look.get("face")), key=doubt, reverse=True)[:PICTURES]
    if not worst:
        return
    yield "<h2>Worst moments</h2><p class='note'>Left: as filmed. Right: redrawn. The most doubtful come first.</p>"
    yield "<div class='pairs'>"
    for look in worst:
        pair = ((video, look["source_at"], "as filmed"), (out, look["at"], "redrawn"))
        images = "".join(f"<img alt='{alt}' src='{_inline(_face(file, at, look['face']))}'>" for file, at, alt in pair)
        text = ", ".join(f"{name} {look[name]:.2f}" for name in ABOUT if look.get(name) is not None)
        yield f"<figure>{images}<figcaption>{look['at']:.2f} s: {text}</figcaption></figure>"
    yield "</div>"


def _face(file: Path, at: float, face: Sequence[float]) -> Byte:
    """(SIDE, SIDE, 3) uint8 RGB: a face square (left, top, side px) with a margin, at ``at`` s of a video."""
    clip = media.probe(file, tolerant=True)  # damaged parts are skipped
    moment = Fraction(max(0, round(1000 * at) - 1), 1000)  # Matroska timestamps are in milliseconds
    frames = list(islice(media.read_span(clip, moment), 1))
    if not frames:
        raise InputError(f"{file} ends before {at:.2f} s: it was changed after the dub; dub it again")
    left, top, side = face
    margin = side * (ROOM - 1) / 2
    square = np.array([left + side / 2, top - margin, side * ROOM], np.float32)
    return geometry.crop_face(frames[0], geometry.square_matrix(square), SIDE).image


def _inline(picture: Byte) -> str:
    _, data = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    return f"data:image/jpeg;base64,{b64encode(data.tobytes()).decode()}"


def _times(report: Mapping[str, Any]) -> Iterator[str]:
    seconds: Mapping[str, float] = report.get("seconds", {})
    if not seconds:
        return
    longest = max(*seconds.values(), 1e-9)
    yield "<h2>Processing time</h2><div class='scroll'><table class='time'>"
    for stage, taken in seconds.items():
        bar = f"<i style='width:{max(1, round(240 * taken / longest))}px'></i>"
        yield f"<tr><td>{escape(stage)}</td><td>{taken:.2f} s</td><td style='text-align:left'>{bar}</td></tr>"
    yield "</table></div>"
    texts = {"wall": "{:.1f} s in total", "cpu": "{:.1f} s of processor time", "memory": "at most {:.0f} MiB of memory"}
    yield f"<p class='note'>{', '.join(t.format(report[key]) for key, t in texts.items() if key in report)}</p>"


def _more(count: int, shown: int) -> str:
    return f"<p class='note'>and {count - shown} more</p>" if count > shown else ""

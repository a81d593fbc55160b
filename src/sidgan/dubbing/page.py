"""One job as one page: what was made of what, where it was redrawn and where not, how it looks, and how long it took.

The page is made from the plain values of a `DubReport` and from the two videos; a value that is not there is left out.
It is one file that needs no network.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from fractions import Fraction
from html import escape
from itertools import islice
from pathlib import Path
from shlex import quote
from typing import Any

import cv2
import numpy as np

from sidgan import geometry, media, provenance
from sidgan.dubbing.looks import LIMITS, doubt
from sidgan.errors import InputError, MarkError
from sidgan.files import finished
from sidgan.types import Byte

PICTURES = 6  #: stretches of which pictures are shown
LISTED = 200  #: rows of a table; of more, the first ones
SIDE, ROOM = 224, 1.25  #: px of a picture's side, and how much wider than the face square it looks
QUALITY = 88
ABOUT = {
    "seam": "steps across the mask's edge that the source does not have, in levels of 8 bits",
    "jitter": "trembling of redrawn skin beyond the source's, in levels of 8 bits",
    "sharpness": "fine detail of redrawn skin, 1 is the source's",
}
HEADS = {"confidence": 2, **{name: 2 for name in ABOUT}}  #: columns of the table, where known, and their decimals
STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:960px;padding:12px;color:#1c1e21;background:#fff}
h1{font-size:1.4em;overflow-wrap:anywhere}h2{font-size:1.1em;margin-top:1.8em;border-bottom:1px solid #ccc}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
td,th{padding:3px 10px;text-align:right;border-bottom:1px solid #e4e4e4;white-space:nowrap}
td:first-child,th:first-child{text-align:left}.words td{text-align:left;white-space:normal;overflow-wrap:anywhere}
.words td:first-child{color:#5c6168;white-space:nowrap;vertical-align:top}td.doubt{background:#fde9d2}
.note{color:#5c6168;font-size:13px}.altered{border-left:4px solid #c8324b;padding:2px 12px;background:#fdf0f2}
.bar{display:flex;height:26px;border:1px solid #bbb}.bar i{display:block;min-width:1px;height:100%}
.dubbed,.time i{background:#2c7fb8}.passed{background:#d5d8dc}
.key{display:inline-block;width:12px;height:12px;margin:0 4px 0 10px}
.time i{display:inline-block;height:10px}.pairs{display:flex;flex-wrap:wrap;gap:14px}
figure{margin:0;width:452px;max-width:100%}figure img{width:50%;height:auto;vertical-align:top}
figcaption{font-size:13px}
"""


def write_page(
    report: Mapping[str, Any], video: Path, voice: Path, out: Path, page: Path, names: Mapping[Path, str] | None = None
) -> None:
    """Write the page of a finished job.

    Args:
        report: of the job, see `DubReport.to_dict`.
        video, voice, out: its files; of several voices, the first.
        page: the ``.html`` to write.
        names: what to call a file, where not by its own name.

    Raises:
        InputError: a file of the job cannot be read any more.
        OutputError: the page cannot be written.
    """
    shots: Sequence[Mapping[str, Any]] = report.get("looks", ())
    parts = [
        *_head(report, video, voice, out, names or {}), *_timeline(report), *_table(shots),
        *_pictures(shots, video, out), *_times(report), "</body></html>",
    ]  # fmt: skip
    with finished(page) as part:
        part.write_text("\n".join(parts) + "\n", encoding="utf-8")


def _head(
    report: Mapping[str, Any], video: Path, voice: Path, out: Path, names: Mapping[Path, str]
) -> Iterator[str]:
    called = {file: names.get(file, file.name) for file in (video, voice, out)}
    name = escape(called[out])
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    yield f"<title>{name}</title><style>{STYLE}</style></head><body><h1>{name}</h1>"
    yield "<p class='altered'>This video is altered: a mouth was redrawn to another voice. Whoever is seen in it must"
    yield " have agreed to that, and whoever sees it must be told. "
    yield f"<code>sidgan verify {escape(quote(called[out]))}</code> reads its mark.</p>"
    yield "<table class='words'>"
    for what, text in _facts(report, called, video, voice, out):
        yield f"<tr><td>{what}</td><td>{escape(text)}</td></tr>"
    yield "</table>"


def _facts(
    report: Mapping[str, Any], called: Mapping[Path, str], video: Path, voice: Path, out: Path
) -> Iterator[tuple[str, str]]:
    clip, sound = media.probe(out), media.sound_span(out)
    mark = None
    with suppress(MarkError):
        mark = provenance.read(out)
    yield "video", called[video] + (f", SHA-256 {mark.source}" if mark else "")
    yield "voice", called[voice] + (f", SHA-256 {mark.voice}" if mark else "")
    for other in mark.voices if mark else ():
        yield "another voice", f"SHA-256 {other}"
    yield "model", str(report.get("model", "")) + (f", SHA-256 {mark.weights}" if mark else "")
    if mark:
        yield "mark", f"by sidgan {mark.sidgan}, {'and signed' if mark.signed else 'not signed'}"
    if "engine" in report:
        yield "drawn by", report["engine"]
    rate = f"{float(clip.frame_rate):.4g}"
    yield "picture", f"{clip.width} x {clip.height} px, {rate} frames a second, {clip.duration:.2f} s"
    yield "sound", f"{float(sound.end - sound.start):.2f} s, from {float(sound.start):.2f} s on"
    if "dubbed" in report and "frames" in report:
        share = report["dubbed"] / max(report["frames"], 1)
        yield "redrawn", f"{report['dubbed']} of {report['frames']} frames ({share:.0%})"
    if report.get("face_side"):
        yield "face", f"{report['face_side']:.0f} px wide square"
    for figure in ABOUT:
        if report.get(figure) is not None:
            yield figure, f"{report[figure]:.2f}"
    for face in report.get("adapted", ()):
        plain = {key: value for key, value in face.items() if isinstance(value, int | float | str)}
        yield "adapted", ", ".join(f"{key} {value}" for key, value in plain.items())


def _timeline(report: Mapping[str, Any]) -> Iterator[str]:
    """A bar from the first frame to the last, and the stretches that were left alone in words."""
    passed = [(int(first), int(last), str(reason)) for first, last, reason in report.get("passed", ())]
    if "frames" not in report:
        return
    yield "<h2>Where the mouth was redrawn</h2><div class='bar'>"
    begin = 0
    for first, last, reason in [*passed, (report["frames"], report["frames"], "")]:
        for kind, a, b, title in (("dubbed", begin, first, "redrawn"), ("passed", first, last + 1, reason)):
            if a < min(b, report["frames"]):
                yield f"<i class='{kind}' style='flex:{b - a}' title='frames {a}-{b - 1}: {escape(title)}'></i>"
        begin = last + 1
    yield "</div><p class='note'><span class='key dubbed'></span>redrawn<span class='key passed'></span>as it was</p>"
    if passed:
        yield "<div class='scroll'><table><tr><th>frames as they were</th><th>why</th></tr>"
        for first, last, reason in passed[:LISTED]:
            yield f"<tr><td>{first}-{last}</td><td>{escape(reason)}</td></tr>"
        yield f"</table></div>{_more(len(passed))}"


def _table(shots: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    if not shots:
        return
    heads = [name for name in HEADS if any(shot.get(name) is not None for shot in shots)]
    yield "<h2>How it looks</h2><div class='scroll'><table><tr><th>frames</th><th>seconds</th><th>redrawn</th>"
    yield "".join(f"<th>{head}</th>" for head in heads) + "</tr>"
    for shot in shots[:LISTED]:
        share = f"{shot['dubbed'] / (shot['last'] - shot['first'] + 1):.0%}"
        cells = "".join(_cell(name, shot.get(name)) for name in heads)
        yield f"<tr><td>{shot['first']}-{shot['last']}</td><td>{shot['start']:.2f}-{shot['end']:.2f}</td>"
        yield f"<td>{share}</td>{cells}</tr>"
    yield f"</table></div>{_more(len(shots))}<p class='note'>"
    yield " ".join(f"{name.capitalize()}: {ABOUT[name]}." for name in heads if name in ABOUT)
    yield " Marked is what is worth a look.</p>"


def _cell(name: str, value: float | None) -> str:
    if value is None:
        return "<td>-</td>"
    doubtful = " class='doubt'" if name in LIMITS and doubt({name: value}) > 1 else ""
    return f"<td{doubtful}>{value:.{HEADS[name]}f}</td>"


def _pictures(shots: Sequence[Mapping[str, Any]], video: Path, out: Path) -> Iterator[str]:
    """Before and after, in the frame that looks worst, of the stretches that look worst."""
    seen = sorted((shot for shot in shots if shot.get("face")), key=doubt, reverse=True)[:PICTURES]
    if not seen:
        return
    yield "<h2>Worst moments</h2><p class='note'>Left as filmed, right as redrawn; the most doubtful first.</p>"
    yield "<div class='pairs'>"
    for shot in seen:
        pair = ((video, shot["source_at"], "as filmed"), (out, shot["at"], "redrawn"))
        images = "".join(f"<img alt='{alt}' src='{_inline(_face(file, at, shot['face']))}'>" for file, at, alt in pair)
        told = ", ".join(f"{name} {shot[name]:.2f}" for name in ABOUT if shot.get(name) is not None)
        yield f"<figure>{images}<figcaption>{shot['at']:.2f} s: {told}</figcaption></figure>"
    yield "</div>"


def _face(file: Path, at: float, face: Sequence[float]) -> Byte:
    """(SIDE, SIDE, 3) uint8: a face square (left, top, side px) and some room around it, ``at`` s of a video."""
    clip = media.probe(file)
    moment = Fraction(max(0, round(1000 * at) - 1), 1000)  # Matroska counts in milliseconds
    frames = list(islice(media.read_span(clip, moment), 1))
    if not frames:
        raise InputError(f"{file} ends before {at:.2f} s; it was changed since it was dubbed")
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
    yield "<h2>Time</h2><div class='scroll'><table class='time'>"
    for stage, taken in seconds.items():
        bar = f"<i style='width:{max(1, round(240 * taken / longest))}px'></i>"
        yield f"<tr><td>{escape(stage)}</td><td>{taken:.2f} s</td><td style='text-align:left'>{bar}</td></tr>"
    yield "</table></div>"
    told = {"wall": "{:.1f} s in all", "cpu": "{:.1f} s of processor time", "memory": "{:.0f} MiB at most"}
    yield f"<p class='note'>{', '.join(t.format(report[key]) for key, t in told.items() if key in report)}</p>"


def _more(count: int) -> str:
    return f"<p class='note'>and {count - LISTED} more</p>" if count > LISTED else ""

"""The mark in every output, written and read: that sidgan altered the file, where, and with which model and inputs.

The *mark* is in the file's comment field, the one field that mp4, mov and mkv all keep, also when other tools copy the
streams. It consists of a sentence for people and a JSON object after it. It is written at the start of the file, before
the first frame is drawn; which frames will be redrawn is known by then. It contains no date and no file names, so the
same input gives the same bytes, and nothing private is passed on with the video.

A mark is a notice, not a proof: anybody can remove, change or add one. `sidgan.provenance.credentials` signs files.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from sidgan import media
from sidgan.errors import InputError, MarkError
from sidgan.files import digest
from sidgan.version import __version__

SENTENCE = "altered by sidgan: mouth redrawn to new audio"
MAX_SPANS = 100  #: time ranges in one list of a mark, so that the comment stays below about 5 kB
SHOWN = 8  #: time ranges that are printed
MAX_COMMENT = 1 << 16  #: characters of a comment that are searched for a mark
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Stretches:
    """Time ranges of a video, in seconds from its first frame: a frame at t is in the range (a, b) if a <= t < b.

    This is exact for timestamps in the source, in mp4 and in mov. Mkv rounds its timestamps, by up to a millisecond.

    Attributes:
        spans: the ranges (start, end) in order, at most `MAX_SPANS`. If there are more, those with the shortest gaps
            between them are merged, gaps included, so that no range is lost.
        left_out: number of further ranges that are not listed, in marks of older versions.
    """

    spans: tuple[tuple[float, float], ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, spans: Iterable[tuple[Fraction | float, Fraction | float]], left_out: int = 0) -> Stretches:
        """Sort ranges, round both ends down to ms, and merge those that touch.

        Ends are timestamps of frames, so with frames more than 1 ms apart, rounding down moves none in or out.
        """
        merged: list[tuple[float, float]] = []
        for start, end in sorted((_ms(start), _ms(end)) for start, end in spans):
            if merged and start <= merged[-1][1]:
                merged[-1] = merged[-1][0], max(end, merged[-1][1])
            else:
                merged.append((start, end))
        gaps = [later[0] - sooner[1] for sooner, later in pairwise(merged)]
        widest = sorted(sorted(range(len(gaps)), key=lambda k: -gaps[k])[: MAX_SPANS - 1])
        firsts, lasts = [0, *(k + 1 for k in widest)], [*widest, len(merged) - 1]
        listed = [(merged[first][0], merged[last][1]) for first, last in zip(firsts, lasts, strict=True) if merged]
        return cls(tuple(listed), left_out)

    def __bool__(self) -> bool:
        return bool(self.spans) or self.left_out > 0

    def __str__(self) -> str:
        more = len(self.spans[SHOWN:]) + self.left_out
        shown = ", ".join(f"{start:.2f}-{end:.2f} s" for start, end in self.spans[:SHOWN]) or "nothing"
        return f"{shown} and {more} more" if more else shown


@dataclass(frozen=True, kw_only=True)
class Mark:
    """The record that an output carries.

    Attributes:
        sidgan: version of sidgan that made the file.
        model: name of the weights.
        weights: SHA-256 of the weights file, or of the tensors if a network was passed instead of a file.
        adapted: SHA-256 of the tensors of each network that was adapted to a face of the video.
        source, voice: SHA-256 of the two input files.
        voices: SHA-256 of the other voices, if people in the video are dubbed with different voices.
        edited: time ranges in which faces were redrawn.
        earlier: time ranges in which, by the source's own mark, sidgan had redrawn faces before.
        signed: whether the file was signed as well.
        settings: SHA-256 of the settings of the dub, by which a list of dubs recognises what is finished; empty in
            excerpts and in marks of older versions.
    """

    sidgan: str = __version__
    model: str
    weights: str
    source: str
    voice: str
    edited: Stretches
    voices: tuple[str, ...] = ()
    adapted: tuple[str, ...] = ()
    earlier: Stretches = Stretches()
    signed: bool = False
    settings: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def tags(self) -> dict[str, str]:
        """The metadata of a file that carries this mark: ASCII, about 400 bytes and 20 more for each time range."""
        return {"comment": f"{SENTENCE} {json.dumps(self.to_dict(), separators=(',', ':'))}"}


def read(file: Path) -> Mark | None:
    """The mark of a file; ``None`` if it has none.

    Raises:
        InputError: the file cannot be opened.
        MarkError: the file is marked as altered, but the JSON object is damaged.
    """
    _, found, record = media.metadata(file).get("comment", "")[:MAX_COMMENT].partition(SENTENCE)
    if not found:
        return None
    try:
        return mark_of(json.JSONDecoder().raw_decode(record.strip())[0])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MarkError(
            f"{file} is marked as altered by sidgan, but the rest of its mark is damaged; ask for the original file"
        ) from error


def altered(file: Path) -> bool:
    """Whether a file is marked as altered by sidgan, even if the rest of its mark is damaged.

    Raises:
        InputError: the file cannot be opened.
    """
    try:
        return read(file) is not None
    except MarkError:
        return True


def earlier(file: Path, duration: float) -> Stretches:
    """The time ranges in which an input file is already marked as altered; the whole file if its mark is damaged."""
    try:
        mark = read(file)
    except MarkError:
        return Stretches.of([(0, duration)])
    if mark is None:
        return Stretches()
    return Stretches.of(mark.edited.spans + mark.earlier.spans, mark.edited.left_out + mark.earlier.left_out)


def digest_of(file: Path) -> str:
    """SHA-256 of an input file.

    Raises:
        InputError: the file cannot be read.
    """
    try:
        return digest(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({(error.strerror or str(error)).lower()}); check the name") from error


def mark_of(values: Any) -> Mark:
    """Check JSON values from an untrusted file and make a mark of them. Unknown keys, of later versions, are ignored.

    Raises:
        ValueError, TypeError, KeyError: the values are not those of a mark.
    """
    return Mark(
        model=_text(values["model"]), weights=_sha256(values["weights"]), source=_sha256(values["source"]),
        voice=_sha256(values["voice"]), voices=tuple(_sha256(voice) for voice in values.get("voices", ())),
        edited=_stretches(values["edited"]),
        adapted=tuple(_sha256(network) for network in values["adapted"]), earlier=_stretches(values["earlier"]),
        signed=values["signed"] is True, sidgan=_text(values["sidgan"]), settings=_text(values.get("settings", "")),
    )  # fmt: skip


def _stretches(values: Any) -> Stretches:
    spans: Sequence[tuple[float, float]] = [(float(start), float(end)) for start, end in values["spans"]]
    if not all(0 <= start <= end < math.inf for start, end in spans):
        raise ValueError("not time ranges")
    return Stretches(tuple(spans), int(values["left_out"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _sha256(value: Any) -> str:
    if not SHA256.fullmatch(_text(value)):
        raise ValueError("not a SHA-256")
    return str(value)


def _ms(seconds: Fraction | float) -> float:
    return math.floor(float(seconds) * 1000 + 1e-6) / 1000  # 1e-6: whole ms stay as they are despite rounding errors

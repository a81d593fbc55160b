"""What every output says about itself, and the reading of it: altered by sidgan, with what, from what, and where.

The *mark* stands in the file's comment, the one field that mp4, mov and mkv all keep, also when other tools copy the
streams: a sentence for people, and behind it a JSON object. It is written into the file's beginning, before the first
picture is drawn; which pictures will be redrawn is known by then. It holds no date and no names of files, so the same
input gives the same bytes, and nothing private travels with the video.

A mark is a notice, not a proof: anybody can remove it, change it or write one.
`sidgan.provenance.credentials` signs files.
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
MAX_SPANS = 100  #: stretches that are listed, so that the comment stays below some 5 kB
SHOWN = 8  #: stretches that are printed
LONGEST = 1 << 16  #: characters of a comment that are looked at
HEX = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Stretches:
    """Parts of a video, in seconds from its first picture: a picture at t is in (a, b) where a <= t < b.

    That holds exactly for the times in the source, in mp4 and in mov; mkv rounds its own times, by up to a millisecond.

    Attributes:
        spans: they, in order, at most `MAX_SPANS`. Where there are more, those nearest to each other are one: no part
            lies outside, and short ones lie within that are none.
        left_out: how many more there are after these, in marks of versions that listed the first alone.
    """

    spans: tuple[tuple[float, float], ...] = ()
    left_out: int = 0

    @classmethod
    def of(cls, spans: Iterable[tuple[Fraction | float, Fraction | float]], left_out: int = 0) -> Stretches:
        """Spans put in order and joined where they touch, rounded down to ms, which keeps each picture on its side."""
        joined: list[tuple[float, float]] = []
        for first, last in sorted((_ms(first), _ms(last)) for first, last in spans):
            if joined and first <= joined[-1][1]:
                joined[-1] = joined[-1][0], max(last, joined[-1][1])
            else:
                joined.append((first, last))
        gaps = [later[0] - sooner[1] for sooner, later in pairwise(joined)]
        wide = sorted(sorted(range(len(gaps)), key=lambda k: -gaps[k])[: MAX_SPANS - 1])
        begins, ends = [0, *(k + 1 for k in wide)], [*wide, len(joined) - 1]
        told = [(joined[first][0], joined[last][1]) for first, last in zip(begins, ends, strict=True) if joined]
        return cls(tuple(told), left_out)

    def __bool__(self) -> bool:
        return bool(self.spans) or self.left_out > 0

    def __str__(self) -> str:
        more = len(self.spans[SHOWN:]) + self.left_out
        told = ", ".join(f"{first:.2f}-{last:.2f} s" for first, last in self.spans[:SHOWN]) or "nothing"
        return f"{told} and {more} more" if more else told


@dataclass(frozen=True, kw_only=True)
class Mark:
    """What an output says about itself.

    Attributes:
        sidgan: version that made it.
        model: name of the weights.
        weights: SHA-256 of the weights file; of the tensors where a network was handed in.
        adapted: SHA-256 of the tensors of each network that was adapted to a face of the video.
        source, voice: SHA-256 of the two input files.
        voices: SHA-256 of the other voices, where several people speak with voices of their own.
        edited: where faces were redrawn.
        earlier: where the source itself says that sidgan had redrawn faces.
        signed: whether the file was signed as well.
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

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def tags(self) -> dict[str, str]:
        """The metadata of a file that carries this mark: ASCII, about 400 bytes and 40 more for each stretch."""
        return {"comment": f"{SENTENCE} {json.dumps(self.to_dict(), separators=(',', ':'))}"}


def read(file: Path) -> Mark | None:
    """The mark of a file; ``None`` where it has none.

    Raises:
        InputError: it cannot be opened.
        MarkError: it says that it was altered, but the rest cannot be read.
    """
    _, found, record = media.metadata(file).get("comment", "")[:LONGEST].partition(SENTENCE)
    if not found:
        return None
    try:
        return mark_of(json.JSONDecoder().raw_decode(record.strip())[0])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise MarkError(
            f"{file} is marked as altered by sidgan, but the rest of its mark is damaged; ask for the original file"
        ) from error


def altered(file: Path) -> bool:
    """Whether a file says that sidgan altered it, even where the rest of what it says cannot be read.

    Raises:
        InputError: it cannot be opened.
    """
    try:
        return read(file) is not None
    except MarkError:
        return True


def earlier(file: Path, duration: float) -> Stretches:
    """Where a file that is to be altered says that it already was: everywhere, where it does not say where."""
    try:
        mark = read(file)
    except MarkError:
        return Stretches.of([(0, duration)])
    if mark is None:
        return Stretches()
    return Stretches.of(mark.edited.spans + mark.earlier.spans, mark.edited.left_out + mark.earlier.left_out)


def digest_of(file: Path) -> str:
    """SHA-256 of a file that a user gave.

    Raises:
        InputError: it cannot be read.
    """
    try:
        return digest(file)
    except OSError as error:
        raise InputError(f"{file} cannot be read ({(error.strerror or str(error)).lower()}); check the name") from error


def mark_of(values: Any) -> Mark:
    """A mark from plain values that anybody may have written; keys that are not known are left for later versions."""
    return Mark(
        model=_text(values["model"]), weights=_hex(values["weights"]), source=_hex(values["source"]),
        voice=_hex(values["voice"]), voices=tuple(_hex(one) for one in values.get("voices", ())),
        edited=_stretches(values["edited"]),
        adapted=tuple(_hex(one) for one in values["adapted"]), earlier=_stretches(values["earlier"]),
        signed=values["signed"] is True, sidgan=_text(values["sidgan"]),
    )  # fmt: skip


def _stretches(values: Any) -> Stretches:
    spans: Sequence[tuple[float, float]] = [(float(first), float(last)) for first, last in values["spans"]]
    if not all(0 <= first <= last < math.inf for first, last in spans):
        raise ValueError("no spans of time")
    return Stretches(tuple(spans), int(values["left_out"]))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("not text")
    return value


def _hex(value: Any) -> str:
    if not HEX.fullmatch(_text(value)):
        raise ValueError("no SHA-256")
    return str(value)


def _ms(seconds: Fraction | float) -> float:
    return math.floor(float(seconds) * 1000 + 1e-6) / 1000  # what is in ms already stays as it is

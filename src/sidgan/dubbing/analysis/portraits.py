"""Who is in a video, with a picture of each and what they look like, so that they are known again in a part of it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sidgan import media
from sidgan.dubbing.analysis import survey
from sidgan.dubbing.analysis.census import Presence, moments, pictures, presence, tracks_of
from sidgan.dubbing.report import Progress
from sidgan.errors import NoFaceError
from sidgan.files import write_text
from sidgan.people import cast, sharpness
from sidgan.types import Byte, Float


@dataclass(frozen=True)
class Portrait:
    """One person of a video.

    Attributes:
        presence: where, when and how well they are seen.
        identity: (128,) see `sidgan.people.cast`.
        picture: (160, 160, 3) the sharpest of some moments; ``None`` where it was not kept.
    """

    presence: Presence
    identity: Float
    picture: Byte | None = None

    @property
    def number(self) -> int:
        """As ``--face`` and ``--speaker`` take it."""
        return self.presence.number


def portraits(video: Path, progress: Progress | None = None) -> tuple[Portrait, ...]:
    """Find the people in a video; the most prominent first, and those who can be redrawn nowhere last.

    Raises:
        InputError: no video.
        NoFaceError: nobody in it.
    """
    clip, told = media.probe(Path(video)), progress or (lambda stage, done, total: None)
    seen, members = survey(clip, told, identify=True)
    if not seen.people:
        raise NoFaceError(f"no face found in {video}; give a video with a face that is seen from the front")
    tracks = tracks_of(seen)
    shown = pictures(clip, {number: list(moments(one)) for number, one in tracks.items()}, told)
    return tuple(
        Portrait(presence(seen, clip, tracks[member.number], member.number), member.identity,
                 max((picture for _, picture in shown[member.number]), key=sharpness))
        for member in members
    )  # fmt: skip


def recognised(known: Sequence[Portrait], there: Sequence[Portrait]) -> dict[int, int]:
    """{number among ``known``: number in a part of the same video} of those who are seen in it, each of them once."""
    apart = sorted((cast.distance(one.identity, other.identity), one.number, other.number)
                   for one in known for other in there)  # fmt: skip
    found: dict[int, int] = {}
    for distance, number, here in apart:
        if distance < cast.SAME and number not in found and here not in found.values():
            found[number] = here
    return found


def save(people: Sequence[Portrait], file: Path) -> None:
    """Keep who they are, without the pictures, as JSON.

    Raises:
        OutputError: it cannot be written.
    """
    told = [asdict(one.presence) | {"identity": [float(x) for x in one.identity]} for one in people]
    write_text(file, json.dumps(told))


def load(file: Path) -> tuple[Portrait, ...]:
    """What `save` kept; ``OSError`` or ``ValueError`` where it did not."""
    return tuple(_portrait(one) for one in json.loads(file.read_text(encoding="utf-8")))


def _portrait(told: Mapping[str, Any]) -> Portrait:
    values = dict(told)
    identity = np.array(values.pop("identity"), np.float32)
    values["seen"] = tuple((first, last) for first, last in values["seen"])
    return Portrait(Presence(**values), identity)

"""Portraits of the people of a video, with identities by which they are recognised in a part of the same video."""

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
        presence: where and when they are seen, and in how many frames they can be redrawn.
        identity: (128,) see `sidgan.people.cast`.
        picture: (160, 160, 3) uint8 RGB, the sharpest of several crops; ``None`` after `load`.
    """

    presence: Presence
    identity: Float
    picture: Byte | None = None

    @property
    def number(self) -> int:
        """The person's number for ``--face`` and ``--speaker``."""
        return self.presence.number


def portraits(video: Path, progress: Progress | None = None) -> tuple[Portrait, ...]:
    """Find the people in a video: the most prominent first, those who cannot be redrawn in any frame last.

    Raises:
        InputError: the video cannot be read.
        NoFaceError: there is no face in it.
    """
    clip, progress = media.probe(Path(video)), progress or (lambda stage, done, total: None)
    seen, members = survey(clip, progress, identify=True)
    if not seen.people:
        raise NoFaceError(f"no face found in {video}; give a video with a face that is seen from the front")
    tracks = tracks_of(seen)
    shown = pictures(clip, {number: list(moments(one)) for number, one in tracks.items()}, progress)
    return tuple(
        Portrait(presence(seen, clip, tracks[member.number], member.number), member.identity,
                 max((picture for _, picture in shown[member.number]), key=sharpness))
        for member in members
    )  # fmt: skip


def recognised(known: Sequence[Portrait], there: Sequence[Portrait]) -> dict[int, int]:
    """Match the people of a video to those in a part of it, one to one: {number in ``known``: number in ``there``}."""
    distances = sorted((cast.distance(one.identity, other.identity), one.number, other.number)
                   for one in known for other in there)  # fmt: skip
    found: dict[int, int] = {}
    for distance, number, here in distances:
        if distance < cast.SAME and number not in found and here not in found.values():
            found[number] = here
    return found


def save(people: Sequence[Portrait], file: Path) -> None:
    """Save people as JSON, without their pictures.

    Raises:
        OutputError: it cannot be written.
    """
    people_json = [asdict(one.presence) | {"identity": [float(x) for x in one.identity]} for one in people]
    write_text(file, json.dumps(people_json))


def load(file: Path) -> tuple[Portrait, ...]:
    """Read a file written by `save`.

    Raises:
        OSError, ValueError: it cannot be read, or is damaged.
    """
    return tuple(_portrait(one) for one in json.loads(file.read_text(encoding="utf-8")))


def _portrait(saved: Mapping[str, Any]) -> Portrait:
    values = dict(saved)
    identity = np.array(values.pop("identity"), np.float32)
    values["seen"] = tuple((first, last) for first, last in values["seen"])
    return Portrait(Presence(**values), identity)

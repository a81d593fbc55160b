"""Reference pictures for tracks in which a person hardly speaks, lent by the person's other tracks.

The network mostly copies mouths, and a drawn one opens no further than the references do. A film cuts to somebody who
listens, or for a second to a word. Such a track shows no open mouth, and sometimes no shut one, but another track of
the same person may. That is only of use if it was filmed alike: shadows are copied, too. Who is lent a picture lends
none of that kind.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from sidgan.geometry import mouth_opening
from sidgan.people.tracked import TrackedFace
from sidgan.people.views import OPEN, REFERENCE_FRAMES, SHUT, SHUT_LIPS, View
from sidgan.types import Float

WIDER = 1.4  #: how much further than a track's own open mouths those must be open that are lent to it
PARTED = 0.05  #: opening in eye distances of a track's own shut lips beyond which shut ones are lent to it
LIGHTER, REDDER = 30.0, 8.0  #: levels by which Y, and Cb or Cr, of the faces may differ; `levelled` makes up for that
TURNED = 12.0  #: degrees by which their usual yaw may differ
LARGER = 2.0  #: how many times as large one may be as the other


class _Seen(NamedTuple):
    """A view of a track, and what is compared.

    Attributes:
        openings: of the closed, open and shut reference, in eye distances.
        yaw: usual one, degrees.
        side: usual one of the face square, px.
        skin: (3,) usual Y, Cr, Cb.
        frames: number of usable ones.
    """

    face: TrackedFace
    view: View
    openings: tuple[float, ...]
    yaw: float
    side: float
    skin: Float
    frames: int


def lend(tracks: Sequence[TrackedFace], skin: Mapping[TrackedFace, Float]) -> None:
    """Set `TrackedFace.lent` of all tracks of a person, whose views are known.

    Args:
        tracks: the most prominent first; of several that could lend, the first one does.
        skin: by track, (N, 3) mean Y, Cr, Cb of the face in each of its N frames.
    """
    if len(tracks) < 2:
        return
    seen = [one for face in tracks for one in _views(face, skin[face])]
    for own in sorted(seen, key=lambda one: -one.openings[OPEN]):  # so it is known whether the others need some
        for other in seen:
            wanting = [which for which in _wanting(own, other) if (own.view, which) not in own.face.lent]
            # What takes longer comes last, as a film has thousands of shots.
            if wanting and other.face is not own.face and other.frames >= REFERENCE_FRAMES and _alike(own, other):
                for which in wanting:
                    if (other.view, which) not in other.face.lent:
                        own.face.lent[own.view, which] = other.face, other.view


def _views(face: TrackedFace, skin: Float) -> Iterable[_Seen]:
    openings = mouth_opening(face.points)
    for view in face.views:
        rows = [face.row(index) for index in face.seen_from(view)]
        if rows:
            groups = face.candidates(view, SHUT_LIPS + 1)
            yield _Seen(
                face, view, tuple(float(np.mean([openings[face.row(i)] for i in group])) for group in groups),
                float(np.median(face.track.pose[rows, 0])), float(np.median(face.sides[rows])),
                np.median(skin[rows], 0), len(rows),
            )  # fmt: skip


def _alike(one: _Seen, other: _Seen) -> bool:
    lighter, *redder = np.abs(one.skin - other.skin)
    return bool(
        lighter <= LIGHTER and max(redder) <= REDDER and abs(one.yaw - other.yaw) <= TURNED
        and max(one.side, other.side) <= LARGER * min(one.side, other.side)
    )  # fmt: skip


def _wanting(own: _Seen, other: _Seen) -> Iterable[int]:
    """The references that ``other`` has better than ``own``. The closed one, which tells most, is always its own."""
    if other.openings[OPEN] > WIDER * own.openings[OPEN]:
        yield OPEN
    if own.openings[SHUT_LIPS] > PARTED and other.openings[SHUT_LIPS] <= SHUT:
        yield SHUT_LIPS

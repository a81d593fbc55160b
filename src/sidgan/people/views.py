"""The views of a face: frames in which the head is turned alike, which share reference pictures.

A network that mostly copies cannot turn a head. From pictures of the front, it draws the mouth of a turned face as wide
as from the front, and cheeks beyond its outline. So a face that is seen from several sides has pictures of each::

    yaw       -60 ......... -20 ......... 20 ......... 60 degrees
    view       from one side  ×    front    ×  from the other       ×: both, mixed
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.ndimage import gaussian_filter1d

from sidgan.geometry import mouth_opening, mouth_signals
from sidgan.nn import Features
from sidgan.people.likeness import Likeness
from sidgan.types import AS_LEARNT, Array, Byte, Float, Opening

FRONTAL = 20  #: degrees of yaw up to which a face is seen from the front
MIXED = 4.0  #: degrees of yaw on either side of a border within which two views are mixed
STEADY = 3.0  #: frames; sigma of the Gaussian that smooths yaw, which is estimated for each frame alone
REFERENCE_FRAMES = 25  #: number of usable frames that a view needs, and from which a single reference is chosen
CLOSED, OPEN, SHUT_LIPS = range(3)  #: the references of a view, in this order; see `telling`
PAIR_FRAMES = 250  #: the same for several: more, as they should include shut lips, and lips as wide open as they get
FURTHER = 10.0  #: degrees further than the `REFERENCE_FRAMES` frames turned least that references may be turned
#: Shares of these frames from which the sharpest is taken: those with the lips closest together and furthest apart. The
#: first share is large since the very closest lips are pressed together, and show little of their colour and shape.
CLOSED_SHARE, OPEN_SHARE = 0.2, 0.05
SHUT = 0.02  #: distance of the inner lips, in eye distances, up to which a mouth counts as shut: no teeth are seen
STILL = 0.03  #: the same, for how much the opening of a mouth varies that never speaks; in speech it is 0.04 to 0.25
SHUT_SHARE = 0.05  #: share of these frames, those with the lips closest together, that are shut at least; at most twice
FULL = 0.8  #: least height of closed lips, relative to the median: lips that show less are bitten or sucked in


@dataclass(eq=False)
class View:
    """One view of a face track of N frames, and its references. A row is a frame's index into the arrays of the track.

    Attributes:
        rows: (N,) bool, from which the references are chosen.
        shares: (N,) in [0, 1], the share of this view in the drawn mouth; those of all views of a face add up to 1.
        chosen: frames of the references if they were decided beforehand; else the sharpest candidates are taken.
        opening: how the mouth opens in speech, compared with what the network has learnt.
        likeness: the references, once they are read.
        reference: the network's features of them.
    """

    rows: Array
    shares: Float
    chosen: tuple[int, ...] = ()
    opening: Opening = AS_LEARNT
    likeness: Likeness | None = None
    reference: Features | None = None

    @staticmethod
    def whole(count: int) -> View:
        """The only view of a track of ``count`` frames."""
        return View(np.ones(count, bool), np.ones(count))


def views(yaw: Float, usable: Array) -> tuple[View, ...]:
    """The views of a face, at least one: from the sides from which enough usable frames show it.

    Args:
        yaw: (N,) degrees, as estimated in each frame.
        usable: (N,) bool, whether the face can be redrawn there.
    """
    side = sides(yaw)
    seen = [one for one in (-1, 0, 1) if (usable & (side == one)).sum() >= REFERENCE_FRAMES]
    if not seen:
        return (View.whole(len(yaw)),)
    return tuple(View(side == one, share) for one, share in zip(seen, shares(yaw, seen), strict=True))


def sides(yaw: Float) -> Array:
    """From which side a face is seen in N frames: (N,) -1, 0 for the front, or 1. ``yaw`` (N,) is in degrees."""
    yaw = _steadied(yaw)
    return np.where(np.abs(yaw) < FRONTAL, 0, np.sign(yaw)).astype(int)


def shares(yaw: Float, sides: list[int]) -> Iterator[Float]:
    """The share (N,) of the view from each of ``sides``, in order, in the mouth of a face; ``yaw`` (N,) in degrees."""
    yaw, passed = _steadied(yaw), np.ones(len(yaw))
    for this, following in pairwise(sides):
        beyond = np.clip((yaw - FRONTAL * (this + following)) / (2 * MIXED) + 0.5, 0, 1)
        yield passed - beyond
        passed = beyond
    yield passed


def _steadied(yaw: Float) -> Float:
    return np.asarray(gaussian_filter1d(yaw.astype(np.float64), STEADY, mode="nearest"))


def mixed(views: Sequence[View], rows: Sequence[int], draw: Callable[[View, list[int]], Byte]) -> Byte:
    """Draw the faces in N rows of a track, (N, S, S, 3) uint8; where two views meet, both are drawn and mixed.

    Args:
        views: of the track.
        rows: N of them, at least one.
        draw: draws some of these faces, given by their places among the N, from the references of one view.
    """
    if len(views) == 1:
        return draw(views[0], list(range(len(rows))))
    total: Float | None = None
    for view in views:
        share = view.shares[list(rows)].astype(np.float32)
        some = np.flatnonzero(share).tolist()
        if some:
            drawn = draw(view, some)
            total = np.zeros((len(rows), *drawn.shape[1:]), np.float32) if total is None else total
            total[some] += share[some, None, None, None] * drawn
    assert total is not None  # shares add up to 1
    return np.rint(total).astype(np.uint8)


def telling(pose: Float, points: Float, count: int, open_share: float = OPEN_SHARE) -> list[list[int]]:
    """For each of ``count`` references, which of N pictures of a face are candidates.

    They are the frontal ones, or, where these are few, those turned least. Of several references, the first shows lips
    nearly closed, the second lips open, and the third lips shut.

    Args:
        pose: (N, 3) yaw, pitch and roll in degrees.
        points: (N, 68, 2) landmarks in unit coordinates.
        open_share: share of these pictures, with the lips furthest apart, that are candidates for the open one.
    """
    if not len(pose):
        return []
    yaw = np.abs(pose[:, 0])
    fewest = min(REFERENCE_FRAMES, (len(yaw) + 1) // 2)
    frontal = np.flatnonzero(yaw < FRONTAL)
    if len(frontal) < fewest:
        frontal = np.flatnonzero(yaw <= np.sort(yaw)[fewest - 1] + FURTHER)
    if count == 1:
        return [frontal.tolist()]
    opening, height = mouth_signals(points[frontal])[:, :2].T
    order, lips = np.argsort(opening, kind="stable"), height - opening
    closed, few, wide = (max(1, round(share * len(order))) for share in (CLOSED_SHARE, SHUT_SHARE, open_share))
    shut = int(np.clip((opening <= SHUT).sum(), few, 2 * few))
    shown = lips[order] >= FULL * np.median(lips)

    def full(share: int) -> list[int]:
        """Of so many frames with the lips closest, those that show the lips in their usual height, if there are any."""
        closest, seen = order[:share], shown[:share]
        return frontal[closest[seen] if seen.any() else closest].tolist()

    return [full(closed), frontal[order[-wide:]].tolist(), full(shut)][:count]


def stays_still(points: Float) -> bool:
    """Whether a mouth hardly moves from one picture to another; (N, 68, 2) unit landmarks."""
    least, most = np.quantile(mouth_opening(points), (SHUT_SHARE, 1 - OPEN_SHARE))
    return bool(most - least <= STILL)

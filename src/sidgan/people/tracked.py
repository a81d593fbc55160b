"""A face that is followed through a shot, to be redrawn: what is hidden of it, and where it is left alone.

One person may have many, a shot each: those are put together in `sidgan.people.cast`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from sidgan import geometry
from sidgan.blend import ToneMatch
from sidgan.blend.border import Border
from sidgan.blend.contours import Contours
from sidgan.geometry import mouth_opening, mouth_signals
from sidgan.nn import Features
from sidgan.types import Array, Byte, FaceTrack, Float

MIN_SIDE = 64  #: px; a smaller face square is left alone
MAX_YAW = 60  #: degrees; a face turned further is left alone
FRONTAL = 20  #: degrees of yaw within which a face is a good reference
REFERENCE_FRAMES = 25  #: usable frames at a track's beginning among which a single reference is chosen
PAIR_FRAMES = 250  #: and a pair: there should be closed lips among them, and lips as far open as they get
#: Shares of these frames, those with the lips closest together and furthest apart, of which the sharpest is taken. The
#: first share is large since the very closest lips are pressed together, and show little of their colour and shape.
CLOSED_SHARE, OPEN_SHARE = 0.2, 0.05
SHUT = 0.02  #: eye distances between the inner lips, up to which a mouth counts as shut: no teeth are seen
FULL = 0.8  #: of their usual height: lips that show less are bitten or sucked in, and are no model for a drawing


@dataclass(eq=False)
class TrackedFace:
    """A face track that is being redrawn.

    Attributes:
        points: (N, 68, 2) landmarks in unit coordinates.
        boxes: (N, 4) hidden boxes in unit coordinates.
        sides: (N,) side of the face square in px.
        bridged: (N,) bool, frames of a short loss, in which the face is assumed to have moved on evenly.
        doubts: {row: what speaks against redrawing the face there}; empty until `sidgan.dubbing` fills it.
        covers: {row: what lies in front of the face there, (24, 24) uint8 of 255}; likewise.
        tone: the running correction of the redrawn face's tone.
        border: where its surroundings begin, as a running mean.
        contours: how clear its mouth is, as a running mean.
        chosen: frames of its references, where these were tried; else the sharpest of the candidates are taken.
        best: for each reference wanted, sharpness, picture (S, S, 3) and row of the sharpest candidate so far.
        pictures: (K, S, S, 3) the references, once they are chosen. shown: their rows.
        reference: what the network made of them.
    """

    track: FaceTrack
    points: Float = field(init=False)
    boxes: Float = field(init=False)
    sides: Float = field(init=False)
    bridged: Array = field(init=False)
    doubts: dict[int, str] = field(default_factory=dict)
    covers: dict[int, Byte] = field(default_factory=dict)
    chosen: tuple[int, ...] = ()
    tone: ToneMatch = field(init=False)
    border: Border = field(init=False)
    contours: Contours = field(init=False)
    best: dict[int, tuple[float, Byte, int]] = field(init=False)
    pictures: Byte | None = None
    shown: list[int] = field(default_factory=list)
    reference: Features | None = None

    def __post_init__(self) -> None:
        self.follow(self.track)
        self.begin()

    def begin(self) -> None:
        """Forget what was drawn before: another stretch of the output begins."""
        self.tone, self.border, self.contours, self.best = ToneMatch(), Border(), Contours(), {}

    def follow(self, track: FaceTrack) -> None:
        """Go on with another stretch of the same face."""
        self.track = track
        self.points = geometry.to_unit(self.track.matrices, self.track.landmarks)
        self.boxes = geometry.mask_boxes(self.points)
        self.sides = self.track.matrices[:, 0, 0]
        self.bridged = np.zeros(len(self.track), bool)

    def row(self, index: int) -> int:
        """Where frame ``index`` is in the arrays."""
        return index - self.track.first

    def refusal(self, index: int) -> str | None:
        """Why the face cannot be redrawn in a frame, if so."""
        row = self.row(index)
        if not (self.track.visible[row] or self.bridged[row]):
            return "face not visible"
        if self.sides[row] < MIN_SIDE:
            return f"face smaller than {MIN_SIDE} px"
        if abs(self.track.pose[row, 0]) > MAX_YAW:
            return f"face turned by more than {MAX_YAW} degrees"
        return self.doubts.get(row)

    def usable(self) -> Iterator[int]:
        """The frames in which the face can be redrawn."""
        return (index for index in self.track.frames if self.refusal(index) is None)

    def mute(self) -> bool:
        """Whether the mouth is shut wherever the face can be redrawn: nothing shows a network what is in it."""
        rows = [self.row(index) for index in self.usable()]
        return bool(np.quantile(mouth_opening(self.points[rows]), 1 - OPEN_SHARE) <= SHUT) if rows else False

    def candidates(self, count: int = 1, open_share: float = OPEN_SHARE) -> list[list[int]]:
        """For each of ``count`` references (1 or 2), the frames to choose the sharpest from; empty if none is usable.

        They are the frontal ones among the first usable frames, or else the least turned one. Of two references, one
        shows the lips closed and one open: together they hold what a mouth is made of. A face with something in front
        of it is a candidate only where all have. Once a choice was made (``chosen``), there are no others.

        Args:
            open_share: of these frames, those with the lips furthest apart, which are candidates for the open one.
        """
        if len(self.chosen) == count:
            return [[index] for index in self.chosen]
        first = PAIR_FRAMES if count > 1 else REFERENCE_FRAMES
        usable = list(islice(self.usable(), first))
        usable = [i for i in usable if self.row(i) not in self.covers] or usable
        rows = [self.row(i) for i in usable]
        groups = telling(self.track.pose[rows], self.points[rows], count, open_share)
        return [[usable[k] for k in group] for group in groups]


def telling(pose: Float, points: Float, count: int, open_share: float = OPEN_SHARE) -> list[list[int]]:
    """For each of ``count`` references, which of N pictures of a face are candidates; see `TrackedFace.candidates`.

    Args:
        pose: (N, 3) degrees.
        points: (N, 68, 2) unit landmarks.
    """
    yaw = np.abs(pose[:, 0])
    frontal = np.flatnonzero(yaw < FRONTAL) if (yaw < FRONTAL).any() else np.argsort(yaw, kind="stable")[:1]
    if count == 1 or not len(frontal):
        return [frontal.tolist()] * bool(len(frontal))
    opening, height = mouth_signals(points[frontal])[:, :2].T
    order, lips = np.argsort(opening, kind="stable"), height - opening
    closed, wide = (max(1, round(share * len(order))) for share in (CLOSED_SHARE, open_share))
    full = [k for k in order[:closed] if lips[k] >= FULL * np.median(lips)] or order[:closed]
    return [frontal[full].tolist(), frontal[order[-wide:]].tolist()]


def redrawn(people: Iterable[TrackedFace], faces: str) -> dict[int, list[TrackedFace]]:
    """Who is redrawn in which frame.

    Args:
        people: those with `TrackedFace.candidates`, the most prominent first.
        faces: ``largest``: the most prominent of each moment; ``all``: everybody.

    Returns:
        {frame: those who may be redrawn in it}; see `TrackedFace.refusal` for whether they are.
    """
    by_frame: dict[int, list[TrackedFace]] = defaultdict(list)
    for person in people:
        for index in person.track.frames:
            # Whoever is most prominent remains so while out of sight, or somebody else would speak for half a second.
            if faces == "all" or not by_frame[index]:
                by_frame[index].append(person)
    return by_frame



"""A face track to be redrawn: which part of the face is hidden, and in which frames it is left as filmed.

One person may have many tracks, one for each shot; `sidgan.people.cast` groups them.
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

MIN_SIDE = 64  #: px; a smaller face square is left as filmed
MAX_YAW = 60  #: degrees; a face turned further is left as filmed
FRONTAL = 20  #: degrees of yaw below which a face is a good reference
REFERENCE_FRAMES = 25  #: number of usable frames at a track's start from which a single reference is chosen
PAIR_FRAMES = 250  #: the same for several: more, as they should include shut lips, and lips as wide open as they get
#: Shares of these frames from which the sharpest is taken: those with the lips closest together and furthest apart. The
#: first share is large since the very closest lips are pressed together, and show little of their colour and shape.
CLOSED_SHARE, OPEN_SHARE = 0.2, 0.05
SHUT = 0.02  #: distance of the inner lips, in eye distances, up to which a mouth counts as shut: no teeth are seen
STILL = 0.03  #: the same, for how much the opening of a mouth varies that never speaks; in speech it is 0.04 to 0.25
SHUT_SHARE = 0.05  #: share of these frames, those with the lips closest together, that are shut at least; at most twice
FULL = 0.8  #: least height of closed lips, relative to the median: lips that show less are bitten or sucked in


@dataclass(eq=False)
class TrackedFace:
    """A face track that is being redrawn. A row is a frame's index into the arrays of the track, see `row`.

    Attributes:
        points: (N, 68, 2) landmarks in unit coordinates.
        boxes: (N, 4) hidden boxes in unit coordinates.
        sides: (N,) side of the face square in px.
        bridged: (N,) bool, frames in which the face was lost only briefly and its landmarks are interpolated.
        doubts: {row: why the face should not be redrawn there}; empty until `sidgan.dubbing` fills it.
        covers: {row: what lies in front of the face there, (24, 24) uint8, 0 to 255}; likewise.
        tone, border, contours: blending of the redrawn face; each depends on the last frames.
        cut: rows of the frames whose edge cuts off the chin or the jaw; likewise.
        chosen: frames of the references if they were decided beforehand; else the sharpest candidates are taken.
        opening: how much further than learnt the mouth is opened, a multiple of `sidgan.nn.Generator.opens`.
        best: {reference: (sharpness, picture (S, S, 3), row) of the sharpest candidate so far}.
        pictures: (K, S, S, 3) uint8 RGB, the references, once they are chosen.
        shown: rows of the references.
        reference: the network's features of the references.
    """

    track: FaceTrack
    points: Float = field(init=False)
    boxes: Float = field(init=False)
    sides: Float = field(init=False)
    bridged: Array = field(init=False)
    doubts: dict[int, str] = field(default_factory=dict)
    covers: dict[int, Byte] = field(default_factory=dict)
    cut: frozenset[int] = frozenset()
    chosen: tuple[int, ...] = ()
    opening: float = 0.0
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
        """Reset what depends on frames drawn before: another stretch of the output begins."""
        self.tone, self.border, self.contours, self.best = ToneMatch(), Border(), Contours(), {}

    def follow(self, track: FaceTrack) -> None:
        """Continue with another track of the same face."""
        self.track = track
        self.points = geometry.to_unit(self.track.matrices, self.track.landmarks)
        self.boxes = geometry.mask_boxes(self.points)
        self.sides = self.track.matrices[:, 0, 0]
        self.bridged = np.zeros(len(self.track), bool)

    def row(self, index: int) -> int:
        """The row of frame ``index`` in the arrays."""
        return index - self.track.first

    def refusal(self, index: int) -> str | None:
        """Why the face cannot be redrawn in frame ``index``; ``None`` if it can."""
        row = self.row(index)
        if not (self.track.visible[row] or self.bridged[row]):
            return "face not visible"
        if self.sides[row] < MIN_SIDE:
            return f"face smaller than {MIN_SIDE} px"
        if abs(self.track.pose[row, 0]) > MAX_YAW:
            return f"face turned by more than {MAX_YAW} degrees"
        return self.doubts.get(row)

    def usable(self) -> Iterator[int]:
        """The indices of the frames in which the face can be redrawn."""
        return (index for index in self.track.frames if self.refusal(index) is None)

    def mute(self) -> bool:
        """Whether the mouth hardly moves wherever the face can be redrawn: somebody listens, or it is a photo."""
        return self._still(self._telling_part())

    def candidates(self, count: int = 1, open_share: float = OPEN_SHARE) -> list[list[int]]:
        """For each of ``count`` references (1 to 3), the frames to choose the sharpest from; empty if none is usable.

        They are the frontal ones among the first usable frames, or else the one turned least. Several references come
        from the first part of the track in which the mouth moves, if there is one: the first shows lips nearly closed,
        the second lips open, and the third lips shut. Frames with something in front of the face are candidates only if
        there are no others, and so are, nearly, those that cut it off: what is beyond the edge would be copied into the
        picture. If the references were decided beforehand (``chosen``), only these are returned.

        Args:
            open_share: share of these frames, with the lips furthest apart, that are candidates for the open one.
        """
        if len(self.chosen) == count:
            return [[index] for index in self.chosen]
        usable = self._telling_part() if count > 1 else list(islice(self.usable(), REFERENCE_FRAMES))
        usable = [i for i in usable if self.row(i) not in self.covers] or usable
        whole = [i for i in usable if self.row(i) not in self.cut]
        usable = whole if len(whole) >= REFERENCE_FRAMES else usable
        rows = [self.row(i) for i in usable]
        groups = telling(self.track.pose[rows], self.points[rows], count, open_share)
        return [[usable[k] for k in group] for group in groups]

    def _telling_part(self) -> list[int]:
        """The first `PAIR_FRAMES` usable frames; or as many later ones, if the mouth moves only then."""
        usable = self.usable()
        first = part = list(islice(usable, PAIR_FRAMES))
        while len(part) >= REFERENCE_FRAMES and self._still(part):
            part = list(islice(usable, PAIR_FRAMES))
        return part if len(part) >= REFERENCE_FRAMES else first

    def _still(self, frames: list[int]) -> bool:
        return bool(frames) and stays_still(self.points[[self.row(index) for index in frames]])


def stays_still(points: Float) -> bool:
    """Whether a mouth hardly moves from one picture to another; (N, 68, 2) unit landmarks."""
    least, most = np.quantile(mouth_opening(points), (SHUT_SHARE, 1 - OPEN_SHARE))
    return bool(most - least <= STILL)


def telling(pose: Float, points: Float, count: int, open_share: float = OPEN_SHARE) -> list[list[int]]:
    """For each of ``count`` references, which of N pictures of a face are candidates; see `TrackedFace.candidates`.

    Args:
        pose: (N, 3) yaw, pitch and roll in degrees.
        points: (N, 68, 2) landmarks in unit coordinates.
    """
    yaw = np.abs(pose[:, 0])
    frontal = np.flatnonzero(yaw < FRONTAL) if (yaw < FRONTAL).any() else np.argsort(yaw, kind="stable")[:1]
    if count == 1 or not len(frontal):
        return [frontal.tolist()] * bool(len(frontal))
    opening, height = mouth_signals(points[frontal])[:, :2].T
    order, lips = np.argsort(opening, kind="stable"), height - opening
    closed, few, wide = (max(1, round(share * len(order))) for share in (CLOSED_SHARE, SHUT_SHARE, open_share))
    shut = int(np.clip((opening <= SHUT).sum(), few, 2 * few))

    def full(share: int) -> list[int]:
        """Of so many frames with the lips closest, those that show the lips in their usual height, if there are any."""
        seen = [k for k in order[:share] if lips[k] >= FULL * np.median(lips)]
        return frontal[seen or order[:share]].tolist()

    return [full(closed), frontal[order[-wide:]].tolist(), full(shut)][:count]


def redrawn(people: Iterable[TrackedFace], faces: str) -> dict[int, list[TrackedFace]]:
    """Which faces are redrawn in which frame.

    Args:
        people: faces with `TrackedFace.candidates`, the most prominent first.
        faces: ``largest`` for the most prominent face of each frame, or ``all``.

    Returns:
        {frame: faces to redraw in it}, unless `TrackedFace.refusal` says otherwise.
    """
    by_frame: dict[int, list[TrackedFace]] = defaultdict(list)
    for person in people:
        for index in person.track.frames:
            # The most prominent face remains so while it is lost; or somebody else would speak for half a second.
            if faces == "all" or not by_frame[index]:
                by_frame[index].append(person)
    return by_frame



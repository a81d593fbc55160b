"""A face track to be redrawn: which part of the face is hidden, and in which frames it is left as filmed.

One person may have many tracks, one for each shot; `sidgan.people.cast` groups them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np

from sidgan import geometry
from sidgan.blend import ToneMatch
from sidgan.blend.border import Border
from sidgan.blend.contours import Contours
from sidgan.people.views import OPEN_SHARE, PAIR_FRAMES, REFERENCE_FRAMES, View, sides, stays_still, telling, views
from sidgan.types import Array, Byte, FaceTrack, Float

MIN_SIDE = 64  #: px; a smaller face square is left as filmed
MAX_YAW = 60  #: degrees; a face turned further is left as filmed
MAX_ROLL = 35  #: degrees; a head tilted further is left as filmed: mouths are smeared, as squares do not turn with it
TURNED_AWAY = 30  #: degrees; likewise, where the face is seen from that side too briefly for references
BRIEF = "face seen too briefly from this side"
NOTHING = np.zeros(1, np.uint8)  #: in front of a face

Source = tuple["TrackedFace", list[int]]  #: the track that shows a reference, and the frames to choose from


@dataclass(eq=False)
class TrackedFace:
    """A face track that is being redrawn. A row is a frame's index into the arrays of the track, see `row`.

    Attributes:
        points: (N, 68, 2) landmarks in unit coordinates.
        boxes: (N, 4) hidden boxes in unit coordinates.
        sides: (N,) side of the face square in px.
        speeds: (N, 2) how far the face moves along x and y from one frame to the next, as a fraction of that side.
        bridged: (N,) bool, frames in which the face was lost only briefly and its landmarks are interpolated.
        doubts: {row: why the face should not be redrawn there}; empty until `sidgan.dubbing` fills it.
        covers: {row: what lies in front of the face there, (24, 24) uint8, 0 to 255}; likewise.
        tone, border, contours: blending of the redrawn face; each depends on the last frames.
        cut: rows of the frames whose edge cuts off the chin or the jaw; likewise.
        views: the sides from which the face is seen, each with references of its own; a single one until `find_views`.
        lent: {(view, reference): (another track of the person, its view)} that has a better one, see `lending`.
    """

    track: FaceTrack
    points: Float = field(init=False)
    boxes: Float = field(init=False)
    sides: Float = field(init=False)
    speeds: Float = field(init=False)
    bridged: Array = field(init=False)
    doubts: dict[int, str] = field(default_factory=dict)
    covers: dict[int, Byte] = field(default_factory=dict)
    cut: frozenset[int] = frozenset()
    views: tuple[View, ...] = field(init=False)
    lent: dict[tuple[View, int], tuple[TrackedFace, View]] = field(default_factory=dict)
    tone: ToneMatch = field(init=False)
    border: Border = field(init=False)
    contours: Contours = field(init=False)

    def __post_init__(self) -> None:
        self.follow(self.track)
        self.begin()

    def begin(self) -> None:
        """Reset what depends on frames drawn before: another stretch of the output begins."""
        self.tone, self.border, self.contours = ToneMatch(), Border(), Contours()

    def follow(self, track: FaceTrack) -> None:
        """Continue with another track of the same face."""
        self.track = track
        self.points = geometry.to_unit(self.track.matrices, self.track.landmarks)
        self.boxes = geometry.mask_boxes(self.points)
        self.sides = self.track.matrices[:, 0, 0]
        self.speeds = _speeds(self.track.landmarks) / self.sides[:, None]
        self.bridged = np.zeros(len(self.track), bool)
        self.views, self.lent = (View.whole(len(self.track)),), {}

    def row(self, index: int) -> int:
        """The row of frame ``index`` in the arrays."""
        return index - self.track.first

    def find_views(self, known: Sequence[int] = ()) -> None:
        """Set ``views``, once all ``doubts`` are known, and doubt frames that show a side of which there is no view.

        Args:
            known: `sides` of which there are references already, from frames that are not in the track any more.
        """
        yaw, can = self.track.pose[:, 0], [self.refusal(index) is None for index in self.track.frames]
        self.views = views(yaw, np.array(can, bool))
        unseen = ~np.any([view.rows for view in self.views], axis=0) & ~np.isin(sides(yaw), known)
        self.doubts = dict.fromkeys(np.flatnonzero(unseen & (np.abs(yaw) > TURNED_AWAY)).tolist(), BRIEF) | self.doubts

    def refusal(self, index: int) -> str | None:
        """Why the face cannot be redrawn in frame ``index``; ``None`` if it can."""
        row = self.row(index)
        if not (self.track.visible[row] or self.bridged[row]):
            return "face not visible"
        if self.sides[row] < MIN_SIDE:
            return f"face smaller than {MIN_SIDE} px"
        if abs(self.track.pose[row, 0]) > MAX_YAW:
            return f"face turned by more than {MAX_YAW} degrees"
        if abs(self.track.pose[row, 2]) > MAX_ROLL:
            return f"face tilted by more than {MAX_ROLL} degrees"
        return self.doubts.get(row)

    def usable(self) -> Iterator[int]:
        """The indices of the frames in which the face can be redrawn."""
        return (index for index in self.track.frames if self.refusal(index) is None)

    @property
    def appears(self) -> bool:
        """Whether the face can be redrawn in any frame."""
        return next(self.usable(), None) is not None

    def mute(self) -> bool:
        """Whether the mouth hardly moves wherever the face can be redrawn: somebody listens, or it is a photo."""
        return self._still(self._telling_part(self.usable()))

    def sources(self, view: View, count: int = 1, open_share: float = OPEN_SHARE) -> list[Source]:
        """For each of ``count`` references (1 to 3) of a view: the track that shows it, and the frames to choose from.

        The track is this one, unless the reference is `lent`. If the references were decided beforehand
        (`View.chosen`), there is a single frame to choose from. Empty if no frame is usable.
        """
        found: list[Source] = []
        for which, own in enumerate(self._proposed(view, count, open_share)):
            face, other = self.lent.get((view, which), (self, view))
            borrows = face is not self and len(view.chosen) != count
            found.append((face, face._proposed(other, count, open_share)[which] if borrows else own))
        return found

    def _proposed(self, view: View, count: int, open_share: float) -> list[list[int]]:
        """`candidates`, or the frames that were decided beforehand."""
        if len(view.chosen) == count:
            return [[index] for index in view.chosen]
        return self.candidates(view, count, open_share)

    def candidates(self, view: View, count: int = 1, open_share: float = OPEN_SHARE) -> list[list[int]]:
        """For each of ``count`` references (1 to 3) of a view, this track's frames that may show it, see `telling`.

        They are chosen from the first usable frames. Several references come from the first part of the track in which
        the mouth moves, if there is one. Frames with something in front of the face are candidates only if there are
        few others, those with the least of it, and so are those that cut the face off: what is beyond the edge would be
        copied into the picture.
        """
        seen = self.seen_from(view)
        usable = self._telling_part(seen) if count > 1 else list(islice(seen, REFERENCE_FRAMES))
        hidden = [int(self.covers.get(self.row(i), NOTHING).sum()) for i in usable]
        least = max(sorted(hidden)[:REFERENCE_FRAMES], default=0)
        usable = [i for i, one in zip(usable, hidden, strict=True) if one <= least]
        whole = [i for i in usable if self.row(i) not in self.cut]
        usable = whole if len(whole) >= REFERENCE_FRAMES else usable
        rows = [self.row(i) for i in usable]
        groups = telling(self.track.pose[rows], self.points[rows], count, open_share)
        return [[usable[k] for k in group] for group in groups]

    def seen_from(self, view: View) -> Iterator[int]:
        """The indices of the usable frames of a view."""
        return (index for index in self.usable() if view.rows[self.row(index)])

    def _telling_part(self, usable: Iterator[int]) -> list[int]:
        """The first `PAIR_FRAMES` usable frames; or as many later ones, if the mouth moves only then."""
        first = part = list(islice(usable, PAIR_FRAMES))
        while len(part) >= REFERENCE_FRAMES and self._still(part):
            part = list(islice(usable, PAIR_FRAMES))
        return part if len(part) >= REFERENCE_FRAMES else first

    def _still(self, frames: list[int]) -> bool:
        return bool(frames) and stays_still(self.points[[self.row(index) for index in frames]])


def _speeds(landmarks: Float) -> Float:
    """(N, 2) px by which a face moves along x and y in each of N frames, from its landmarks (N, 68, 2) in px."""
    places = landmarks[:, geometry.STEADY].mean(1)
    return np.abs(np.gradient(places, axis=0)) if len(places) > 1 else np.zeros_like(places)


def redrawn(people: Iterable[TrackedFace], faces: str) -> dict[int, list[TrackedFace]]:
    """Which faces are redrawn in which frame.

    Args:
        people: faces that appear, the most prominent first.
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



"""Face tracking: detection in some frames, 68 landmarks in every frame, and tracks that never cross a shot cut.

A whole frame is searched only every `KEY_EVERY` frames, at a coarse scale. The search is finer where no face is found,
at the start of a shot, and every `FINE_EVERY` frames, as there may be small faces beside large ones. In between, each
known face is confirmed in a window around it; the face of somebody in front of it does not confirm it. After somebody
was hidden like that, the whole frame is searched more often, as they may come out elsewhere. Landmarks need no
detector: their box is predicted from the landmarks of the frame before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import count

import numpy as np

from sidgan.faces.detector import SAME_FACE, Detector, Hog, overlap
from sidgan.faces.models import Box, Landmarker, landmarks
from sidgan.faces.shots import CutFinder
from sidgan.faces.smoothing import smooth
from sidgan.geometry import luma8
from sidgan.types import Byte, Face, FaceTrack, Float, Frame

KEY_EVERY = 25  #: frames between searches of a whole frame
FINE_EVERY = 75  #: frames between fine searches, for small faces beside large ones
MIN_SEEN = 5  #: least number of frames in which a face must be seen to get a track
CHECK_EVERY = 5  #: frames between confirmations of a known face in its window
AWAITED = 50  #: frames after which nobody who was hidden behind another face is expected to come out any more
MAX_GAP = 25  #: frames a face may be lost before its track ends
TIGHT = 0.85  #: side of a tighter box relative to a face's box; both should give nearly the same landmarks
UNSURE = 0.03  #: mean distance of the landmarks in the two boxes, relative to the box's side, from which one is doubted
USUAL = 250  #: number of last frames whose median gives the usual length of a face, from bridge of the nose to chin
JUMPED = 0.1  #: the same after a sudden change, where it may have jumped
SAME_PLACE = 0.25  #: distance of two tracks, relative to the face square's side, below which they show the same face


@dataclass(eq=False)
class _Follower:
    """One face being followed: its landmarks and scores, and how its box lies relative to its landmarks."""

    number: int
    first: int  # frame in which it was found
    start: int  # frame of points[0], scores[0] and changes[0]; later than ``first`` once old frames were dropped
    points: list[Float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    changes: list[float] = field(default_factory=list)  # how much each frame differs from the one before
    offset: Float = field(default_factory=lambda: np.zeros(2, np.float32))  # box centre - point centre, per spread
    ratio: float = 0.0  # box side per spread
    score: float = 0.0
    lost: int = 0  # number of frames since it was last seen

    def calibrate(self, face: Face) -> None:
        """Store how the detector's box lies relative to the landmarks found in it, for `predict`."""
        centre, spread = _spread(face.landmarks)
        x0, y0, x1, y1 = face.box
        self.offset = (np.array([(x0 + x1) / 2, (y0 + y1) / 2], np.float32) - centre) / spread
        self.ratio = (x1 - x0) / spread
        self.score = face.score

    def predict(self, points: Float) -> Box:
        centre, spread = _spread(points)
        x, y = (float(v) for v in centre + self.offset * spread)
        half = self.ratio * spread / 2
        return x - half, y - half, x + half, y + half

    def add(self, points: Float, score: float) -> None:
        self.points.append(points)
        self.scores.append(score)

    def track(self, since: int) -> FaceTrack | None:
        """The smoothed track from frame ``since`` on; ``None`` if the face was seen in too few frames."""
        begin = max(0, since - self.start)
        points, scores, changes = self.points[begin:], self.scores[begin:], self.changes[begin:]
        if sum(score > 0 for score in scores) < MIN_SEEN:
            return None
        return smooth(self.start + begin, np.stack(points), np.array(scores, np.float32), np.array(changes))

    def forget(self, before: int) -> None:
        count = max(0, before - self.start)
        self.points, self.scores, self.changes = self.points[count:], self.scores[count:], self.changes[count:]
        self.start += count


def _spread(points: Float) -> tuple[Float, float]:
    """Centre and RMS radius of the landmarks of the upper face; chin and mouth move with speech."""
    stable = points[17:48]
    centre = stable.mean(0)
    return centre, float(np.sqrt(((stable - centre) ** 2).sum(1).mean())) + 1e-6


def _length(points: Float) -> float:
    """Length of a face from the bridge of the nose to the chin, in eye distances."""
    return float(np.linalg.norm(points[8] - points[27]) / np.linalg.norm(points[45] - points[36]))


class Tracker:
    """Follows every face of a video, frame by frame; `finish` gives the tracks. Keeps landmarks only, no pixels.

    For live video, `recent` gives the tracks so far, and `forget` keeps memory from growing.

    Args:
        detector: finds faces; `Hog` by default.
        points: finds landmarks; `landmarks` by default.

    Attributes:
        cuts: indices of the frames at which a shot begins, except the first one.
    """

    def __init__(self, detector: Detector | None = None, points: Landmarker | None = None) -> None:
        self._detector, self._points = detector or Hog(), points or landmarks
        self._active: list[_Follower] = []
        self._done: list[_Follower] = []
        self._numbers = count()
        self._cuts = CutFinder()
        self._since_key = KEY_EVERY
        self._since_hidden = AWAITED
        self._fine_at = 0  # a search at or after this frame is a fine one
        self.cuts: list[int] = []

    def add(self, frame: Frame) -> None:
        """Process the next frame."""
        luma = luma8(frame)
        cut = self._cuts.add(frame)
        if cut or (cut is None and self._all_gone(luma)):
            self._begin_shot(frame.index)
        elif self._cuts.sudden:
            self._find_again(luma, frame.index)
        else:
            for follower in self._active:
                self._follow(follower, luma, frame.index)
        lost = [f for f in self._active if f.lost]
        every = CHECK_EVERY if self._since_hidden < AWAITED else KEY_EVERY
        if self._since_key >= every or any(f.lost in (1, 3, 6, 12) for f in lost):
            self._key_frame(luma, frame.index)
            self._since_key = 0
        self._since_key += 1
        self._since_hidden += 1
        for follower in self._active:
            follower.changes.append(self._cuts.change)
        ended = [f for f in self._active if f.lost > MAX_GAP]
        self._done += ended
        self._active = [f for f in self._active if f.lost <= MAX_GAP]

    def here(self) -> dict[int, Float]:
        """The last known landmarks (68, 2) px of each face that is followed now.

        The keys are numbers that faces keep until their tracks end.
        """
        return {follower.number: follower.points[-1] for follower in self._active}

    def finish(self) -> list[FaceTrack]:
        """The smoothed tracks with at least `MIN_SEEN` seen frames, by falling `prominence`, without duplicates."""
        return list(self._tracks(0).values())

    def recent(self, since: int) -> dict[int, FaceTrack]:
        """What `finish` would give now for the frames from ``since`` on, with the faces' numbers as keys.

        Only the first and last `SMOOTHED` frames of such a track may differ from those of the whole track.
        """
        return self._tracks(since)

    def forget(self, before: int) -> None:
        """Drop everything about the frames before this one."""
        for follower in self._done + self._active:
            follower.forget(before)
        self._done = [follower for follower in self._done if follower.points]

    def _tracks(self, since: int) -> dict[int, FaceTrack]:
        tracks = {f.number: track for f in self._done + self._active if (track := f.track(since)) is not None}
        kept: dict[int, FaceTrack] = {}
        for number, track in sorted(tracks.items(), key=lambda item: prominence(item[1]), reverse=True):
            if not any(_same_place(track, other) for other in kept.values()):
                kept[number] = track
        return kept

    def _all_gone(self, luma: Byte) -> bool:
        """Whether faces were seen in the last frame, and none of them is confirmed at its place in this one."""
        seen = [f for f in self._active if not f.lost]
        return bool(seen) and all(self._detector.confirm(luma, f.predict(f.points[-1])) is None for f in seen)

    def _begin_shot(self, index: int) -> None:
        self.cuts.append(index)
        self._done += self._active
        self._active = []
        self._since_key, self._since_hidden, self._fine_at = KEY_EVERY, AWAITED, index

    def _find_again(self, luma: Byte, index: int) -> None:
        """Find the known faces in frame ``index``, which differs suddenly from the last one: they may be elsewhere.

        A face that jumps a little goes on where it is found. If all are gone, and others are there, a shot begins.
        """
        found, places = self._detector.search(luma, False), list[tuple[_Follower, Float | None]]()
        boxes = {follower: follower.predict(follower.points[-1]) for follower in self._active if not follower.lost}
        for follower, box in boxes.items():
            match = max(found, key=lambda face: overlap(box, face.box), default=None)
            if match is not None and _nearest(match, boxes) is follower:
                points = self._points_near(follower, luma, box)
                if np.linalg.norm(points - match.landmarks, axis=1).mean() > UNSURE * (box[2] - box[0]):
                    follower.calibrate(match)
                    points = match.landmarks
                places.append((follower, points))
            else:  # a small face, which a coarse search does not find, may still be there
                there = self._seen(follower, luma, box) is not None
                places.append((follower, self._points_near(follower, luma, box) if there else None))
        if places and found and all(points is None for _, points in places):
            self._begin_shot(index)
            return
        for follower in [f for f in self._active if f.lost]:
            self._follow(follower, luma, index)
        for follower, place in places:
            follower.lost = int(place is None)
            follower.add(follower.points[-1] if place is None else place, 0.0 if place is None else follower.score)

    def _follow(self, follower: _Follower, luma: Byte, index: int) -> None:
        """Find the landmarks of a known face in frame ``index``; every `CHECK_EVERY` frames it is confirmed first."""
        last = follower.points[-1]
        box = follower.predict(last)
        if follower.lost or (index - follower.first) % CHECK_EVERY == 0:
            score = self._seen(follower, luma, box)
            if score is None:
                if not follower.lost:  # nothing confirms the frames since the last check either
                    for i in range(1, min(CHECK_EVERY, len(follower.scores))):
                        follower.scores[-i] = 0.0
                follower.lost += 1
                follower.add(last, 0.0)
                return
            follower.lost = 0
            follower.score = score
            box, points = self._checked(follower, luma, box)
        else:
            points = self._points(luma, box)
        follower.add(self._again(follower, luma, box, points), follower.score)

    def _seen(self, follower: _Follower, luma: Byte, box: Box) -> float | None:
        """The score of a known face that is expected in ``box``; ``None`` if it is gone, or hidden by another one."""
        others = [f.predict(f.points[-1]) for f in self._active if f is not follower and not f.lost]
        if follower.lost and any(overlap(box, other) > SAME_FACE for other in others):
            self._since_hidden = 0
            return None
        return self._detector.confirm(luma, box, others)

    def _points_near(self, follower: _Follower, luma: Byte, box: Box) -> Float:
        return self._again(follower, luma, box, self._points(luma, box))

    def _again(self, follower: _Follower, luma: Byte, box: Box, points: Float) -> Float:
        """Landmarks found in a box that was predicted from the last ones; if they moved, those found in a new box."""
        moved = np.linalg.norm(points.mean(0) - follower.points[-1].mean(0)) > 0.04 * (box[2] - box[0])
        return self._points(luma, follower.predict(points)) if moved else points

    def _checked(self, follower: _Follower, luma: Byte, box: Box) -> tuple[Box, Float]:
        """The box of a face and the landmarks in it, or a tighter box where that fits the face's usual length better.

        In a box that is too large, the mouth is found on the chin and the chin on the neck, and the predicted boxes
        keep growing.
        """
        shrink = (1 - TIGHT) / 2 * (box[2] - box[0])
        tight = box[0] + shrink, box[1] + shrink, box[2] - shrink, box[3] - shrink
        points, tight_points = self._points(luma, box), self._points(luma, tight)
        if np.linalg.norm(points - tight_points, axis=1).mean() < UNSURE * (box[2] - box[0]):
            return box, points
        usual = float(np.median([_length(earlier) for earlier in follower.points[-USUAL:]]))
        if abs(_length(tight_points) - usual) >= abs(_length(points) - usual):
            return box, points
        follower.ratio *= TIGHT
        return tight, tight_points

    def _key_frame(self, luma: Byte, index: int) -> None:
        """Search the whole frame for new faces, and for faces that were lost."""
        fine = index >= self._fine_at
        if fine:
            self._fine_at = index + FINE_EVERY
        for face in self._detector.search(luma, fine):
            overlaps = [(overlap(f.predict(f.points[-1]), face.box), f) for f in self._active]
            # Somebody's face that is seen there is theirs, even if somebody else's was lost at that place.
            share, match = max(overlaps, key=lambda pair: (pair[0] > SAME_FACE and not pair[1].lost, pair[0]),
                               default=(0.0, None))  # fmt: skip
            if match is None or share <= SAME_FACE:
                follower = _Follower(next(self._numbers), index, index)
                follower.calibrate(face)
                follower.add(face.landmarks, face.score)
                self._active.append(follower)
            elif match.lost:
                match.lost = 0
                match.calibrate(face)
                match.points[-1], match.scores[-1] = face.landmarks, face.score


def _nearest(face: Face, boxes: Mapping[_Follower, Box]) -> _Follower | None:
    """Which of the known faces with these boxes a found one may be after a jump, if any."""
    follower = max(boxes, key=lambda one: overlap(boxes[one], face.box))
    return follower if overlap(boxes[follower], face.box) > JUMPED else None


def _same_place(track: FaceTrack, other: FaceTrack) -> bool:
    """Whether a track mostly lies on the face that ``other`` follows: the detector finds some faces twice."""
    shared = range(max(track.first, other.first), min(track.frames.stop, other.frames.stop))
    if 2 * len(shared) < len(track):
        return False
    one, two = (t.matrices[shared.start - t.first : shared.stop - t.first] for t in (track, other))
    centres = [m[:, :, 2] + m[:, 0, :1] / 2 for m in (one, two)]
    return bool((np.linalg.norm(centres[0] - centres[1], axis=1) < SAME_PLACE * two[:, 0, 0]).mean() > 0.5)


def prominence(track: FaceTrack) -> float:
    """Number of seen frames times median side in px: larger for faces that are larger or longer on screen."""
    return float(track.visible.sum() * np.median(track.matrices[:, 0, 0]))


def track_faces(frames: Iterable[Frame]) -> tuple[list[FaceTrack], list[Fraction]]:
    """The face tracks of a video, the most prominent first, and the presentation times of its frames in seconds.

    Reads the frames once and keeps no pixels.
    """
    tracker, times = Tracker(), list[Fraction]()
    for frame in frames:
        times.append(frame.time)
        tracker.add(frame)
    return tracker.finish(), times

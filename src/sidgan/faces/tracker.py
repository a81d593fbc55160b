"""Face tracking: detection in some frames, 68 landmarks in every frame, and tracks that never cross a shot cut.

A whole frame is searched only every `KEY_EVERY` frames, at a coarse scale. The search is finer where no face is found,
at the start of a shot, and every `FINE_EVERY` frames, as there may be small faces beside large ones. In between, each
known face is confirmed in a window around it; the face of somebody in front of it does not confirm it. After somebody
was hidden like that, the whole frame is searched more often, as they may come out elsewhere; and so it is `SOON` after
a face was lost, or a shot began without any. Landmarks need no detector: their box is predicted from the landmarks of
the frame before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from itertools import count

import numpy as np

from sidgan.faces.detector import SAME_FACE, Detector, Hog, overlap
from sidgan.faces.follower import Follower, length
from sidgan.faces.models import Box, Landmarker, landmarks
from sidgan.faces.shots import CutFinder
from sidgan.geometry import luma8
from sidgan.types import Byte, Face, FaceTrack, Float, Frame

KEY_EVERY = 25  #: frames between searches of a whole frame
FINE_EVERY = 75  #: frames between fine searches, for small faces beside large ones
SOON = (1, 3, 6, 12)  #: frames after one in which a face was lost, or a shot began without any: the whole is searched
CHECK_EVERY = 5  #: frames between confirmations of a known face in its window
AWAITED = 50  #: frames after which nobody who was hidden behind another face is expected to come out any more
MAX_GAP = 25  #: frames a face may be lost before its track ends
TIGHT = 0.85  #: side of a tighter box relative to a face's box; both should give nearly the same landmarks
UNSURE = 0.03  #: mean distance of the landmarks in the two boxes, relative to the box's side, from which one is doubted
USUAL = 250  #: number of last frames whose median gives the usual length of a face, from bridge of the nose to chin
JUMPED = 0.1  #: the same after a sudden change, where it may have jumped
SAME_PLACE = 0.25  #: distance of two tracks, relative to the face square's side, below which they show the same face


class Tracker:
    """Follows every face of a video, frame by frame; `finish` gives the tracks.

    Keeps landmarks, and of the pixels only the luma of the last frame. For live video, `recent` gives the tracks so
    far, and `forget` keeps memory from growing.

    Args:
        detector: finds faces; `Hog` by default.
        points: finds landmarks; `landmarks` by default.

    Attributes:
        cuts: indices of the frames at which a shot begins, except the first one.
    """

    def __init__(self, detector: Detector | None = None, points: Landmarker | None = None) -> None:
        self._detector, self._points = detector or Hog(), points or landmarks
        self._active: list[Follower] = []
        self._done: list[Follower] = []
        self._numbers = count()
        self._cuts = CutFinder()
        self._last: Byte | None = None  # luma of the last frame
        self._since_key = KEY_EVERY
        self._since_hidden = AWAITED
        self._began = 0  # first frame of the shot
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
        alone = not self._active and frame.index - self._began in SOON  # as in a fade from black, or a blurred pan
        if self._since_key >= every or alone or any(f.lost in SOON for f in lost):
            self._key_frame(luma, frame.index)
            self._since_key = 0
        self._since_key += 1
        self._since_hidden += 1
        for follower in self._active:
            follower.changes.append(self._cuts.change)
        self._last = luma
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
        for follower in self._active:
            self._look_back(follower)
        self._done += self._active
        self._active = []
        self._since_key, self._since_hidden, self._fine_at, self._began = KEY_EVERY, AWAITED, index, index

    def _find_again(self, luma: Byte, index: int) -> None:
        """Find the known faces in frame ``index``, which differs suddenly from the last one: they may be elsewhere.

        A face that jumps a little goes on where it is found. If all are gone, and others are there, a shot begins.
        """
        found, places = self._detector.search(luma, False), list[tuple[Follower, Float | None]]()
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
            if place is None:
                self._look_back(follower)
            follower.lost, follower.unconfirmed = int(place is None), 0
            follower.add(follower.points[-1] if place is None else place, 0.0 if place is None else follower.score)

    def _look_back(self, follower: Follower) -> None:
        """Doubt the frames since a face was last confirmed, unless it is in the last one: it is not in the next."""
        if follower.unconfirmed and self._last is not None:
            box = follower.predict(follower.points[-1])
            if self._detector.confirm(self._last, box) is None:
                follower.doubt()

    def _follow(self, follower: Follower, luma: Byte, index: int) -> None:
        """Find the landmarks of a known face in frame ``index``; every `CHECK_EVERY` frames it is confirmed first."""
        last = follower.points[-1]
        box = follower.predict(last)
        if follower.lost or (index - follower.first) % CHECK_EVERY == 0:
            score = self._seen(follower, luma, box)
            if score is None:
                follower.doubt()
                follower.lost += 1
                follower.add(last, 0.0)
                return
            follower.lost = follower.unconfirmed = 0
            follower.score = score
            box, points = self._checked(follower, luma, box)
        else:
            points = self._points(luma, box)
            follower.unconfirmed += 1
        follower.add(self._again(follower, luma, box, points), follower.score)

    def _seen(self, follower: Follower, luma: Byte, box: Box) -> float | None:
        """The score of a known face that is expected in ``box``; ``None`` if it is gone, or hidden by another one."""
        others = [f.predict(f.points[-1]) for f in self._active if f is not follower and not f.lost]
        if follower.lost and any(overlap(box, other) > SAME_FACE for other in others):
            self._since_hidden = 0
            return None
        return self._detector.confirm(luma, box, others)

    def _points_near(self, follower: Follower, luma: Byte, box: Box) -> Float:
        return self._again(follower, luma, box, self._points(luma, box))

    def _again(self, follower: Follower, luma: Byte, box: Box, points: Float) -> Float:
        """Landmarks found in a box that was predicted from the last ones; if they moved, those found in a new box."""
        moved = np.linalg.norm(points.mean(0) - follower.points[-1].mean(0)) > 0.04 * (box[2] - box[0])
        return self._points(luma, follower.predict(points)) if moved else points

    def _checked(self, follower: Follower, luma: Byte, box: Box) -> tuple[Box, Float]:
        """The box of a face and the landmarks in it, or a tighter box where that fits the face's usual length better.

        In a box that is too large, the mouth is found on the chin and the chin on the neck, and the predicted boxes
        keep growing.
        """
        shrink = (1 - TIGHT) / 2 * (box[2] - box[0])
        tight = box[0] + shrink, box[1] + shrink, box[2] - shrink, box[3] - shrink
        points, tight_points = self._points(luma, box), self._points(luma, tight)
        if np.linalg.norm(points - tight_points, axis=1).mean() < UNSURE * (box[2] - box[0]):
            return box, points
        usual = float(np.median([length(earlier) for earlier in follower.points[-USUAL:]]))
        if abs(length(tight_points) - usual) >= abs(length(points) - usual):
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
                follower = Follower(next(self._numbers), index, index)
                follower.calibrate(face)
                follower.add(face.landmarks, face.score)
                self._active.append(follower)
            elif match.lost:
                match.lost = 0
                match.calibrate(face)
                match.points[-1], match.scores[-1] = face.landmarks, face.score


def _nearest(face: Face, boxes: Mapping[Follower, Box]) -> Follower | None:
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

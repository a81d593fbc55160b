"""One face that is followed through a shot, as `sidgan.faces.Tracker` does for every face of a video."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from sidgan.faces.models import Box
from sidgan.faces.smoothing import smooth
from sidgan.types import Face, FaceTrack, Float

MIN_SEEN = 5  #: least number of frames in which a face must be seen to get a track


@dataclass(eq=False)
class Follower:
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
    unconfirmed: int = 0  # number of last frames in which it was followed by its landmarks only

    def calibrate(self, face: Face) -> None:
        """Store how the detector's box lies relative to the landmarks found in it, for `predict`."""
        centre, spread = _spread(face.landmarks)
        x0, y0, x1, y1 = face.box
        self.offset = (np.array([(x0 + x1) / 2, (y0 + y1) / 2], np.float32) - centre) / spread
        self.ratio = (x1 - x0) / spread
        self.score = face.score

    def predict(self, points: Float) -> Box:
        """The box that the detector would find around a face with these landmarks (68, 2) px."""
        centre, spread = _spread(points)
        x, y = (float(v) for v in centre + self.offset * spread)
        half = self.ratio * spread / 2
        return x - half, y - half, x + half, y + half

    def add(self, points: Float, score: float) -> None:
        """Go on to the next frame; a score of 0 says that the face is not seen there."""
        self.points.append(points)
        self.scores.append(score)

    def doubt(self) -> None:
        """The face is gone, and nothing confirms the frames since it was last confirmed: they do not count as seen."""
        for i in range(1, min(self.unconfirmed, len(self.scores)) + 1):
            self.scores[-i] = 0.0
        self.unconfirmed = 0

    def track(self, since: int) -> FaceTrack | None:
        """The smoothed track from frame ``since`` on; ``None`` if the face was seen in too few frames."""
        begin = max(0, since - self.start)
        points, scores, changes = self.points[begin:], self.scores[begin:], self.changes[begin:]
        if sum(score > 0 for score in scores) < MIN_SEEN:
            return None
        return smooth(self.start + begin, np.stack(points), np.array(scores, np.float32), np.array(changes))

    def forget(self, before: int) -> None:
        """Drop everything about the frames before this one."""
        count = max(0, before - self.start)
        self.points, self.scores, self.changes = self.points[count:], self.scores[count:], self.changes[count:]
        self.start += count


def _spread(points: Float) -> tuple[Float, float]:
    """Centre (2,) and RMS radius px of the landmarks of the upper face; chin and mouth move with speech."""
    stable = points[17:48]
    centre = stable.mean(0)
    return centre, float(np.sqrt(((stable - centre) ** 2).sum(1).mean())) + 1e-6


def length(points: Float) -> float:
    """Length of a face from the bridge of the nose to the chin, in eye distances."""
    return float(np.linalg.norm(points[8] - points[27]) / np.linalg.norm(points[45] - points[36]))

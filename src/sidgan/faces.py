"""Faces through a video: detection on a few frames, 68 landmarks on every frame, tracks that never cross a shot cut.

The detector (HOG, dlib) is slow on a whole frame and fast on a window as large as a face. So whole frames are searched
every `KEY_EVERY` frames only, and coarsely; finely where nobody is found, where a shot begins, and every `FINE_EVERY`
frames, since there may be small faces beside large ones. In between, each known face is confirmed in its own window.
Landmarks need no detector: the box in which they are looked for follows from those of the frame before.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import cv2
import dlib
import numpy as np
from scipy.ndimage import gaussian_filter1d, median_filter

from sidgan.errors import SidganError
from sidgan.geometry import JAW, face_square, luma8, square_matrix
from sidgan.shots import AROUND, CutFinder, jumps
from sidgan.types import Byte, Face, FaceTrack, Float, Frame

KEY_EVERY = 25  #: frames between searches of a whole frame
FINE_EVERY = 75  #: frames between fine searches, for small faces beside large ones
MIN_SEEN = 5  #: frames in which a face must be seen to be followed at all
CHECK_EVERY = 5  #: frames between confirmations of a known face in its window
MAX_GAP = 25  #: frames a face may be lost before its track ends
SEARCH_LINES = (360, 720, 1080)  #: short side in px at which the frame is searched, until a face is found
MIN_SCORE = 0.0  #: HOG score of a confirmed face; real frontal faces reach 1 to 3
WINDOW_FACE = 100  #: px to which a known face is scaled to be confirmed; the detector's smallest is 80
TIGHT = 0.85  #: of a face's box: a smaller one, in which nearly the same landmarks should be found
UNSURE = 0.03  #: of the box, by which the landmarks found in the two may differ on average where the box is good
USUAL = 250  #: frames that tell how long a face usually is, from bridge of the nose to chin
SMOOTHED = 22 + AROUND  #: frames before and after one on which its place in a smoothed track depends
SAME_PLACE = 0.25  #: of the face square's side, by which two tracks of the same face may be apart

Box = tuple[float, float, float, float]
Landmarker = Callable[[Byte, Box], Float]  #: as `landmarks`


def model_file(name: str) -> Path:
    """Path of a dlib model inside the ``face_recognition_models`` distribution, which must not be imported."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise SidganError("face models are missing; run: pip install face_recognition_models")
    return Path(spec.submodule_search_locations[0]) / "models" / f"{name}.dat"


@lru_cache(maxsize=1)
def _detector() -> Any:
    return dlib.get_frontal_face_detector()


@lru_cache(maxsize=1)
def _predictor() -> Any:
    return dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks")))


@lru_cache(maxsize=1)
def _embedder() -> Any:
    return dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1")))


def landmarks(image: Byte, box: Box) -> Float:
    """68 points (68, 2) px of the face in ``box`` of a grey or RGB uint8 image, in iBUG order."""
    shape = _predictor()(image, dlib.rectangle(*(round(v) for v in box)))
    return np.array([(p.x, p.y) for p in shape.parts()], np.float32)


def embed(image: Byte, points: Float) -> Float:
    """Identity embedding (128,) of the face with these 68 points in an RGB uint8 image; 0.6 apart = other person."""
    rect = dlib.rectangle(*(round(v) for v in box_of(points)))
    shape = dlib.full_object_detection(rect, [dlib.point(round(float(x)), round(float(y))) for x, y in points])
    return np.array(_embedder().compute_face_descriptor(image, shape), np.float32)


def box_of(points: Float) -> Box:
    """The box that the landmark model expects around a face with these points (its mean shape in its own box)."""
    low, high = points.min(0), points.max(0)
    centre = (low + high) / 2
    side = float((high - low).max()) * 1.12
    x, y = float(centre[0]), float(centre[1]) - 0.02 * side
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2


def detect(luma: Byte, short_side: int) -> list[tuple[Box, float]]:
    """Boxes and scores of the faces in a grey image, searched at one scale; faces under 80/short_side are missed."""
    scale = short_side / min(luma.shape)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=how) if scale != 1 else luma
    found, scores, _ = _detector().run(small, 0, MIN_SCORE)
    boxes = [tuple(v / scale for v in (r.left(), r.top(), r.right() + 1, r.bottom() + 1)) for r in found]
    return [(box, float(score)) for box, score in zip(boxes, scores, strict=True)]


def search(luma: Byte, fine: bool = False) -> list[Face]:
    """All faces of a frame: coarse first, finer only while nothing is found, so wide shots are not missed.

    Args:
        fine: go on to the next finer scale at least, for small faces beside large ones.
    """
    first, *finer = SEARCH_LINES
    most = 2 * min(luma.shape)  # enlarged further, nothing more is seen
    found: list[tuple[Box, float]] = []
    for lines in (min(first, most), *(lines for lines in finer if lines <= most)):
        if found and not (fine and lines == finer[0]):
            break
        found += [seen for seen in detect(luma, lines) if not any(_inside(seen[0], box) for box, _ in found)]
    return [Face(box, score, landmarks(luma, box)) for box, score in found]


def _inside(box: Box, other: Box) -> bool:
    """Whether the middle of a box lies in another one."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return other[0] < x < other[2] and other[1] < y < other[3]


def confirm(luma: Byte, box: Box) -> float | None:
    """The score of the face expected in ``box``, if it is still there; only a small window around it is searched."""
    x0, y0, x1, y1 = box
    margin = 0.4 * (x1 - x0)
    height, width = luma.shape
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right, bottom = min(width, int(x1 + margin)), min(height, int(y1 + margin))
    if right - left < 16 or bottom - top < 16:
        return None
    scale = WINDOW_FACE / (x1 - x0)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    window = cv2.resize(luma[top:bottom, left:right], None, fx=scale, fy=scale, interpolation=how)
    found, scores, _ = _detector().run(window, 0, MIN_SCORE)
    near = []
    for rect, score in zip(found, scores, strict=True):
        hit = (rect.left() / scale + left, rect.top() / scale + top, rect.right() / scale + left,
               rect.bottom() / scale + top)  # fmt: skip
        if overlap(hit, box) > 0.3:
            near.append(float(score))
    return max(near, default=None)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)


@dataclass
class _Follower:
    """One face being followed: what was seen from frame ``known`` on, and how its box sits on its landmarks."""

    number: int
    first: int
    known: int
    points: list[Float] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)
    offset: Float = field(default_factory=lambda: np.zeros(2, np.float32))  # box centre - point centre, per spread
    ratio: float = 0.0  # box side per spread
    score: float = 0.0
    lost: int = 0

    def calibrate(self, face: Face) -> None:
        """Remember how the detector's box lies relative to the landmarks found in it."""
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

    def track(self, since: int, fewest: int) -> FaceTrack | None:
        """What was seen from frame ``since`` on, smoothed, if the face was seen in enough frames."""
        begin = max(0, since - self.known)
        points, scores = self.points[begin:], self.scores[begin:]
        if sum(score > 0 for score in scores) < fewest:
            return None
        return smooth(self.known + begin, np.stack(points), np.array(scores, np.float32))

    def forget(self, before: int) -> None:
        many = max(0, before - self.known)
        self.points, self.scores = self.points[many:], self.scores[many:]
        self.known += many


def _spread(points: Float) -> tuple[Float, float]:
    """Centre and size of the upper face (no chin, no mouth: they move with speech)."""
    stable = points[17:48]
    centre = stable.mean(0)
    return centre, float(np.sqrt(((stable - centre) ** 2).sum(1).mean())) + 1e-6


def _length(points: Float) -> float:
    """From the bridge of the nose to the chin, in eye distances."""
    return float(np.linalg.norm(points[8] - points[27]) / np.linalg.norm(points[45] - points[36]))


class Detector(Protocol):
    """What finds faces for a `Tracker`: the functions `search` and `confirm`, or others that promise the same."""

    def search(self, luma: Byte, fine: bool) -> list[Face]:
        """All faces of a grey frame (H, W); where ``fine``, with those that are much smaller than others."""

    def confirm(self, luma: Byte, box: Box) -> float | None:
        """The score of the face expected in ``box``, if it is still there."""


class _Hog:
    """The detector that comes with dlib."""

    def search(self, luma: Byte, fine: bool) -> list[Face]:
        return search(luma, fine)

    def confirm(self, luma: Byte, box: Box) -> float | None:
        return confirm(luma, box)


class Tracker:
    """Follows every face of a video, frame by frame; `finish` gives the tracks. Holds landmarks only, no pixels.

    Of pictures that never end, `recent` gives the tracks so far, and `forget` keeps memory from growing.
    """

    def __init__(self, detector: Detector | None = None, points: Landmarker | None = None) -> None:
        self._detector, self._points = detector or _Hog(), points or landmarks
        self._active: list[_Follower] = []
        self._done: list[_Follower] = []
        self._numbers = count()
        self._cuts = CutFinder()
        self._since_key = KEY_EVERY
        self._fine_at = 0  # from this frame on, the next search is a fine one
        self.cuts: list[int] = []

    def add(self, frame: Frame) -> None:
        """Look at the next frame."""
        luma = luma8(frame)
        cut = self._cuts.add(frame)
        if cut or (cut is None and self._all_gone(luma)):
            self.cuts.append(frame.index)
            self._done += self._active
            self._active = []
            self._since_key, self._fine_at = KEY_EVERY, frame.index
        for follower in self._active:
            self._follow(follower, luma, frame.index)
        lost = [f for f in self._active if f.lost]
        if self._since_key >= KEY_EVERY or any(f.lost in (1, 3, 6, 12) for f in lost):
            self._key_frame(luma, frame.index)
            self._since_key = 0
        self._since_key += 1
        ended = [f for f in self._active if f.lost > MAX_GAP]
        self._done += ended
        self._active = [f for f in self._active if f.lost <= MAX_GAP]

    def here(self) -> dict[int, Float]:
        """Landmarks (68, 2) px of the faces that are followed, in the last frame or where they were lost before it.

        By a number that each face keeps until its track ends.
        """
        return {follower.number: follower.points[-1] for follower in self._active}

    def finish(self, min_frames: int = MIN_SEEN) -> list[FaceTrack]:
        """The tracks of at least ``min_frames`` seen frames, smoothed, largest times longest first; each face once."""
        return list(self._tracks(0, min_frames).values())

    def recent(self, since: int) -> dict[int, FaceTrack]:
        """What `finish` would give now of the frames from ``since`` on, by the faces' numbers.

        More than `SMOOTHED` frames away from where it is cut off, a track is the same however much of it is known.
        """
        return self._tracks(since, MIN_SEEN)

    def forget(self, before: int) -> None:
        """Free what is known of the frames before this one."""
        for follower in self._done + self._active:
            follower.forget(before)
        self._done = [follower for follower in self._done if follower.points]

    def _tracks(self, since: int, fewest: int) -> dict[int, FaceTrack]:
        tracks = {f.number: track for f in self._done + self._active if (track := f.track(since, fewest)) is not None}
        kept: dict[int, FaceTrack] = {}
        for number, track in sorted(tracks.items(), key=lambda item: prominence(item[1]), reverse=True):
            if not any(_same_place(track, other) for other in kept.values()):
                kept[number] = track
        return kept

    def _all_gone(self, luma: Byte) -> bool:
        """Whether there were faces in the last frame, and none of them is where it was."""
        seen = [f for f in self._active if not f.lost]
        return bool(seen) and all(self._detector.confirm(luma, f.predict(f.points[-1])) is None for f in seen)

    def _follow(self, follower: _Follower, luma: Byte, index: int) -> None:
        last = follower.points[-1]
        box = follower.predict(last)
        if follower.lost or (index - follower.first) % CHECK_EVERY == 0:
            score = self._detector.confirm(luma, box)
            if score is None:
                if not follower.lost:  # nothing vouches for the frames since the last confirmation
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
        if np.linalg.norm(points.mean(0) - last.mean(0)) > 0.04 * (box[2] - box[0]):
            points = self._points(luma, follower.predict(points))  # it moved: look again from where it is now
        follower.add(points, follower.score)

    def _checked(self, follower: _Follower, luma: Byte, box: Box) -> tuple[Box, Float]:
        """The box of a face and what is found in it, or a smaller one where that is more like the face so far.

        In a box that is too large mouths are found on chins and chins on necks, and the next box is larger still.
        """
        shrink = (1 - TIGHT) / 2 * (box[2] - box[0])
        tight = box[0] + shrink, box[1] + shrink, box[2] - shrink, box[3] - shrink
        found, other = self._points(luma, box), self._points(luma, tight)
        if np.linalg.norm(found - other, axis=1).mean() < UNSURE * (box[2] - box[0]):
            return box, found
        usual = float(np.median([_length(points) for points in follower.points[-USUAL:]]))
        if abs(_length(other) - usual) >= abs(_length(found) - usual):
            return box, found
        follower.ratio *= TIGHT
        return tight, other

    def _key_frame(self, luma: Byte, index: int) -> None:
        fine = index >= self._fine_at
        if fine:
            self._fine_at = index + FINE_EVERY
        for face in self._detector.search(luma, fine):
            matches = [f for f in self._active if overlap(f.predict(f.points[-1]), face.box) > 0.3]
            if not matches:
                follower = _Follower(next(self._numbers), index, index)
                follower.calibrate(face)
                follower.add(face.landmarks, face.score)
                self._active.append(follower)
            elif matches[0].lost:
                matches[0].lost = 0
                matches[0].calibrate(face)
                matches[0].points[-1], matches[0].scores[-1] = face.landmarks, face.score


def smooth(first: int, points: Float, scores: Float) -> FaceTrack:
    """A track from raw landmarks (N, 68, 2) and scores (N,): gaps interpolated, jitter removed, lips left alone.

    Landmarks get a Gaussian of one frame. The crop moves with a median of 13 frames and a Gaussian of 4, so that the
    network sees a steady face and the pasted mouth does not swim. Neither reaches across `sidgan.shots.jumps`.
    """
    seen = np.nonzero(scores > 0)[0]
    points, scores = points[: seen[-1] + 1], scores[: seen[-1] + 1]
    frames = np.arange(len(points))
    flat = points.reshape(len(points), -1)
    filled = np.stack([np.interp(frames, seen, flat[seen, i]) for i in range(flat.shape[1])], 1).reshape(points.shape)
    takes = [_steadied(take) for take in np.split(filled, jumps(filled))]
    steady, square = (np.concatenate(parts) for parts in zip(*takes, strict=True))
    return FaceTrack(
        first=first, visible=scores > 0, landmarks=steady.astype(np.float32), matrices=square_matrix(square),
        scores=scores, pose=np.stack([head_pose(p) for p in steady]),
    )  # fmt: skip


def _steadied(points: Float) -> tuple[Float, Float]:
    """Landmarks (N, 68, 2) without jitter, and the squares (N, 3) with which the crop moves."""
    steady = gaussian_filter1d(points, 1.0, axis=0, mode="nearest")
    square = median_filter(face_square(points), (13, 1), mode="nearest")
    return steady, gaussian_filter1d(square, 4.0, axis=0, mode="nearest")


def _same_place(track: FaceTrack, other: FaceTrack) -> bool:
    """Whether a track mostly lies on a face that another one follows: the detector finds some faces twice."""
    shared = range(max(track.first, other.first), min(track.frames.stop, other.frames.stop))
    if 2 * len(shared) < len(track):
        return False
    one, two = (t.matrices[shared.start - t.first : shared.stop - t.first] for t in (track, other))
    centres = [m[:, :, 2] + m[:, 0, :1] / 2 for m in (one, two)]
    return bool((np.linalg.norm(centres[0] - centres[1], axis=1) < SAME_PLACE * two[:, 0, 0]).mean() > 0.5)


def prominence(track: FaceTrack) -> float:
    """Seen frames times median side: the larger and longer on screen, the more prominent."""
    return float(track.visible.sum() * np.median(track.matrices[:, 0, 0]))


_HEAD_POINTS = (30, 8, 36, 45, 48, 54)
_HEAD_MODEL = np.array(  # x to the image's right, y down, z away from the camera; 450 units = outer eye corners apart
    [(0, 0, 0), (0, 330, 120), (-225, -170, 250), (225, -170, 250), (-150, 150, 170), (150, 150, 170)], np.float64
)


def head_pose(points: Float) -> Float:
    """Yaw, pitch, roll in degrees, from 68 points; 0 is frontal, positive yaw turns to the image's right.

    The six-point head model is coarse: good to tell profiles from frontal faces, not to a degree.
    """
    centre = points[JAW].mean(0)
    width = float(np.ptp(points[:, 0])) + 1e-6
    focal = 4.0 * width
    camera = np.array([[focal, 0, 0], [0, focal, 0], [0, 0, 1]])
    image = (points[list(_HEAD_POINTS)] - centre).astype(np.float64)
    frontal, away = np.zeros(3), np.array([0.0, 0.0, focal * 550 / width])
    ok, rotation, _ = cv2.solvePnP(_HEAD_MODEL, image, camera, np.zeros(4), frontal, away, True)
    if not ok:
        return np.zeros(3, np.float32)
    r, _ = cv2.Rodrigues(rotation)
    yaw = np.arctan2(r[0, 2], r[2, 2])
    pitch = np.arcsin(np.clip(-r[1, 2], -1, 1))
    roll = np.arctan2(r[1, 0], r[1, 1])
    return np.degrees([yaw, pitch, roll]).astype(np.float32)


def track_faces(frames: Iterable[Frame]) -> tuple[list[FaceTrack], list[Fraction]]:
    """Every face of a video, the most prominent first, and the seconds at which its frames are shown.

    One pass, and memory for landmarks only.
    """
    tracker, times = Tracker(), list[Fraction]()
    for frame in frames:
        times.append(frame.time)
        tracker.add(frame)
    return tracker.finish(), times

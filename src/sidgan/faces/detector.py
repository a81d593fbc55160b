"""Face detection in one frame, by dlib's HOG detector: slow on whole frames, fast on a window around one face."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import cv2
import dlib
import numpy as np

from sidgan.faces.models import Box, landmarks
from sidgan.types import Byte, Face

SEARCH_LINES = (360, 720, 1080)  #: px, short sides to which the frame is scaled in turn until a face is found
MIN_SCORE = 0.0  #: least HOG score of a face; real frontal faces reach 1 to 3
SAME_FACE = 0.3  #: overlap of a known face and a found one above which they are the same
FITS = 0.55  #: overlap of a known face's box and what is found in its window, from which the face is confirmed: in
# ordinary footage it is 0.64 or more, and less where the box has slipped
CLEARLY = 0.2  #: what more of a found face a person's box overlaps than another one's, if it is clearly theirs
AROUND = 1 / 3  #: of the short side: margin around a frame in which a face may be larger than the frame
BESIDE = 0.2  #: share of such a face that may lie left or right of the frame; of half a face, landmarks are guesses
WINDOW_FACE = 100  #: px, side to which a known face is scaled to be confirmed; the detector's smallest face is 80 px


class Detector(Protocol):
    """A face detector that a `Tracker` can use."""

    def search(self, luma: Byte, fine: bool) -> list[Face]:
        """All faces of a grey frame (H, W) uint8; with ``fine``, also small faces beside much larger ones."""

    def confirm(self, luma: Byte, box: Box, others: Sequence[Box] = ()) -> float | None:
        """The score of the face expected in ``box``; ``None`` if it is no longer there, see `belongs`."""


class Hog:
    """dlib's HOG detector as a `Detector`."""

    def search(self, luma: Byte, fine: bool) -> list[Face]:
        """See `search`."""
        return search(luma, fine)

    def confirm(self, luma: Byte, box: Box, others: Sequence[Box] = ()) -> float | None:
        """See `confirm`."""
        return confirm(luma, box, others)


_free: list[Any] = []  #: loaded detectors that no thread is using


@contextmanager
def _detector() -> Iterator[Any]:
    """The detector, for one thread at a time: it keeps the image it searches, and releases the GIL meanwhile."""
    try:
        own = _free.pop()
    except IndexError:
        own = dlib.get_frontal_face_detector()
    try:
        yield own
    finally:
        _free.append(own)


def detect(luma: Byte, short_side: int) -> list[tuple[Box, float]]:
    """Boxes (px of ``luma``) and scores of the faces in a grey image, searched at one scale.

    Faces smaller than 80 / ``short_side`` of the image's short side are missed.
    """
    scale = short_side / min(luma.shape)
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(luma, None, fx=scale, fy=scale, interpolation=how) if scale != 1 else luma
    with _detector() as hog:
        found, scores, _ = hog.run(small, 0, MIN_SCORE)
    boxes = [tuple(v / scale for v in (r.left(), r.top(), r.right() + 1, r.bottom() + 1)) for r in found]
    return [(box, float(score)) for box, score in zip(boxes, scores, strict=True)]


def search(luma: Byte, fine: bool = False) -> list[Face]:
    """All faces of a frame, searched at a coarse scale first, and at finer ones until a face is found (wide shots).

    If none is found, a face may be larger than the frame: then it is searched with a margin around it.

    Args:
        luma: (H, W) uint8.
        fine: search the second scale in any case, for small faces beside large ones.
    """
    first, *finer = SEARCH_LINES
    most = 2 * min(luma.shape)  # larger enlargements show nothing more
    found: list[tuple[Box, float]] = []
    for lines in (min(first, most), *(lines for lines in finer if lines <= most)):
        if found and not (fine and lines == finer[0]):
            break
        found += [seen for seen in detect(luma, lines) if not any(_inside(seen[0], box) for box, _ in found)]
    if not found:
        found = _close_up(luma)
    return [Face(box, score, landmarks(luma, box)) for box, score in found]


def _close_up(luma: Byte) -> list[tuple[Box, float]]:
    """Boxes and scores of the faces that reach beyond the frame's edges."""
    margin = int(AROUND * min(luma.shape))
    height, width = luma.shape
    framed = _framed(luma, margin, margin, margin, margin)
    boxes = [((x0 - margin, y0 - margin, x1 - margin, y1 - margin), score)
             for (x0, y0, x1, y1), score in detect(framed, SEARCH_LINES[0])]  # fmt: skip
    return [(box, score) for box, score in boxes if _reaches_beyond(box, width, height)]


def _reaches_beyond(box: Box, width: int, height: int) -> bool:
    """Whether a box is partly outside of a frame, as that of a face larger than the frame, but not mostly beside it."""
    x0, y0, x1, y1 = box
    beside = max(-x0, x1 - width)
    return max(beside, -y0, y1 - height) > 0 and beside < BESIDE * (x1 - x0)


def _framed(luma: Byte, left: int, top: int, right: int, bottom: int) -> Byte:
    """A picture with grey margins of so many px, in which the detector finds nothing."""
    grey = float(luma.mean())
    return np.asarray(cv2.copyMakeBorder(luma, top, bottom, left, right, cv2.BORDER_CONSTANT, value=grey), np.uint8)


def _inside(box: Box, other: Box) -> bool:
    """Whether the centre of ``box`` lies in ``other``."""
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    return other[0] < x < other[2] and other[1] < y < other[3]


def confirm(luma: Byte, box: Box, others: Sequence[Box] = (), fits: float = FITS) -> float | None:
    """The score of the face expected in ``box``, or ``None``; only a small window around the box is searched.

    Args:
        luma: (H, W) uint8.
        others: where other people's faces are expected, see `belongs`.
        fits: overlap above which what is found is this face; the default is for boxes as the detector finds them.
    """
    x0, y0, x1, y1 = box
    margin = 0.4 * (x1 - x0)
    height, width = luma.shape
    left, top = max(0, int(x0 - margin)), max(0, int(y0 - margin))
    right, bottom = min(width, int(x1 + margin)), min(height, int(y1 + margin))
    if right - left < 16 or bottom - top < 16:
        return None
    window, corner = luma[top:bottom, left:right], (left, top)
    score = _score(window, corner, box, others, fits)
    if score is None and _reaches_beyond(box, width, height):
        margins = [max(0, int(v + margin)) for v in (-x0, -y0, x1 - width, y1 - height)]
        score = _score(_framed(window, *margins), (left - margins[0], top - margins[1]), box, others, fits)
    return score


def _score(window: Byte, corner: tuple[int, int], box: Box, others: Sequence[Box], fits: float) -> float | None:
    """The best score of what is found in a window of a frame, from ``corner`` on, and belongs to ``box``."""
    (left, top), scale = corner, WINDOW_FACE / (box[2] - box[0])
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    small = cv2.resize(window, None, fx=scale, fy=scale, interpolation=how)
    with _detector() as hog:
        found, scores, _ = hog.run(small, 0, MIN_SCORE)
    near = []
    for rect, score in zip(found, scores, strict=True):
        hit = (rect.left() / scale + left, rect.top() / scale + top, rect.right() / scale + left,
               rect.bottom() / scale + top)  # fmt: skip
        if belongs(hit, box, others, fits):
            near.append(float(score))
    return max(near, default=None)


def belongs(hit: Box, box: Box, others: Sequence[Box], fits: float = FITS) -> bool:
    """Whether a face found at ``hit`` is the one expected in ``box``, and not that of somebody in front of it.

    Where two boxes fit it nearly as well, both are expected on the same face, and it is both's.
    """
    share = overlap(hit, box)
    return share > fits and all(overlap(hit, other) < share + CLEARLY for other in others)


def overlap(a: Box, b: Box) -> float:
    """Intersection over union of two boxes."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    both = width * height
    return both / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both)

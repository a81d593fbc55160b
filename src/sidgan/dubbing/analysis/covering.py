"""Find objects that cover a face, such as hands, microphones and cups, with a small network, frame by frame.

The network looks at a face by itself and, if it finds something, once more beside how the face usually looks in that
pose. Both must agree: by itself it mistakes ears, hair and shadows; compared with other poses it mistakes what has
moved. Some beards are still mistaken. Unlike hands, those are always there. So what counts is how far a score exceeds
the usual score at the same place of the same face. Covered pixels stay as filmed, in front of the redrawn mouth; a face
whose lips are covered is not redrawn (`sidgan.dubbing.analysis.trust`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import lru_cache

import cv2
import numpy as np
import torch
from scipy.ndimage import maximum_filter

from sidgan import checkpoint
from sidgan.blend import polygon
from sidgan.engine import choose_precision
from sidgan.geometry import JAW, NOSE_BASE, OUTER_LIPS
from sidgan.nn import OcclusionNet
from sidgan.nn.occlusion import SIDE
from sidgan.poses import alike, compared
from sidgan.types import Array, Byte, Float

CELLS = 24  #: width of the grid of scores of a face, in cells
TOGETHER = 8  #: faces in a batch; always the same number, so that each face gets the same scores, bit for bit
FAR = 0.02  #: in sides of the face square; where no other frames show the pose within this, nothing counts as covered
CLOSE = 0.01  #: likewise, within which only frames are compared with that show the usual look
STRONG = 208  #: of 255; a covering must reach this in some cell, as beards seldom do
SURE = 128  #: of 255; from here on a cell counts as covered
HELD = 0.15  #: share of lips, chin and cheeks; a face of which as much seems covered does not show its usual look
RISE = (64.0, 192.0)  #: of 255; between these scores, the source is faded in over the redrawn face

_HEIGHT = (np.arange(CELLS) + 0.5)[:, None] / CELLS  # y of the cells' centres, in the unit square


@lru_cache(maxsize=1)
def _net() -> OcclusionNet:
    return checkpoint.load_occlusion()


@lru_cache(maxsize=1)
def _fast() -> bool:
    return choose_precision(torch.device("cpu")) == "bf16-mixed"


def scores(
    found: Byte, wanted: Array, picture: Callable[[int], Byte], rows: Array, points: Float, clear: Array | None = None
) -> Byte:
    """(M, 24, 24) uint8: how sure it is, from 0 to 255, that cells of faces of a track are covered.

    Args:
        found: (M, 24, 24) uint8, the same of these faces by themselves, see `alone`.
        wanted: (M,) rows of these faces.
        picture: returns the face (48, 48, 3) uint8 of one of ``rows`` or ``wanted``; asked only where something is
            found.
        rows: (R,) the frames to compare with (`sidgan.poses.compared`).
        points: (N, 68, 2) unit landmarks of all frames.
        clear: those of ``rows`` that are preferred where they show nearly the same pose, see `bare`.
    """
    both = np.zeros_like(found)
    some = np.flatnonzero(found.max((1, 2)) >= RISE[0])  # most faces need no second look
    for begin in range(0, len(some), TOGETHER):
        part = some[begin : begin + TOGETHER]
        usual = dict(zip(part.tolist(), _usual(wanted[part], picture, rows, points, clear), strict=True))
        known = {i: look for i, look in usual.items() if look is not None}
        if known:
            sure, faces = [*known], np.stack([picture(int(wanted[i])) for i in known])
            both[sure] = np.minimum(found[sure], cell_scores(faces, np.stack([*known.values()])))
    return both


def alone(faces: Byte) -> Byte:
    """(N, 24, 24) uint8: how sure it is that cells of faces (N, 48, 48, 3) are covered, seen by themselves."""
    return cell_scores(faces, np.zeros_like(faces))


def _usual(
    wanted: Array, picture: Callable[[int], Byte], rows: Array, points: Float, clear: Array | None
) -> Iterator[Byte | None]:
    """How the face of each ``wanted`` frame usually looks in that pose, (48, 48, 3); see `scores`.

    Black where there are too few frames to compare with, ``None`` where none of them shows this pose.
    """
    among_all = [*alike(points, rows, wanted)]
    preferred = among_all if clear is None else alike(points, clear, wanted)
    for these, those in zip(preferred, among_all, strict=True):
        near, off = these if len(these[0]) and these[1] <= CLOSE else those
        if off > FAR:
            yield None
        elif not len(near):
            yield np.zeros((SIDE, SIDE, 3), np.uint8)
        else:
            mean = np.mean([picture(int(row)) for row in near], 0, dtype=np.float32)
            yield np.asarray(mean.round(), np.uint8)


def bare(rows: Array, found: Byte, points: Float) -> Array:
    """Those of ``rows``, as in `scores`, that show the usual look: without a hand that rests at the chin for a while.

    If more than half of them seem covered, it may be a beard, and all are returned.

    Args:
        found: (R, 24, 24), see `alone`, of these frames.
        points: (N, 68, 2) unit landmarks of all frames.
    """
    reaching = np.stack([reaching_in(cover, points[row]) for cover, row in zip(found, rows, strict=True)])
    clear = hidden_shares(reaching, points[rows])[1] < HELD
    return rows[clear] if 2 * np.count_nonzero(clear) >= len(rows) else rows


def cell_scores(faces: Byte, usual: Byte) -> Byte:
    """(N, 24, 24) uint8: scores of the network, 0 to 255, that a cell of a face is covered.

    Args:
        faces: (N, 48, 48, 3) uint8 RGB.
        usual: (N, 48, 48, 3), their usual looks; black where they are not known.
    """
    found = []
    for begin in range(0, len(faces), TOGETHER):
        rows = np.minimum(np.arange(begin, begin + TOGETHER), len(faces) - 1)
        both = (torch.from_numpy(images[rows]).permute(0, 3, 1, 2).float() / 255 for images in (faces, usual))
        with torch.inference_mode():
            with torch.autocast("cpu", torch.bfloat16, enabled=_fast()):
                sure = _net()(*both).float().sigmoid()
            cells = torch.nn.functional.avg_pool2d(sure, SIDE // CELLS)
        found.append((cells[: len(faces) - begin] * 255).round().byte().numpy())
    return np.concatenate(found)


def covers(cells: Byte, points: Float, good: Array) -> Byte:
    """(N, 24, 24) uint8: how far scores exceed their usual value in N frames of a track; 0 in cells not covered.

    The maximum over each frame and its two neighbours is taken, and only coverings that reach in from outside the face
    count.

    Args:
        cells: (N, 24, 24), see `scores`.
        points: (N, 68, 2) unit landmarks.
        good: (N,) bool, the frames that define the usual score (their median).
    """
    usual = np.median(cells[compared(good)], 0).astype(np.uint8)
    more = maximum_filter(np.maximum(cells, usual) - usual, (3, 1, 1), mode="nearest")
    for i in np.flatnonzero((more >= RISE[0]).any((1, 2))):
        more[i] = reaching_in(more[i], points[i])
    return np.where(more >= RISE[0], more, 0).astype(np.uint8)


def reaching_in(cover: Byte, points: Float) -> Byte:
    """Keep those parts of a covering (24, 24) that reach in from outside the face, as hands do and open mouths do not.

    Parts without a `STRONG` cell are removed.

    Args:
        points: (68, 2) unit landmarks.
    """
    there = (cover >= RISE[0]).astype(np.uint8)
    _, parts = cv2.connectedComponents(there, connectivity=4)
    beyond = ~polygon(CELLS, points[JAW]) & (points[NOSE_BASE, 1] < _HEIGHT)
    reaching, sure = (np.isin(parts, parts[where & (there > 0)]) for where in (beyond, cover >= STRONG))
    return np.where((there > 0) & reaching & sure, cover, 0).astype(np.uint8)


def hidden_shares(cover: Byte, points: Float) -> Float:
    """(2, N): covered share of the lips, and of lips, chin and cheeks together.

    Args:
        cover: (N, 24, 24), see `covers`.
        points: (N, 68, 2) unit landmarks.
    """
    shares = np.zeros((2, len(cover)), np.float32)
    for i in np.flatnonzero((cover >= SURE).any((1, 2))):
        lips, face = polygon(CELLS, points[i][OUTER_LIPS]), polygon(CELLS, points[i][JAW])
        face = lips | (face & (points[i][NOSE_BASE, 1] < _HEIGHT))
        shares[:, i] = [(cover[i] >= SURE)[part].mean() if part.any() else 0.0 for part in (lips, face)]
    return shares


def clear(cover: Byte, side: int) -> Float:
    """(side, side) in [0, 1]: 1 where nothing lies in front of a face, from its (24, 24) of `covers`."""
    fine = cv2.resize(cover.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 - np.clip((fine - RISE[0]) / (RISE[1] - RISE[0]), 0, 1))

"""What lies in front of a face, such as hands, microphones and cups, as a small network sees it frame by frame.

The network also takes some beards and hard shadows for coverings. Those are there all the time, which a hand is not: so
what counts is how much surer it is than usual about the same place of the same face. What is covered stays as it was
filmed, in front of the redrawn mouth; a face whose lips are covered is left alone (`sidgan.dubbing.analysis.trust`).
"""

from __future__ import annotations

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
from sidgan.types import Array, Byte, Float

CELLS = 24  #: across a face, of what is remembered of it
TOGETHER = 8  #: faces in a batch of the network, always as many, so that each comes out the same, bit for bit
COMPARED = 300  #: frames, spread over the track, that say what is usual
STRONG = 208  #: of 255, which a covering must reach in some cell: the network is seldom that sure about beards
SURE = 128  #: of 255, from which a cell counts as covered
RISE = (64.0, 192.0)  #: of 255, between which the source gradually covers the redrawn face

_HEIGHT = (np.arange(CELLS) + 0.5)[:, None] / CELLS  # of the cells' centres, in the unit square


@lru_cache(maxsize=1)
def _net() -> OcclusionNet:
    return checkpoint.load_occlusion()


@lru_cache(maxsize=1)
def _fast() -> bool:
    return choose_precision(torch.device("cpu")) == "bf16-mixed"


def seen(faces: Byte) -> Byte:
    """How sure the network is that something covers each cell of faces (N, 48, 48, 3) uint8 RGB: (N, 24, 24) of 255."""
    found = []
    for begin in range(0, len(faces), TOGETHER):
        some = faces[begin : begin + TOGETHER]
        filled = some[np.minimum(np.arange(TOGETHER), len(some) - 1)]
        with torch.inference_mode():
            with torch.autocast("cpu", torch.bfloat16, enabled=_fast()):
                sure = _net()(torch.from_numpy(filled).permute(0, 3, 1, 2).float() / 255).float().sigmoid()
            cells = torch.nn.functional.avg_pool2d(sure, SIDE // CELLS)
        found.append((cells[: len(some)] * 255).round().byte().numpy())
    return np.concatenate(found)


def covers(cells: Byte, points: Float, good: Array) -> Byte:
    """What lies in front of a face in N frames of its track, (N, 24, 24) of 255; 0 in cells that are not covered.

    That is how much surer `seen` is than usual, in a frame or the ones next to it, where it reaches in from outside.

    Args:
        cells: (N, 24, 24), see `seen`.
        points: (N, 68, 2) unit landmarks.
        good: (N,) bool, the frames that say what is usual.
    """
    rows = np.flatnonzero(good)
    rows = rows[np.linspace(0, len(rows) - 1, min(COMPARED, len(rows))).round().astype(int)]
    usual = np.median(cells[rows], 0).astype(np.uint8)
    more = maximum_filter(np.maximum(cells, usual) - usual, (3, 1, 1), mode="nearest")
    for i in np.flatnonzero((more >= RISE[0]).any((1, 2))):
        more[i] = reaching_in(more[i], points[i])
    return np.where(more >= RISE[0], more, 0).astype(np.uint8)


def reaching_in(cover: Byte, points: Float) -> Byte:
    """The parts of a covering (24, 24) that reach in from outside the face, as hands do and open mouths do not.

    Parts that are `STRONG` nowhere are left out.

    Args:
        points: (68, 2) unit landmarks.
    """
    there = (cover >= RISE[0]).astype(np.uint8)
    _, parts = cv2.connectedComponents(there, connectivity=4)
    beyond = ~polygon(CELLS, points[JAW]) & (points[NOSE_BASE, 1] < _HEIGHT)
    reaching, sure = (np.isin(parts, parts[where & (there > 0)]) for where in (beyond, cover >= STRONG))
    return np.where((there > 0) & reaching & sure, cover, 0).astype(np.uint8)


def hidden_shares(before: Byte, points: Float) -> Float:
    """(2, N) share of the lips, and of lips, chin and cheeks, that is covered.

    Args:
        before: (N, 24, 24), see `covers`.
        points: (N, 68, 2) unit landmarks.
    """
    shares = np.zeros((2, len(before)), np.float32)
    for i in np.flatnonzero((before >= SURE).any((1, 2))):
        lips, face = polygon(CELLS, points[i][OUTER_LIPS]), polygon(CELLS, points[i][JAW])
        face = lips | (face & (points[i][NOSE_BASE, 1] < _HEIGHT))
        shares[:, i] = [(before[i] >= SURE)[part].mean() if part.any() else 0.0 for part in (lips, face)]
    return shares


def clear(cover: Byte, side: int) -> Float:
    """(side, side) in [0, 1], from the (24, 24) that `covers` gives for a face: 1 where nothing lies in front of it."""
    fine = cv2.resize(cover.astype(np.float32), (side, side), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 - np.clip((fine - RISE[0]) / (RISE[1] - RISE[0]), 0, 1))

r"""Where a redrawn mouth ends: around both jaws, where what is drawn and what was filmed differ least.

A network that knows a face does not know its surroundings: it paints collars, hair and earrings as it goes. They were
filmed, so as little of them as possible is replaced. How far that can go is asked along rays from the mouth::

        \  |  /        levels on each ray, from NEAREST to FARTHEST beyond the hull of the old jaw and the new one
      ───mouth───      cost of a level = difference in the band that ends there, in which the two would be mixed,
        /  |  \                          + SPARING times what would be replaced beyond the hull up to it

The cheapest closed line through all rays is found by dynamic programming, in which each step from level to level costs
something as well. It is the running mean of those of the last frames, since edges that jump are seen.
"""

from __future__ import annotations

import cv2
import numpy as np

from sidgan.blend.running import RunningMean
from sidgan.geometry import JAW, MOUTH
from sidgan.types import Array, Byte, Float

# Lengths in shares of the crop's side.
NEAREST, FARTHEST, STEP = 0.03, 0.16, 0.01  #: beyond the hull: a chin has its outline there, and moves it
BAND = 0.06  #: inwards of the edge, where the two pictures are mixed
BLUR = 0.008  #: standard deviation, so that texture does not count as a difference

RAYS = 64
SIDE = 128  #: px to which pictures are reduced before they are compared
NOISE = 3.0  #: grey levels by which pictures that look the same may differ
SPARING = 1.5  #: weight of what is replaced beyond the hull against what is seen along the edge
BEND = 1.0  #: cost of a step from ray to ray
ROUND = 2  #: rays on either side with which the line is averaged
MEMORY = 0.85  #: how much less each frame counts in the line than the one after it
LOOK_BACK = 10  #: frames that count, the present one included: older ones make no difference to a bit

SIDES = slice(JAW.start + 3, JAW.stop - 3)  #: of the jaw, what speech moves: not the cheeks before the ears

LEVELS = np.arange(NEAREST, FARTHEST + STEP / 2, STEP)
TURNS = 2 * np.pi * np.arange(RAYS) / RAYS
DIRECTIONS = np.stack([np.cos(TURNS), np.sin(TURNS)], -1)


class Border:
    """The border of one face, frame by frame. One object follows one face; see `LOOK_BACK`."""

    def __init__(self) -> None:
        self._mean = RunningMean(MEMORY, LOOK_BACK)  # of how far each frame's own line reaches

    def __call__(self, drawn: Float, source: Byte, box: Float, old: Float, new: Float, place: int) -> Float:
        """How far the replaced region reaches beyond the hull on each ray, (RAYS,) in shares of the crop's side.

        Args:
            drawn: (S, S, 3) in [0, 255], in the tone in which it is to be used.
            source: (S, S, 3) uint8, the crop it was drawn for.
            box: (4,) hidden box in unit coordinates; beyond it nothing is ever replaced.
            old, new: (68, 2) landmarks in unit coordinates, of the source and of what was drawn.
            place: of the frame in the output.
        """
        return self._mean(place, _line(_costs(drawn, source, box, old, new)))


def outline(old: Float, new: Float, reach: Float | float) -> Float:
    """(RAYS, 2) unit points of the line that reaches so far beyond the hull of both jaws, on rays from the mouth."""
    centre, radius = _hull(old, new)
    return np.asarray(centre + (radius + reach)[:, None] * DIRECTIONS)


def _hull(old: Float, new: Float) -> tuple[Float, Float]:
    """The middle of both mouths (2,), and on each ray how far from there the hull of both lower faces ends (RAYS,)."""
    points = np.concatenate([face[part] for face in (old, new) for part in (SIDES, MOUTH)]).astype(np.float32)
    centre = np.concatenate([old[MOUTH], new[MOUTH]]).mean(0)
    corners = cv2.convexHull(points)[:, 0].astype(np.float64)
    along = np.roll(corners, -1, 0) - corners
    outwards = np.stack([along[:, 1], -along[:, 0]], -1)
    away = ((corners - centre) * outwards).sum(-1)  # of each edge from the centre, times its length; signs all alike
    toward = (DIRECTIONS[:, None] * outwards).sum(-1) * np.sign(away)  # a product of matrices may round otherwise
    hits = np.where(toward > 1e-9, np.abs(away) / np.maximum(toward, 1e-9), np.inf)
    return centre, np.minimum(hits.min(1), 1.0)


def _costs(drawn: Float, source: Byte, box: Float, old: Float, new: Float) -> Float:
    """(RAYS, levels) what it costs to end at each level."""
    off = np.abs(_small(drawn) - _small(source)).mean(-1)
    off = np.maximum(cv2.GaussianBlur(off, (0, 0), BLUR * SIDE) - NOISE, 0)
    middles = (np.arange(SIDE) + 0.5) / SIDE
    across, down = ((low < middles) & (middles < high) for low, high in (box[::2], box[1::2]))
    off *= down[:, None] & across  # beyond the box nothing changes
    band, first = round(BAND / STEP), round(NEAREST / STEP)
    reach = STEP * np.arange(first - band, first + len(LEVELS))
    centre, radius = _hull(old, new)
    places = (centre + (radius[:, None] + reach)[..., None] * DIRECTIONS[:, None]) * SIDE - 0.5
    x, y = np.moveaxis(places.astype(np.float32), -1, 0)
    found = cv2.remap(off, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    total = np.pad(np.cumsum(found, 1, dtype=np.float64), ((0, 0), (1, 0)))
    edge = (total[:, 1 + band :] - total[:, 1:-band]) / band
    beyond = (total[:, 1 + band :] - total[:, [max(0, band - first)]]) * STEP / FARTHEST
    return np.asarray(edge + SPARING * beyond)


def _small(picture: Float | Byte) -> Float:
    """(SIDE, SIDE, 3) of a picture (S, S, 3)."""
    how = cv2.INTER_AREA if len(picture) > SIDE else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(np.asarray(picture, np.float32), (SIDE, SIDE), interpolation=how))


def _line(costs: Float) -> Float:
    """(RAYS,) how far the cheapest line reaches, rounded off."""
    line = LEVELS[cheapest(costs)]
    return np.asarray(sum(np.roll(line, k) for k in range(-ROUND, ROUND + 1)) / (2 * ROUND + 1))


def cheapest(costs: Float) -> Array:
    """The level on each ray of the closed line of least cost, where each step between levels costs `BEND`.

    Args:
        costs: (rays, levels). Where one of them is clearest the line begins and ends, at the cheapest level there.
    """
    levels = np.arange(costs.shape[1])
    turn = int(costs.min(1).argmin())
    order = np.roll(costs, -turn, 0)
    steps = BEND * np.abs(np.subtract.outer(levels, levels))
    begin = int(order[0].argmin())
    total = np.where(levels == begin, 0.0, np.inf)
    origins = []
    for cost in [*order[1:], order[0]]:
        ways = total + steps  # to a level (row) from another
        origins.append(ways.argmin(1))
        total = ways.min(1) + cost
    chosen = [begin]
    for origin in reversed(origins[1:]):
        chosen.append(int(origin[chosen[-1]]))
    return np.roll([begin, *chosen[:0:-1]], turn)

"""Shot cut detection, from thumbnails of neighbouring frames.

After a cut, the frame shows other things. Fast motion shows the same things elsewhere, and a flash shows them in other
tones. So the thumbnail is divided into tiles, and each is searched for nearby in the last thumbnail, whatever its
brightness and contrast. Many tiles without a match are a cut; a few are a cut only if no face is where it was either,
which `sidgan.faces.Tracker` checks. A cut between similar shots of one person shows nothing new, but the head jumps,
and much of the picture changes a little: `jumps` finds these cuts from landmarks and from how much each frame changes.
"""

from __future__ import annotations

from collections import deque

import cv2
import numpy as np

from sidgan.geometry import STEADY, face_square
from sidgan.types import Array, Byte, Float, Frame

WIDTH, HEIGHT = 64, 36  #: px of a thumbnail
TILE = 6  #: px, side of its tiles
REACH = 5  #: px that a tile may have moved, 8 % of the picture's width
STILL = 3.0  #: grey levels, mean difference up to which a tile counts as unchanged without a search
MATCH = 0.7  #: largest RMS difference of a match, in standard deviations of the tile
TONE = 10.0  #: grey and colour levels by which a match may differ in any case
GAIN = (0.4, 2.5)  #: limits of the gain between two frames that a change of light may explain
# Measured shares of new tiles: real clips up to 0.03, at five times their speed up to 0.15; a picture that moves by 6 %
# of its width 0.03, by 10 % up to 0.34 in 95 of 100 cases; cuts between real clips 0.8 and more, between synthetic
# people before the same wall 0.48 and more, to another framing of the same person 0.08 and more.
NEW = 0.35  #: share of new tiles above which there is a cut
DOUBT = 0.08  #: share of new tiles above which there is a cut if no face is where it was
STANDS_OUT = 2.0  #: a cut must also exceed this multiple of the largest share in the last frames: cameras may swing
HISTORY = 4  #: number of those last frames
# Measured: where clips of people are cut to other moments of themselves, heads jump by 0.07 (median).
JUMP = 0.03  #: least movement of a head between two frames that may be a cut, relative to the face square's side
AT_ONCE = 3.0  #: it must exceed this multiple of the movements around it: turning a head takes several frames
SMALL_JUMP = 0.015  #: least movement that may be a cut where the picture changes at once too; it must be the largest
CHANGES_AT_ONCE = 2.5  #: such a change must exceed this multiple of the changes around it
LEAST_CHANGE = 1.0  #: grey levels; a change up to this one is never sudden
AROUND = 3  #: movements and changes that are compared before and after one


class CutFinder:
    """Is given every frame in order, and says where a shot begins. Keeps one thumbnail only.

    Attributes:
        change: mean difference of the last two frames in grey levels, apart from brightness and contrast.
        sudden: whether this is far more than it was before. There may be a cut to a closer or a later picture of the
            same, in which faces are found nearly where they were.
    """

    def __init__(self) -> None:
        self.change, self.sudden = 0.0, False
        self._changes: deque[float] = deque(maxlen=AROUND)
        self._last: tuple[Byte, ...] | None = None
        self._recent: deque[float] = deque(maxlen=HISTORY)  # shares of new tiles

    def add(self, frame: Frame) -> bool | None:
        """Whether this frame starts a new shot; ``None`` if that depends on whether the faces have moved."""
        last, self._last = self._last, thumbnail(frame)
        if last is None:
            return False
        self.change = float(np.abs(self._last[0] - _relit(last[0], self._last[0])).mean())
        self.sudden = self.change > max(LEAST_CHANGE, CHANGES_AT_ONCE * max(self._changes, default=np.inf))
        self._changes.append(self.change)
        share = new_share(last, self._last)
        usual = max(self._recent, default=0.0)
        self._recent.append(share)
        if share <= max(DOUBT, STANDS_OUT * usual):
            return False
        if share <= NEW:
            return None
        self._recent.clear()
        return True


def jumps(points: Float, changes: Float) -> list[int]:
    """The rows of a track at which a head has suddenly moved: there is probably a cut.

    Args:
        points: (N, 68, 2) landmarks in px.
        changes: (N,) `CutFinder.change` of each frame.
    """
    if len(points) < 2 + 2 * AROUND:
        return []
    moves, moves_around = _with_others(np.sqrt((np.diff(points[:, STEADY], axis=0) ** 2).sum(-1).mean(-1)))
    changes, changes_around = _with_others(changes[1:])
    side = face_square(points[AROUND : AROUND + len(moves)])[:, 2]
    far = moves > np.maximum(JUMP * side, AT_ONCE * moves_around)
    seen = changes > CHANGES_AT_ONCE * changes_around
    found = far | (seen & (moves > np.maximum(SMALL_JUMP * side, moves_around)))
    return [int(i) + AROUND + 1 for i in np.nonzero(found)[0]]


def _with_others(values: Float) -> tuple[Float, Float]:
    """The values (N,) that have `AROUND` others on either side, and the largest of these others for each."""
    around = np.lib.stride_tricks.sliding_window_view(values, 2 * AROUND + 1).copy()
    around[:, AROUND] = 0
    return values[AROUND : len(values) - AROUND], around.max(1)


def thumbnail(frame: Frame) -> tuple[Byte, ...]:
    """Luma and two chroma planes of a frame, reduced by averaging to (HEIGHT, WIDTH) uint8 each."""
    return tuple(_small(plane, frame.format.bits - 8) for plane in frame.planes)


def _small(plane: Array, shift: int) -> Byte:
    height, width = plane.shape
    factor = min(width // (2 * WIDTH), height // (2 * HEIGHT))
    if factor > 1:  # first by an integer factor, at which OpenCV is several times as fast
        size = width // factor, height // factor
        plane = cv2.resize(plane[: size[1] * factor, : size[0] * factor], size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(plane, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small // (1 << shift), np.uint8)


def new_share(last: tuple[Byte, ...], now: tuple[Byte, ...]) -> float:
    """The share of a thumbnail's tiles that have no match nearby in the last thumbnail, 0 to 1."""
    before = (_relit(last[0], now[0]), *last[1:])
    change = np.abs(now[0].astype(np.float32) - before[0])[:, : WIDTH // TILE * TILE]
    tiles = change.reshape(HEIGHT // TILE, TILE, WIDTH // TILE, TILE).mean((1, 3))
    around = [cv2.copyMakeBorder(plane, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE) for plane in before]
    new = sum(not _found(around, now, TILE * int(x), TILE * int(y)) for y, x in np.argwhere(tiles > STILL))
    return float(new / tiles.size)


def _relit(last: Byte, now: Byte) -> Float:
    """The last luma with the brightness and contrast of this one, as after a flash or when a lamp goes out."""
    gain = float(np.clip((now.std() + 1) / (last.std() + 1), *GAIN))
    return (gain * (last - last.mean()) + now.mean()).astype(np.float32)


def _found(around: list[Array], now: tuple[Byte, ...], x: int, y: int) -> bool:
    """Whether the tile at (x, y) of ``now`` matches a place within `REACH` in the padded last thumbnail ``around``."""
    luma, *colours = (plane[y : y + TILE, x : x + TILE].astype(np.float32) for plane in now)
    reach = 2 * REACH + TILE
    squares = cv2.matchTemplate(around[0][y : y + reach, x : x + reach], luma, cv2.TM_SQDIFF) / luma.size
    allowed = max(TONE, MATCH * float(luma.std()))
    for v, u in np.argwhere(squares < allowed**2):
        here = [plane[y + v : y + v + TILE, x + u : x + u + TILE].mean() for plane in around[1:]]
        if np.abs(np.subtract(here, [colour.mean() for colour in colours])).max() < TONE:
            return True
    return False

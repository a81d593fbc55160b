"""Where one shot of a video ends and the next begins, from thumbnails of neighbouring frames.

A cut shows other things. Fast motion shows the same things elsewhere, a flash the same things in other tones: so the
thumbnail is taken in tiles, and each is looked for nearby in the last thumbnail, whatever its brightness and contrast.
Many tiles that are found nowhere are a cut; a few are one if the faces are gone from their places as well, which
`sidgan.faces.Tracker` looks up. A cut between alike framings of one person shows nothing new, but its head is elsewhere
at once: `jumps` tells so by its landmarks.
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
STILL = 3.0  #: grey levels of mean difference up to which a tile is taken for unchanged without a search
UNLIKE = 0.7  #: RMS difference of the same thing in two thumbnails, in standard deviations of the tile
TONE = 10.0  #: grey and colour levels by which it may differ in any case
GAIN = (0.4, 2.5)  #: by which light may change all tones from one frame to the next
# Measured: real clips up to 0.03, at five times their speed up to 0.15; a picture that moves by 6 % of its width 0.03,
# by 10 % 0.34 in 95 of 100; cuts between real clips 0.8 and more, between drawn people before one wall 0.48 and more,
# to another framing of the same 0.08 and more.
NEW = 0.35  #: share of new tiles that makes a cut
DOUBT = 0.08  #: share of new tiles that makes one if no face is where it was
STANDS_OUT = 2.0  #: in a swinging camera, times the largest share of the frames before
BEFORE = 4  #: frames looked back to
# Measured: where clips of people are cut to other moments of themselves, heads move by 0.07 (median) at once.
JUMP = 0.03  #: of the face square's side, the least way of a head from one frame to the next that may be a cut
AT_ONCE = 3.0  #: times the longest of the ways around it; a turn of the head, however fast, takes several frames
AROUND = 3  #: such ways before and after one


class CutFinder:
    """Told every frame in order, says where a shot begins. Holds one thumbnail."""

    def __init__(self) -> None:
        self._last: tuple[Byte, ...] | None = None
        self._recent: deque[float] = deque(maxlen=BEFORE)

    def add(self, frame: Frame) -> bool | None:
        """Whether this frame begins another shot than the one before; ``None`` if the faces must tell."""
        last, self._last = self._last, thumbnail(frame)
        if last is None:
            return False
        share = new_share(last, self._last)
        usual = max(self._recent, default=0.0)
        self._recent.append(share)
        if share <= max(DOUBT, STANDS_OUT * usual):
            return False
        if share <= NEW:
            return None
        self._recent.clear()
        return True


def jumps(points: Float) -> list[int]:
    """At which places of a track, from (N, 68, 2) landmarks, a head is elsewhere at once: another take, as it seems."""
    count = len(points) - 1 - 2 * AROUND
    if count < 1:
        return []
    ways = np.sqrt((np.diff(points[:, STEADY], axis=0) ** 2).sum(-1).mean(-1))
    around = np.lib.stride_tricks.sliding_window_view(ways, 2 * AROUND + 1).copy()
    around[:, AROUND] = 0
    side = face_square(points[AROUND : AROUND + count])[:, 2]
    far = ways[AROUND : AROUND + count] > np.maximum(JUMP * side, AT_ONCE * around.max(1))
    return [int(i) + AROUND + 1 for i in np.nonzero(far)[0]]


def thumbnail(frame: Frame) -> tuple[Byte, ...]:
    """Luma and two colour planes of a frame, (HEIGHT, WIDTH) uint8 each, smoothed by the reduction."""
    return tuple(_small(plane, frame.format.bits - 8) for plane in frame.planes)


def _small(plane: Array, shift: int) -> Byte:
    height, width = plane.shape
    whole = min(width // (2 * WIDTH), height // (2 * HEIGHT))
    if whole > 1:  # first by a whole number, at which OpenCV is several times as fast
        size = width // whole, height // whole
        plane = cv2.resize(plane[: size[1] * whole, : size[0] * whole], size, interpolation=cv2.INTER_AREA)
    small = cv2.resize(plane, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(small // (1 << shift), np.uint8)


def new_share(last: tuple[Byte, ...], now: tuple[Byte, ...]) -> float:
    """Share of the tiles of a thumbnail that are not found near their place in the last one, 0 to 1."""
    before = (_relit(last[0], now[0]), *last[1:])
    change = np.abs(now[0].astype(np.float32) - before[0])[:, : WIDTH // TILE * TILE]
    tiles = change.reshape(HEIGHT // TILE, TILE, WIDTH // TILE, TILE).mean((1, 3))
    around = [cv2.copyMakeBorder(plane, REACH, REACH, REACH, REACH, cv2.BORDER_REPLICATE) for plane in before]
    new = sum(not _found(around, now, TILE * int(x), TILE * int(y)) for y, x in np.argwhere(tiles > STILL))
    return float(new / tiles.size)


def _relit(last: Byte, now: Byte) -> Float:
    """The last luma under the light of this one: a flash, or a lamp that goes out."""
    gain = float(np.clip((now.std() + 1) / (last.std() + 1), *GAIN))
    return (gain * (last - last.mean()) + now.mean()).astype(np.float32)


def _found(around: list[Array], now: tuple[Byte, ...], x: int, y: int) -> bool:
    """Whether the tile at (x, y) was there before, or not far away."""
    luma, *colours = (plane[y : y + TILE, x : x + TILE].astype(np.float32) for plane in now)
    reach = 2 * REACH + TILE
    squares = cv2.matchTemplate(around[0][y : y + reach, x : x + reach], luma, cv2.TM_SQDIFF) / luma.size
    allowed = max(TONE, UNLIKE * float(luma.std()))
    for v, u in np.argwhere(squares < allowed**2):
        here = [plane[y + v : y + v + TILE, x + u : x + u + TILE].mean() for plane in around[1:]]
        if np.abs(np.subtract(here, [colour.mean() for colour in colours])).max() < TONE:
            return True
    return False

"""The data that flows between the stages. Frozen, small, and without behaviour beyond simple derived values.

One alphabet for shapes in the whole project: B batch, T frames in a window, C channels, H rows, W columns,
S crop side in px, M mel bands, K landmarks, N frames of a track. Images are RGB; ``uint8`` until they are on the
device, then float in [0, 1]. Coordinates are (x, y) in px; an integer coordinate is the centre of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

# The element type is a promise to the reader, not to the type checker: NumPy's and OpenCV's stubs do not keep it.
Array = npt.NDArray[Any]
Float = npt.NDArray[Any]  #: float32
Byte = npt.NDArray[Any]  #: uint8

Show = Callable[[float, str], None]  #: told how far a long work is: the share done, and a line of text


@dataclass(frozen=True)
class PlaneMap:
    """Where a plane's samples lie on the luma grid: ``x_plane = (x_luma - offset_x) / step_x`` and likewise in y.

    The luma plane itself is ``PlaneMap()``; 4:2:0 chroma, sited left as H.264 does by default, is
    ``PlaneMap(2, 2, 0.0, 0.5)``.
    """

    step_x: int = 1
    step_y: int = 1
    offset_x: float = 0.0
    offset_y: float = 0.0


@dataclass(frozen=True)
class PixelFormat:
    """How planes are to be read as colour.

    ``name`` is FFmpeg's planar format name (``yuv420p``, ``yuv422p10le``, ...). ``matrix`` is one of ``bt601``,
    ``bt709``, ``bt2020``; where a file is silent, ``bt709`` from 720 lines up and ``bt601`` below, as players assume.
    """

    name: str
    bits: int
    full_range: bool
    matrix: str
    chroma: PlaneMap


@dataclass(frozen=True)
class Clip:
    """A video file that was looked at but not decoded.

    Attributes:
        width, height: upright size in px, after ``rotation`` is applied.
        frame_rate: average frames per second, as a fraction; variable-rate files have no better single number.
        frames: frame count as the container states it, or an estimate from the duration (for progress bars only).
        duration: seconds.
        rotation: degrees counter-clockwise (0, 90, 180, 270) by which decoded frames must be turned to stand upright.
        audio_rate: Hz of the first audio stream, or ``None`` where there is none.
        tolerant: whether reading it passes over pictures that cannot be decoded, instead of raising an error.
        besides: what else the file holds that no dub takes over, such as ``1 further sound track``.
        start: seconds on the container's own clock at which the first picture is shown.
        origin: the second on that clock that becomes 0 on the clock of a dub: 0, or ``start`` for files whose clock may
            begin anywhere, such as recordings of television.
        shape: width to height of a pixel, ``None`` where the file does not say.
        timecode: of the first picture, such as ``01:00:00:00``, ``None`` where the file has none.
        captions: whether closed captions come with the first picture.
    """

    path: Path
    width: int
    height: int
    frame_rate: Fraction
    frames: int
    duration: float
    rotation: int
    format: PixelFormat
    audio_rate: int | None
    tolerant: bool = False
    besides: tuple[str, ...] = ()
    start: Fraction = Fraction(0)
    origin: Fraction = Fraction(0)
    shape: Fraction | None = None
    timecode: str | None = None
    captions: bool = False

    @property
    def begin(self) -> Fraction:
        """Seconds on the clock of a dub at which the first picture is shown."""
        return self.start - self.origin


@dataclass(frozen=True)
class Frame:
    """One decoded picture, exactly as the decoder gave it.

    Attributes:
        index: 0-based place among the frames in the order in which they are shown.
        time: seconds after the first frame at which it is shown, exact.
        duration: seconds for which it is shown, as the file says; at its nominal rate where it does not.
        planes: luma and two chroma planes as *upright* views (H, W), ``uint8`` or ``uint16``. Writing into them
            edits the frame that will be encoded; everything not written stays as decoded.
        format: how to read them; ``format.chroma`` already describes the upright view.
        handle: the video library's own frame. Only `sidgan.media` looks inside.
        gap: whether pictures before it could not be decoded.
    """

    index: int
    time: Fraction
    planes: tuple[Array, Array, Array]
    format: PixelFormat
    handle: object
    duration: Fraction = Fraction(0)
    gap: bool = False


@dataclass(frozen=True)
class Face:
    """A detection in one frame: ``box`` is (x0, y0, x1, y1) px, ``landmarks`` (K=68, 2) px in iBUG order."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: Float


@dataclass(frozen=True)
class FaceTrack:
    """One face, followed from frame ``first`` over N consecutive frames without a shot cut.

    Attributes:
        visible: (N,) bool, false where the face was lost; landmarks there are interpolated.
        landmarks: (N, 68, 2) px in the frame, smoothed lightly (lips keep their motion).
        matrices: (N, 2, 3) smoothed affine from *unit* crop coordinates (0..1, see `sidgan.geometry`) to frame px.
        scores: (N,) detector score, 0 where not visible; values near 1 and above are trustworthy.
        pose: (N, 3) yaw, pitch, roll in degrees.
    """

    first: int
    visible: npt.NDArray[np.bool_]
    landmarks: Float
    matrices: Float
    scores: Float
    pose: Float

    def __len__(self) -> int:
        return len(self.visible)

    @property
    def frames(self) -> range:
        """Indices of the frames it covers."""
        return range(self.first, self.first + len(self))


@dataclass(frozen=True)
class Crop:
    """A face cut from a frame: ``image`` (S, S, 3) uint8 RGB and the affine (2, 3) from crop px to frame px."""

    image: Byte
    matrix: Float

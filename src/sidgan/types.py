"""The data that the stages exchange: small frozen dataclasses without behaviour beyond simple derived values.

Letters for shapes, unless a docstring says otherwise: B batch, T frames of a window, C channels, H rows, W columns,
S crop side in px, M mel bands, K landmarks, N frames of a track. Images are RGB; ``uint8`` until they are on the
device, then float in [0, 1]. Coordinates are (x, y) in px; an integer coordinate is the centre of a pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

# Element types are documented but not checked, as the stubs of NumPy and OpenCV do not preserve them.
Array = npt.NDArray[Any]
Float = npt.NDArray[Any]  #: float32
Byte = npt.NDArray[Any]  #: uint8

Show = Callable[[float, str], None]  #: progress callback: the share done, 0 to 1, and the name of the current step


@dataclass(frozen=True)
class PlaneMap:
    """The sample grid of a plane relative to luma: ``x_plane = (x_luma - offset_x) / step_x``, likewise in y.

    ``PlaneMap()`` is the luma plane itself; ``PlaneMap(2, 2, 0.0, 0.5)`` is 4:2:0 chroma with H.264's default siting
    (left).
    """

    step_x: int = 1
    step_y: int = 1
    offset_x: float = 0.0
    offset_y: float = 0.0


@dataclass(frozen=True)
class PixelFormat:
    """How the planes of a frame encode colour.

    ``name`` is FFmpeg's planar format name (``yuv420p``, ``yuv422p10le``, ...). ``matrix`` is one of ``bt601``,
    ``bt709``, ``bt2020``; if a file does not state it, ``bt709`` from 720 lines up, else ``bt601``, as players assume.
    """

    name: str
    bits: int
    full_range: bool
    matrix: str
    chroma: PlaneMap


@dataclass(frozen=True)
class Clip:
    """Properties of a video file that was probed but not decoded.

    Attributes:
        width, height: upright size in px, after ``rotation`` is applied.
        frame_rate: average frames per second, also of files with a variable rate.
        frames: frame count as the container states it, or an estimate from the duration (for progress bars only).
        duration: seconds.
        rotation: degrees counter-clockwise (0, 90, 180, 270) by which decoded frames must be rotated to be upright.
        audio_rate: Hz of the first audio stream, or ``None`` if there is none.
        tolerant: whether reading skips frames that cannot be decoded, instead of raising an error.
        besides: further contents of the file that dubs leave out, such as ``1 further sound track``.
        start: seconds on the container's clock (timestamp) at which the first frame is shown.
        origin: seconds on that clock that correspond to 0 on the clock of the dub: 0, or ``start`` for containers whose
            timestamps may begin anywhere, such as recordings of television.
        shape: sample aspect ratio, width to height of a pixel; ``None`` if the file does not state it.
        timecode: of the first frame, such as ``01:00:00:00``; ``None`` if the file has none.
        captions: whether the first frame carries closed captions.
        delay: ticks by which the decoder returns frames of an AVI with B-frames too late; they are subtracted.
        still: whether it is a photo, read as a short video.
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
    delay: int = 0
    still: bool = False

    @property
    def begin(self) -> Fraction:
        """Seconds on the clock of the dub at which the first frame is shown."""
        return self.start - self.origin


@dataclass(frozen=True)
class Frame:
    """One decoded frame, exactly as the decoder returned it.

    Attributes:
        index: 0-based index in display order.
        time: seconds after the first frame at which it is shown, exact.
        duration: seconds for which it is shown, as the file states it, or at the nominal frame rate.
        planes: luma and two chroma planes as *upright* views (H, W), ``uint8`` or ``uint16``. Writing into them
            edits the frame that will be encoded; everything not written stays as decoded.
        format: how they encode colour; ``format.chroma`` describes the upright view.
        handle: the video library's own frame object, used by `sidgan.media` only.
        gap: whether frames directly before it could not be decoded.
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
    """A face detected in one frame: ``box`` is (x0, y0, x1, y1) px, ``landmarks`` (K=68, 2) px in iBUG order."""

    box: tuple[float, float, float, float]
    score: float
    landmarks: Float


@dataclass(frozen=True)
class FaceTrack:
    """One face tracked from frame ``first`` over N consecutive frames within one shot.

    Attributes:
        visible: (N,) bool, false where the face was not found; landmarks there are interpolated.
        landmarks: (N, 68, 2) px in the frame, smoothed so lightly that lip motion is preserved.
        matrices: (N, 2, 3) smoothed affine from *unit* crop coordinates (0..1, see `sidgan.geometry`) to frame px.
        scores: (N,) detector score, 0 where not visible; scores of about 1 or more are reliable.
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
        """Indices of its frames."""
        return range(self.first, self.first + len(self))


class Opening(NamedTuple):
    """How the mouth of a person opens in speech, compared with what the network has learnt; see `Generator.opens`.

    Attributes:
        further: multiple of ``opens`` that is added to all sounds.
        swing: multiple of what each sound has of ``opens`` that is added to it: with 1, sounds differ twice as much.
    """

    further: float = 0.0
    swing: float = 0.0


AS_LEARNT = Opening()


@dataclass(frozen=True)
class Crop:
    """A face cut from a frame: ``image`` (S, S, 3) uint8 RGB and the affine (2, 3) from crop px to frame px."""

    image: Byte
    matrix: Float

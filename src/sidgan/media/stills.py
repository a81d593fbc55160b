"""Reading photos."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from sidgan.errors import InputError
from sidgan.media.yuv import to_yuv
from sidgan.types import Array, Byte

LARGEST = 2000  #: px, long side to which larger photos are reduced
JPEG = b"\xff\xd8"  #: the first bytes of a JPEG file
FRAMES = 8  #: length of a photo that is read as a video: enough to find and follow a face
RATE = Fraction(25)  #: its frames per second


def read_picture(path: Path) -> Byte:
    """A photo as (H, W, 3) uint8 RGB, upright, with a long side of at most 2000 px.

    Where it is transparent, the colours that are stored there are shown.

    Raises:
        InputError: the file is missing, is not an image, or is larger than OpenCV reads (2^30 px).
    """
    image = _decoded(path, cv2.IMREAD_COLOR)
    scale = LARGEST / max(image.shape)
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def see_through(path: Path) -> bool:
    """Whether any part of a photo is transparent, even slightly.

    Raises:
        InputError: as `read_picture`.
    """
    with Path(path).open("rb") as file:
        if file.read(len(JPEG)) == JPEG:  # never is; spare the work
            return False
    image = _decoded(path, cv2.IMREAD_UNCHANGED)
    opaque = np.iinfo(image.dtype).max if image.dtype.kind == "u" else 1
    return image.shape[2:] == (4,) and bool(image[..., 3].min() < opaque)


def _decoded(path: Path, how: int) -> Array:
    """The image of a file, as OpenCV reads it with one of its ``IMREAD_`` constants."""
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({(error.strerror or str(error)).lower()}); check the name") from error
    try:
        image = cv2.imdecode(data, how) if len(data) else None
    except cv2.error as error:
        raise InputError(f"{path} is too large a picture; reduce it to {LARGEST} px") from error
    if image is None:
        raise InputError(f"{path} is not a picture that can be read; give a photo as jpg or png")
    return image


def filmed(path: Path) -> Iterator[av.VideoFrame]:
    """A photo as `FRAMES` equal frames at `RATE` of a video that any player plays: 4:2:0, of even size.

    Raises:
        InputError: as `read_picture`.
    """
    picture = read_picture(path)
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    for index in range(FRAMES):
        frame = to_yuv(picture[:height, :width], chroma444=False)
        frame.pts, frame.duration, frame.time_base = index, 1, 1 / RATE
        yield frame

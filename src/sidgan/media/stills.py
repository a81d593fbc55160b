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
from sidgan.types import Byte

LARGEST = 2000  #: px, long side to which larger photos are reduced
FRAMES = 8  #: length of a photo that is read as a video: enough to find and follow a face


def read_picture(path: Path) -> Byte:
    """A photo as (H, W, 3) uint8 RGB, upright, with a long side of at most 2000 px.

    Raises:
        InputError: the file is missing or is not an image.
    """
    try:
        data = np.frombuffer(Path(path).read_bytes(), np.uint8)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({(error.strerror or str(error)).lower()}); check the name") from error
    image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    if image is None:
        raise InputError(f"{path} is not a picture; give a photo (jpg, png, ...)")
    scale = LARGEST / max(image.shape)
    if scale < 1:
        image = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))


def filmed(path: Path, time_base: Fraction) -> Iterator[av.VideoFrame]:
    """A photo as `FRAMES` equal frames, without timestamps, of a video that any player plays: 4:2:0, of even size.

    Raises:
        InputError: as `read_picture`.
    """
    picture = read_picture(path)
    height, width = (side // 2 * 2 for side in picture.shape[:2])
    for _ in range(FRAMES):
        frame = to_yuv(picture[:height, :width], chroma444=False)
        frame.time_base = time_base
        yield frame

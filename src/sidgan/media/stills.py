"""Reading photos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from sidgan.errors import InputError
from sidgan.types import Byte

LARGEST = 2000  #: px, long side to which larger photos are reduced


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

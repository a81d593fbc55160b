"""RGB pictures as YUV with the colour tags that players assume."""

from __future__ import annotations

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace

from sidgan.types import Byte

# Codes of ITU-T H.273, as FFmpeg keeps them in a frame's ``colorspace``; 2 and all others mean "unspecified".
MATRICES = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 7: "bt601", 9: "bt2020", 10: "bt2020"}
CODES = {"bt601": 6, "bt709": 1, "bt2020": 9}
SWSCALE = {"bt601": Colorspace.ITU601, "bt709": Colorspace.ITU709, "bt2020": Colorspace.BT2020}


def matrix_for(height: int) -> str:
    """The colour matrix that players assume if a file does not specify one, for a height in px."""
    return "bt709" if height >= 720 else "bt601"


def to_yuv(rgb: Byte, *, chroma444: bool) -> av.VideoFrame:
    """(H, W, 3) uint8 RGB as a tagged YUV frame of limited range: 4:2:0 if the size is even, unless ``chroma444``."""
    height, width = rgb.shape[:2]
    half = not (chroma444 or height % 2 or width % 2)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
    return from_rgb(frame, "yuv420p" if half else "yuv444p")


def from_rgb(picture: av.VideoFrame, name: str) -> av.VideoFrame:
    """A frame of RGB or a palette in the format ``name``, tagged, of limited range."""
    matrix = matrix_for(picture.height)
    yuv = picture.reformat(format=name, dst_colorspace=SWSCALE[matrix], dst_color_range=ColorRange.MPEG)
    yuv.colorspace, yuv.color_range = CODES[matrix], int(ColorRange.MPEG)
    return yuv

"""Face crops of a video to be judged, memory-mapped on disk: minutes at 512 px do not fit into memory."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from sidgan import geometry, metrics
from sidgan.errors import OutputError
from sidgan.nn.syncnet2016 import FACE
from sidgan.portable import reserve
from sidgan.types import Array, Byte, FaceTrack, Float, Frame

THUMBNAIL = 32  #: px; side of the face squares whose upper halves are compared


class Cuts:
    """Crops of one face in selected frames of one video.

    Args:
        folder: folder for the files; created.
        track: track of the face, in this video or in another with the same frames.
        count: number of frames.
        size: side of the crops, px.
        squares: (count, 3) from `sidgan.metrics.pipeline_squares`; ``None`` if ``faces`` are not needed.

    Attributes:
        crops: (count, 3, size, size) uint8.
        faces: (count, 3, 224, 224) uint8 for the SyncNet of 2016, or ``None``.
        brows: one thumbnail (16, 32, 3) per frame, of the upper half of a fixed square around the face: dubbing does
            not change it, so it shows whether two videos are aligned in time.

    Raises:
        OutputError: there is not enough space on disk.
    """

    def __init__(self, folder: Path, track: FaceTrack, count: int, size: int, squares: Array | None) -> None:
        folder.mkdir()
        self._track, self._squares, self._fixed = track, squares, np.median(track.matrices, 0)
        self.crops = _on_disk(folder / "crops.npy", (count, 3, size, size))
        self.faces = None if squares is None else _on_disk(folder / "faces.npy", (count, 3, FACE, FACE))
        self.brows: list[Float] = []

    def add(self, frame: Frame, index: int) -> None:
        """Add the crops of the next selected frame, the ``index``-th of its video."""
        row = len(self.brows)
        matrix = self._track.matrices[index - self._track.first]
        self.crops[row] = _tensor(geometry.crop_face(frame, matrix, self.crops.shape[-1]).image)
        if self.faces is not None and self._squares is not None:
            self.faces[row] = _tensor(metrics.pipeline_crop(_rgb(frame), self._squares[row]))
        self.brows.append(geometry.crop_face(frame, self._fixed, THUMBNAIL).image[: THUMBNAIL // 2].astype(np.float32))


def _on_disk(path: Path, shape: tuple[int, ...]) -> Tensor:
    try:
        array = np.lib.format.open_memmap(path, "w+", np.uint8, shape)
        reserve(path)
    except OSError as error:
        raise OutputError(
            f"{tempfile.gettempdir()} has no room for {math.prod(shape) / 1e6:.0f} MB of face crops "
            f"({(error.strerror or str(error)).lower()}); free space, or name another folder in TMPDIR"
        ) from error
    return torch.from_numpy(array)


def _tensor(image: Byte) -> Tensor:
    return torch.from_numpy(image).permute(2, 0, 1)


def _rgb(frame: Frame) -> Byte:
    """The whole frame as RGB (H, W, 3) uint8, with bilinear chroma upsampling."""
    height, width = frame.planes[0].shape
    planes = [cv2.resize(np.ascontiguousarray(p), (width, height), interpolation=cv2.INTER_LINEAR)
              for p in frame.planes]  # fmt: skip
    return geometry.ycc_to_rgb([np.asarray(p) for p in planes], frame.format)

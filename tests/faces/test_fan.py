"""FAN behind the landmark function's interface, with a stand-in for the network, whose file is a download."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.data.packing import PrepareConfig, helpers
from sidgan.errors import DownloadError
from sidgan.faces import fan


class Bright(nn.Module):
    """Sees every point where the picture is brightest."""

    def forward(self, x: Tensor) -> Tensor:
        assert x.shape == (1, 3, 256, 256)
        assert float(x.max()) <= 1
        return F.avg_pool2d(x.mean(1, keepdim=True), 4).expand(1, 68, 64, 64)


@pytest.fixture
def landmarks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fan.Fan:
    torch.jit.script(Bright()).save(str(tmp_path / fan.FAN.file))
    monkeypatch.setattr(fan, "fetch", lambda download: tmp_path / download.file)
    return fan.Fan()


def blob(size: tuple[int, int], x: float, y: float, radius: float) -> np.ndarray:
    rows, columns = np.mgrid[: size[0], : size[1]]
    return (255 * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * radius**2))).astype(np.uint8)


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize(("box", "x", "y"), [
    ((200.0, 100.0, 300.0, 200.0), 243.0, 171.0),  # smaller than the network's picture
    ((100.0, 60.0, 600.0, 560.0), 391.0, 402.0),  # larger
    ((-40.0, -30.0, 120.0, 130.0), 33.0, 57.0),  # beyond the frame
])  # fmt: skip
def test_points_are_in_px_of_the_frame(landmarks, box, x, y, colour):
    side = fan.ZOOM * (box[2] - box[0])
    image = blob((640, 720), x, y, side / 40)
    points = landmarks(np.repeat(image[..., None], 3, 2) if colour else image, box)
    assert points.shape == (68, 2)
    assert points.dtype == np.float32
    assert np.abs(points - (x, y)).max() < 0.5 * side / 64  # half a cell of the network's maps


def test_a_point_leans_towards_the_higher_neighbour():
    maps = np.zeros((1, 8, 8), np.float32)
    maps[0, 3, 5], maps[0, 3, 6], maps[0, 2, 5] = 1.0, 0.5, 0.2
    assert fan.peaks(maps).tolist() == [[5.5 + fan.NUDGE, 3.5 - fan.NUDGE]]
    corner = np.zeros((1, 8, 8), np.float32)
    corner[0, 0, 0] = 1.0
    assert (fan.peaks(corner) > 0).all()


def test_preparation_asks_for_it_only_where_told(tmp_path, monkeypatch):
    assert helpers(PrepareConfig()) == (None, None)
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path))
    (tmp_path / fan.FAN.file).write_bytes(b"something else")
    fan.landmarker.cache_clear()
    with pytest.raises(DownloadError, match="is not the published 2DFAN4"):
        helpers(PrepareConfig(landmarks="fan"))

"""Measures how fast this computer dubs: the network alone, and full HD video, extrapolated to a minute."""

from __future__ import annotations

import tempfile
import time
from dataclasses import dataclass
from importlib import resources
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from sidgan import media
from sidgan.config import MEL_BANDS, MEL_MARGIN, MEL_STEPS
from sidgan.dubbing import Dubber
from sidgan.types import Byte, Show

FULL_HD = (1080, 1920)  #: height, width
SIDE = 256  #: px, side of the faces that the network is timed with, which is typical of full HD
ROUNDS = 3  #: batches that are timed, after one for warming up
SHORT, LONG = 8, 32  #: frames of two timed dubs; the difference of their times gives the time per frame
MINUTE = 60 * 25  #: frames in a minute at 25 fps


@dataclass(frozen=True)
class Speed:
    """Measured speed.

    Attributes:
        engine: the engine and its precision.
        network: faces of `SIDE` px that the network draws per second.
        start: seconds that a dub of a full HD video takes independent of its length.
        dub: frames of a full HD video that are dubbed per second, all stages together.
    """

    engine: str
    network: float
    start: float
    dub: float

    @property
    def minute(self) -> float:
        """Seconds that a dub of one minute of full HD at 25 fps takes."""
        return self.start + MINUTE / self.dub

    def line(self) -> str:
        """The result as one line of text."""
        return (f"the network draws {self.network:.0f} faces of {SIDE} px per second; full HD is dubbed at "
                f"{self.dub:.1f} frames per second, one minute of it in about {_spoken(self.minute)}")  # fmt: skip


def measure(device: str = "auto", progress: Show = lambda share, text: None) -> Speed:
    """Measure with the bundled generator; takes half a minute on two slow cores.

    Args:
        device: as for `sidgan.dub`.
        progress: called with the share done and the current step.

    Raises:
        SidganError: a dub fails on this computer.
    """
    progress(0.0, "load")
    dubber = Dubber(device=device)
    progress(0.1, "network")
    network = _faces_per_second(dubber)
    voice = Path(str(resources.files("sidgan") / "assets" / "demo_voice.m4a"))
    with tempfile.TemporaryDirectory() as folder:
        seconds = []
        for i, frames in enumerate((SHORT, SHORT, LONG)):  # the first dub is for warming up
            progress(0.2 + 0.2 * i, "dub")
            video = _full_hd(Path(folder) / f"{i}.mp4", frames)
            start = time.perf_counter()
            report = dubber.dub(video, voice, Path(folder) / f"{i}-dubbed.mp4")
            seconds.append(time.perf_counter() - start)
    per_frame = max(seconds[2] - seconds[1], 1e-6) / (LONG - SHORT)
    return Speed(report.engine, network, max(0.0, seconds[1] - SHORT * per_frame), 1 / per_frame)


def _faces_per_second(dubber: Dubber) -> float:
    engine = dubber.engine.fitting(SIDE)
    rng, batch, side = np.random.default_rng(0), engine.batch, engine.size
    faces = rng.integers(0, 256, (batch, side, side, 3), np.uint8)
    masks = np.zeros((batch, side, side), np.float32)
    masks[:, side // 2 :, side // 4 : -side // 4] = 1
    mels = rng.uniform(-4, 4, (batch, 1, MEL_BANDS, MEL_STEPS + 2 * MEL_MARGIN)).astype(np.float32)
    placed = np.tile(np.eye(2, 3, dtype=np.float32), (batch, engine.references, 1, 1))
    features, start = engine.encode_reference(faces[: engine.references]), 0.0
    for i in range(1 + ROUNDS):
        start = time.perf_counter() if i == 1 else start
        engine.run(faces, masks, mels, features, placed)
    return ROUNDS * batch / (time.perf_counter() - start)


def _full_hd(out: Path, frames: int) -> Path:
    """Write the first frames of the bundled clip, padded to full HD by their edge pixels, with sensor-like noise."""
    clip = media.probe(Path(str(resources.files("sidgan") / "assets" / "demo.mp4")))
    rng = np.random.default_rng(0)
    noise = [rng.normal(0.5, 1, FULL_HD).astype(np.float32) for _ in range(4)]  # mean 0.5 rounds to the nearest

    def padded(index: int, picture: Byte) -> Byte:
        down, across = ((want - have) // 2 for want, have in zip(FULL_HD, picture.shape[:2], strict=True))
        wide = cv2.copyMakeBorder(picture, down, down, across, across, cv2.BORDER_REPLICATE)
        return np.clip(wide + noise[index % 4][..., None], 0, 255).astype(np.uint8)

    images = (padded(i, picture) for i, (_, picture) in enumerate(islice(media.read_rgb(clip.path), frames)))
    media.write_clip(out, images, clip.frame_rate, crf=18, preset="superfast")
    return out


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

"""How fast this computer dubs: the network alone, and a short dub in full HD, from which a minute follows."""

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

FULL_HD = (1080, 1920)  #: lines, columns
SIDE = 256  #: px of the faces that the network is timed with, and of most faces in full HD
ROUNDS = 3  #: batches that are timed, after one that is not
SHORT, LONG = 8, 32  #: frames of two dubs; what the longer one takes more is what frames cost
MINUTE = 60 * 25  #: frames


@dataclass(frozen=True)
class Speed:
    """What was measured.

    Attributes:
        engine: what drew, in which precision.
        network: faces of `SIDE` px that the network draws in a second.
        start: seconds that a dub of a full HD video takes whatever its length.
        dub: frames of it that are dubbed in a second, all stages together.
    """

    engine: str
    network: float
    start: float
    dub: float

    @property
    def minute(self) -> float:
        """Seconds for a minute of full HD at 25 frames per second."""
        return self.start + MINUTE / self.dub

    def line(self) -> str:
        """To read."""
        return (f"the network draws {self.network:.0f} faces of {SIDE} px per second; full HD is dubbed at "
                f"{self.dub:.1f} frames per second, one minute of it in about {_spoken(self.minute)}")  # fmt: skip


def measure(device: str = "auto", progress: Show = lambda share, text: None) -> Speed:
    """Time the bundled generator; half a minute on two slow cores.

    Args:
        device: as `sidgan.dub`.
        progress: told the share done, and what is done.

    Raises:
        SidganError: something does not work that a dub needs.
    """
    progress(0.0, "load")
    dubber = Dubber(device=device)
    progress(0.1, "network")
    network = _faces_per_second(dubber)
    voice = Path(str(resources.files("sidgan") / "assets" / "demo_voice.m4a"))
    with tempfile.TemporaryDirectory() as folder:
        taken = []
        for i, frames in enumerate((SHORT, SHORT, LONG)):  # the first one warms up
            progress(0.2 + 0.2 * i, "dub")
            video = _full_hd(Path(folder) / f"{i}.mp4", frames)
            start = time.perf_counter()
            report = dubber.dub(video, voice, Path(folder) / f"{i}-dubbed.mp4")
            taken.append(time.perf_counter() - start)
    each = max(taken[2] - taken[1], 1e-6) / (LONG - SHORT)
    return Speed(report.engine, network, max(0.0, taken[1] - SHORT * each), 1 / each)


def _faces_per_second(dubber: Dubber) -> float:
    engine = dubber.engine.fitting(SIDE)
    rng, many, side = np.random.default_rng(0), engine.batch, engine.size
    faces = rng.integers(0, 256, (many, side, side, 3), np.uint8)
    masks = np.zeros((many, side, side), np.float32)
    masks[:, side // 2 :, side // 4 : -side // 4] = 1
    mels = rng.uniform(-4, 4, (many, 1, MEL_BANDS, MEL_STEPS + 2 * MEL_MARGIN)).astype(np.float32)
    placed = np.tile(np.eye(2, 3, dtype=np.float32), (many, engine.references, 1, 1))
    known, start = engine.encode_reference(faces[: engine.references]), 0.0
    for i in range(1 + ROUNDS):
        start = time.perf_counter() if i == 1 else start
        engine.run(faces, masks, mels, known, placed)
    return ROUNDS * many / (time.perf_counter() - start)


def _full_hd(out: Path, frames: int) -> Path:
    """The first frames of the bundled clip in the middle of a full HD picture, under the noise of a camera."""
    clip = media.probe(Path(str(resources.files("sidgan") / "assets" / "demo.mp4")))
    rng = np.random.default_rng(0)
    noise = [rng.normal(0.5, 1, FULL_HD).astype(np.float32) for _ in range(4)]

    def grown(index: int, picture: Byte) -> Byte:
        down, across = ((want - have) // 2 for want, have in zip(FULL_HD, picture.shape[:2], strict=True))
        wide = cv2.copyMakeBorder(picture, down, down, across, across, cv2.BORDER_REPLICATE)
        return np.clip(wide + noise[index % 4][..., None], 0, 255).astype(np.uint8)

    images = (grown(i, picture) for i, (_, picture) in enumerate(islice(media.read_rgb(clip.path), frames)))
    media.write_clip(out, images, clip.frame_rate, crf=18, preset="superfast")
    return out


def _spoken(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

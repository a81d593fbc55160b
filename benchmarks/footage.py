"""Short clips for the benchmarks, made from the clip in the package, so that no other files are needed."""

from __future__ import annotations

from importlib import resources
from itertools import islice
from pathlib import Path

import av
import cv2
import numpy as np

from sidgan import media

FULL_HD = (1080, 1920)  #: height, width


def voice() -> Path:
    """The voice in the package."""
    return Path(str(resources.files("sidgan") / "assets" / "demo_voice.m4a"))


def excerpt(out: Path, frames: int, size: tuple[int, int] | None = None) -> Path:
    """Write the first frames of the clip in the package, 640 px square.

    Args:
        size: (H, W) to which the frames are padded with their border pixels; noise with a standard deviation of one
            grey level is added.
    """
    clip = media.probe(Path(str(resources.files("sidgan") / "assets" / "demo.mp4")))
    if size is None:
        with media.Writer(out, clip, encoding=media.Encoding(crf=12, preset="superfast")) as writer:
            for frame in islice(media.read_frames(clip), frames):
                writer.write(frame)
        return out
    rng = np.random.default_rng(0)
    noise = [rng.normal(0, 1, size).astype(np.float32) for _ in range(4)]

    def grown(index: int, picture: np.ndarray) -> np.ndarray:
        down, across = ((want - have) // 2 for want, have in zip(size, picture.shape[:2], strict=True))
        wide = cv2.copyMakeBorder(picture, down, size[0] - picture.shape[0] - down, across,
                                  size[1] - picture.shape[1] - across, cv2.BORDER_REPLICATE)  # fmt: skip
        return np.clip(wide + noise[index % 4][..., None] + 0.5, 0, 255).astype(np.uint8)

    images = (grown(i, picture) for i, (_, picture) in enumerate(islice(media.read_rgb(clip.path), frames)))
    media.write_clip(out, images, clip.frame_rate, crf=18, preset="superfast")
    return out


def repeat(source: Path, out: Path, times: int, kind: str) -> None:
    """Copy the packets of the first video or audio stream ``times`` times in a row, without decoding them."""
    with av.open(str(out), "w") as target:
        stream = None
        offset = 0
        for _ in range(times):
            with av.open(str(source)) as file:
                template = file.streams.video[0] if kind == "video" else file.streams.audio[0]
                stream = stream or target.add_stream_from_template(template)
                packets = [(p, p.pts, p.dts) for p in file.demux(template) if p.pts is not None and p.dts is not None]
                first, _, begin = packets[0]
                length = first.duration
                if not length:
                    rate, base = template.average_rate, template.time_base
                    assert rate is not None
                    assert base is not None
                    length = int(1 / (rate * base))
                shown = [pts for _, pts, _ in packets]
                for packet, pts, dts in packets:
                    packet.pts, packet.dts = pts - begin + offset, dts - begin + offset
                    packet.stream = stream
                    target.mux(packet)
                offset += max(shown) + length - min(shown)

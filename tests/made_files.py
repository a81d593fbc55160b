"""Files as strangers make them, of any timestamps, codecs and layouts; how to read them back; and a full disk."""

from __future__ import annotations

import signal
import struct
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from sidgan import media
from sidgan.types import Clip

RATE = 16_000
QUICK = {"preset": "ultrafast"}


def speech(seconds: float, rate: int = RATE, seed: int = 0) -> np.ndarray:
    """Band-limited noise in syllables: survives any codec and lines up with itself at one lag only."""
    n = round(seconds * rate)
    noise = np.random.default_rng(seed).standard_normal(n)
    spectrum = np.fft.rfft(noise)
    hertz = np.fft.rfftfreq(n, 1 / rate)
    spectrum[(hertz < 200) | (hertz > 3000)] = 0
    wave = np.fft.irfft(spectrum, n)
    wave *= 0.5 + 0.5 * np.sin(2 * np.pi * 4 * np.arange(n) / rate)
    return (0.5 * wave / np.abs(wave).max()).astype(np.float32)


def lag(heard: np.ndarray, said: np.ndarray, reach: int = 800) -> int:
    """Samples by which ``heard`` comes later than ``said``, which it must resemble."""
    size = min(len(heard), len(said)) - 2 * reach
    part = said[reach : reach + size]
    scores = np.array([np.dot(part, heard[reach + k : reach + k + size]) for k in range(-reach, reach + 1)])
    best = int(scores.argmax()) - reach
    there = heard[reach + best : reach + best + size]
    assert scores.max() > 0.9 * np.linalg.norm(part) * np.linalg.norm(there)
    return best


def drawing(index: int, height: int = 48, width: int = 64) -> np.ndarray:
    """A smooth picture that moves, with no two frames alike."""
    y, x = np.mgrid[:height, :width]
    red = 255 * x / width
    green = 255 * y / height
    blue = 127 + 100 * np.sin((x + 3 * index) / 9)
    return np.stack([red, green, blue], axis=-1).round().astype(np.uint8)


def make_video(
    path: Path,
    pts: Sequence[int],
    time_base: Fraction,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    rotation: int = 0,
    mirror: bool = False,
    muxer: str | None = None,
    sound: tuple[np.ndarray, int] | None = None,
    tags: dict[str, int] | None = None,
    shape: Fraction | None = None,
) -> Path:
    """A file as strangers make them: any timestamps, codec, layout, rotation, sound at any start."""
    exact = {"movie_timescale": "48000"} if path.suffix == ".mp4" else {}
    with av.open(str(path), "w", format=muxer, container_options=exact) as out:
        stream = out.add_stream(codec, rate=25, time_base=time_base)
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        if codec == "libx264":  # its macroblock tree reads what it never wrote at such sizes: other bytes each time
            stream.codec_context.options = {"x264-params": "mbtree=0"}
        for name, value in (tags or {}).items():
            setattr(stream.codec_context, name, value)
        if shape is not None:
            stream.codec_context.sample_aspect_ratio = shape
        if rotation or mirror:
            stream.set_display_rotation(rotation, hflip=mirror)
        heard = "mp2" if muxer in ("mpeg", "mpegts") else "pcm_s16le" if path.suffix == ".avi" else "aac"
        voice = out.add_stream(heard, rate=48_000, layout="stereo") if sound else None
        for index, value in enumerate(pts):
            picture = av.VideoFrame.from_ndarray(drawing(index, size[1], size[0]), format="rgb24")
            picture = picture.reformat(format=pixels)
            picture.pts, picture.time_base = value, time_base
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
        if sound and voice is not None:
            samples, start = sound
            frame = av.AudioFrame.from_ndarray(np.stack([samples, samples]), format="fltp", layout="stereo")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), start
            out.mux(voice.encode(frame))
            out.mux(voice.encode(None))
    return path


def make_sound(path: Path, samples: np.ndarray, rate: int, codec: str) -> Path:
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def timestamps(path: Path) -> list[Fraction]:
    """Presentation times as a plain decoder reports them."""
    with av.open(str(path)) as container:
        return [f.pts * f.time_base for f in container.decode(video=0)]


def sound_packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(p) for p in container.demux(audio=0) if p.size]


def copy_clip(
    source: Path, target: Path, crf: int = 16, tags: dict[str, str] | None = None, **options: object
) -> Clip:
    clip = media.probe(source)
    with media.Writer(target, clip, encoding=media.Encoding(crf=crf, **QUICK), **options) as writer:  # type: ignore
        writer.tags = tags or {}
        for frame in media.read_frames(clip):
            writer.write(frame)
    return clip


def film(path: Path, codec: str, count: int = 110, gop: int = 25) -> Path:
    """Frames at uneven times with few key frames and, where the codec has them, B-frames and open groups."""
    options = {"libx264": {"x264-params": "open-gop=1:bframes=3"}, "libx265": {"x265-params": "log-level=none"}}
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=25, time_base=Fraction(1, 1000), options=options.get(codec, {}))
        stream.width, stream.height, stream.pix_fmt, stream.gop_size = 64, 48, "yuv420p", gop
        for index in range(count):
            picture = av.VideoFrame.from_ndarray(drawing(index), format="rgb24").reformat(format="yuv420p")
            picture.pts, picture.time_base = 40 * index + 7 * (index % 3), Fraction(1, 1000)
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    return path


@contextmanager
def room_for(size: int) -> Iterator[None]:
    """No file may grow beyond ``size`` bytes: as near to a full disk as one gets without one."""
    resource = pytest.importorskip("resource", reason="this system has no limits of resources")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, by its path within it."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def black_png(width: int, height: int) -> bytes:
    """A PNG file of a few KB."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    packed = zlib.compressobj(9)
    rows = b"".join(packed.compress(bytes(1 + (width + 7) // 8)) for _ in range(height)) + packed.flush()
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")

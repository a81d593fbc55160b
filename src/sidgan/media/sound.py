"""Reading and writing sound: samples aligned with the video, gaps filled with silence, and codec padding removed."""

from __future__ import annotations

import wave
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer

from sidgan.errors import InputError
from sidgan.media.files import finished, writing
from sidgan.media.source import first_picture, opened, sound_stream
from sidgan.types import Float

SILENCE = 1 << 16  #: largest number of samples of silence in a block
LIMIT = 1e6  #: times full scale; larger values are invalid, as broken programs may write them into float files
JUMP = 0.04  #: seconds; timestamp jitter of containers is smaller, a real gap is longer


def decode_audio(path: Path, rate: int = 16_000) -> Iterator[Float]:
    """The sound of any file, mixed to mono and resampled, in blocks of a second (the last one is shorter).

    Sample 0 is at time 0 of the file (see `sidgan.media`): sound that starts later is padded with silence, sound that
    starts earlier is cut, and so is the padding that codecs add at both ends.

    Args:
        path: a sound or video file.
        rate: Hz of the result.

    Yields:
        (rate,) float32 in [-1, 1].

    Raises:
        InputError: the file has no sound, or none that can be decoded.
    """
    for samples in in_blocks(samples_from(Path(path), rate, "mono"), rate):
        yield samples[0]


def read_audio(path: Path, rate: int = 16_000) -> Float:
    """The whole sound as (n,) float32; see `decode_audio`."""
    blocks = list(decode_audio(path, rate))
    return np.concatenate(blocks) if blocks else np.zeros(0, np.float32)


def in_blocks(parts: Iterable[Float], size: int) -> Iterator[Float]:
    """Regroups consecutive (channels, n) arrays into blocks of ``size`` samples; the last one is shorter."""
    held, count = list[Float](), 0
    for samples in parts:
        held.append(samples)
        count += samples.shape[1]
        while count >= size:
            joined = np.concatenate(held, 1)
            yield joined[:, :size]
            held, count = [joined[:, size:]], count - size
    if count:
        yield np.concatenate(held, 1)


@contextmanager
def pcm_file(path: Path, channels: int, rate: int) -> Iterator[wave.Wave_write]:
    """A new ``.wav`` file of 16-bit PCM; write the bytes from `pcm` into it."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        yield file


def pcm(samples: Float) -> bytes:
    """(channels, n) samples, clipped to [-1, 1], as bytes of interleaved 16-bit PCM."""
    return np.round(np.clip(samples, -1, 1) * 32767).astype("<i2").T.tobytes()


def write_wav(path: Path, samples: Float, rate: int) -> None:
    """Write (n,) float samples, clipped to [-1, 1], as 16-bit mono PCM.

    Raises:
        OutputError: the file cannot be written.
    """
    path = Path(path)
    with finished(path) as part, writing(path), pcm_file(part, 1, rate) as file:
        file.writeframes(pcm(samples[None]))


def samples_from(path: Path, rate: int, layout: str) -> Iterator[Float]:
    """Sound as consecutive (channels, n) float32 arrays from time 0 on.

    Gaps in the timestamps are filled with silence. Samples before time 0, overlapping ones, and those after the end
    stated in the header are left out.

    Args:
        path: a sound or video file.
        rate: Hz of the result.
        layout: FFmpeg's channel layout of the result, such as ``mono``.

    Raises:
        InputError: as `sounding`, it cannot be decoded, or has values that are not finite or far above full scale.
    """
    origin = first_picture(path)
    with sounding(path) as (container, stream):
        mixer = AudioResampler(format="fltp", layout=layout, rate=rate)
        end = stated_end(container, stream)
        done = 0  # number of samples returned so far
        for frame in _mixed(decoded_sound(container, stream, path), mixer, path):
            shown = time_of(frame)
            if origin is None:  # sound alone: its own start is time 0
                origin = shown or Fraction(0)
            place = done if shown is None else round((shown - origin) * rate)
            if done and abs(place - done) <= JUMP * rate:
                place = done
            last = place + frame.samples if end is None else round((end - origin) * rate)
            place = min(place, last)
            while place > done:  # in blocks: some files have gaps of hours
                silence = min(place - done, SILENCE)
                yield np.zeros((len(frame.layout.channels), silence), np.float32)
                done += silence
            samples = frame.to_ndarray()[:, done - place : max(last - place, 0)]
            if samples.shape[1]:
                if not np.abs(samples).max() < LIMIT:  # also true for NaN
                    raise InputError(f"{path} holds NaN or infinite values at {done / rate:.2f} s; export it again")
                yield samples
                done += samples.shape[1]


@contextmanager
def sounding(path: Path) -> Iterator[tuple[InputContainer, AudioStream]]:
    """The container and first sound stream of ``path``.

    Raises:
        InputError: as `opened`, or there is no sound in it.
    """
    with opened(path, pictures=False) as container:
        stream = sound_stream(container)
        if stream is None:
            unknown = " that can be decoded" if container.streams.audio else ""
            raise InputError(f"{path} has no sound{unknown}; give a file with speech")
        yield container, stream


def decoded_sound(container: InputContainer, stream: AudioStream, path: Path) -> Iterator[av.AudioFrame]:
    """All audio frames in order; a packet that cannot be decoded leaves a gap.

    Raises:
        InputError: most packets are damaged, or there are none.
    """
    good = bad = 0
    packets = container.demux(stream)
    while True:
        try:
            frames = next(packets).decode()
        except StopIteration:
            break
        except av.FFmpegError:  # broken tags and cut last packets are common in mp3 and harmless
            bad += 1
            if bad > good + 10:
                break
            continue
        good += len(frames)
        yield from frames
    if not good + bad:
        raise InputError(f"{path}: its sound is empty; give a file with speech")
    if bad > good or not good:
        raise InputError(f"{path}: its sound cannot be decoded; convert it to wav")


def time_of(frame: av.AudioFrame) -> Fraction | None:
    """The time of an audio frame in seconds, on the container's own clock; ``None`` if the file does not state it."""
    return None if frame.pts is None or frame.time_base is None else frame.pts * frame.time_base


def _mixed(frames: Iterator[av.AudioFrame], mixer: AudioResampler, path: Path) -> Iterator[av.AudioFrame]:
    try:
        for frame in frames:
            yield from mixer.resample(frame)
        yield from mixer.resample(None)
    except (av.FFmpegError, ValueError) as error:
        raise InputError(f"{path} changes its sample format on the way; convert it to wav") from error


def stated_end(container: InputContainer, stream: AudioStream) -> Fraction | None:
    """The end of the sound in seconds, without codec padding; ``None`` unless the file is MP4 or MOV."""
    if "mp4" not in container.format.name or stream.duration is None or stream.time_base is None:
        return None
    return ((stream.start_time or 0) + stream.duration) * stream.time_base


def stretch(samples: Float, rate: int, tempo: float) -> Float:
    """Change the tempo of a sound without its pitch, by waveform overlap-add (FFmpeg's ``atempo``).

    The sound at time t moves to t / tempo, within 25 ms.

    Args:
        samples: (n,) float32.
        rate: Hz.
        tempo: 0.5 to 2; above 1 is faster.

    Returns:
        (round(n / tempo),) float32.
    """
    graph = av.filter.Graph()
    source = graph.add_abuffer(sample_rate=rate, format="flt", layout="mono", time_base=Fraction(1, rate))
    middle, sink = graph.add("atempo", f"{tempo:.6f}"), graph.add("abuffersink")
    source.link_to(middle)
    middle.link_to(sink)
    graph.configure()
    # The filter's first window is centred on its first sample, and half of it is lost: so that much silence is added.
    padded = np.concatenate([np.zeros(_tempo_window(rate) // 2, np.float32), samples.astype(np.float32)])
    parts = [np.zeros(0, np.float32)]
    for first in range(0, len(padded), 4096):
        frame = av.AudioFrame.from_ndarray(padded[None, first : first + 4096], format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, first, Fraction(1, rate)
        graph.push(frame)
        parts += _pulled(graph)
    graph.push(None)
    joined, wanted = np.concatenate([*parts, *_pulled(graph)]), round(len(samples) / tempo)
    return np.pad(joined[:wanted], (0, max(0, wanted - len(joined))))


def _pulled(graph: av.filter.Graph) -> Iterator[Float]:
    while True:
        try:
            frame = graph.pull()
        except (av.BlockingIOError, av.EOFError):
            return
        if isinstance(frame, av.AudioFrame):
            yield frame.to_ndarray()[0]


def _tempo_window(rate: int) -> int:
    """Samples in a window of ``atempo``: the smallest power of two that lasts at least 1/24 s."""
    return 1 << max(0, rate // 24 - 1).bit_length()

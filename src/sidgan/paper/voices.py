"""Figure 1: two people dubbed with the same voice. Their lips should move alike, however much their faces differ."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sidgan import audio, dubbing, media, metrics
from sidgan.config import FPS
from sidgan.evaluation.measures import bridged
from sidgan.evaluation.results import without_nan
from sidgan.paper import people
from sidgan.paper.draw import BLUE, GREY, RED, foot, head, page
from sidgan.paper.filmed import Filmed, crops, follow
from sidgan.paper.side_by_side import INVENTED, stacked
from sidgan.types import Byte, Float, Show

SHOWN = 8  #: number of moments shown
DRAWN = 3.0  #: seconds of video for each synthetic person
LONGEST = 12.0  #: longest part of the videos that is compared, s


@dataclass(frozen=True)
class Speaker:
    """One of the two people.

    Attributes:
        name: name of the video. filmed, dubbed: (N,) mouth opening at 25 fps, in eye distances.
        before, after: face crops of the video and of the dub, at the shown moments.
    """

    name: str
    filmed: Float
    dubbed: Float
    before: tuple[Byte, ...]
    after: tuple[Byte, ...]


@dataclass(frozen=True)
class OneVoice:
    """The content of Figure 1. Correlations are of mouth openings over time.

    Attributes:
        speakers: the two people. voice: name of the voice. invented: whether the people are synthetic.
        times: timestamps of the shown moments, s. loudness: (N,) of the voice at 25 fps, dB.
        together: correlation of the two dubbed mouths. chance: exceeded by one in twenty pairs of unrelated mouths.
        before: correlation of the two mouths as filmed. kept: of each dubbed mouth with the same mouth as filmed.
        lag: number of frames by which the second mouth lags the first at the highest correlation.
    """

    speakers: tuple[Speaker, Speaker]
    voice: str
    times: tuple[float, ...]
    loudness: Float
    together: float
    chance: float
    before: float
    kept: tuple[float, float]
    lag: int
    invented: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON, without images."""
        return {
            "figure": 1, "drawn_people": self.invented, "voice": self.voice, "frames": len(self.loudness),
            "correlation": self.together, "chance": without_nan(self.chance), "correlation_as_filmed": self.before,
            "correlation_with_own_original": list(self.kept), "lag_frames": self.lag, "shown_s": list(self.times),
            "people": [{"name": s.name, "opening_filmed": s.filmed.tolist(), "opening_dubbed": s.dubbed.tolist()}
                       for s in self.speakers],
        }  # fmt: skip


def one_voice(
    videos: Sequence[Path], voice: Path | None, *, model: str = "bundled", device: str = "auto",
    progress: Show = lambda share, text: None,
) -> OneVoice:  # fmt: skip
    """Dub two people with one voice and compare their mouths.

    Args:
        videos: two videos, or none for two synthetic people.
        voice: the new voice; by default that of a third synthetic person.
        model, device: for dubbing.

    Raises:
        InputError, NoFaceError: a video cannot be used.
    """
    with tempfile.TemporaryDirectory(prefix="sidgan-") as folder:
        work, invented = Path(folder), not videos
        if invented:
            videos = _drawn(work, progress)
        if voice is None:
            voice = work / "third.mp4"
            people.film(people.CASES["beard"], voice, DRAWN)
        dubber, pairs = dubbing.Dubber(model, device=device), list[tuple[Filmed, Filmed, Path, Path]]()
        for i, video in enumerate(videos):
            progress(0.2 + 0.4 * i, f"{video.name} is dubbed")
            out = work / f"dubbed-{i}.mp4"
            dubber.dub(video, voice, out)
            pairs.append((follow(video, LONGEST), follow(out, LONGEST), video, out))
        length = min(_seconds(voice), *(float(f.times[-1]) for pair in pairs for f in pair[:2]), LONGEST)
        clock = np.arange(0, length, 1 / FPS)
        series = [(_opening(filmed, clock), _opening(dubbed, clock)) for filmed, dubbed, _, _ in pairs]
        ticks = _moments(series[0][1] + series[1][1])
        speakers = []
        for (filmed, _, video, out), openings in zip(pairs, series, strict=True):
            frames = [_nearest(filmed, clock[t]) for t in ticks]
            speakers.append(Speaker(video.stem, *openings, *(_faces(v, filmed, frames) for v in (video, out))))
        loudness = _loudness(voice, len(clock))
    (filmed1, dubbed1), (filmed2, dubbed2) = series
    match = metrics.opening_match(dubbed2, dubbed1)
    return OneVoice(
        (speakers[0], speakers[1]), "a synthetic person's" if voice.parent == work else voice.name,
        tuple(float(clock[t]) for t in ticks), loudness, match.correlation, metrics.leak(dubbed2, dubbed1).chance,
        metrics.opening_match(filmed2, filmed1).correlation,
        (metrics.opening_match(dubbed1, filmed1).correlation, metrics.opening_match(dubbed2, filmed2).correlation),
        match.lag, invented,
    )  # fmt: skip


def _drawn(work: Path, progress: Show) -> list[Path]:
    """Write videos of two synthetic people."""
    videos = []
    for name, how in list(people.PLAIN.items())[:2]:
        progress(0.0, f"{name} is drawn")
        videos.append(work / f"{name}.mp4")
        people.film(how, videos[-1], DRAWN)
    return videos


def _faces(video: Path, filmed: Filmed, frames: list[int]) -> tuple[Byte, ...]:
    """Face and mouth at these frames of a video or its dub, cut at the tracked face of ``filmed``; see `stacked`."""
    return tuple(map(stacked, crops(video, filmed, frames), map(filmed.landmarks, frames)))


def _seconds(voice: Path) -> float:
    return len(media.read_audio(voice, audio.SAMPLE_RATE)) / audio.SAMPLE_RATE


def _opening(filmed: Filmed, clock: Float) -> Float:
    """The mouth opening interpolated at the timestamps ``clock``, also over frames without a visible face."""
    times = np.array([float(filmed.times[f]) for f in filmed.track.frames])
    visible = np.where(filmed.track.visible, filmed.opening, np.nan)
    opening = bridged(visible)
    return np.interp(clock, times, filmed.opening if opening is None else opening)


def _moments(opening: Float) -> list[int]:
    """Indices to show, one of each of `SHOWN` equal parts: with the mouth widest and most closed by turns."""
    parts = np.array_split(np.arange(len(opening)), min(SHOWN, len(opening)))
    return [int(part[(np.argmin if i % 2 else np.argmax)(opening[part])]) for i, part in enumerate(parts)]


def _nearest(filmed: Filmed, time: float) -> int:
    times = np.array([float(filmed.times[f]) for f in filmed.track.frames])
    return filmed.track.first + int(np.abs(times - time).argmin())


def _loudness(voice: Path, count: int) -> Float:
    step = audio.SAMPLE_RATE // FPS
    samples = media.read_audio(voice, audio.SAMPLE_RATE)[: count * step]
    padded = np.pad(samples, (0, count * step - len(samples))).reshape(count, step)
    return 20 * np.log10(np.sqrt((padded.astype(np.float64) ** 2).mean(1)) + 1e-4)


def draw_one_voice(found: OneVoice, out: Path) -> None:
    """Write Figure 1 as a PNG.

    Raises:
        SidganError: matplotlib is missing.
        OutputError: the file cannot be written.
    """
    with page(13.5, 13.2, out) as figure:
        rows = [(f"{s.name}\n{what}", pictures, colour)
                for s, colour in zip(found.speakers, (BLUE, RED), strict=True)
                for what, pictures in (("as filmed", s.before), ("dubbed", s.after))]  # fmt: skip
        grid = figure.add_gridspec(len(rows), len(found.times), left=0.1, right=0.985, top=0.885, bottom=0.37,
                                   hspace=0.05, wspace=0.04)  # fmt: skip
        for i, (name, pictures, colour) in enumerate(rows):
            for j, picture in enumerate(pictures):
                axes = figure.add_subplot(grid[i, j])
                axes.imshow(picture)
                axes.set(xticks=[], yticks=[])
                axes.grid(visible=False)
                for spine in axes.spines.values():
                    spine.set_visible(False)
                if i == 0:
                    axes.set_title(f"{'abcdefgh'[j]}  {found.times[j]:.2f} s", fontsize=10)
                if j == 0:
                    axes.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=10, color=colour)
        _curves(figure, found)
        a, b = found.speakers
        head(figure, f"Figure 1: one voice on two people, lips correlate at {found.together:.2f}",
             f"voice: {found.voice}; {a.name} and {b.name}; as filmed the same two correlate at {found.before:.2f}; "
             f"chance reaches {found.chance:.2f}", None)  # fmt: skip
        note = f"  {INVENTED}" if found.invented else ""
        foot(figure, "Opening: distance of the inner lips in eye distances, from landmarks. Thick: dubbed; thin: as "
             "filmed. Correlation of each dubbed mouth with the same mouth as filmed: "
             f"{found.kept[0]:.2f} and {found.kept[1]:.2f}, which should be no more than chance.{note}")  # fmt: skip


def _curves(figure: Any, found: OneVoice) -> None:
    clock = np.arange(len(found.loudness)) / FPS
    lips = figure.add_axes((0.1, 0.15, 0.885, 0.19))
    for speaker, colour in zip(found.speakers, (BLUE, RED), strict=True):
        lips.plot(clock, speaker.filmed, color=colour, lw=0.9, alpha=0.4)
        lips.plot(clock, speaker.dubbed, color=colour, lw=2.2, label=f"{speaker.name}, dubbed")
    for name, time in zip("abcdefgh", found.times, strict=False):
        lips.axvline(time, color=GREY, lw=0.8, ls=":")
        lips.text(time, 1.0, name, transform=lips.get_xaxis_transform(), ha="center", va="bottom", fontsize=9)
    lips.set(ylabel="opening", xlim=(0, clock[-1]), xticklabels=[])
    lips.legend(loc="upper right", ncols=2)
    loud = figure.add_axes((0.1, 0.075, 0.885, 0.06))
    loud.fill_between(clock, found.loudness, found.loudness.min(), color="#9aa0a6", lw=0)
    loud.set(xlabel="s", ylabel="voice\ndB", xlim=(0, clock[-1]), yticks=[])
    loud.grid(visible=False)

"""Raw videos to windows of five frames, cut wider than the face so that a moved rectangle sees what is really there.

One window is held at a time: pictures come in a *wide* crop, `MARGIN` px larger on every side than the 512-px face
crop, on the same sampling grid. The face crop with its rectangle moved by k px is then a slice of it, exactly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import takewhile
from pathlib import Path

import numpy as np

from sidgan import audio, geometry, media
from sidgan.config import FPS, SYNC_FRAMES, require
from sidgan.data.offset import estimate_offset
from sidgan.data.prepare import ticks
from sidgan.errors import InputError
from sidgan.faces import track_faces
from sidgan.types import Byte, Clip, FaceTrack, Float

SIZE = 512  #: side of the face crop, px: the unit of all shifts
MARGIN = 32  #: px at `SIZE` that a wide crop has more on every side: the largest shift
SECONDS = 60  #: of a video that are looked at; windows come from there
APART = 10  #: least frames between a window and the moment whose sound is given to it as a wrong one

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Window:
    """Five consecutive frames of one face at 25 fps, and their sound.

    Attributes:
        video: where it is from. time: of its middle frame, s.
        wide: (5, S + 2 M, S + 2 M, 3) uint8 RGB, S = `SIZE`, M = `MARGIN`.
        landmarks: (5, 68, 2) px in ``wide``.
        room: (5, 2) how far the frame reaches beyond the face crop to the left and right, px at `SIZE`; beyond that
            the frame's last column is repeated. Negative where the face crop itself reaches out of the frame.
        mel: (1, 80, 16), the sound of the middle frame.
        wrong_mel: (1, 80, 16), the sound of another moment of the same video.
    """

    video: Path
    time: float
    wide: Byte
    landmarks: Float
    room: Float
    mel: Float
    wrong_mel: Float

    def replicated(self, shifts: Sequence[int]) -> Float:
        """(K,) share of the frames for which content that enters with a shift of k px is repeated, not real."""
        reach = np.array([(max(-k, 0), max(k, 0)) for k in shifts])  # px to the left and right
        missing = (reach[:, None] > np.maximum(self.room, 0)[None]) & (reach[:, None] > 0)
        return missing.any(2).mean(1)


@dataclass
class Source:
    """Which windows come from which videos: the same for the same ``seed``, whatever the order of ``videos``.

    Videos are visited in a random order and give about equally many windows, which do not overlap. Footage that cannot
    be used is noted in ``skipped`` and its windows are taken from the videos after it.

    Attributes:
        videos: files with one face in the foreground, and its own sound.
        count: windows wanted in total.
        used: windows by video, once `windows` ran. skipped: reason by video.
    """

    videos: Sequence[Path]
    count: int
    seed: int = 0
    used: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.count > 0, f"windows must be positive, not {self.count}")

    def check(self) -> None:
        """Raise `InputError` where a file is missing or no video, before work is spent on the others."""
        for video in self.videos:
            media.probe(video)

    def windows(self) -> Iterator[Window]:
        """All windows, one at a time.

        Raises:
            InputError: a file is missing or damaged, or no video can be used.
        """
        self.check()
        rng = np.random.default_rng(self.seed)
        videos = sorted(set(self.videos))
        order = [videos[i] for i in rng.permutation(len(videos))]
        left = self.count
        for position, video in enumerate(order):
            quota = -(-left // (len(order) - position))
            if quota == 0:
                break
            try:
                talk = survey(video)
            except Unusable as reason:
                self.skipped[str(video)] = str(reason)
                continue
            picks = talk.choose(rng, quota)
            yield from talk.windows(picks)
            self.used[str(video)] = len(picks)
            left -= len(picks)
        if not self.used:
            reasons = "; ".join(f"{Path(name).name}: {reason}" for name, reason in self.skipped.items())
            raise InputError(f"none of the videos can be used ({reasons}); give videos of a talking face")


class Unusable(Exception):  # noqa: N818  a verdict, not an error
    """Why no window is taken from a video."""


@dataclass(frozen=True)
class Talk:
    """The face of a video at 25 fps, without its pictures.

    Attributes:
        clip: the video. track: its most prominent face.
        pick: source frame of each 25-fps frame, as `sidgan.data.prepare.ticks` gives them.
        start: time of the first of these, s.
        mel: (80, T) of the whole sound, column 0 at time 0. lag: how many frames the picture is behind it.
    """

    clip: Clip
    track: FaceTrack
    pick: list[int]
    start: Fraction
    mel: Float
    lag: int

    def choose(self, rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
        """Up to ``count`` pairs: first frame of a window, and the middle frame of a moment with another sound."""
        starts = np.arange(0, len(self.pick) - SYNC_FRAMES + 1, SYNC_FRAMES)
        chosen = np.sort(rng.permutation(starts)[:count])
        middles = np.arange(SYNC_FRAMES // 2, len(self.pick) - SYNC_FRAMES // 2)
        distance = np.abs(middles[None] - (chosen[:, None] + SYNC_FRAMES // 2))
        return [
            (int(s), int(rng.choice(middles[d >= min(APART, d.max())]))) for s, d in zip(chosen, distance, strict=True)
        ]

    def windows(self, picks: Sequence[tuple[int, int]]) -> Iterator[Window]:
        """The windows that begin at these frames, in this (rising) order; the video is decoded once."""
        wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)  # source frame -> (window, place in it)
        for window, (first, _) in enumerate(picks):
            for place in range(SYNC_FRAMES):
                wanted[self.pick[first + place]].append((window, place))
        held: dict[int, dict[int, Byte]] = defaultdict(dict)
        last = max(wanted, default=-1)
        for frame in takewhile(lambda f: f.index <= last, media.read_frames(self.clip)):
            for window, place in wanted.get(frame.index, ()):
                unit = self.track.matrices[frame.index - self.track.first]
                held[window][place] = geometry.crop_face(frame, widened(unit), SIZE + 2 * MARGIN).image
                if len(held[window]) == SYNC_FRAMES:
                    pictures = held.pop(window)
                    yield self._window(*picks[window], np.stack([pictures[i] for i in range(SYNC_FRAMES)]))

    def _window(self, first: int, elsewhere: int, wide: Byte) -> Window:
        middle = first + SYNC_FRAMES // 2
        rows = np.array(self.pick[first : first + SYNC_FRAMES]) - self.track.first
        matrices = self.track.matrices[rows]
        unit = geometry.to_unit(matrices, self.track.landmarks[rows])
        side, left = matrices[:, 0, 0], matrices[:, 0, 2]
        room = np.stack([left + 0.5, self.clip.width - 0.5 - (left + side)], 1) * (SIZE / side)[:, None]
        return Window(
            video=self.clip.path, time=float(self.start + Fraction(middle, FPS)), wide=wide,
            landmarks=unit * SIZE + MARGIN - 0.5, room=room, mel=self._sound(middle), wrong_mel=self._sound(elsewhere),
        )  # fmt: skip

    def _sound(self, tick: int) -> Float:
        return audio.mel_window(self.mel, self.start + Fraction(tick - self.lag, FPS))[None]


def survey(video: Path) -> Talk:
    """Find the face and the sound of a video, as preparing it for training would.

    Raises:
        Unusable: no sound, or no face for long enough.
        InputError: damaged.
    """
    clip = media.probe(video)
    if clip.audio_rate is None:
        raise Unusable("no sound")
    tracks, times = track_faces(takewhile(lambda f: f.time < SECONDS, media.read_frames(clip)))
    if not tracks:
        raise Unusable("no face")
    pick = ticks(times, tracks[0])
    if len(pick) < 2 * SYNC_FRAMES:
        raise Unusable(f"face seen for {len(pick) / FPS:.1f} s only")
    mel = np.concatenate(list(audio.stream_log_mel(_first_seconds(video))), 1)
    start = times[pick[0]]
    landmarks = tracks[0].landmarks[np.array(pick) - tracks[0].first]
    offset = estimate_offset(landmarks, mel[:, max(0, round(start * audio.STEPS_PER_SECOND)) :])
    return Talk(clip, tracks[0], pick, start, mel, offset.frames if offset.trusted else 0)


def _first_seconds(video: Path) -> Iterator[Float]:
    for second, block in enumerate(media.decode_audio(video, audio.SAMPLE_RATE)):
        if second > SECONDS:
            return
        yield block


def widened(unit: Float) -> Float:
    """The affine (2, 3) of a unit square, grown by `MARGIN` px at `SIZE` on every side."""
    grow = 1 + 2 * MARGIN / SIZE
    edge = -MARGIN / SIZE
    step = np.array([[grow, 0, edge], [0, grow, edge], [0, 0, 1]])
    return (unit.astype(np.float64) @ step).astype(np.float32)

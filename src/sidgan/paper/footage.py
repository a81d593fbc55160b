"""Cut windows of five frames from raw videos, in crops wider than the face, so that shifted crops have real content.

A *wide* crop is `MARGIN` px larger on every side than the 512-px face crop, on the same sampling grid. The face crop
shifted by k px is therefore exactly a slice of it. Only one window is in memory at a time.
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
from sidgan.config import FPS, SYNC_FRAMES
from sidgan.data.offset import estimate_offset
from sidgan.data.packing import ticks
from sidgan.errors import InputError
from sidgan.faces import track_faces
from sidgan.settings import require
from sidgan.types import Byte, Clip, FaceTrack, Float

SIZE = 512  #: side of the face crop, px: the unit of all shifts
MARGIN = 32  #: px at `SIZE` that a wide crop has more on every side: the largest shift
SECONDS = 60  #: the start of a video from which windows are taken, s
APART = 10  #: smallest distance in frames between a window and the moment from which its wrong sound is taken

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Window:
    """Five consecutive frames of one face at 25 fps, and their sound.

    Attributes:
        video: its source. time: timestamp of the middle frame, s.
        wide: (5, S + 2 M, S + 2 M, 3) uint8 RGB wide crops, S = `SIZE`, M = `MARGIN`.
        landmarks: (5, 68, 2) px in ``wide``.
        room: (5, 2) distance from the face crop to the left and right edges of the video frame, px at `SIZE`. Beyond
            the edge, the frame's last column is repeated. Negative if the face crop itself crosses the edge.
        mel: (1, 80, 16) mel window of the middle frame.
        wrong_mel: (1, 80, 16) mel window of another moment of the same video.
    """

    video: Path
    time: float
    wide: Byte
    landmarks: Float
    room: Float
    mel: Float
    wrong_mel: Float

    def replicated(self, shifts: Sequence[int]) -> Float:
        """(K,) share of frames whose crop, shifted by k px, crosses the video's edge and so repeats its last column."""
        reach = np.array([(max(-k, 0), max(k, 0)) for k in shifts])  # px to the left and right
        missing = (reach[:, None] > np.maximum(self.room, 0)[None]) & (reach[:, None] > 0)
        return missing.any(2).mean(1)


@dataclass
class Source:
    """Draws random windows from videos; reproducible with the same ``seed``, whatever the order of ``videos``.

    Videos are visited in random order and give about equally many windows, which do not overlap. A video that cannot be
    used is listed in ``skipped``, and the videos after it supply its windows.

    Attributes:
        videos: files that show one face in the foreground, with its own sound.
        count: total number of windows wanted.
        used: video -> number of windows, filled by `windows`. skipped: video -> reason.
    """

    videos: Sequence[Path]
    count: int
    seed: int = 0
    used: dict[str, int] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.count > 0, f"windows must be positive, not {self.count}")

    def check(self) -> None:
        """Raise `InputError` if a file is missing or is not a video; called before any other work."""
        for video in self.videos:
            media.probe(video)

    def windows(self) -> Iterator[Window]:
        """Yield all windows, one at a time; there are fewer than ``count`` if the videos are too short.

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
            chosen = talk.choose(rng, quota)
            yield from talk.windows(chosen)
            self.used[str(video)] = len(chosen)
            left -= len(chosen)
        if not self.used:
            reasons = "; ".join(f"{Path(name).name}: {reason}" for name, reason in self.skipped.items())
            raise InputError(f"none of the videos can be used ({reasons}); give videos of a talking face")


class Unusable(Exception):  # noqa: N818  the caller skips the video, so this is no error
    """A video cannot supply windows; the message is the reason."""


@dataclass(frozen=True)
class Talk:
    """The tracked face and the sound of a video, without the images.

    Attributes:
        clip: the video. track: its most prominent face.
        pick: index of the source frame for each frame at 25 fps, from `sidgan.data.packing.ticks`.
        start: timestamp of the first of these, s.
        mel: (80, T) mel spectrogram of the whole sound, column 0 at time 0.
        lag: number of frames (at 25 fps) by which the picture lags the sound.
    """

    clip: Clip
    track: FaceTrack
    pick: list[int]
    start: Fraction
    mel: Float
    lag: int

    def choose(self, rng: np.random.Generator, count: int) -> list[tuple[int, int]]:
        """Choose up to ``count`` windows: (first frame of the window, middle frame of its wrong sound), at 25 fps."""
        starts = np.arange(0, len(self.pick) - SYNC_FRAMES + 1, SYNC_FRAMES)
        chosen = np.sort(rng.permutation(starts)[:count])
        middles = np.arange(SYNC_FRAMES // 2, len(self.pick) - SYNC_FRAMES // 2)
        distance = np.abs(middles[None] - (chosen[:, None] + SYNC_FRAMES // 2))
        return [
            (int(s), int(rng.choice(middles[d >= min(APART, d.max())]))) for s, d in zip(chosen, distance, strict=True)
        ]

    def windows(self, picks: Sequence[tuple[int, int]]) -> Iterator[Window]:
        """Yield the windows that `choose` returned, in ascending order; the video is decoded once."""
        wanted: dict[int, list[tuple[int, int]]] = defaultdict(list)  # source frame -> (window, position in it)
        for window, (first, _) in enumerate(picks):
            for position in range(SYNC_FRAMES):
                wanted[self.pick[first + position]].append((window, position))
        pending: dict[int, dict[int, Byte]] = defaultdict(dict)  # window -> position -> crop
        last = max(wanted, default=-1)
        for frame in takewhile(lambda f: f.index <= last, media.read_frames(self.clip)):
            for window, position in wanted.get(frame.index, ()):
                matrix = self.track.matrices[frame.index - self.track.first]
                pending[window][position] = geometry.crop_face(frame, widened(matrix), SIZE + 2 * MARGIN).image
                if len(pending[window]) == SYNC_FRAMES:
                    crops = pending.pop(window)
                    yield self._window(*picks[window], np.stack([crops[i] for i in range(SYNC_FRAMES)]))

    def _window(self, first: int, elsewhere: int, wide: Byte) -> Window:
        middle = first + SYNC_FRAMES // 2
        rows = np.array(self.pick[first : first + SYNC_FRAMES]) - self.track.first
        matrices = self.track.matrices[rows]
        unit = geometry.to_unit(matrices, self.track.landmarks[rows])
        side, left = matrices[:, 0, 0], matrices[:, 0, 2]
        room = np.stack([left + 0.5, self.clip.width - 0.5 - (left + side)], 1) * (SIZE / side)[:, None]
        return Window(
            video=self.clip.path, time=float(self.start + Fraction(middle, FPS)), wide=wide,
            landmarks=unit * SIZE + MARGIN - 0.5, room=room, mel=self._mel(middle), wrong_mel=self._mel(elsewhere),
        )  # fmt: skip

    def _mel(self, tick: int) -> Float:
        return audio.mel_window(self.mel, self.start + Fraction(tick - self.lag, FPS))[None]


def survey(video: Path) -> Talk:
    """Track the face and analyse the sound of a video, as `sidgan prepare` does.

    Raises:
        Unusable: the video has no sound, or no face for long enough.
        InputError: it is damaged.
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
    """Enlarge the square of an affine transform (2, 3), from unit coordinates to the frame, to a wide crop's."""
    grow = 1 + 2 * MARGIN / SIZE
    edge = -MARGIN / SIZE
    step = np.array([[grow, 0, edge], [0, grow, edge], [0, 0, 1]])
    return (unit.astype(np.float64) @ step).astype(np.float32)

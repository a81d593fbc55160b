"""The training material for each face of a video: crops, masks and sound at 25 fps, from all of its shots."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import torch

from sidgan import audio, geometry, media
from sidgan.adaptation.sound import Sound, judge_sounds
from sidgan.config import FPS
from sidgan.data.dataset import PackedClip
from sidgan.data.packing import ticks
from sidgan.dubbing.analysis import Find, survey
from sidgan.errors import InputError
from sidgan.people import MAX_ROLL, MAX_YAW, MIN_SIDE, TrackedFace, redrawn
from sidgan.people.cast import place
from sidgan.spans import spans
from sidgan.types import Byte, Clip, Float, Show

MAX_BYTES = 1 << 31  #: of crops in memory; for longer videos, only the beginning of each stretch is used
MIN_STRETCH = 25  #: frames; shorter stretches are dropped


@dataclass(frozen=True)
class Material:
    """One face of a video.

    Attributes:
        number: rank among all faces of the video, 1 is the most prominent.
        tracks: indices of its tracks among those of the video, the most prominent first.
        frames: number of video frames in which it is redrawn.
        place: where and when it is seen, in words.
        clips: its stretches in order of time, with the video's sound shifted to match.
        sound: whether that sound belongs to the face, and its shift.
    """

    number: int
    tracks: tuple[int, ...]
    frames: int
    place: str
    clips: tuple[PackedClip, ...]
    sound: Sound

    def __len__(self) -> int:
        return sum(len(clip) for clip in self.clips)


@dataclass
class _Stretch:
    """A run of frames in which a face can be redrawn, resampled to 25 fps: rows of its track, and their crops."""

    track: int
    person: TrackedFace
    rows: list[int]
    start: Fraction
    images: list[Byte] = field(default_factory=list)

    @property
    def points(self) -> Float:
        return self.person.track.landmarks[self.rows]

    def clip(self, name: str, mel: Float, shift: int) -> PackedClip:
        times = [self.start + Fraction(i - shift, FPS) for i in range(len(self.rows))]
        points = self.person.points[self.rows]
        return PackedClip(
            name=name, images=torch.from_numpy(np.stack(self.images)).permute(0, 3, 1, 2).contiguous(),
            mels=torch.from_numpy(audio.mel_windows(mel, times).astype(np.float16)),
            masks=torch.from_numpy(geometry.mask_boxes(points)), landmarks=points,
        )  # fmt: skip


def read_material(
    video: Path, size: int, which: str = "largest", progress: Show | None = None, seconds: float | None = None,
    tolerant: bool = False, find: Find | None = None,
) -> list[Material]:  # fmt: skip
    """Read the training material of a video.

    Args:
        video: with or without sound.
        size: side of the crops, px.
        which: ``largest``: the most prominent face of each moment; ``all``: every face.
        progress: called with the share done and a line of text.
        seconds: read only this much of the beginning. Track indices then differ from those of a dub of the whole.
        tolerant: skip damaged parts.
        find: finds the faces of the whole video, if somebody else needs them as well.

    Returns:
        The faces that would be redrawn, the most prominent first. Tracks of one person are merged.

    Raises:
        InputError: no such file, not a video, a photo, or no face that can be redrawn.
    """
    tell = progress or (lambda share, text: None)
    clip = media.probe(video, tolerant=tolerant)
    if clip.still:
        raise InputError(f"cannot adapt to {video.name}: it is a photo, which shows no speech; dub without adapting")

    def looking(stage: str, done: int, total: int) -> None:
        begin, part = (0.0, 0.4) if stage == "analyse" else (0.4, 0.1)  # then, of several faces, who is who
        tell(begin + part * min(1.0, done / total), "adapting: looking for faces")

    seen = find(clip, looking) if find is not None else survey(clip, looking, seconds=seconds)[0]
    usable = {i: person for i, person in enumerate(seen.people) if person.appears}
    if not usable:
        why = "only small, turned, tilted or covered faces" if seen.people else "no face"
        raise InputError(
            f"cannot adapt to {video.name}: {why}; give a video with a face square of at least {MIN_SIDE} px, "
            f"turned by less than {MAX_YAW} degrees and tilted by less than {MAX_ROLL}"
        )
    wanted = Counter[TrackedFace]()  # frames in which each is redrawn
    for index, chosen in redrawn(usable.values(), which).items():
        wanted.update(person for person in chosen if person.refusal(index) is None)
    stretches = _stretches({i: p for i, p in usable.items() if wanted[p]}, seen.times, MAX_BYTES // (3 * size * size))
    _crop_all(clip, stretches, size, lambda part: tell(0.5 + part / 2, "adapting: reading faces"))
    samples = media.read_audio(video) if clip.audio_rate is not None else np.zeros(0, np.float32)
    mel = audio.log_mel(samples)
    numbers = sorted({seen.numbers[person] for person in usable.values() if wanted[person]})
    parts = [[s for s in stretches if seen.numbers[s.person] == number] for number in numbers]
    sounds = judge_sounds([[(s.points, s.start) for s in part] for part in parts], samples)
    found = []
    for number, part, sound in zip(numbers, parts, sounds, strict=True):
        tracks = {i: person for i, person in usable.items() if seen.numbers[person] == number}
        found.append(Material(
            number=number, tracks=tuple(tracks), frames=sum(wanted[person] for person in tracks.values()),
            place=place(list(tracks.values()), seen.times, clip),
            clips=tuple(s.clip(f"{video.stem}/{number}", mel, sound.shift) for s in part), sound=sound,
        ))  # fmt: skip
    return found


def _stretches(people: dict[int, TrackedFace], times: Sequence[Fraction], max_frames: int) -> list[_Stretch]:
    """The stretches of all faces in order of time, all shortened by one factor to ``max_frames`` in total."""
    found = []
    for i, person in people.items():
        track = person.track
        good = np.array([person.refusal(index) is None for index in track.frames])
        for begin, end in spans(good):
            run = replace(track, first=track.first + begin, visible=np.ones(end - begin, bool))
            picks = ticks(times, run)
            if len(picks) >= MIN_STRETCH:
                found.append(_Stretch(i, person, [p - track.first for p in picks], times[picks[0]]))
    share = min(1.0, max_frames / max(1, sum(len(s.rows) for s in found)))
    for stretch in found:
        stretch.rows = stretch.rows[: max(MIN_STRETCH, int(len(stretch.rows) * share))]
    return sorted(found, key=lambda s: (s.start, s.track))


def _crop_all(clip: Clip, stretches: Sequence[_Stretch], size: int, tell: Callable[[float], None]) -> None:
    """Cut the crops of all stretches in one pass over the video."""
    wanted: dict[int, list[tuple[_Stretch, int]]] = defaultdict(list)  # by frame: stretches, and repeats in each
    for stretch in stretches:
        for row, repeats in Counter(stretch.rows).items():
            wanted[stretch.person.track.first + row].append((stretch, repeats))
    last = max(wanted, default=-1)
    for frame in media.read_frames(clip) if stretches else ():
        for stretch, repeats in wanted.get(frame.index, []):
            row = frame.index - stretch.person.track.first
            image = geometry.crop_face(frame, stretch.person.track.matrices[row], size).image
            stretch.images += [image] * repeats
        tell((frame.index + 1) / (last + 1))
        if frame.index >= last:
            break

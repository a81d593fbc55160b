"""Active speaker detection: find out who in a shot speaks, from the video's own sound.

Two measures are added up. One correlates opening, width and speed of the mouth with the mel bands and their changes, as
`sidgan.data.offset` does to find a lag; it is highest for the person who speaks. The other is the sync expert's cosine
similarity of picture and sound. If their sum is not clear, nobody is chosen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np
import torch

from sidgan import audio, checkpoint, geometry, media
from sidgan.config import FPS, SYNC_FRAMES
from sidgan.data.offset import coupling
from sidgan.dubbing.silence import silent
from sidgan.metrics.sync import MouthSync
from sidgan.people import TrackedFace
from sidgan.types import Array, Clip, Float

# Measured on 169 pairs of real people who both talk for 2.6 s, with the sound of one of them; a silent listener is
# easier to tell apart. The higher score is right in 89 % of the pairs (coupling alone 87 %, expert alone 83 %). 64 % of
# the pairs differ by more than the margin, and 99 % of these are right; the coupling alone would reach that accuracy in
# only 47 % of the pairs.
COUPLING, COSINE = 0.25, 0.25  #: differences of coupling and of the expert's cosine that count as 1 in the score
MARGIN = 1.0  #: by which the speaker's score must exceed the second best
SHORTEST = 2 * FPS  #: least ticks (of 1/25 s) with sound to judge a track
EXPERT = 68  #: ticks in the middle of a track that the expert judges; it is slow
SLACK = 6  #: ticks by which sound and picture may be out of sync


def who_speaks(people: Sequence[int], scores: Mapping[int, float]) -> int | str:
    """The person in one shot who speaks, or in words why that is unclear.

    Args:
        people: numbers of those who can be redrawn, at least one.
        scores: of these, see `scores_of`. Those without a score were seen too briefly, and are not considered.
    """
    if len(people) == 1:
        return people[0]
    judged = sorted((p for p in people if p in scores), key=lambda p: -scores[p])
    if len(judged) < 2:
        return "too little speech is heard while they are seen"
    if scores[judged[0]] - scores[judged[1]] < MARGIN:
        return "several mouths fit the sound alike"
    return judged[0]


def scores_of(
    people: Sequence[TrackedFace], mel: Float, times: Sequence[Fraction], clip: Clip
) -> dict[TrackedFace, float]:
    """How well the mouth of each face matches the sound of its video; tracks with too little sound are left out.

    Args:
        people: tracks.
        mel: (80, steps), spectrogram of the sound.
        times: seconds at which the video's frames are shown.
        clip: the video, which is read once more.
    """
    sounding, judged, scores = ~silent(mel), dict[TrackedFace, Array](), dict[TrackedFace, float]()
    for person in people:
        rows, first = _ticks(person, times), round(times[person.track.first] * audio.STEPS_PER_SECOND)
        heard = sounding[first : first + len(rows) * audio.STEPS_PER_SECOND // FPS]
        if int(heard.sum()) * FPS // audio.STEPS_PER_SECOND < SHORTEST:
            continue
        count = min(len(rows), (mel.shape[1] - first) * FPS // audio.STEPS_PER_SECOND)
        scores[person] = coupling(person.track.landmarks[rows[:count]], mel[:, first:], SLACK) / COUPLING
        judged[person] = rows
    for person, cosine in _cosines(judged, mel, clip).items():
        scores[person] += cosine / COSINE
    return scores


def _ticks(person: TrackedFace, times: Sequence[Fraction]) -> Array:
    """The rows of a track that are shown at the ticks of a 25-fps clock, from its first frame on."""
    seconds = np.array([float(times[i]) for i in person.track.frames])
    clock = seconds[0] + np.arange(int((seconds[-1] - seconds[0]) * FPS) + 1) / FPS
    return np.searchsorted((seconds[1:] + seconds[:-1]) / 2, clock)


def _cosines(judged: Mapping[TrackedFace, Array], mel: Float, clip: Clip) -> dict[TrackedFace, float]:
    """The expert's mean cosine for the middle of each track, at the best shift of up to `SLACK` ticks."""
    if not judged:
        return {}
    expert = checkpoint.load_syncnet()
    wanted: dict[int, list[tuple[TrackedFace, int]]] = defaultdict(list)  # by frame
    over: dict[int, list[TrackedFace]] = defaultdict(list)  # by the last of these frames
    for person, rows in judged.items():
        start = max(0, (len(rows) - EXPERT) // 2)
        frames = [person.track.first + int(row) for row in rows[start : start + EXPERT]]
        for index in frames:
            wanted[index].append((person, person.row(index)))
        over[frames[-1]].append(person)
    syncs: dict[TrackedFace, MouthSync] = defaultdict(lambda: MouthSync(expert))
    found, last = {}, max(wanted)
    for frame in media.read_frames(clip):
        if frame.index > last:
            break
        for person, row in wanted.get(frame.index, []):
            image = geometry.crop_face(frame, person.track.matrices[row], expert.config.face).image
            sound = audio.mel_windows(mel, [frame.time])
            syncs[person].update(torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(sound))
        for person in over.get(frame.index, []):
            found[person] = _best(syncs.pop(person))
    return found


def _best(sync: MouthSync) -> float:
    match = sync.compute()
    assert match is not None, f"more than {SYNC_FRAMES} frames were shown"
    reach = len(match.cosines) // 2
    return float(match.cosines[max(0, reach - SLACK) : reach + SLACK + 1].max())

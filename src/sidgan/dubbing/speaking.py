"""Who of those in a shot speaks, told by the video's own sound: whose mouth moves as it sounds.

Two witnesses are heard. Mouth opening, width and their speeds are compared with the sound's bands and their changes, as
`sidgan.data.offset` does to find a lag: whoever speaks is coupled to the sound more strongly than the others. And the
sync expert says how well picture and sound belong together. What is not clear is not guessed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import torch

from sidgan import audio, checkpoint, geometry, media
from sidgan.config import FPS, SYNC_FRAMES
from sidgan.data.offset import coupling
from sidgan.dubbing.silence import silent
from sidgan.metrics.sync import MouthSync
from sidgan.people import Person
from sidgan.types import Array, Clip, Float

# Measured on 169 pairs of real people of whom both speak, 2.6 s to the sound of one. A listener is easier to tell.
# The higher score is right in 89 of 100 (the coupling alone: 87, the expert alone: 83). 64 of 100 pairs are further
# apart than the margin, and right in 99; by the coupling alone these are 47.
COUPLING, COSINE = 0.25, 0.25  #: differences of coupling and of the expert's cosine that count 1
MARGIN = 1.0  #: by which the score of who speaks exceeds the next one's
SHORTEST = 2 * FPS  #: ticks with sound under which nobody is judged
EXPERT = 68  #: ticks from the middle of a track that are shown to the expert, which is slow
SLACK = 6  #: ticks that sound and picture may be apart


@dataclass(frozen=True)
class Verdict:
    """Who speaks in a shot; ``None`` where it cannot be told, and why."""

    person: Person | None
    reason: str


def who_speaks(people: Sequence[Person], scores: Mapping[Person, float]) -> Verdict:
    """Who of the people in one shot (at least one) speaks.

    Args:
        people: who can be redrawn, the most prominent first.
        scores: from `scores_of`. Those who are missing were seen too short to be judged, and have no say.
    """
    if len(people) == 1:
        return Verdict(people[0], "nobody else is there")
    judged = sorted((p for p in people if p in scores), key=lambda p: -scores[p])
    if len(judged) < 2:
        return Verdict(None, "too little speech is heard while they are seen")
    if scores[judged[0]] - scores[judged[1]] < MARGIN:
        return Verdict(None, "several mouths fit the sound alike")
    return Verdict(judged[0], "its mouth fits the sound best")


def scores_of(people: Sequence[Person], mel: Float, times: Sequence[Fraction], clip: Clip) -> dict[Person, float]:
    """How well each face moves with the sound of its video, as far as there is enough of both.

    Args:
        people: tracks.
        mel: (80, steps), the sound.
        times: seconds at which the video's frames are shown.
        clip: the video, which is read once more.
    """
    ticks = {person: _ticks(person, times) for person in people}
    judged = {person: rows for person, rows in ticks.items() if _heard(mel, person, times, len(rows)) >= SHORTEST}
    scores = {}
    for person, rows in judged.items():
        first = round(times[person.track.first] * audio.STEPS_PER_SECOND)
        count = min(len(rows), (mel.shape[1] - first) * FPS // audio.STEPS_PER_SECOND)
        scores[person] = coupling(person.track.landmarks[rows[:count]], mel[:, first:], SLACK) / COUPLING
    for person, cosine in _cosines(judged, mel, clip).items():
        scores[person] += cosine / COSINE
    return scores


def _ticks(person: Person, times: Sequence[Fraction]) -> Array:
    """The rows of a track shown at the ticks of a 25-fps clock."""
    seconds = np.array([float(times[i]) for i in person.track.frames])
    clock = seconds[0] + np.arange(int((seconds[-1] - seconds[0]) * FPS) + 1) / FPS
    return np.searchsorted((seconds[1:] + seconds[:-1]) / 2, clock)


def _heard(mel: Float, person: Person, times: Sequence[Fraction], ticks: int) -> int:
    """Ticks of a track under which something is heard."""
    first = round(times[person.track.first] * audio.STEPS_PER_SECOND)
    under = silent(mel)[first : first + ticks * audio.STEPS_PER_SECOND // FPS]
    return int((~under).sum()) * FPS // audio.STEPS_PER_SECOND


def _cosines(judged: Mapping[Person, Array], mel: Float, clip: Clip) -> dict[Person, float]:
    """The best mean cosine of the expert within the slack, for the middle of each track."""
    if not judged:
        return {}
    expert = checkpoint.load_syncnet()
    wanted: dict[int, list[tuple[Person, int]]] = defaultdict(list)  # by frame
    for person, rows in judged.items():
        start = max(0, (len(rows) - EXPERT) // 2)
        for row in rows[start : start + EXPERT]:
            wanted[person.track.first + int(row)].append((person, int(row)))
    syncs = {person: MouthSync(expert) for person in judged}
    last = max(wanted)
    for frame in media.read_frames(clip):
        if frame.index > last:
            break
        for person, row in wanted.get(frame.index, []):
            image = geometry.crop_face(frame, person.track.matrices[row], expert.config.face).image
            sound = audio.mel_windows(mel, [frame.time])
            syncs[person].update(torch.from_numpy(image).permute(2, 0, 1)[None], torch.from_numpy(sound))
    return {person: _best(sync) for person, sync in syncs.items()}


def _best(sync: MouthSync) -> float:
    match = sync.compute()
    assert match is not None, f"more than {SYNC_FRAMES} frames were shown"
    reach = len(match.cosines) // 2
    return float(match.cosines[max(0, reach - SLACK) : reach + SLACK + 1].max())

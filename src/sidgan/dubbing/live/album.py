"""The pictures that a face in a stream is drawn after: the best that have come so far."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sidgan import geometry
from sidgan.engine import Engine
from sidgan.nn import Features
from sidgan.people import PAIR_FRAMES, TrackedFace, sharpness, telling
from sidgan.types import Byte, Float, Frame

EVERY = 3  #: of so many frames one is kept: neighbours hardly differ, and all of them would take 50 MB
CHOSEN_AT = (0, 32, 64, 128, PAIR_FRAMES)  #: frames after the first one at which pictures are chosen, once more


class Album:
    """Collects pictures of one face, as long as `sidgan.dub` would look for them, and chooses as that does.

    What comes first may show lips that never part, or a hand before them, so it is chosen several times, and of the
    surer half alone.

    Args:
        engine: of the size that suits the face.
        since: the frame from which on it is drawn.
    """

    def __init__(self, engine: Engine, since: int) -> None:
        self.engine, self._since, self._choices = engine, since, 0
        self._last = -1  # the last frame that was looked at
        self._kept: list[tuple[float, Byte, Float, Float]] = []  # confidence, picture, pose, landmarks
        self.points: Float  #: (K, 68, 2) unit landmarks of the pictures
        self.reference: Features  #: what the network makes of them

    def update(self, person: TrackedFace, confidence: Float, frames: Mapping[int, Frame]) -> None:
        """Make ready for drawing the first of ``frames``, which have arrived and were not yet handed out.

        Args:
            confidence: (N,) in each frame of the person's track.
        """
        age = min(frames) - self._since
        if self._choices == len(CHOSEN_AT):
            return
        for index in (i for i in sorted(frames) if i > self._last and i in person.track.frames):
            self._last = index
            row = person.row(index)
            its_turn = ((index - self._since) % EVERY == 0 and row not in person.covers) or not self._kept
            if its_turn and person.refusal(index) is None:
                crop = geometry.crop_face(frames[index], person.track.matrices[row], self.engine.size).image
                self._kept.append((float(confidence[row]), crop, person.track.pose[row], person.points[row]))
        if age >= CHOSEN_AT[self._choices]:
            self._choices += 1
            self._choose()
        if self._choices == len(CHOSEN_AT):
            self._kept = []

    def _choose(self) -> None:
        usual = np.median([one[0] for one in self._kept])
        _, crops, poses, points = zip(*(one for one in self._kept if one[0] >= usual), strict=True)
        groups = telling(np.stack(poses), np.stack(points), self.engine.references)
        best = [max(group, key=lambda place: sharpness(crops[place])) for group in groups]
        self.points = np.stack([points[place] for place in best])
        self.reference = self.engine.encode_reference(np.stack([crops[place] for place in best]))

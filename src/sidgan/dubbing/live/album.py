"""Choose the reference pictures of a face in a stream: the best of those that have arrived so far."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from sidgan import geometry
from sidgan.engine import Engine
from sidgan.nn import Features
from sidgan.people import PAIR_FRAMES, REFERENCE_FRAMES, Likeness, TrackedFace, sharpness, stays_still, telling
from sidgan.types import Byte, Float, Frame

EVERY = 3  #: one frame in this many is kept: neighbours hardly differ, and all of them would take 50 MB
CHOSEN_AT = (0, 32, 64, 128, PAIR_FRAMES)  #: ages of the album, in frames, at which references are chosen anew


class Album:
    """Collects crops of one face over its first `PAIR_FRAMES` frames, and chooses references from them.

    The rule is that of `sidgan.dub`. The first frames may show only closed lips, or a hand in front of them, so the
    choice is repeated several times, each time from the half of the crops with the higher confidence. Crops of faces
    that the edge of the picture cuts off are left out once there are enough others.

    Args:
        engine: engine of the size that suits the face.
        since: the first frame in which the face is drawn.
    """

    def __init__(self, engine: Engine, since: int) -> None:
        self.engine, self._since, self._choices = engine, since, 0
        self._last = -1  # the last frame that was seen
        self._kept: list[tuple[bool, float, Byte, Float, Float]] = []  # cut off, confidence, crop, pose, landmarks
        self.likeness: Likeness  #: the references
        self.reference: Features  #: the network's features of them

    def update(self, person: TrackedFace, confidence: Float, frames: Mapping[int, Frame]) -> None:
        """Collect crops from ``frames`` and choose references again if it is time to.

        Args:
            confidence: (N,) of each frame of the person's track.
            frames: all frames that have arrived and were not returned yet; the first of them is drawn next.
        """
        age = min(frames) - self._since
        if self._choices == len(CHOSEN_AT):
            return
        for index in (i for i in sorted(frames) if i > self._last and i in person.track.frames):
            self._last = index
            row = person.row(index)
            wanted = ((index - self._since) % EVERY == 0 and row not in person.covers) or not self._kept
            if wanted and person.refusal(index) is None:
                crop = geometry.crop_face(frames[index], person.track.matrices[row], self.engine.size).image
                sure, cut = float(confidence[row]), row in person.cut
                self._kept.append((cut, sure, crop, person.track.pose[row], person.points[row]))
        if age >= CHOSEN_AT[self._choices]:
            self._choices += 1
            self._choose()
        if self._choices == len(CHOSEN_AT):
            self._kept = []

    def _choose(self) -> None:
        whole = [one for one in self._kept if not one[0]]
        kept = whole if len(whole) >= REFERENCE_FRAMES // EVERY else self._kept
        usual = np.median([one[1] for one in kept])
        _, _, crops, poses, points = zip(*(one for one in kept if one[1] >= usual), strict=True)
        groups = telling(np.stack(poses), np.stack(points), self.engine.references)
        best = [max(group, key=lambda place: sharpness(crops[place])) for group in groups]
        shown = np.stack([points[place] for place in best])
        self.likeness = Likeness.of([crops[place] for place in best], shown, stays_still(np.stack(points)))
        self.reference = self.engine.encode_reference(self.likeness.pictures)

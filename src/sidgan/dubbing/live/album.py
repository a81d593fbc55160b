"""Choose the reference pictures of a face in a stream: the best of those that have arrived so far."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping

import numpy as np

from sidgan import geometry
from sidgan.engine import Engine
from sidgan.nn import Features
from sidgan.people import Likeness, TrackedFace, View, sharpness
from sidgan.people.tracked import BRIEF
from sidgan.people.views import PAIR_FRAMES, REFERENCE_FRAMES, shares, sides, stays_still, telling
from sidgan.types import Array, Byte, Float, Frame

EVERY = 3  #: one frame in this many is kept: neighbours hardly differ, and all of them would take 50 MB
ENOUGH = REFERENCE_FRAMES // EVERY  #: kept frames that suffice for references
CHOSEN_AT = (0, 32, 64, 128, PAIR_FRAMES)  #: ages of an album, in frames, at which references are chosen anew


class Albums:
    """The albums of one face: one for each side from which it is seen.

    Args:
        engine: engine of the size that suits the face.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._albums: dict[int, Album] = {}
        self._last = -1  # the last frame that was seen

    def update(self, person: TrackedFace, confidence: Float, frames: Mapping[int, Frame], step: range) -> None:
        """Collect crops from ``frames`` and choose references again where it is time to.

        Args:
            confidence: (N,) of each frame of the person's track.
            frames: all frames that have arrived and were not returned yet.
            step: those that are drawn next; the face is drawn in one of them at least.
        """
        side = sides(person.track.pose[:, 0])
        for index in (i for i in sorted(frames) if i > self._last and i in person.track.frames):
            self._last, row = index, person.row(index)
            album = self._albums.setdefault(int(side[row]), Album(self.engine))
            album.see(person, float(confidence[row]), frames[index])
        for album in self._albums.values():
            album.update(step)
        if not any(album.chosen for album in self._albums.values()):
            max(self._albums.values(), key=lambda album: album.size).choose()

    def views(self, person: TrackedFace) -> tuple[View, ...]:
        """The views of the person's track that can be drawn, with their references."""
        yaw = person.track.pose[:, 0]
        return tuple(self._albums[one].view(sides(yaw) == one, share)
                     for one, share in zip(self.known, shares(yaw, self.known), strict=True))  # fmt: skip

    @property
    def known(self) -> list[int]:
        """The sides of which there are references."""
        return [one for one in sorted(self._albums) if self._albums[one].chosen]


class Album:
    """Collects crops of one face, seen from one side, in `PAIR_FRAMES` frames, and chooses references from them.

    The rule is that of `sidgan.dub`. The first frames may show only closed lips, or a hand in front of them, so the
    choice is repeated several times, each time from the half of the crops with the higher confidence. Crops of faces
    that the edge of the picture cuts off are left out once there are enough others.

    Args:
        engine: see `Albums`.

    Attributes:
        size: number of crops that were kept so far.
        likeness, reference: once they are ``chosen``, the references and the network's features of them.
    """

    def __init__(self, engine: Engine) -> None:
        self.engine, self.size, self._choices = engine, 0, 0
        self._seen: list[int] = []  # frames
        self._kept: list[tuple[bool, float, Byte, Float, Float]] = []  # cut off, confidence, crop, pose, landmarks
        self.likeness: Likeness
        self.reference: Features

    @property
    def chosen(self) -> bool:
        """Whether there are references."""
        return self._choices > 0

    def see(self, person: TrackedFace, confidence: float, frame: Frame) -> None:
        """Take the crop of a frame, if it is wanted."""
        if self._choices == len(CHOSEN_AT):
            return
        row, turn = person.row(frame.index), len(self._seen) % EVERY == 0
        self._seen.append(frame.index)
        wanted = (turn and row not in person.covers) or not self._kept
        if wanted and person.refusal(frame.index) in (None, BRIEF):  # the side may turn out to be seen long enough
            crop = geometry.crop_face(frame, person.track.matrices[row], self.engine.size).image
            self._kept.append((row in person.cut, confidence, crop, person.track.pose[row], person.points[row]))
            self.size = len(self._kept)

    def update(self, step: range) -> None:
        """Choose references if it is time to: once frames of this side are drawn, and at some ages after that."""
        if not self.chosen:
            due = self.size >= ENOUGH and self._seen[0] < step.stop
        else:
            due = self._choices < len(CHOSEN_AT) and bisect_left(self._seen, step.start) >= CHOSEN_AT[self._choices]
        if due:
            self.choose()

    def choose(self) -> None:
        """Choose references from the crops so far, of which there must be one at least."""
        self._choices += 1
        whole = [one for one in self._kept if not one[0]]
        kept = whole if len(whole) >= ENOUGH else self._kept
        usual = np.median([one[1] for one in kept])
        _, _, crops, poses, points = zip(*(one for one in kept if one[1] >= usual), strict=True)
        groups = telling(np.stack(poses), np.stack(points), self.engine.references)
        best = [max(group, key=lambda place: sharpness(crops[place])) for group in groups]
        shown = np.stack([points[place] for place in best])
        self.likeness = Likeness.of([crops[place] for place in best], shown, stays_still(np.stack(points)))
        self.reference = self.engine.encode_reference(self.likeness.pictures)
        if self._choices == len(CHOSEN_AT):
            self._kept = []

    def view(self, rows: Array, share: Float) -> View:
        """A view with these references, for a track of N frames: (N,) whether it is this side, and its share."""
        return View(rows, share, likeness=self.likeness, reference=self.reference)

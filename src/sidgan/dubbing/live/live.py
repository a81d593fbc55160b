"""Dub a stream: pictures and sound come in, dubbed pictures go out after a fixed number of pictures."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from itertools import islice

import numpy as np

from sidgan import geometry
from sidgan.blend.steady import Steady
from sidgan.dubbing.live.album import Albums
from sidgan.dubbing.live.hearing import DELAY, Hearing
from sidgan.dubbing.live.pictures import editable, framed, shown
from sidgan.dubbing.live.watching import Known, Watch
from sidgan.dubbing.redrawing import Job, finished, redraw
from sidgan.dubbing.settings import Settings
from sidgan.dubbing.voice import Voice, ending
from sidgan.engine import Engine
from sidgan.people import TrackedFace, View, mixed
from sidgan.types import Byte, Float, Frame

STEP = 8  #: pictures that are drawn together
LOOK_AHEAD = 25  #: pictures after these that must have arrived, because tracks are smoothed over time
HEARD_AHEAD = Fraction(1, 2)  #: least seconds of sound after them: the network hears 0.2 s, pauses last 0.3 s or more


class Live:
    """Dubs one stream.

    Args:
        engine: runs the model.
        settings: of the dub; those that concern files are ignored.
        rate: pictures per second.
        hearing: the voice.
    """

    def __init__(self, engine: Engine, settings: Settings, rate: Fraction, hearing: Hearing) -> None:
        self._engine, self._rate, self._hearing = engine, rate, hearing
        self._watch, self._steady = Watch(everybody=settings.faces == "all"), Steady(settings.steady)

    def dubbed(self, pictures: Iterable[Byte]) -> Iterator[Byte]:
        """Dub pictures (H, W, 3) uint8 RGB, which are consumed one by one; one picture is yielded for each."""
        arriving, held = self._frames(pictures), dict[int, Frame]()
        first = arrived = 0
        while True:
            for frame in islice(arriving, first + STEP + LOOK_AHEAD - arrived):
                self._watch.add(frame)
                held[frame.index] = frame
                arrived += 1
            stop = min(first + STEP, arrived)
            if stop == first:
                return
            self._hearing.listen(stop / self._rate + max(LOOK_AHEAD / self._rate - DELAY, HEARD_AHEAD))
            for person in self._watch.look(first, arrived, self._rate):
                self._steady.forget(person)
            edited = self._drawn(held, range(first, stop), *self._hearing.voice(), arrived / self._rate)
            for index in range(first, stop):
                before = held.pop(index)
                yield shown(before, edited.get(index, before))
            first = stop

    def _frames(self, pictures: Iterable[Byte]) -> Iterator[Frame]:
        size = None
        for index, picture in enumerate(pictures):
            frame = framed(picture, index, self._rate, size)
            size = frame.planes[0].shape
            yield frame

    def _drawn(
        self, held: dict[int, Frame], step: range, voice: Voice, begins: Fraction, seen: Fraction
    ) -> dict[int, Frame]:
        """The edited frames of a step, by index; frames without a redrawn face are missing.

        Args:
            held: frames that were not returned yet.
            step: indices of the frames to draw.
            voice, begins: see `Hearing.voice`.
            seen: seconds up to which pictures have arrived.
        """
        usable: dict[Known, list[tuple[Frame, float]]] = defaultdict(list)
        for frame in (held[index] for index in step if held[index].time - begins < voice.end):
            for known, limit, opened in self._watch.usable(frame.index):
                opacity = min(limit, voice.moves(frame.time - begins, opened))
                if begins + voice.end < seen:  # the sound has ended before the last picture
                    opacity = min(opacity, ending(begins + voice.end - frame.time))
                if opacity > 0:
                    usable[known].append((frame, opacity))
        edited: dict[int, Frame] = {}
        for known, used in usable.items():
            person, albums = known.person, self._albums(known, held, step)
            jobs = [self._job(frame, person, albums.engine.size, voice.at(frame.time - begins), opacity)
                    for frame, opacity in used]  # fmt: skip
            for (frame, _), job, drawn in zip(used, jobs, self._redrawn(albums, jobs), strict=True):
                target = edited.setdefault(frame.index, editable(frame))
                made = finished(target, job, drawn, self._steady)
                geometry.paste_face(target, made.image, made.alpha, person.track.matrices[job.row])
        return edited

    def _albums(self, known: Known, held: dict[int, Frame], step: range) -> Albums:
        """The up-to-date albums of a face."""
        if known.albums is None:
            known.albums = Albums(self._engine.fitting(float(np.median(known.person.sides))))
        known.albums.update(known.person, known.confidence, held, step)
        return known.albums

    @staticmethod
    def _redrawn(albums: Albums, jobs: Sequence[Job]) -> Byte:
        def draw(view: View, some: list[int]) -> Byte:
            assert view.likeness is not None
            assert view.reference is not None
            return redraw(albums.engine, [jobs[i] for i in some], view.likeness, view.reference)

        return mixed(albums.views(jobs[0].person), [job.row for job in jobs], draw)

    @staticmethod
    def _job(frame: Frame, person: TrackedFace, size: int, mel: Float, opacity: float) -> Job:
        row = person.row(frame.index)
        return Job(person, row, geometry.crop_face(frame, person.track.matrices[row], size).image, mel, opacity)

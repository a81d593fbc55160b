"""The first pass over a video: its timestamps, cuts, face tracks and people, and who may be redrawn where."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from fractions import Fraction
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from sidgan import media
from sidgan.dubbing.analysis.captions import Captions
from sidgan.dubbing.analysis.choice import chosen, number_of, pictured, speaking
from sidgan.dubbing.analysis.glimpses import Glimpses
from sidgan.dubbing.analysis.looking import look
from sidgan.dubbing.analysis.trust import Trust
from sidgan.dubbing.report import Progress
from sidgan.errors import NoFaceError
from sidgan.faces import MIN_SEEN, Tracker
from sidgan.files import finished, writing
from sidgan.media.source import CUT_OFF
from sidgan.people import MAX_ROLL, MAX_YAW, MIN_SIDE, TrackedFace, redrawn
from sidgan.people.cast import Member
from sidgan.types import Clip, FaceTrack, Opening

KEPT = ("visible", "landmarks", "matrices", "scores", "pose")  #: saved arrays of a track, in the order of `FaceTrack`


@dataclass(frozen=True)
class Seen:
    """The faces of a video, before anybody is chosen.

    Attributes:
        times: seconds at which its frames are shown.
        end: seconds at which the last frame ends.
        glances: fingerprint of each frame, see `sidgan.media.glance`.
        damaged: (from, to) seconds that could not be decoded; the frame before is shown that long.
        cuts: first frames of all shots except the first.
        people: every face track, the most prominent first.
        numbers: the number of the person of each track, see `sidgan.people.cast`.
        trust: confidence of each track.
    """

    times: tuple[Fraction, ...]
    end: Fraction
    glances: tuple[int, ...]
    damaged: tuple[tuple[float, float], ...]
    cuts: tuple[int, ...]
    people: tuple[TrackedFace, ...]
    numbers: dict[TrackedFace, int]
    trust: dict[TrackedFace, Trust]

    def shown(self, start: float, end: float) -> range:
        """The frames that are shown from ``start`` to before ``end``, in seconds, rounded to milliseconds."""
        return range(*(bisect_left(self.times, Fraction(round(1000 * at), 1000)) for at in (start, end)))


Find = Callable[[Clip, Progress], Seen]  #: finds the faces of a video, as `survey` does


@dataclass(frozen=True)
class Analysis(Seen):
    """The faces of a video, and who is redrawn.

    Attributes:
        usable: tracks that can be redrawn in at least one frame.
        by_frame: {frame: tracks that may be redrawn in it}; `TrackedFace.refusal` says whether they are.
        notes: what a user should know about the choice, one line each.
    """

    usable: tuple[TrackedFace, ...]
    by_frame: dict[int, list[TrackedFace]]
    notes: tuple[str, ...]

    @property
    def side(self) -> float:
        """Median side of the face square of the most prominent usable track, px."""
        return float(np.median(self.usable[0].sides))

    def save(self, file: Path) -> None:
        """Save it to a file, so that a later run can skip the first pass.

        Raises:
            OutputError: it cannot be written.
        """
        arrays: dict[str, Any] = {}
        for i, person in enumerate(self.people):
            arrays |= {f"{i}/{name}": getattr(person.track, name) for name in KEPT}
            trust, shown = self.trust[person], [person in self.by_frame.get(index, ()) for index in person.track.frames]
            arrays |= {f"{i}/bridged": person.bridged, f"{i}/chosen": np.array(shown, bool)}
            arrays |= {f"{i}/confidence": trust.confidence, f"{i}/doubts": trust.doubts}
            for v, view in enumerate(person.views):
                arrays[f"{i}/{v}/references"] = np.array(view.chosen, np.int64)
                arrays[f"{i}/{v}/opening"] = np.array(view.opening)
            lent = [(person.views.index(view), which, self.people.index(face), face.views.index(other))
                    for (view, which), (face, other) in person.lent.items()]  # fmt: skip
            arrays[f"{i}/lent"] = np.array(lent, np.int64).reshape(-1, 4)
            arrays[f"{i}/cut"] = np.array(sorted(person.cut), np.int64)
            arrays[f"{i}/covered"] = np.array([*person.covers], np.int64)
            arrays[f"{i}/covers"] = np.array([*person.covers.values()], np.uint8)
        arrays["first"] = np.array([person.track.first for person in self.people], np.int64)
        arrays["numbers"] = np.array([self.numbers[person] for person in self.people], np.int64)
        arrays["times"] = np.array([str(time) for time in (*self.times, self.end)])
        arrays["glances"], arrays["damaged"] = np.array(self.glances, np.uint32), np.array(self.damaged, np.float64)
        arrays["cuts"], arrays["notes"] = np.array(self.cuts, np.int64), np.array(self.notes, np.str_)
        with finished(file) as part, writing(file), part.open("wb") as target:
            np.savez(target, **arrays)
            target.flush()
            os.fsync(target.fileno())

    @classmethod
    def load(cls, file: Path) -> Analysis:
        """Read a file written by `save`.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            with np.load(file, allow_pickle=False) as saved:
                by_frame: dict[int, list[TrackedFace]] = defaultdict(list)
                people, trust = [], {}
                for i, first in enumerate(saved["first"]):
                    person = TrackedFace(FaceTrack(int(first), *(saved[f"{i}/{name}"] for name in KEPT)))
                    trust[person] = Trust(saved[f"{i}/confidence"], saved[f"{i}/doubts"])
                    person.bridged, person.doubts = saved[f"{i}/bridged"], trust[person].refusals()
                    person.covers = dict(zip(saved[f"{i}/covered"].tolist(), saved[f"{i}/covers"], strict=True))
                    person.cut = frozenset(saved[f"{i}/cut"].tolist())
                    person.find_views()
                    for v, view in enumerate(person.views):
                        view.chosen = tuple(saved[f"{i}/{v}/references"].tolist())
                        view.opening = Opening(*saved[f"{i}/{v}/opening"].ravel().tolist())  # one value in older files
                    people.append(person)
                    for row in np.flatnonzero(saved[f"{i}/chosen"]):
                        by_frame[person.track.first + int(row)].append(person)
                for i, person in enumerate(people):
                    for v, which, face, other in saved[f"{i}/lent"].tolist():
                        person.lent[person.views[v], which] = people[face], people[face].views[other]
                *times, end = (Fraction(str(time)) for time in saved["times"])
                return cls(
                    times=tuple(times), end=end, glances=tuple(saved["glances"].tolist()),
                    damaged=tuple((float(first), float(last)) for first, last in saved["damaged"]),
                    cuts=tuple(saved["cuts"].tolist()), people=tuple(people),
                    numbers=dict(zip(people, saved["numbers"].tolist(), strict=True)), trust=trust,
                    usable=tuple(person for person in people if person.appears), by_frame=by_frame,
                    notes=tuple(saved["notes"].tolist()),
                )  # fmt: skip
        except (KeyError, EOFError, BadZipFile) as error:
            raise ValueError(f"{file} is damaged") from error


def survey(
    clip: Clip, progress: Progress, *, identify: bool = False, seconds: float | None = None
) -> tuple[Seen, tuple[Member, ...]]:
    """Track the faces of a video, assess each track, and group the tracks by person.

    Args:
        identify: see `sidgan.dubbing.analysis.looking.look`.
        seconds: if given, only this much of the beginning is read.

    Returns:
        The faces, and the people with their identities.

    Raises:
        InputError: the video cannot be read.
    """
    tracker, times, glances, damaged, end = Tracker(), list[Fraction](), list[int](), [], Fraction(0)
    captions = Captions()
    with Glimpses() as glimpses:
        for frame in media.read_frames(clip):
            if seconds is not None and frame.time > seconds:
                break
            if frame.gap:
                damaged.append((float(times[-1]) if times else 0.0, float(frame.time)))
            times.append(frame.time)
            glances.append(media.glance(frame))
            end = frame.time + frame.duration
            tracker.add(frame)
            glimpses.add(frame, tracker.here().values())
            captions.add(frame, tracker.here())
            progress("analyse", len(times), max(clip.frames, len(times)))
        if clip.tolerant and seconds is None and clip.duration - end > CUT_OFF:
            damaged.append((float(end), clip.duration))
        captions.finish(len(times))
        people = tuple(TrackedFace(track) for track in tracker.finish())
        members, trust = look(clip, people, times, glimpses, captions, progress, identify=identify)
    numbers = {people[i]: member.number for member in members for i in member.tracks}
    cuts = tuple(tracker.cuts)
    return Seen(tuple(times), end, tuple(glances), tuple(damaged), cuts, people, numbers, trust), members


def once() -> Find:
    """A `survey` that is made at its first call; later ones return what was found."""
    kept: list[Seen] = []

    def find(clip: Clip, progress: Progress) -> Seen:
        if not kept:
            kept.append(survey(clip, progress)[0])
        return kept[0]

    return find


def analyse(
    clip: Clip, faces: str, progress: Progress, face: int | Path | None = None, speakers: Sequence[int] = (),
    found: Seen | None = None,
) -> Analysis:  # fmt: skip
    """Track the faces of a video, and choose who is redrawn.

    Args:
        faces: ``largest``, ``all`` or ``speaking``, see `sidgan.dub`; ignored with ``face`` or ``speakers``.
        face: number or photo of the only person to redraw.
        speakers: numbers of the people with voices of their own.
        found: the faces, if `survey` has found them before. It is repeated for a photo, which needs identities.

    Raises:
        NoFaceError: no face of the video, or of the chosen person, can be redrawn.
        InputError: no person has this number, or looks like the photo.
    """
    wanted = pictured(face) if isinstance(face, Path) else None  # before the first pass, which takes minutes
    seen, members = found, tuple[Member, ...]()
    if seen is None or wanted is not None:
        seen, members = survey(clip, progress, identify=wanted is not None)
    usable = [person for person in seen.people if person.appears]
    if not usable:
        there = "only small, turned, tilted or covered faces" if seen.people else "no face"
        kind, often = ("photo", "") if clip.still else ("video", f", in {MIN_SEEN} frames or more")
        raise NoFaceError(
            f"{there} found in {clip.path}; give a {kind} with a face of at least {MIN_SIDE} px, "
            f"turned by less than {MAX_YAW} degrees and tilted by less than {MAX_ROLL}{often}"
        )
    notes: tuple[str, ...] = ()
    numbers = list(speakers)
    if isinstance(face, Path) and wanted is not None:
        numbers.append(number_of(face, wanted, members))
    elif isinstance(face, int):
        numbers.append(face)
    if numbers:
        by_frame = chosen(usable, seen.numbers, numbers, clip.path)
    elif faces == "speaking":
        by_frame, notes = speaking(usable, seen.numbers, seen.cuts, clip, seen.times)
    else:
        by_frame = redrawn(usable, faces)
        notes = tuple(_several(seen, by_frame)) if faces == "largest" else ()
    notes += tuple(_mute(seen, usable, {person for people in by_frame.values() for person in people}, clip.path))
    return _decided(seen, usable, by_frame, notes)


def undecided(seen: Seen) -> Analysis:
    """The same faces while nobody is chosen, in a form that can be saved."""
    return _decided(seen, (), {}, ())


def _decided(
    seen: Seen, usable: Iterable[TrackedFace], by_frame: dict[int, list[TrackedFace]], notes: tuple[str, ...]
) -> Analysis:
    known: dict[str, Any] = {one.name: getattr(seen, one.name) for one in fields(Seen)}
    return Analysis(**known, usable=tuple(usable), by_frame=by_frame, notes=notes)


def _several(seen: Seen, by_frame: dict[int, list[TrackedFace]]) -> Iterator[str]:
    """A note if several people speak with the same voice although nobody asked for that."""
    *others, last = sorted({seen.numbers[person] for people in by_frame.values() for person in people})
    if others:
        who = f"{', '.join(map(str, others))} and {last}"
        yield (f"the voice is spoken by whoever is most prominent: people {who} in turn; "
               "to redraw one of them only, use --face, see sidgan faces")  # fmt: skip


def _mute(seen: Seen, usable: Sequence[TrackedFace], tracks: set[TrackedFace], video: Path) -> Iterator[str]:
    """A note for each person with ``tracks`` to be redrawn whose mouth speaks in no ``usable`` one."""
    speaking = {seen.numbers[person] for person in usable if not person.mute()}
    for number in sorted({seen.numbers[person] for person in tracks} - speaking):
        yield (f"person {number} does not speak in {video}, so what is inside their mouth is made up; "
               "for their own teeth, give a video in which they speak")  # fmt: skip

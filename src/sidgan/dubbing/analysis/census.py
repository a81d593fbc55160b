"""List the people of a video, and draw a contact sheet with pictures of them (``sidgan faces``)."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from sidgan import geometry, media
from sidgan.data.sheets import blank, text
from sidgan.dubbing.analysis import Seen, survey
from sidgan.dubbing.report import Progress, no_progress
from sidgan.errors import NoFaceError, some
from sidgan.files import check_target, require_apart, require_ending
from sidgan.people import TrackedFace, cast, sharpness
from sidgan.types import Byte, Clip

CROPS = 6  #: pictures of each person on the sheet
TRIES = 3  #: frames compared for each picture; the sharpest is shown
TILE, GAP, HEAD, FOOT = 160, 8, 46, 18  #: layout of the sheet, px
SHOWN = 4  #: time spans and reasons listed in a line at most
PAUSE = 1.0  #: longest absence in seconds that does not split a time span


@dataclass(frozen=True)
class Presence:
    """One person of a video.

    Attributes:
        number: for ``--face`` and ``--speaker``; 1 is the most prominent person.
        place: where and when they are seen, in words.
        seen: (first, last) seconds of the time spans in which they are visible; empty for a photo.
        frames: number of frames in which they are seen.
        redrawable: number of these in which their mouth can be redrawn.
        reasons: {reason why not: number of frames}, the most frequent first.
        confidence: mean over the redrawable frames, 0 to 1.
        side: median side of the face square, px.
    """

    number: int
    place: str
    seen: tuple[tuple[float, float], ...]
    frames: int
    redrawable: int
    reasons: dict[str, int]
    confidence: float
    side: float

    def line(self) -> str:
        """One line of the table, for users."""
        return f"{self.number:>3}  {self.place:<40} {self.usable()}"

    def usable(self) -> str:
        """In how many frames their mouth can be redrawn, and why not in the others; of a photo, whether it can."""
        if self.seen:
            return f"{self.share:3} % of {self.frames} frames can be redrawn{self.except_for()}"
        return "can be redrawn" if self.redrawable else f"cannot be redrawn: {', '.join(self.reasons)}"

    @property
    def share(self) -> int:
        """Percent of the frames in which their mouth can be redrawn; 100 only if all can, 0 only if none can."""
        share = round(100 * self.redrawable / self.frames)
        return min(max(share, 1), 99) if 0 < self.redrawable < self.frames else share

    def except_for(self) -> str:
        """Why the other frames cannot be redrawn, the most frequent reason first; empty if there are none."""
        why = ", ".join(f"{reason} ({count})" for reason, count in list(self.reasons.items())[:SHOWN])
        return f"; the others not: {why}" if why else ""

    def when(self) -> str:
        """The time spans in which they are seen, in words."""
        return some([f"{first:.1f}-{last:.1f} s" for first, last in self.seen], SHOWN)


def faces(
    video: Path | str, *, sheet: Path | str | None = None, progress: Progress | None = None
) -> tuple[Presence, ...]:
    """Find the people in a video.

    Args:
        video: any file with pictures.
        sheet: a ``.png`` to write, with some sharp pictures and a description of each person.
        progress: called with stage, frames done and frames in total.

    Returns:
        The most prominent first, those who cannot be redrawn in any frame last.

    Raises:
        InputError: the video cannot be read.
        NoFaceError: there is no face in it.
        OutputError: ``sheet`` cannot be written.
    """
    if sheet is not None:
        sheet = Path(sheet)
        require_apart(sheet, [Path(video)], "the video itself")
        require_ending(sheet, ".png")
        check_target(sheet)
    clip, progress = media.probe(Path(video)), progress or no_progress
    seen, _ = survey(clip, progress)
    if not seen.people:
        kind = "photo" if clip.still else "video"
        raise NoFaceError(f"no face found in {video}; give a {kind} with a face that is seen from the front")
    tracks = tracks_of(seen)
    people = tuple(presence(seen, clip, mine, number) for number, mine in tracks.items())
    if sheet is not None:
        crops = 1 if clip.still else CROPS
        shown = pictures(clip, {number: [*moments(mine)][:crops] for number, mine in tracks.items()}, progress)
        media.write_png(sheet, np.vstack([_row(seen, one, shown[one.number]) for one in people]))
    return people


def tracks_of(seen: Seen) -> dict[int, list[TrackedFace]]:
    """The tracks of each person by number; people and tracks in order of prominence."""
    return {number: [person for person in seen.people if seen.numbers[person] == number]
            for number in sorted(set(seen.numbers.values()))}  # fmt: skip


def presence(seen: Seen, clip: Clip, tracks: Sequence[TrackedFace], number: int) -> Presence:
    """Summarise the person with these tracks."""
    frames, good, reasons, sure = list[int](), 0, Counter[str](), list[float]()
    for person in tracks:
        for row, index in enumerate(person.track.frames):
            refusal = person.refusal(index)
            frames.append(index)
            if refusal is None:
                good += 1
                sure.append(float(seen.trust[person].confidence[row]))
            else:
                reasons[refusal] += 1
    return Presence(
        number=number, place=cast.place(tracks, seen.times, clip), seen=() if clip.still else _time_spans(seen, frames),
        frames=len(frames),
        redrawable=good, reasons=dict(reasons.most_common()), confidence=round(float(np.mean(sure or [0])), 3),
        side=round(float(np.median(np.concatenate([person.sides for person in tracks]))), 1),
    )  # fmt: skip


def _time_spans(seen: Seen, frames: Iterable[int]) -> tuple[tuple[float, float], ...]:
    """(from, to) seconds of the time spans covered by ``frames``; absences of up to `PAUSE` s do not split them."""
    ends = [*seen.times[1:], seen.end]
    order = sorted(set(frames))
    breaks = [(a, b) for a, b in pairwise(order) if float(seen.times[b] - ends[a]) > PAUSE]
    starts, stops = [order[0], *(b for _, b in breaks)], [*(a for a, _ in breaks), order[-1]]
    return tuple((round(float(seen.times[a]), 2), round(float(ends[b]), 2)) for a, b in zip(starts, stops, strict=True))


# -------------------------------------------------------------------------------------------------------------- sheet


def moments(tracks: Sequence[TrackedFace]) -> Iterator[list[tuple[TrackedFace, int]]]:
    """For each picture of a person on the sheet, the candidate frames (track, frame number).

    They are frames in which the person can be redrawn, or else frames in which they are visible.
    """
    every = [(p, i) for p in sorted(tracks, key=lambda p: p.track.first) for i in p.track.frames]
    good = [(p, i) for p, i in every if p.refusal(i) is None] or [(p, i) for p, i in every if p.track.visible[p.row(i)]]
    for part in np.array_split(np.arange(len(good)), min(CROPS, len(good))):
        yield [good[k] for k in part[np.linspace(0, len(part) - 1, min(TRIES, len(part))).round().astype(int)]]


def pictures(
    clip: Clip, wanted: dict[int, list[list[tuple[TrackedFace, int]]]], progress: Progress
) -> dict[int, list[tuple[int, Byte]]]:
    """By person, (frame number, crop (160, 160, 3)) of the sharpest candidate for each picture.

    The video is read once more for this.

    Args:
        wanted: candidates by person, see `moments`.
    """
    places: dict[int, list[tuple[int, int, TrackedFace]]] = defaultdict(list)  # by frame: number, picture, track
    for number, moments in wanted.items():
        for k, moment in enumerate(moments):
            for person, index in moment:
                places[index].append((number, k, person))
    best: dict[tuple[int, int], tuple[float, int, Byte]] = {}
    last = max(places)
    for frame in media.read_frames(clip):
        if frame.index > last:
            break
        for number, k, person in places.get(frame.index, []):
            image = geometry.crop_face(frame, person.track.matrices[person.row(frame.index)], TILE).image
            sharp = sharpness(image)
            if (number, k) not in best or sharp > best[number, k][0]:
                best[number, k] = sharp, frame.index, image
        progress("pictures", frame.index + 1, last + 1)
    return {n: [best[n, k][1:] for k in range(len(moments))] for n, moments in wanted.items()}


def _row(seen: Seen, one: Presence, pictures: Sequence[tuple[int, Byte]]) -> Byte:
    row = blank(HEAD + TILE + FOOT + GAP, CROPS * (TILE + GAP) + GAP)
    text(row, f"{one.number}", (GAP, 30), 0.9)
    text(row, f"{one.place}; seen {one.when()}" if one.seen else one.place, (GAP + 40, 18), 0.45)
    text(row, one.usable().strip(), (GAP + 40, 37), 0.45, (110, 110, 110))
    for k, (index, picture) in enumerate(pictures):
        x = GAP + k * (TILE + GAP)
        row[HEAD : HEAD + TILE, x : x + TILE] = picture
        text(row, f"{float(seen.times[index]):.1f} s" if one.seen else "", (x, HEAD + TILE + 13), 0.4, (110, 110, 110))
    row[-1] = 220
    return row

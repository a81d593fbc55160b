"""Choose whose mouth is redrawn: by who speaks, by number, or by a photo (`sidgan.dub`: faces, face, speakers)."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Literal, get_args

import cv2
import numpy as np

from sidgan import audio, faces, media
from sidgan.dubbing.analysis.speaking import scores_of, who_speaks
from sidgan.errors import InputError, NoFaceError
from sidgan.people import TrackedFace, cast, redrawn
from sidgan.people.cast import SAME, Member
from sidgan.types import Clip, Float

Faces = Literal["largest", "all", "speaking"]
FACES: tuple[str, ...] = get_args(Faces)


def chosen(
    usable: Iterable[TrackedFace], numbers: Mapping[TrackedFace, int], wanted: Collection[int], video: Path
) -> dict[int, list[TrackedFace]]:
    """{frame: tracks that may be redrawn in it} for some people.

    Args:
        usable: tracks with usable frames, the most prominent first.
        numbers: the number of the person of each track of the video.
        wanted: numbers of the people to redraw.

    Raises:
        InputError: nobody has such a number.
        NoFaceError: one of these people cannot be redrawn in any frame.
    """
    mine = [person for person in usable if numbers[person] in wanted]
    for number in wanted:
        if number not in numbers.values():
            there = _listed(len(set(numbers.values())))
            raise InputError(f"there is no person {number} in {video}, only {there}; see sidgan faces")
        if all(numbers[person] != number for person in mine):
            raise NoFaceError(f"person {number} of {video} cannot be redrawn in any frame; sidgan faces says why")
    return redrawn(mine, "all")


def pictured(photo: Path) -> Float:
    """Identity embedding (128,) of the person in a photo.

    Raises:
        InputError: not a picture, or not exactly one face in it.
    """
    image = media.read_picture(photo)
    found = faces.search(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
    if len(found) != 1:
        there = "no face" if not found else f"{len(found)} faces"
        raise InputError(f"{there} found in {photo}; give a picture of one person, seen from the front")
    return faces.embed(image, found[0].landmarks)


def number_of(photo: Path, wanted: Float, who: Sequence[Member]) -> int:
    """The number of the person in a photo.

    Args:
        photo: its file, for messages.
        wanted: (128,) its identity, from `pictured`.
        who: all people of the video.

    Raises:
        InputError: nobody in the video is similar enough.
    """
    near = {member.number: cast.distance(wanted, member.identity) for member in who}
    best = min(near, key=lambda number: near[number])
    if near[best] >= SAME:
        raise InputError(
            f"nobody in the video looks like {photo}: person {best} is nearest, at distance {near[best]:.2f} (limit: "
            f"{SAME}); choose by number, see sidgan faces"
        )
    return best


def speaking(
    usable: Sequence[TrackedFace], numbers: Mapping[TrackedFace, int], cuts: Sequence[int], clip: Clip,
    times: Sequence[Fraction],
) -> tuple[dict[int, list[TrackedFace]], tuple[str, ...]]:  # fmt: skip
    """Choose whoever speaks in each shot, judged by the video's own sound; where unclear, the most prominent person.

    Args:
        usable: tracks with usable frames, the most prominent first.
        numbers: the number of the person of each; who was lost for a while has several tracks in a shot.
        cuts: first frames of all shots except the first.
        times: seconds at which the video's frames are shown.

    Returns:
        {frame: tracks that may be redrawn in it}, and a note for each shot in which the speaker is unclear.
    """
    mel = _own_sound(clip)
    shots: dict[int, list[TrackedFace]] = defaultdict(list)
    for track in usable:
        shots[bisect_right(cuts, track.track.first)].append(track)
    contested = [track for shot in shots.values() if len({numbers[one] for one in shot}) > 1 for track in shot]
    scores = scores_of(contested, mel, times, clip)
    by_frame: dict[int, list[TrackedFace]] = {}
    lines = []
    for shot in sorted(shots):
        tracks: dict[int, list[TrackedFace]] = defaultdict(list)
        for track in shots[shot]:
            tracks[numbers[track]].append(track)
        found = who_speaks([*tracks], {number: _mean_score(mine, scores) for number, mine in tracks.items()
                                       if not scores.keys().isdisjoint(mine)})  # fmt: skip
        if isinstance(found, str):
            first = 0 if shot == 0 else cuts[shot - 1]
            lines.append(f"from {float(times[first]):.1f} s on, it is not clear who speaks ({found}); "
                         "the most prominent person is redrawn")  # fmt: skip
            by_frame |= redrawn(shots[shot], "largest")
        else:
            by_frame |= redrawn(tracks[found], "all")
    return by_frame, tuple(lines)


def _mean_score(tracks: Iterable[TrackedFace], scores: Mapping[TrackedFace, float]) -> float:
    judged = [track for track in tracks if track in scores]
    return float(np.average([scores[track] for track in judged], weights=[len(track.track) for track in judged]))


def _own_sound(clip: Clip) -> Float:
    blocks = media.decode_audio(clip.path, audio.SAMPLE_RATE) if clip.audio_rate is not None else iter(())
    return np.concatenate(list(audio.stream_log_mel(blocks)), axis=1)


def _listed(count: int) -> str:
    return "people 1 to " + str(count) if count > 1 else "person 1"

"""Who is who, by what tracks look like and where they lie; on tracks without a film."""

from __future__ import annotations

import time
from collections.abc import Sequence
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from sidgan.dubbing.analysis import Seen
from sidgan.dubbing.analysis.census import Presence, moments, presence
from sidgan.dubbing.analysis.trust import Trust
from sidgan.people import TrackedFace, cast
from sidgan.types import FaceTrack

RATE = 25
CLIP: Any = SimpleNamespace(width=400, still=False)


def face(
    first: int, count: int, *, side: float = 100, left: float = 0, yaw: float = 0, lost: Sequence[int] = ()
) -> TrackedFace:
    """A track; ``lost`` are rows in which the face was not found."""
    visible = ~np.isin(np.arange(count), lost)
    matrices = np.tile(np.float32([[side, 0, left], [0, side, 0]]), (count, 1, 1))
    pose = np.tile(np.float32([yaw, 0, 0]), (count, 1))
    return TrackedFace(
        FaceTrack(first, visible, np.zeros((count, 68, 2), np.float32), matrices, np.float32(visible), pose)
    )


def looks(*places: float) -> dict[int, Any]:
    """Identities on a line, so that distances are known."""
    return {i: np.eye(1, 128, dtype=np.float32)[0] * place for i, place in enumerate(places)}


def grouped(people: Sequence[TrackedFace], *places: float) -> list[tuple[int, ...]]:
    """The tracks of each person, in order of their numbers."""
    found = cast.members(dict(enumerate(people)), looks(*places))
    assert [member.number for member in found] == list(range(1, len(found) + 1))
    return [member.tracks for member in found]


def test_a_track_belongs_to_the_person_it_resembles_most() -> None:
    people = [face(0, 30), face(40, 20), face(70, 5)]
    assert grouped(people, 0.0, 0.6, 0.35) == [(0,), (1, 2)]
    assert grouped(people, 0.0, 0.6, 0.25) == [(0, 2), (1,)]
    assert grouped(people, 0.0, 0.6, 1.2) == [(0,), (1,), (2,)]


def test_only_who_is_seen_beside_somebody_is_somebody_else() -> None:
    assert grouped([face(0, 30), face(20, 20)], 0.0, 0.0) == [(0,), (1,)]
    assert grouped([face(0, 30, lost=range(20, 30)), face(20, 20)], 0.0, 0.0) == [(0, 1)]


def test_tracks_that_cannot_be_redrawn_change_no_number() -> None:
    turned, one, other = face(0, 50, side=300, yaw=80), face(60, 30), face(100, 20)
    assert grouped([one, other], 0.0, 0.6) == [(0,), (1,)]
    assert grouped([turned, one, other], 0.28, 0.0, 0.6) == [(1, 0), (2,)]  # it resembles both
    assert grouped([turned, one, other], 0.58, 0.0, 0.6) == [(1,), (2, 0)]  # though the second is seen longer with it
    assert grouped([turned, one, other], 5.0, 0.0, 0.6) == [(1,), (2,), (0,)]


def test_a_person_is_described_by_the_longest_track_and_the_first_moment() -> None:
    times = [Fraction(i, RATE) for i in range(200)]
    large, long = face(100, 10, side=180, left=200), face(50, 40, side=80, left=10)
    assert cast.place([large, long], times, CLIP) == "left, 180 px, from 2.0 s on"
    assert cast.place([large], times, CLIP) == "right, 180 px, from 4.0 s on"


def crowd(count: int, people: int, seed: int) -> tuple[list[TrackedFace], dict[int, Any]]:
    """Tracks of so many people, often two in the same frames, who look alike to varying degrees."""
    rng = np.random.default_rng(seed)
    middles, spread = rng.normal(0, 0.045, (people, 128)), rng.uniform(0.01, 0.04)
    tracks = [face(int(20 * k - rng.integers(0, 30)), int(rng.integers(2, 40)), lost=rng.integers(0, 40, 9))
              for k in range(2, count + 2)]  # fmt: skip
    return tracks, {i: np.float32(middles[rng.integers(people)] + rng.normal(0, spread, 128)) for i in range(count)}


@pytest.mark.parametrize("seed", range(20))
def test_tracks_are_grouped_as_if_one_by_one(seed: int) -> None:
    people, identities = crowd(40, 1 + seed % 5, seed)
    groups = list[list[int]]()
    for i, one in enumerate(people):
        frames = set(one.track.first + np.flatnonzero(one.track.visible))
        apart = {
            k: np.mean([cast.distance(identities[i], identities[j]) for j in group]) for k, group in enumerate(groups)
            if not any(frames & set(people[j].track.first + np.flatnonzero(people[j].track.visible)) for j in group)
        }  # fmt: skip
        near = [k for k in apart if apart[k] < cast.SAME]
        groups.append([]) if not near else None
        groups[min(near, key=apart.__getitem__) if near else -1].append(i)
    assert cast._grouped({i: one.track for i, one in enumerate(people)}, identities) == groups


def test_a_film_of_many_tracks_takes_no_time() -> None:
    people, identities = crowd(1500, 6, 0)
    before = time.process_time()
    cast._grouped({i: one.track for i, one in enumerate(people)}, identities)
    assert time.process_time() - before < 2


# ------------------------------------------------------------------------------------------------ what is told of them


def seen_with(*people: TrackedFace) -> Seen:
    """All are one person, surer with every frame."""
    sure = {p: Trust(np.linspace(0, 1, len(p.track)), np.zeros(len(p.track), int)) for p in people}
    times = tuple(Fraction(i, RATE) for i in range(250))
    return Seen(times, Fraction(10), (), (), (), people, dict.fromkeys(people, 1), sure)


def test_time_spans_end_where_somebody_is_away_for_more_than_a_second() -> None:
    people = [face(76, 25), face(0, 50), face(125, 25)]  # the first absence is a frame longer than the second
    assert presence(seen_with(*people), CLIP, people, 1).seen == ((0.0, 2.0), (3.04, 6.0))


def test_reasons_are_told_by_how_often_they_hold_and_confidence_where_it_counts() -> None:
    person, turned = face(0, 21, lost=range(3)), face(30, 8, yaw=80)
    one = presence(seen_with(person, turned), CLIP, [person, turned], 1)
    assert (one.frames, one.redrawable) == (29, 18)
    assert list(one.reasons.values()) == [8, 3]
    assert one.confidence == pytest.approx(np.linspace(0, 1, 21)[3:].mean(), abs=1e-3)
    assert round(one.share) == 62


def test_pictures_of_a_person_are_in_order_of_time_and_of_what_can_be_redrawn() -> None:
    late, early = face(100, 40), face(0, 10)
    late.doubts = dict.fromkeys(range(20), "face partly covered")
    frames = [index for candidates in moments([late, early]) for _, index in candidates]
    assert frames == sorted(frames)
    assert set(frames) <= {*range(10), *range(120, 140)}
    assert len(list(moments([late, early]))) == 6
    never = face(0, 10, yaw=80, lost=range(5))
    assert {index for candidates in moments([never]) for _, index in candidates} == set(range(5, 10))


@pytest.mark.parametrize(("redrawable", "says"), [(0, "  0 %"), (1, "  1 %"), (999, " 99 %"), (1000, "100 %")])
def test_all_frames_are_said_of_all_frames_only(redrawable: int, says: str) -> None:
    assert Presence(1, "left", ((0.0, 40.0),), 1000, redrawable, {}, 1.0, 90.0).usable().startswith(f"{says} of 1000")

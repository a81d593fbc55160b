"""Ranges of frames drawn by themselves, on drawn people whose tracks are known, so that nothing has to be found."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from marked import network

from sidgan import media
from sidgan.blend import LOOK_BACK
from sidgan.dubbing.analysis import Analysis
from sidgan.dubbing.analysis.trust import Trust
from sidgan.dubbing.drawing import Drawing
from sidgan.dubbing.plan import Plan, planned
from sidgan.dubbing.report import Clock, no_progress
from sidgan.dubbing.settings import Settings
from sidgan.engine import Engine
from sidgan.faces import smooth
from sidgan.people import TrackedFace, redrawn, references
from sidgan.synth import LINES, Person, Scene
from sidgan.timeline import Showing, Timeline
from sidgan.types import Clip

SIDE, SHOT, SHOTS = 160, 30, 3  #: px of a person's half of the picture; frames of each shot


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Three times the same shot of two people who speak."""
    folder = tmp_path_factory.mktemp("drawing")
    both = [[shot.image for shot in scene] for scene in scenes()]
    shot = [np.concatenate(pair, 1) for pair in zip(*both, strict=True)]
    media.write_clip(folder / "film.mp4", shot * SHOTS, 25, crf=10)
    voice = Scene(Person(6), LINES["morning"], seconds=SHOT * SHOTS / 25).audio(16_000)
    media.write_wav(folder / "voice.wav", voice, 16_000)
    return media.probe(folder / "film.mp4")


def scenes() -> list[Scene]:
    return [Scene(Person.random(seed), LINES["morning"], seconds=SHOT / 25, size=(SIDE, SIDE)) for seed in (3, 4)]


def seen_in(film: Clip, who: Sequence[int] = (0,)) -> Analysis:
    """Tracks of the left person, then of the right one, shot by shot; these people (0: left) are redrawn."""
    frames = list(media.read_frames(film))
    cuts = tuple(SHOT * k for k in range(1, SHOTS))
    people = []
    for side, scene in enumerate(scenes()):
        points = np.stack([shot.landmarks for shot in scene]) + np.float32((SIDE * side, 0))
        people += [TrackedFace(smooth(first, points, np.ones(SHOT, np.float32))) for first in (0, *cuts)]
    numbers = {person: 1 + i // SHOTS for i, person in enumerate(people)}
    trust = {person: Trust(np.ones(SHOT), np.zeros(SHOT, int)) for person in people}
    return Analysis(
        tuple(f.time for f in frames), frames[-1].time + frames[-1].duration, tuple(map(media.glance, frames)), (),
        cuts, tuple(people), numbers, trust, tuple(people),
        redrawn([person for person in people if numbers[person] - 1 in who], "all"), (),
    )  # fmt: skip


def engine(seed: int = 0) -> Engine:
    return Engine(network(seed), "cpu", 4)


def drawing_of(film: Clip, plan: Plan, own: dict[int, Engine] | None = None, seed: int = 0) -> Drawing:
    return Drawing(film, plan, engine(seed), own or {}, Clock(), no_progress)


def plan_of(film: Clip, seen: Analysis, **how: Any) -> Plan:
    return planned(seen, film.path.parent / "voice.wav", Settings(**how))


def drawn(drawing: Drawing, first: int, stop: int) -> dict[int, int]:
    """Digests of these frames of the output."""
    with closing(drawing.batches(first, stop)) as batches:
        return {after.index: media.digest(after) for frames in batches for _, after in frames}


def test_ranges_may_be_drawn_in_any_order_and_left_in_the_middle(film: Clip) -> None:
    plan = plan_of(film, seen_in(film, (0, 1)))
    count = len(plan.timeline)
    straight = drawing_of(film, plan)
    whole, looks = drawn(straight, 0, count), straight.done.looks
    assert [*whole] == [*range(count)]
    assert straight.done.dubbed == count
    other = drawing_of(film, plan_of(film, seen_in(film, (0, 1))))
    last = SHOT - 1 + LOOK_BACK - 1  # the first frame that depends on the last one of a shot, and on none before
    for first, stop in ((40, 52), (20, 40), (20, 33), (33, 61), (last, last + 3), (70, count), (0, 20)):
        assert drawn(other, first, stop) == {index: whole[index] for index in range(first, stop)}
        mine = [look for look in looks if first <= look.frame < stop]
        assert str(other.done.looks) == str(mine), "as texts, in which NaN is NaN"
        with closing(other.batches(stop % count, count)) as batches:
            next(batches)  # and no more


def test_ranges_of_a_video_that_is_shown_again_may_be_drawn_in_any_order(film: Clip) -> None:
    one, two = (plan_of(film, seen_in(film)) for _ in range(2))
    timeline = Timeline(one.seen.times, one.seen.end, one.seen.end + 1, "loop")
    straight, other = (drawing_of(film, replace(plan, timeline=timeline)) for plan in (one, two))
    count = len(timeline)
    whole = drawn(straight, 0, count)
    for first, stop in ((SHOTS * SHOT - 4, count), (SHOT, SHOT + 3)):
        assert drawn(other, first, stop) == {index: whole[index] for index in range(first, stop)}


def test_a_network_of_ones_own_is_found_by_the_track_of_the_video(film: Clip) -> None:
    """Also where a track before it can never be redrawn."""
    seen = seen_in(film)
    first, second, *others = seen.people
    turned = TrackedFace(replace(first.track, pose=np.full_like(first.track.pose, 80)))
    seen = replace(seen, people=(turned, second, *others), usable=(second, *others), by_frame=redrawn([second], "all"),
                   numbers=seen.numbers | {turned: 1})  # fmt: skip
    plan = plan_of(film, seen)
    common, own, adapted = (
        drawn(drawing_of(film, plan, given, seed), SHOT, SHOT + 4) for given, seed in
        (({}, 0), ({1: engine(1)}, 0), ({}, 1))
    )  # fmt: skip
    assert common != own == adapted


@dataclass(frozen=True)
class Later(Plan):
    """A plan in which the right person speaks only in the second half of a shot."""

    def faces(self, shown: Showing) -> list[tuple[TrackedFace, float]] | str:
        found = super().faces(shown)
        assert not isinstance(found, str)
        return [one for one in found if self.seen.numbers[one[0]] == 1 or shown.source % SHOT >= SHOT // 2]


def test_who_speaks_later_in_a_shot_than_others_has_pictures_too(film: Clip) -> None:
    plan = plan_of(film, seen_in(film, (0, 1)))
    drawing = drawing_of(film, Later(plan.seen, plan.voices, plan.timeline))
    drawn(drawing, 0, SHOT)
    assert len(drawing.done.sides) == SHOT + SHOT // 2


@dataclass(frozen=True)
class Pausing(Plan):
    """A plan in which nobody speaks in the second shot."""

    def faces(self, shown: Showing) -> list[tuple[TrackedFace, float]] | str:
        return "a pause" if SHOT <= shown.source < 2 * SHOT else super().faces(shown)


def test_pictures_of_faces_that_are_not_drawn_are_not_kept(film: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a film, they would be those of most faces."""
    taken = list[weakref.ref[np.ndarray]]()
    measure = references.sharpness
    monkeypatch.setattr(references, "sharpness", lambda image: taken.append(weakref.ref(image)) or measure(image))
    plan = plan_of(film, seen_in(film))
    drawing = drawing_of(film, Pausing(plan.seen, plan.voices, plan.timeline))
    drawn(drawing, 0, len(plan.timeline))
    assert drawing.done.dubbed == 2 * SHOT
    assert 0 < len(taken) <= SHOT * SHOTS, "of the other person, none"
    assert not [one for one in taken if one() is not None]
    known = [view.likeness or view.reference for person in plan.seen.people for view in person.views]
    assert sum(one is not None for one in known) <= 1, "that of the last shot"
    assert len(drawing._steady._means) <= 1
    assert len(drawing._look._steps) <= 1

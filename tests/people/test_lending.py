"""References that one shot of a person lends to another, on drawn people with known truth."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from sidgan import geometry, load_generator, media
from sidgan.dubbing.analysis import Analysis, analyse
from sidgan.dubbing.analysis.rehearsal import rehearse
from sidgan.dubbing.live.pictures import framed
from sidgan.engine import Engine
from sidgan.people import References, TrackedFace, references
from sidgan.people.lending import lend
from sidgan.synth import LINES, Mouth, Person, Portrait, Pose, Scene
from sidgan.types import Byte, FaceTrack, Float, Frame, Opening

SKIN = np.float32((150, 140, 120))
CLOSED, OPEN, SHUT = range(3)
SPEAKS, LISTENS = 75, 40  #: frames of the film's shots


def track(first: int, openings: Float, yaw: float = 0.0, face: int = 150) -> TrackedFace:
    """A face that stays where it is, and opens its mouth so far."""
    portrait = Portrait(Person(3), (320, 320), face_px=face)
    some = {float(one): portrait.landmarks(Mouth(opening=float(one)), Pose()) for one in np.unique(openings)}
    points = np.stack([some[float(one)] for one in openings]).astype(np.float32)
    square, count = geometry.square_matrix(geometry.face_square(points[0])), len(points)
    pose = np.tile(np.float32((yaw, 0, 0)), (count, 1))
    return TrackedFace(FaceTrack(first, np.ones(count, bool), points, np.tile(square, (count, 1, 1)).astype(np.float32),
                                 np.ones(count, np.float32), pose))  # fmt: skip


def talking(count: int, most: float = 0.8, least: float = 0.0) -> Float:
    return np.float32((least + (most - least) * np.abs(np.sin(np.arange(count) / 3))).round(2))


def blank(wanted: list[int]) -> Iterator[Frame]:
    return (framed(np.zeros((320, 320, 3), np.uint8), index, Fraction(25), None) for index in wanted)


def lent(lender: TrackedFace, other: TrackedFace, light: Float = SKIN) -> set[int]:
    """Which references ``other`` gets; the lender gets none."""
    lend([lender, other], {lender: np.tile(SKIN, (len(lender.track), 1)), other: np.tile(light, (len(other.track), 1))})
    assert not lender.lent
    assert {face for face, _ in other.lent.values()} <= {lender}
    return {which for _, which in other.lent}


def test_who_hardly_speaks_in_a_shot_is_lent_an_open_mouth_of_another_shot() -> None:
    speaks, listens = track(0, talking(60)), track(60, np.zeros(30, np.float32))
    assert lent(speaks, listens) == {OPEN}
    (view,), (other,) = listens.views, speaks.views
    closed, wide, _ = listens.sources(view, 3)
    assert closed == (listens, listens.candidates(view, 3)[CLOSED])
    assert wide == (speaks, speaks.candidates(other, 3)[OPEN])
    other.chosen = (1, 2, 3)
    assert listens.sources(view, 3)[OPEN] == (speaks, [2]), "what was tried there is taken"


def test_of_several_shots_the_most_prominent_one_lends() -> None:
    one, other, listens = track(0, talking(60)), track(100, talking(60)), track(200, np.zeros(30, np.float32))
    for people in ([one, other, listens], [listens, other, one]):
        listens.lent.clear()
        lend(people, {face: np.tile(SKIN, (len(face.track), 1)) for face in people})
        ((face, _),) = listens.lent.values()
        assert face is next(shot for shot in people if shot is not listens)


def test_whose_mouth_is_never_shut_in_a_shot_is_lent_a_shut_one() -> None:
    assert lent(track(0, talking(60)), track(60, talking(60, least=0.4))) == {SHUT}


def test_what_is_nearly_shut_is_not_lent_as_shut() -> None:
    assert lent(track(0, talking(60, least=0.12)), track(60, talking(60, least=0.4))) == set()


def test_a_flash_in_a_shot_does_not_keep_it_from_being_lent_a_mouth() -> None:
    speaks, listens = track(0, talking(60)), track(60, np.zeros(30, np.float32))
    flash = np.tile(SKIN, (30, 1))
    flash[4:12, 0] += 150
    lend([speaks, listens], {speaks: np.tile(SKIN, (60, 1)), listens: flash})
    assert {which for _, which in listens.lent} == {OPEN}


def test_a_smile_stays_as_it_is_where_an_open_mouth_is_lent() -> None:
    """Without one, its lips would be painted shut, as for somebody who never shows other lips."""
    speaks, smiles = track(0, talking(60)), track(100, np.full(30, 0.35, np.float32))
    (view,), portrait = smiles.views, Portrait(Person(3), (320, 320), face_px=150)
    smile = portrait.render(Mouth(opening=0.35), Pose())

    def reading(wanted: list[int]) -> Iterator[Frame]:
        return (framed(smile, index, Fraction(25), None) for index in wanted)

    (frame,) = reading([100])
    filmed = geometry.crop_face(frame, smiles.track.matrices[0], 64).image
    for borrows in (True, False):
        view.likeness, smiles.lent = None, {(view, OPEN): (speaks, speaks.views[0])} if borrows else {}
        closed, *_ = References(reading, [smiles], 64, 2).likeness(smiles, view).pictures
        assert np.array_equal(closed, filmed) == borrows


def test_a_shot_in_which_a_person_speaks_keeps_its_own() -> None:
    assert lent(track(0, talking(60)), track(60, talking(60, 0.7))) == set()


@pytest.mark.parametrize("places", [(0, 1, 2), (2, 1, 0)])
def test_a_shot_that_is_lent_a_mouth_does_not_lend_it_on(places: tuple[int, int, int]) -> None:
    shots = [track(first, talking(60, most, most)) for first, most in ((60, 0.15), (200, 0.35), (0, 1.0))]
    lend([shots[place] for place in places], {one: np.tile(SKIN, (60, 1)) for one in shots})
    hardly, little, speaks = shots
    for face in (hardly, little):
        assert face.lent[face.views[0], OPEN] == (speaks, speaks.views[0])
    (view,) = hardly.views
    assert len(References(blank, [hardly], 64, 2).likeness(hardly, view).pictures) == 2


def test_two_shots_lend_each_other_what_they_lack() -> None:
    """One shot shows somebody who smiles and speaks, another shows the same person listening with shut lips."""
    smiles, mumbles = track(0, talking(60, 1.0, 0.45)), track(100, talking(60, 0.3))
    people = [smiles, mumbles]
    lend(people, {one: np.tile(SKIN, (len(one.track), 1)) for one in people})
    for one, other, which in ((smiles, mumbles, SHUT), (mumbles, smiles, OPEN)):
        (view,) = one.views
        assert {kind: face for (_, kind), (face, _) in one.lent.items()} == {which: other}
        assert [face for face, _ in one.sources(view, 3)] == [other if kind == which else one for kind in range(3)]
        assert len(References(blank, people, 64, 3).likeness(one, view).pictures) == 3


def test_what_is_between_a_shot_and_its_lender_is_not_read_for_it() -> None:
    listens, between, speaks = track(0, np.zeros(30, np.float32)), track(100, talking(60)), track(200, talking(60))
    (view,), (other,) = listens.views, speaks.views
    listens.lent[view, OPEN] = speaks, other
    read = set[int]()

    def reading(wanted: list[int]) -> Iterator[Frame]:
        for frame in blank(wanted):
            read.add(frame.index)
            yield frame

    pictures = References(reading, [listens, between, speaks], 64, 2)
    assert len(pictures.likeness(listens, view).pictures) == 2
    assert not read & {*between.track.frames}
    assert read & {*speaks.track.frames} == {*speaks.candidates(other, 2)[OPEN]}
    assert len(pictures.likeness(between, between.views[0]).pictures) == 2


@pytest.mark.parametrize("kept", [1, 16])
def test_each_shot_gets_what_was_tried_there_whichever_is_drawn_first(
    monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr(references, "KEPT", kept)
    silent = np.zeros(60, np.float32)
    speaks, one, other = track(0, talking(60)), track(100, silent), track(200, silent)
    for listens, opened in ((one, 7), (other, 13)):
        (view,) = listens.views
        listens.lent[view, OPEN] = speaks, speaks.views[0]
        view.chosen = (listens.track.first, opened)
    for order in ((one, other), (other, one)):
        for listens in order:
            listens.views[0].likeness = None
        pictures = References(blank, order, 64, 2)
        for listens in order:
            (view,) = listens.views
            assert (pictures.likeness(listens, view).points[OPEN] == speaks.points[view.chosen[OPEN]]).all()


@pytest.mark.parametrize("light", [(190, 140, 120), (110, 140, 120), (150, 152, 120), (150, 140, 108)])
def test_nothing_is_lent_between_shots_in_different_light(light: tuple[int, int, int]) -> None:
    assert lent(track(0, talking(60)), track(60, np.zeros(30, np.float32)), np.float32(light)) == set()


def test_nothing_is_lent_where_it_would_not_fit() -> None:
    listens = np.zeros(30, np.float32)
    for yaw in (15, -15):
        assert lent(track(0, talking(60)), track(60, listens, yaw=yaw)) == set()
    for one, other in ((80, 200), (200, 80)):
        assert lent(track(0, talking(60), face=one), track(60, listens, face=other)) == set()
    assert lent(track(0, talking(20)), track(60, listens)) == set(), "a second, which may be a chance finding"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person who speaks, then listens before another background, then speaks in green light."""
    scene = Scene(Person(5), LINES["morning"], seconds=SPEAKS / 25, size=(240, 240), face_px=150)
    aside = Portrait(Person(5), (240, 240), face_px=170, centre=(130, 125))

    def pictures() -> Iterator[Byte]:
        spoken = [shot.image for shot in scene]
        yield from spoken
        quiet = aside.render(Mouth(), Pose())
        quiet[:, :24] = quiet[:, -24:] = quiet[:20] = (20, 60, 90)
        yield from [quiet] * LISTENS
        yield from ((image * (0.5, 1.0, 0.5)).astype(np.uint8) for image in spoken[:LISTENS])

    path = tmp_path_factory.mktemp("lending") / "film.mp4"
    media.write_clip(path, pictures(), 25, scene.audio(16_000), 16_000, crf=10)
    return path


@pytest.fixture(scope="module")
def seen(film: Path) -> Analysis:
    return analyse(media.probe(film), "largest", lambda *_: None)


def test_a_shot_of_a_listener_is_drawn_with_the_teeth_of_another_shot(film: Path, seen: Analysis) -> None:
    clip = media.probe(film)
    speaks, listens, green = sorted(seen.people, key=lambda one: one.track.first)
    assert len(set(seen.numbers.values())) == 1, "one person"
    assert set(listens.lent.values()) == {(speaks, speaks.views[0])}
    assert not any(face in (listens, green) for one in seen.people for face, _ in one.lent.values())

    engine = Engine(load_generator("bundled"), "cpu").fitting(128)
    # A preview of the listener's shot alone finds what the whole dub does.
    part = {index: people for index, people in seen.by_frame.items() if index in listens.track.frames}
    rehearse(clip, replace(seen, by_frame=part), engine, {})
    (view,), (other,) = listens.views, speaks.views
    assert not view.chosen
    assert other.chosen
    assert view.opening == other.opening

    pictures = References(media.Player(clip, seen.times, seen.glances).pick, seen.people, 128, engine.references)
    likeness = pictures.likeness(listens, view)
    narrow, wide, *_ = likeness.pictures
    (frame,) = media.Player(clip, seen.times, seen.glances).pick([other.chosen[OPEN]])
    row = speaks.row(frame.index)
    assert (wide == geometry.crop_face(frame, speaks.track.matrices[row], 128).image).all()
    assert (likeness.points[OPEN] == speaks.points[row]).all()
    assert (narrow != wide).any()


def test_a_mouth_opens_as_far_as_where_the_open_one_is_from() -> None:
    shuts, opens = track(0, talking(60, 0.5)), track(100, talking(60, 1.0, 0.4))
    neither = track(200, talking(30, 0.45, 0.4))
    people = [opens, shuts, neither]
    lend(people, {one: np.tile(SKIN, (len(one.track), 1)) for one in people})
    (view,) = neither.views
    assert [face for face, _ in neither.sources(view, 3)] == [neither, opens, shuts]
    for one, opening in ((opens, 0.6), (shuts, -0.3)):
        one.views[0].chosen, one.views[0].opening = (0, 1, 2), Opening(opening)
    seen, engine = SimpleNamespace(by_frame={200: [neither]}, people=people), SimpleNamespace(references=3)
    rehearse(SimpleNamespace(audio_rate=16_000), seen, engine, {})  # type: ignore[arg-type]
    assert view.opening == Opening(0.6)


def test_what_is_lent_is_kept(seen: Analysis, tmp_path: Path) -> None:
    seen.save(tmp_path / "seen.npz")
    again = Analysis.load(tmp_path / "seen.npz")

    def places(found: Analysis) -> list[tuple[int, int, int]]:
        return [(i, which, found.people.index(face)) for i, one in enumerate(found.people)
                for (_, which), (face, _) in one.lent.items()]  # fmt: skip

    assert places(again) == places(seen) != []
    assert all(view in one.views for one in again.people for view, _ in one.lent)


def test_a_face_that_goes_on_in_a_stream_forgets_what_was_lent() -> None:
    speaks, listens = track(0, talking(60)), track(60, np.zeros(30, np.float32))
    lent(speaks, listens)
    listens.follow(listens.track)
    assert not listens.lent
    frames = (framed(np.zeros((320, 320, 3), np.uint8), index, Fraction(25), None) for index in range(60, 90))
    assert len(References(lambda _: frames, [listens], 64, 2).likeness(listens, listens.views[0]).pictures) == 2

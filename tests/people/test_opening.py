"""Faces that do not speak: references with lips open and shut are made. On drawn faces with known truth."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidgan import dub, faces, geometry, media
from sidgan.blend import polygon
from sidgan.dubbing.analysis import analyse
from sidgan.dubbing.analysis.rehearsal import rehearse
from sidgan.dubbing.live.pictures import framed
from sidgan.people import PAIR_FRAMES, References, TrackedFace
from sidgan.people.opening import completed, opened, shut
from sidgan.synth import LINES, Mouth, Person, Portrait, Pose, Scene
from sidgan.types import Byte, FaceTrack, Float

SIZE = 256
SHUT, VOWEL = Mouth(), Mouth(opening=0.6, teeth=0.5)


def shown(person: int, mouth: Mouth, head: Pose) -> tuple[Byte, Float]:
    """A crop (SIZE, SIZE, 3) and its unit landmarks; where it is cut does not depend on the mouth."""
    portrait = Portrait(Person(person), (400, 400), face_px=300)
    square = geometry.square_matrix(geometry.face_square(portrait.landmarks(SHUT, head)))
    crop = cv2.warpAffine(portrait.render(mouth, head), geometry.crop_matrix(square, SIZE), (SIZE, SIZE),
                          flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)  # fmt: skip
    return crop, geometry.to_unit(square[None], portrait.landmarks(mouth, head)[None])[0]


HEADS = [(0, Pose()), (7, Pose(yaw=12)), (11, Pose(roll=15, pitch=-6))]


def opening_of(picture: Byte, points: Float) -> float:
    """The opening that is found in a picture, near unit landmarks."""
    found = (faces.landmarks(picture, faces.box_of(points * SIZE - 0.5)) + 0.5) / SIZE
    return float(geometry.mouth_opening(found[None])[0])


def inside(points: Float) -> np.ndarray:
    """(SIZE, SIZE) bool, between the lips."""
    lips = cv2.convexHull((points[geometry.INNER_LIPS] * SIZE).astype(np.int32))
    return np.asarray(cv2.fillConvexPoly(np.zeros((SIZE, SIZE), np.uint8), lips, (1,)) > 0)


@pytest.mark.parametrize(("person", "head"), HEADS)
def test_shut_lips_are_opened_as_the_person_would(person: int, head: Pose) -> None:
    picture, points = shown(person, SHUT, head)
    truth, true_points = shown(person, VOWEL, head)
    made, wanted = opened(picture, points), float(geometry.mouth_opening(true_points[None])[0])
    assert 0.6 * wanted < opening_of(made, points) < 1.5 * wanted
    eyes = round(SIZE * float(points[36:48, 1].max()))
    assert (made[:eyes] == picture[:eyes]).all(), "nothing but the mouth and what is below the nose changes"
    nearer, before = (np.abs(one[inside(true_points)].astype(float) - truth[inside(true_points)]).mean()
                      for one in (made, picture))  # fmt: skip
    assert nearer < 0.6 * before
    grey = cv2.cvtColor(made, cv2.COLOR_RGB2GRAY)[inside(true_points)]
    assert np.quantile(grey, 0.9) > 2.5 * np.quantile(grey, 0.1), "teeth are bright, the inside of a mouth is dark"


@pytest.mark.parametrize(("person", "head"), HEADS)
def test_open_lips_are_shut(person: int, head: Pose) -> None:
    picture, points = shown(person, VOWEL, head)
    truth, true_points = shown(person, SHUT, head)
    made = shut(picture, points)
    assert opening_of(made, true_points) < 0.35 * opening_of(picture, points)
    nearer, before = (np.abs(one[inside(points)].astype(float) - truth[inside(points)]).mean()
                      for one in (made, picture))  # fmt: skip
    assert nearer < 0.6 * before
    lips = polygon(SIZE, true_points[geometry.OUTER_LIPS])
    red, wanted = ((one[lips, 0].mean() - one[lips, 1].mean()) for one in (made.astype(float), truth.astype(float)))
    assert red > 0.7 * wanted, "what covers the teeth has the colour of lips"
    near, at = (cv2.dilate(lips.astype(np.uint8), np.ones((reach, reach))) > 0 for reach in (25, 5))
    beside = near & ~at & (np.arange(SIZE)[:, None] < SIZE * true_points[57, 1])
    assert np.abs(made.astype(float) - truth)[beside].mean() < 2.5, "skin and corners of the mouth stay"


def test_teeth_are_as_dark_as_the_picture() -> None:
    picture, points = shown(0, SHUT, Pose())
    _, wide = shown(0, VOWEL, Pose())
    light, dim = (np.quantile(opened(one, points)[inside(wide)], 0.9) for one in (picture, picture // 2))
    assert dim < 0.65 * light


def test_lips_a_little_apart_and_lips_beyond_the_picture_are_left_as_they_are() -> None:
    slit, points = shown(0, Mouth(opening=0.08), Pose())
    assert 0.01 < geometry.mouth_opening(points[None])[0] < 0.05
    assert shut(slit, points) is slit
    picture, points = shown(0, VOWEL, Pose())
    assert shut(picture, points + 1) is picture


def test_what_is_shut_or_open_is_left_as_it_is() -> None:
    for mouth, make in ((SHUT, shut), (VOWEL, opened)):
        picture, points = shown(0, mouth, Pose())
        assert make(picture, points) is picture
    smile, points = shown(0, Mouth(opening=0.3, spread=0.8, teeth=0.7), Pose())
    three = completed([smile] * 3, np.stack([points] * 3), mute=True)
    first, second, third = (opening_of(picture, points) for picture in three)
    assert (three[0] == three[2]).all()
    assert first == third < opening_of(smile, points) < second
    assert (completed([smile] * 3, np.stack([points] * 3), mute=False) == smile).all()
    assert (completed([smile], points[None], mute=True) == smile).all(), "a single reference is left alone"


def track(openings: Float) -> TrackedFace:
    """A face that stays where it is, and opens its mouth so far."""
    portrait = Portrait(Person(3), (200, 200), face_px=150)
    some = {float(one): portrait.landmarks(Mouth(opening=float(one)), Pose()) for one in np.unique(openings)}
    points = np.stack([some[float(one)] for one in openings]).astype(np.float32)
    square = geometry.square_matrix(geometry.face_square(points[0]))
    count = len(points)
    return TrackedFace(FaceTrack(0, np.ones(count, bool), points, np.tile(square, (count, 1, 1)).astype(np.float32),
                                 np.ones(count, np.float32), np.zeros((count, 3), np.float32)))  # fmt: skip


def talking(count: int) -> Float:
    return np.float32(0.8 * np.abs(np.sin(np.arange(count) / 3)).round(2))


def test_who_speaks_later_is_shown_as_then() -> None:
    late = track(np.concatenate([np.zeros(PAIR_FRAMES + 30, np.float32), talking(100)]))
    assert not late.mute()
    _, wide, _ = late.candidates(late.views[0], 3)
    assert min(wide) >= PAIR_FRAMES + 30
    early = track(np.concatenate([talking(100), np.zeros(PAIR_FRAMES, np.float32)]))
    assert max(early.candidates(early.views[0], 3)[1]) < 100
    silent = track(np.concatenate([np.zeros(2 * PAIR_FRAMES, np.float32), talking(5)]))  # a word is too short
    assert silent.mute()
    assert max(max(group) for group in silent.candidates(silent.views[0], 3)) < PAIR_FRAMES


@pytest.mark.parametrize("speaks", [False, True])
def test_only_who_does_not_speak_gets_a_picture_that_was_made(speaks: bool) -> None:
    person = track(talking(60) if speaks else np.zeros(60, np.float32))
    portrait = Portrait(Person(3), (200, 200), face_px=150)
    picture = portrait.render(SHUT, Pose())

    wanted = sorted({index for group in person.candidates(person.views[0], 3) for index in group})
    frames = (framed(picture, index, Fraction(25), None) for index in wanted)
    narrow, wide, quiet = References(lambda _: frames, [person], 128, 3).likeness(person, person.views[0]).pictures
    assert (narrow == quiet).all()
    assert (wide == narrow).all() == speaks
    if not speaks:
        assert (wide == opened(narrow, person.points[0])).all()


@pytest.fixture(scope="module")
def still(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute's silence, shortened: somebody who looks ahead while another is heard."""
    scene = Scene(Person(5), LINES["morning"], seconds=2.4, size=(240, 240))
    portrait = Portrait(Person(5), (240, 240), face_px=150)
    path = tmp_path_factory.mktemp("still") / "listens.mp4"
    media.write_clip(path, (portrait.render(SHUT, Pose()) for _ in range(60)), 25, scene.audio(16_000), crf=10)
    return path


def test_who_only_listens_speaks_in_the_dub(still: Path, tmp_path: Path) -> None:
    report = dub(still, still, tmp_path / "dub.mp4", silence="draw")
    assert any("does not speak" in note and "made up" in note for note in report.notes)
    person = analyse(media.probe(tmp_path / "dub.mp4"), "largest", lambda *_: None).people[0]
    opening = geometry.mouth_opening(person.points)
    assert np.quantile(opening, 0.9) > 0.05
    assert np.quantile(opening, 0.1) < 0.03


def test_nothing_is_tried_with_another_voice(still: Path) -> None:
    seen = analyse(media.probe(still), "largest", lambda *_: None)
    rehearse(media.probe(still), seen, type("Never", (), {"references": 3})(), {})
    assert not any(person.views[0].chosen for person in seen.people)

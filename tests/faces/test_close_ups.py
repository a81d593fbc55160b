"""Faces larger than the picture, beyond its edge, or growing fast, as in close-ups, pushes and zooms."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from sidgan import media
from sidgan.dubbing.analysis.first_pass import survey
from sidgan.evaluation.subject import Subject
from sidgan.faces import box_of, confirm, lips_inside, search, smooth, track_faces
from sidgan.faces.detector import belongs
from sidgan.geometry import MOUTH
from sidgan.synth import LINES, Mouth, Person, Portrait, Pose, Scene
from sidgan.types import Byte, Float

SIZE = (240, 320)
BEYOND = "face cut off by the edge of the picture"


def portrait(seed: int, tall: float, middle: tuple[float, float]) -> tuple[Byte, Float]:
    """A face ``tall`` px high at ``middle``: its luma, and true landmarks."""
    drawn = Portrait(Person.random(seed), SIZE, tall, middle)
    return cv2.cvtColor(drawn.render(Mouth(), Pose()), cv2.COLOR_RGB2GRAY), drawn.landmarks(Mouth(), Pose())


@pytest.mark.parametrize("seed", [3, 4, 6])
@pytest.mark.parametrize(("tall", "y"), [(500, 20), (560, 30), (560, 0)])
def test_a_face_larger_than_the_picture_is_found(seed: int, tall: float, y: float) -> None:
    luma, points = portrait(seed, tall, (160, y))
    (face,) = search(luma)
    assert confirm(luma, face.box) is not None
    off = np.linalg.norm(face.landmarks - points, axis=1)[MOUTH].mean()
    assert off < 0.03 * np.ptp(points[:, 0])


@pytest.mark.parametrize("seed", [3, 6])
def test_a_face_of_which_a_quarter_is_beside_the_picture_is_not_found(seed: int) -> None:
    luma, _ = portrait(seed, 380, (270, 110))
    assert search(luma) == []


def test_what_hardly_fits_the_place_of_a_face_does_not_confirm_it() -> None:
    assert belongs((0, 0, 120, 120), (0, 0, 100, 100), ())
    assert not belongs((0, 0, 140, 140), (0, 0, 100, 100), ())


def test_in_evaluations_a_face_need_not_fit_its_box_as_well() -> None:
    luma, points = portrait(3, 180, (160, 120))
    aside = points + np.float32((0.3 * np.ptp(points[:, 0]), 0))
    assert confirm(luma, box_of(aside)) is None
    subject = SimpleNamespace(guides=[aside])
    assert Subject._face_seen(subject, cv2.cvtColor(luma, cv2.COLOR_GRAY2RGB), 0)  # type: ignore[arg-type]
    assert not Subject._face_seen(subject, np.full((240, 320, 3), 90, np.uint8), 0)  # type: ignore[arg-type]


def film(folder: Path, images: list[Byte]) -> Path:
    media.write_clip(folder / "film.mp4", images, Fraction(25), crf=8)
    return folder / "film.mp4"


def pushed(begin: int, frames: int, count: int) -> tuple[list[Byte], list[Float]]:
    """Somebody whose picture is pushed aside by somebody else's: the pictures, and the true landmarks of both."""
    one, other = (
        [*Scene(Person.random(seed), LINES["hello"], seconds=count / 25 + 0.001, size=SIZE, face_px=tall, centre=at)]
        for seed, tall, at in ((6, 150, None), (9, 140, (180.0, 125.0)))
    )
    images, places = [], []
    for index, (left, right) in enumerate(zip(one, other, strict=True)):
        x = round(SIZE[1] * float(np.clip((index - begin) / frames, 0, 1)))
        images.append(np.concatenate([left.image, right.image], 1)[:, x : x + SIZE[1]])
        places.append(np.stack([left.landmarks, right.landmarks]) + np.float32([[[-x, 0]], [[SIZE[1] - x, 0]]]))
    return images, places


@pytest.mark.parametrize("frames", [20, 24])
def test_where_pictures_push_each_other_aside_no_face_is_seen_where_none_is(frames: int, tmp_path: Path) -> None:
    images, places = pushed(9, frames, 44)
    tracks, _ = track_faces(media.read_frames(media.probe(film(tmp_path, images))))
    for track in tracks:
        for row, index in enumerate(track.frames):
            off = np.linalg.norm(track.landmarks[row] - places[index], axis=2).mean(1).min()
            assert not track.visible[row] or off < 0.12 * np.ptp(places[index][0, :, 0]), index
    assert sum(track.visible.sum() for track in tracks) > 44 - frames - 5


def inside(points: Float) -> Float:
    track = smooth(0, np.repeat(points[None], 9, 0), np.ones(9, np.float32))
    return lips_inside(track, SIZE[1], SIZE[0])


def test_lips_and_eyes_must_be_inside_the_picture() -> None:
    _, points = portrait(3, 150, (160, 120))
    lips, eyes, side = points[48:60], points[36:48], np.ptp(points[:, 0])
    far = inside(points)
    assert far.shape == (9,)
    assert far.min() > 0.3
    for beyond in [  # how far the face is moved until the edge cuts something off
        (0, 237 - lips[:, 1].max()), (0, -eyes[:, 1].mean()), (318 - eyes[:, 0].max(), 0), (2 - eyes[:, 0].min(), 0),
    ]:  # fmt: skip
        back = 0.2 * side * np.sign(beyond)
        assert inside(points + np.float32(beyond) - np.float32(back)).min() > 0
        assert inside(points + np.float32(beyond) + np.float32(0.2 * back)).max() < 0
        if beyond[1] <= 0:  # an eye that is just inside: the face goes on beyond the edge
            assert inside(points + np.float32(beyond) - np.float32(0.1 * back)).max() < 0
    squeezed = points + np.float32((0, 237 - points[57, 1]))  # below the nose, landmarks are guessed inside the picture
    squeezed[48:60, 1] -= 0.15 * side
    assert inside(squeezed + np.float32((0, 0.1 * side))).max() < 0


def test_a_mouth_that_the_edge_cuts_off_stays_as_filmed(tmp_path: Path) -> None:
    shots = Scene(Person.random(6), LINES["hello"], seconds=1.2, size=(300, 320), face_px=190, motion=0.3)
    mouths = [shot.landmarks[MOUTH, 1] for shot in shots]
    lips = round(float(np.mean([(mouth.min() + mouth.max()) / 2 for mouth in mouths])))
    images = [shot.image for shot in shots]
    for line, whole in [(lips & ~1, False), (lips + 40 & ~1, True)]:
        seen, _ = survey(media.probe(film(tmp_path, [image[:line] for image in images])), lambda *_: None)
        for person in seen.people:
            refusals = [person.refusal(index) for index in person.track.frames]
            assert BEYOND not in refusals if whole else set(refusals) <= {BEYOND, "face not visible"}
        assert any(person.appears for person in seen.people) == whole

"""A redrawn mouth is as soft as the face around it is filmed, however sharp its references are."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from sidgan import Dubber, geometry, media
from sidgan.blend import polygon
from sidgan.blend.detail import brightness
from sidgan.blend.focus import clarity, softness
from sidgan.dubbing.redrawing import Job, in_focus
from sidgan.faces import track_faces
from sidgan.geometry import EYES, OUTER_LIPS, distance_to
from sidgan.people import TrackedFace
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Byte, Frame

SIDE = 256
SOFT = range(28, 40)  #: frames in which the camera has lost its focus
BLUR = 2.2  #: px


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("focus") / "talk.mp4"
    scene = Scene(Person(3), LINES["morning"], seconds=1.8, size=(320, 320), motion=0.5)
    images = [cv2.GaussianBlur(shot.image, (0, 0), BLUR) if place in SOFT else shot.image
              for place, shot in enumerate(scene)]  # fmt: skip
    media.write_clip(path, images, 25, scene.audio(16_000), crf=8)
    return path


@pytest.fixture(scope="module")
def frames(film: Path) -> list[Frame]:
    return list(media.read_frames(media.probe(film)))


@pytest.fixture(scope="module")
def face(frames: list[Frame]) -> TrackedFace:
    (track,) = track_faces(frames)[0]
    return TrackedFace(track)


def crop(frames: list[Frame], face: TrackedFace, row: int) -> Byte:
    return geometry.crop_face(frames[row], face.track.matrices[row], SIDE).image


def contrast(picture: Byte, face: TrackedFace, row: int) -> float:
    """Of fine detail on the mouth."""
    grey = brightness(picture)
    band = cv2.GaussianBlur(grey, (0, 0), 1) - cv2.GaussianBlur(grey, (0, 0), 2)
    mouth = distance_to(polygon(SIDE, face.points[row][OUTER_LIPS])) < 0.03 * SIDE
    return float(band[mouth].std())


def test_where_the_focus_is_lost_the_mouth_is_as_soft_as_its_face(frames: list[Frame], face: TrackedFace) -> None:
    shown = [5, 12]
    clear = clarity([crop(frames, face, row) for row in shown], face.points[shown])
    sharp = crop(frames, face, shown[0])  # as drawn: a copy of a reference
    for row in range(2, len(frames) - 2):
        filmed = crop(frames, face, row)
        job = Job(face, row, filmed, np.zeros((1, 80, 28), np.float32), 1.0)
        (drawn,) = in_focus([job], sharp[None], clear)
        hidden = geometry.mask_image(face.boxes[row], SIDE) > 0
        assert np.array_equal(drawn[~hidden], sharp[~hidden])
        if row in SOFT:
            wanted = cv2.GaussianBlur(sharp, (0, 0), BLUR * SIDE / float(face.sides[row]))
            assert contrast(drawn, face, row) == pytest.approx(contrast(wanted, face, row), rel=0.3), row
        else:
            assert np.array_equal(drawn, sharp), row


@pytest.mark.parametrize("lamp", [0.3, 0.6, 1.0])
def test_only_focus_counts_not_light_nor_motion(lamp: float, frames: list[Frame], face: TrackedFace) -> None:
    filmed = crop(frames, face, 8)
    clear = clarity([filmed], face.points[8:9])
    assert softness((filmed * lamp).astype(np.uint8), face.points[8], clear) == 0
    moved = cv2.blur(filmed, (1, 9))
    assert softness(moved, face.points[8], clear) == 0
    lost = cv2.GaussianBlur((filmed * lamp).astype(np.uint8), (0, 0), 2)
    assert softness(lost, face.points[8], clear) * SIDE == pytest.approx(2, abs=0.5)


@pytest.mark.parametrize("part", ["mouth", "eyes"])
def test_what_mouth_and_eyes_do_is_not_taken_for_focus(
    part: str, frames: list[Frame], face: TrackedFace
) -> None:
    filmed, points = crop(frames, face, 8), face.points[8]
    shut = geometry.mask_image(face.boxes[8], SIDE) > 0
    if part == "eyes":
        shut = np.logical_or.reduce([polygon(SIDE, eye) for eye in np.split(points[EYES], 2)])
    still = np.where(shut[..., None], filmed[shut].mean(0), filmed).astype(np.uint8)
    lively = filmed.copy()
    dots = np.random.default_rng(0).integers(0, 2, (SIDE // 2, SIDE // 2, 1)).repeat(2, 0).repeat(2, 1)
    lively[shut] = 255 * dots[shut]
    assert softness(still, points, clarity([lively], points[None])) == 0


def test_nothing_is_sharpened(frames: list[Frame], face: TrackedFace) -> None:
    row = SOFT[4]
    clear = clarity([crop(frames, face, row)], face.points[[row]])
    assert softness(crop(frames, face, 8), face.points[8], clear) == 0


def test_what_cannot_be_compared_stays_as_drawn(frames: list[Frame], face: TrackedFace) -> None:
    filmed, points = crop(frames, face, 8), face.points[8]
    beyond = points + np.array([0, 2], np.float32)
    assert softness(filmed, points, clarity([filmed], beyond[None])) == 0
    assert softness(filmed, beyond, clarity([filmed], points[None])) == 0
    assert softness(filmed, points, clarity([filmed, filmed], np.stack([points, beyond]))) == 0


@pytest.mark.parametrize("live", [False, True])
def test_a_dub_follows_the_focus(
    live: bool, film: Path, frames: list[Frame], face: TrackedFace, tmp_path: Path
) -> None:
    dubber = Dubber(device="cpu", crf=4)
    if live:
        pictures = [image for _, image in media.read_rgb(film)]
        images = dubber.stream(pictures, Scene(Person(3), LINES["morning"], seconds=1.8).audio(16_000))
        media.write_clip(tmp_path / "dub.mp4", images, 25, crf=4)
    else:
        dubber.dub(film, film, tmp_path / "dub.mp4")
    dubbed = list(media.read_frames(media.probe(tmp_path / "dub.mp4")))
    ratios = [contrast(crop(dubbed, face, row), face, row) / contrast(crop(frames, face, row), face, row)
              for row in SOFT]  # fmt: skip
    assert np.median(ratios) < 2.4, "4.8 if the focus of the references is kept"

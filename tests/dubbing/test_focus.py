"""A redrawn mouth is as soft as the face around it is filmed, however sharp its references are: by lens or motion."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from sidgan import Dubber, geometry, media
from sidgan.blend import polygon
from sidgan.blend.detail import brightness
from sidgan.blend.focus import clarity, softness
from sidgan.dubbing.live.pictures import framed
from sidgan.dubbing.redrawing import Job, in_focus
from sidgan.faces import track_faces
from sidgan.geometry import EYES, OUTER_LIPS, distance_to
from sidgan.people import TrackedFace
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Byte, Frame

SIDE = 256
SOFT = range(28, 40)  #: frames in which the camera has lost its focus
BLUR = 2.2  #: px
STILL, FAST = np.zeros(2), np.full(2, 0.1)  #: speeds of a face along x and y, fractions of its side per frame


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
def test_only_focus_counts_not_light(lamp: float, frames: list[Frame], face: TrackedFace) -> None:
    filmed = crop(frames, face, 8)
    clear = clarity([filmed], face.points[8:9])
    assert not softness((filmed * lamp).astype(np.uint8), face.points[8], clear, FAST).any()
    lost = cv2.GaussianBlur((filmed * lamp).astype(np.uint8), (0, 0), 2)
    assert softness(lost, face.points[8], clear, STILL) * SIDE == pytest.approx([2, 2], abs=0.5)


@pytest.mark.parametrize("axis", [0, 1])
def test_what_is_soft_along_one_axis_counts_as_far_as_the_face_moves_along_it(
    axis: int, frames: list[Frame], face: TrackedFace
) -> None:
    filmed, moves, other = crop(frames, face, 8), np.eye(2)[axis], np.eye(2)[1 - axis]
    clear = clarity([filmed], face.points[8:9])
    smeared = cv2.blur(filmed, (9, 1) if axis == 0 else (1, 9))  # as by a shutter that is open while it moves by 9 px

    def blur(speed: np.ndarray) -> np.ndarray:
        return softness(smeared, face.points[8], clear, speed / SIDE) * SIDE

    assert blur(9 * moves) @ moves == pytest.approx(9 / 12**0.5, abs=0.8)
    assert blur(9 * moves) @ other == 0
    assert blur(3 * moves) @ moves == pytest.approx(3 / 12**0.5, abs=0.01), "the rest may be a frown"
    assert not blur(9 * other).any()


def test_a_mouth_is_blurred_by_the_motion_of_its_head() -> None:
    (still,) = Scene(Person(3), LINES["morning"], seconds=0.04, size=(320, 320), motion=0)
    moving, step = range(10, 15), 7  # frames, and px from one to the next

    def filmed(open_for: int) -> list[Frame]:
        """Frames of a head that goes down for a while, with a shutter that is open for so many px of it."""
        shots = []
        for place in range(24):
            down = step * float(np.clip(place + 1 - moving.start, 0, len(moving)))
            seen = cv2.blur(still.image, (1, open_for)) if place in moving else still.image
            moved = cv2.warpAffine(seen, np.float64([[1, 0, 0], [0, 1, down]]), (320, 320))  # type: ignore[arg-type]
            shots.append(framed(moved, place, Fraction(25), None))
        return shots

    smeared, sharp = filmed(step), filmed(1)
    face = TrackedFace(track_faces(smeared)[0][0])
    clear = clarity([crop(sharp, face, 4)], face.points[4:5])
    for row in (6, *moving[1:-1], 20):
        job = Job(face, row, crop(smeared, face, row), np.zeros((1, 80, 28), np.float32), 1.0)
        (drawn,) = in_focus([job], crop(sharp, face, row)[None], clear)
        before, after, wanted = (contrast(one, face, row) for one in (crop(sharp, face, row), drawn, job.crop))
        if row in moving:
            assert after == pytest.approx(wanted, rel=0.6), row
            assert wanted < before / 2
        else:
            assert after == before, row


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
    assert not softness(still, points, clarity([lively], points[None]), FAST).any()


def test_a_focus_that_is_lost_slowly_makes_no_step(frames: list[Frame], face: TrackedFace) -> None:
    filmed, points = crop(frames, face, 8), face.points[8]
    clear, blurs = clarity([filmed], points[None]), np.linspace(0.05, 3, 60)
    soft = [softness(cv2.GaussianBlur(filmed, (0, 0), blur), points, clear, STILL).max() * SIDE for blur in blurs]
    assert soft[0] == 0
    assert soft[-1] == pytest.approx(3, abs=0.3)
    assert np.diff(soft).min() > -0.05
    assert np.diff(soft).max() < 0.4, "a blur of less than half a pixel more, in one step of a twentieth"


def test_nothing_is_sharpened(frames: list[Frame], face: TrackedFace) -> None:
    row = SOFT[4]
    clear = clarity([crop(frames, face, row)], face.points[[row]])
    assert not softness(crop(frames, face, 8), face.points[8], clear, FAST).any()


def test_what_cannot_be_compared_stays_as_drawn(frames: list[Frame], face: TrackedFace) -> None:
    filmed, points = crop(frames, face, 8), face.points[8]
    beyond = points + np.array([0, 2], np.float32)
    for seen, there in ((points, beyond[None]), (beyond, points[None]), (points, np.stack([points, beyond]))):
        assert not softness(filmed, seen, clarity([filmed] * len(there), there), FAST).any()


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

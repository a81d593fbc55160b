"""A redrawn mouth is in the light of its frame, whatever the light in which its references were filmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from sidgan import geometry, media
from sidgan.blend.light import OTHER, SAME, gain, light_on, lit
from sidgan.dubbing.redrawing import Job, redraw
from sidgan.faces import track_faces
from sidgan.people import Likeness, References, TrackedFace
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Byte, Frame

SIDE = 128
LAMPS = {"off and on": (0.35, 0.35, 0.35), "red": (1.0, 0.6, 0.5), "black": (0.0, 0.0, 0.0)}


class Copying:
    """As an engine: puts one of its reference pictures where it may not see the face."""

    def __init__(self, which: int) -> None:
        self.size, self._which = SIDE, which

    def run(self, faces: Byte, masks: Byte, mels: Any, reference: Byte, placed: Any) -> Byte:
        return np.where(masks[..., None] > 0, reference[self._which], faces).astype(np.uint8)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> list[Frame]:
    path = tmp_path_factory.mktemp("light") / "talk.mp4"
    images = [shot.image for shot in Scene(Person(3), LINES["morning"], seconds=1.6, size=(240, 240), motion=0.2)]
    media.write_clip(path, images, 25, crf=8)
    return list(media.read_frames(media.probe(path)))


@pytest.fixture(scope="module")
def face(frames: list[Frame]) -> TrackedFace:
    (track,) = track_faces(frames)[0]
    return TrackedFace(track)


def crops(frames: list[Frame], face: TrackedFace) -> list[Byte]:
    return [geometry.crop_face(frame, face.track.matrices[frame.index], SIDE).image for frame in frames]


@pytest.mark.parametrize("lamp", LAMPS)
@pytest.mark.parametrize("which", [0, 1])
def test_where_a_lamp_goes_on_the_mouth_is_lit_with_its_face(
    lamp: str, which: int, frames: list[Frame], face: TrackedFace
) -> None:
    filmed = crops(frames, face)
    half = len(filmed) // 2
    filmed[half:] = [(picture * np.array(LAMPS[lamp])).astype(np.uint8) for picture in filmed[half:]]
    rows = [half - 8, half - 2, half + 2, half + 8]
    shown = [half - 5, half + 5]  # the references show both lights
    likeness = Likeness.of([filmed[row] for row in shown], face.points[shown])
    jobs = [Job(face, row, filmed[row], np.zeros((1, 80, 28), np.float32), 1.0) for row in rows]
    engine: Any = Copying(which if lamp != "black" else 0)  # of a black reference there is nothing to copy
    drawn = redraw(engine, jobs, likeness, likeness.pictures)  # type: ignore[arg-type]
    for row, picture in zip(rows, drawn, strict=True):
        hidden = geometry.mask_image(face.boxes[row], SIDE) > 0
        assert np.abs(picture[hidden].mean(0) - filmed[row][hidden].mean(0)).max() < 5, row


def test_references_of_a_face_are_in_one_light(frames: list[Frame], face: TrackedFace) -> None:
    (view,) = face.views
    view.chosen = 10, 25

    def read(wanted: list[int]) -> list[Frame]:
        luma, *chroma = frames[25].planes
        dim = replace(frames[25], planes=((16 + (luma.astype(float) - 16) * 0.5).astype(np.uint8), *chroma))
        return [dim if index == 25 else frames[index] for index in wanted]

    pictures = References(read, [face], SIDE, 2).likeness(face, view).pictures
    bright, dark = pictures.reshape(2, -1, 3).mean(1).mean(1)
    assert abs(bright - dark) < 0.1 * bright


def test_what_the_mouth_does_is_not_taken_for_light(frames: list[Frame], face: TrackedFace) -> None:
    filmed, points = crops(frames, face)[10], face.points[10]
    yawns = filmed.copy()
    yawns[geometry.mask_image(face.boxes[10], SIDE) > 0] = 0
    assert (light_on(yawns, points) == light_on(filmed, points)).all()


def test_a_lamp_that_changes_one_colour_is_followed_in_full() -> None:
    usual = np.array([120.0, 90.0, 80.0])
    assert np.allclose(np.log(gain(usual, usual * (1, 1, 1.2))), np.log((1, 1, 1.2)), atol=0.01)


def test_light_that_hardly_changes_stays_as_it_is() -> None:
    usual, picture = np.array([120.0, 90.0, 80.0]), np.full((8, 8, 3), 100, np.uint8)
    alike = gain(usual * np.exp(0.9 * SAME), usual)
    assert (alike == 1).all()
    assert lit(picture, alike) is picture
    other = gain(usual * np.exp(1.1 * OTHER), usual)
    assert np.allclose(np.log(other), -1.1 * OTHER, atol=0.01)


def test_a_lamp_that_goes_on_slowly_makes_no_step() -> None:
    usual = np.array([120.0, 90.0, 80.0])
    change = np.linspace(0, 2 * OTHER, 200)
    gains = np.log([gain(usual, usual * np.exp(one))[0] for one in change])
    assert (np.diff(gains) >= 0).all()
    assert np.diff(gains).max() < 4 * change[1], "small steps of light, small steps of the gain"
    assert gains[-1] == pytest.approx(change[-1], abs=0.02)


def test_what_is_drawn_of_a_black_frame_is_black() -> None:
    usual = np.array([150.0, 120.0, 100.0])
    assert np.isfinite(gain(np.zeros(3), usual)).all(), "black is brought into the light of the references"
    assert lit(np.zeros((8, 8, 3), np.uint8), gain(np.zeros(3), usual)).max() == 0
    assert lit(np.full((8, 8, 3), 150, np.uint8), 1 / gain(np.zeros(3), usual)).max() <= 3

"""Captions in front of a face stay as they were filmed, and what is beside or behind a face is not taken for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import islice
from pathlib import Path

import cv2
import numpy as np
import pytest

import sidgan
from sidgan import geometry, media
from sidgan.dubbing.analysis.captions import Captions
from sidgan.dubbing.analysis.first_pass import survey
from sidgan.dubbing.live.pictures import framed
from sidgan.faces import Tracker, track_faces
from sidgan.geometry import transform
from sidgan.people import References, TrackedFace
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Byte, FaceTrack

FRAMES, SIZE = 60, 360
CHIN, LIPS = 297, 246  #: px, the lines on which letters stand
WORDS = ("seven green", "apples are", "on my plate", "all day long")

Printed = Callable[[Byte, int], Byte]  #: prints something on frame ``index``


@cache
def people(motion: float) -> list[Byte]:
    scene = Scene(Person(6), LINES["morning"], seconds=FRAMES / 25, size=(SIZE, SIZE), motion=motion)
    return [shot.image for shot in scene]


def words(image: Byte, text: str, line: int, left: int = 60) -> Byte:
    """White letters with black outlines."""
    image = image.copy()
    for colour, width in (((0, 0, 0), 7), ((255, 255, 255), 2)):
        cv2.putText(image, text, (left, line), cv2.FONT_HERSHEY_DUPLEX, 1.1, colour, width, cv2.LINE_AA)
    return image


def clip(folder: Path, printed: Printed, motion: float = 1.5) -> Path:
    path = folder / "talk.mp4"
    media.write_clip(path, [printed(image, i) for i, image in enumerate(people(motion))], 25, crf=14)
    return path


def only_face(path: Path) -> TrackedFace:
    (face,) = survey(media.probe(path), lambda *_: None)[0].people
    return face


def tracked() -> list[FaceTrack]:
    """A person's face in all frames."""
    return track_faces(framed(image, i, Fraction(25), None) for i, image in enumerate(people(1.5)))[0]


def kept(face: TrackedFace, line: int) -> float:
    """Share of the frames in which the face's middle is left as filmed around a line of the frame."""
    shares = []
    for row in range(len(face.track)):
        middle = float(face.track.landmarks[row, 8, 0]), line - 12.0
        x, y = transform(np.linalg.inv(np.vstack([face.track.matrices[row], [0, 0, 1]]))[:2], np.array([middle]))[0]
        shares.append(row in face.covers and face.covers[row][int(y * 24), int(x * 24)] == 255)
    return float(np.mean(shares))


@pytest.mark.parametrize("motion", [1.5, 0.1])
def test_words_over_a_chin_stay_and_the_lips_are_redrawn(motion: float, tmp_path: Path) -> None:
    face = only_face(clip(tmp_path, lambda image, i: words(image, WORDS[i // 15], CHIN), motion))
    assert kept(face, CHIN) == 1
    assert kept(face, LIPS - 20) == 0
    assert not face.doubts


def test_where_words_lie_over_the_lips_a_face_is_left_as_filmed(tmp_path: Path) -> None:
    face = only_face(clip(tmp_path, lambda image, i: words(image, WORDS[i // 15], LIPS) if i >= 30 else image))
    assert {face.refusal(index) for index in range(32, FRAMES)} == {"face partly covered"}
    assert face.refusal(20) is None


def test_without_words_nothing_is_kept(tmp_path: Path) -> None:
    assert not only_face(clip(tmp_path, lambda image, _: image)).covers


def test_words_beside_a_face_are_not_before_it(tmp_path: Path) -> None:
    assert not only_face(clip(tmp_path, lambda image, i: words(image, "LIVE", LIPS, 4))).covers


def test_a_still_face_is_no_caption(tmp_path: Path) -> None:
    """Somebody holds still, and then moves: all edges of a face begin and end together."""
    face = only_face(clip(tmp_path, lambda image, i: people(1.5)[i if i < 15 else max(15, i - 20)]))
    assert not face.covers


def test_pictures_that_are_shown_several_times_hold_no_caption(clips: Path) -> None:
    """Nothing moves while a picture is repeated, and then all edges end together."""
    tracker, captions, shown = Tracker(), Captions(), 0
    for frame in islice(media.read_frames(media.probe(clips / "test/visualvoice_interview_2spk.mp4")), 40):
        tracker.add(frame)
        for _ in range(4):
            captions.add(replace(frame, index=shown), tracker.here())
            shown += 1
    captions.finish(shown)
    tracks = tracker.finish()
    assert tracks
    assert not any(captions.covers(track).any() for track in tracks)


def test_letters_below_a_chin_are_kept_as_those_on_it(tmp_path: Path) -> None:
    """The redrawn part reaches a little beyond a chin. They are known as letters by the last ones, which it touches."""
    face = only_face(clip(tmp_path, lambda image, i: words(image, WORDS[i // 15], CHIN + 16)))
    assert kept(face, CHIN + 16) > 0.75, "0.3 if only the last ones are known"


def test_references_show_no_letters(tmp_path: Path) -> None:
    film = media.probe(clip(tmp_path, lambda image, i: words(image, WORDS[i // 15], CHIN)))
    face = only_face(film.path)
    references = References(lambda _: media.read_frames(film), [face], SIZE, 2)
    plain = geometry.crop_face(next(media.read_frames(film)), face.track.matrices[0], SIZE).image
    assert plain.min(2).max() > 240, "white letters"
    for picture in references.likeness(face, face.views[0]).pictures:
        assert picture[2 * SIZE // 3 :].min(2).max() < 230


def test_references_come_from_frames_in_which_least_is_hidden() -> None:
    (face,) = (TrackedFace(track) for track in tracked())
    rows = len(face.track)
    face.covers = {row: np.full((24, 24), 255 if row % 2 else 40, np.uint8) for row in range(rows)}
    few = {row for row in range(rows) if row % 2 == 0}
    assert all(face.row(index) in few for _, group in face.sources(face.views[0], 3) for index in group)


def test_letters_reach_the_dub(tmp_path: Path) -> None:
    talk = clip(tmp_path, lambda image, i: words(image, WORDS[i // 15], CHIN))
    voice = np.sin(np.arange(FRAMES * 640) / 9) * np.sin(np.arange(FRAMES * 640) / 900) * 0.3
    media.write_wav(tmp_path / "voice.wav", voice, 16000)
    report = sidgan.dub(talk, tmp_path / "voice.wav", tmp_path / "out.mp4")
    assert report.dubbed == FRAMES
    for before, after in zip(*(media.read_frames(media.probe(tmp_path / name)) for name in ("talk.mp4", "out.mp4")),
                             strict=True):  # fmt: skip
        one, two = (frame.planes[0][CHIN - 24 : CHIN + 4, 60:300].astype(float) for frame in (before, after))
        assert np.abs(one - two).mean() < 4

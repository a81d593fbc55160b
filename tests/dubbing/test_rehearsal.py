"""Reference pictures that are tried before they are used, on a drawn person some of whose frames are spoilt."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sidgan import Dubber, audio, geometry, media
from sidgan.dubbing.analysis import Analysis, analyse, rehearsal
from sidgan.dubbing.analysis.captions import Captions
from sidgan.dubbing.analysis.rehearsal import rehearse
from sidgan.dubbing.redrawing import Job, found_again, redraw
from sidgan.dubbing.voice import listen
from sidgan.errors import InputError
from sidgan.geometry import mouth_opening
from sidgan.people import Likeness, References, TrackedFace, View
from sidgan.synth import LINES, Person, Scene
from sidgan.types import AS_LEARNT, FaceTrack, Opening

FRAMES, SPOILT, SIDE = 120, 40, 64


class Copying:
    """An engine whose network puts the mean of its reference pictures where it may not see the face."""

    references, kind, size, opens = 2, "torch", SIDE, False

    def fitting(self, side: float) -> Copying:
        return self

    def encode_reference(self, images: np.ndarray, opening: Opening = AS_LEARNT) -> np.ndarray:
        return images.mean(0)

    def run(self, faces: np.ndarray, masks: np.ndarray, mels: Any, reference: Any, placed: Any) -> np.ndarray:
        assert len(faces) == len(mels) == len(placed) == rehearsal.TAKES
        return np.where(masks[..., None] > 0, reference, faces).astype(np.uint8)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A person with a green light from below at first, in pictures so noisy that they look sharp."""
    scene = Scene(Person(3), LINES["morning"], seconds=FRAMES / 25, size=(240, 240))
    noise = np.random.default_rng(0).normal(0, 12, (240, 240, 1))
    tint = 1 - 0.4 * (np.arange(240) > 150)[:, None, None] * (1.0, 0.0, 1.0)
    images = [shot.image for shot in scene]
    for image in images[:SPOILT]:
        image[:] = (image * tint + noise).clip(0, 255)
    path = tmp_path_factory.mktemp("film") / "talk.mp4"
    media.write_clip(path, iter(images), 25, scene.audio(16_000), crf=4)
    return path


@pytest.fixture(scope="module")
def analysed(film: Path) -> Analysis:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Captions, "add", lambda *_: None)  # noise that stays in its place would be letters
        return analyse(media.probe(film), "largest", lambda stage, done, total: None)


@pytest.fixture
def seen(analysed: Analysis) -> Analysis:
    return copy.deepcopy(analysed)


def person_of(seen: Analysis) -> TrackedFace:
    (person,) = seen.usable
    return person


def view_of(seen: Analysis) -> View:
    (view,) = person_of(seen).views
    return view


def trial_of(person: TrackedFace) -> rehearsal.Rehearsal:
    return rehearsal.Rehearsal(person, person.views[0], Copying())  # type: ignore[arg-type]


def test_a_pair_is_chosen_with_which_the_face_is_drawn_as_it_was_filmed(film: Path, seen: Analysis) -> None:
    clip, person = media.probe(film), person_of(seen)
    sharpest = copy.deepcopy(person)
    likeness = References(lambda _: media.read_frames(clip), [sharpest], SIDE, 2).likeness(sharpest, sharpest.views[0])
    shown = [(sharpest.points == points).all((1, 2)).argmax() for points in likeness.points]
    assert min(shown) < SPOILT  # what is sharp alone is spoilt
    rehearse(clip, seen, Copying(), {})  # type: ignore[arg-type]
    closed, wide = view_of(seen).chosen
    assert min(closed, wide) >= SPOILT
    assert person.sources(view_of(seen), 2) == [(person, [closed]), (person, [wide])]
    assert len(person.sources(view_of(seen))[0][1]) > 1  # whether somebody can be redrawn is not decided by this
    opening = np.linalg.norm(person.points[:, 62] - person.points[:, 66], axis=1)
    assert opening[person.row(closed)] < opening[person.row(wide)]


def test_shut_lips_are_tried_as_well(film: Path, seen: Analysis) -> None:
    class Three(Copying):
        references = 3

    clip, person, view = media.probe(film), person_of(seen), view_of(seen)
    rehearse(clip, seen, Three(), {})  # type: ignore[arg-type]
    chosen, view.chosen = view.chosen, ()
    (_, wide, shut), groups = chosen, person.candidates(view_of(seen), 3)
    assert shut in groups[2]
    assert min(groups[2]) < SPOILT <= shut, "some are spoilt"
    assert mouth_opening(person.points[[person.row(shut)]]) < mouth_opening(person.points[[person.row(wide)]])


def test_what_is_covered_is_not_tried_with(seen: Analysis) -> None:
    person = person_of(seen)
    person.covers = {row: np.full((24, 24), 255, np.uint8) for row in range(60)}
    assert min(trial_of(person).wanted) >= person.track.first + 60
    person.covers = {row: np.full((24, 24), 255, np.uint8) for row in range(FRAMES)}
    assert len(trial_of(person)._takes) == rehearsal.TAKES


@pytest.mark.parametrize("weight", ["LIPS", "MOTION"])
def test_a_mouth_that_does_not_move_counts_less(
    film: Path, seen: Analysis, monkeypatch: pytest.MonkeyPatch, weight: str
) -> None:
    """Drawn as filmed, or always with the mouth of one picture: only this costs more where lips or motion count."""

    class Perfect(Copying):
        def run(self, faces: np.ndarray, *_: Any) -> np.ndarray:
            return faces  # what is hidden, too

    def scores(counts: float) -> list[float]:
        monkeypatch.setattr(rehearsal, weight, counts)
        found = []
        for tried._engine in (Perfect(), Copying()):  # type: ignore[assignment]
            mels = np.zeros((rehearsal.TAKES, 1, 80, 28), np.float32)
            found.append(tried._score([tried._filmed[0]] * 2, mels, 0.0))
        return found

    person = person_of(seen)
    person.covers = {row: np.full((24, 24), 255, np.uint8) for row in range(SPOILT)}  # noise, as sharpness, would count
    tried = seen_by(trial_of(person), film)
    (perfect, still), (moving, mumbling) = scores(0.0), scores(1.0 if weight == "MOTION" else 75.0)
    assert moving == perfect > 50
    assert mumbling < still - 0.1


def test_each_frame_is_tried_with_its_own_sound_and_closed_lips_come_first(
    film: Path, seen: Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, late = person_of(seen).track, 50
    later = {name: getattr(whole, name)[late:] for name in ("visible", "landmarks", "matrices", "scores", "pose")}
    person, mel = TrackedFace(FaceTrack(late, **later)), listen(film).mel
    tried = []

    def filmed(engine: Any, jobs: Sequence[Job], likeness: Likeness, _: Any) -> np.ndarray:
        tried.append(likeness.points)
        times = [seen.times[person.track.first + job.row] for job in jobs]
        assert np.array_equal([job.mel for job in jobs], audio.mel_windows(mel, times))
        return np.stack([job.crop for job in jobs])

    monkeypatch.setattr(rehearsal, "redraw", filmed)
    seen_by(trial_of(person), film).choose(seen.times, mel)
    assert person.views[0].chosen
    assert len(tried) > 2
    for closed, wide in tried:
        assert mouth_opening(closed[None]) < mouth_opening(wide[None])


def seen_by(trial: rehearsal.Rehearsal, film: Path) -> rehearsal.Rehearsal:
    """The trial, after it has seen the frames that it wants."""
    for frame in media.read_frames(media.probe(film)):
        if frame.index in trial.wanted:
            trial.see(frame)
    return trial


def test_the_choice_is_kept_with_what_else_was_found(film: Path, seen: Analysis, tmp_path: Path) -> None:
    rehearse(media.probe(film), seen, Copying(), {})  # type: ignore[arg-type]
    view_of(seen).opening, person_of(seen).cut = Opening(0.3, 1.0), frozenset({1, 7})
    seen.save(tmp_path / "seen.npz")
    again = Analysis.load(tmp_path / "seen.npz")
    assert view_of(again).chosen == view_of(seen).chosen != ()
    assert view_of(again).opening == Opening(0.3, 1.0)
    assert person_of(again).cut == {1, 7}


@pytest.mark.parametrize("best", [Opening(0.6), Opening(-0.3, 1.0), Opening(0.0, 1.0)])
def test_a_mouth_opens_as_suits_the_face(film: Path, seen: Analysis, best: Opening) -> None:
    class Opening(Copying):
        opens = True

        def encode_reference(self, images: np.ndarray, opening: Opening = AS_LEARNT) -> Any:
            return images[0], opening

        def run(self, faces: np.ndarray, masks: np.ndarray, mels: Any, reference: Any, placed: Any) -> np.ndarray:
            picture, opening = reference
            like = super().run(faces, masks, mels, picture, placed)
            close = (opening.further == best.further) + (opening.swing == best.swing)  # neither, one of them, or both
            return ((faces.astype(int) * close + like.astype(int) * (2 - close)) // 2).astype(np.uint8)

    rehearse(media.probe(film), seen, Opening(), {})  # type: ignore[arg-type]
    assert view_of(seen).opening == best


def test_the_bundled_network_opens_a_mouth_further_as_told(film: Path, seen: Analysis) -> None:
    person, engine, clip = person_of(seen), Dubber(device="cpu").engine.fitting(128), media.probe(film)
    rows = list(range(SPOILT, FRAMES, 10))
    frames = {frame.index: frame for frame in media.read_frames(clip)}
    pictures = [geometry.crop_face(frames[row], person.track.matrices[row], 128).image for row in rows]
    mels = audio.mel_windows(listen(film).mel, [seen.times[row] for row in rows])
    jobs = [Job(person, row, picture, mel, 1.0) for row, picture, mel in zip(rows, pictures, mels, strict=True)]
    likeness = Likeness.of(pictures[:3], person.points[rows[:3]])
    assert engine.opens

    def found(opening: Opening) -> Any:
        drawn = redraw(engine, jobs, likeness, engine.encode_reference(likeness.pictures, opening))
        points = [found_again(image, person.points[row]) for image, row in zip(drawn, rows, strict=True)]
        return mouth_opening(np.stack(points))

    means = [found(Opening(further)).mean() for further in sorted(rehearsal.OPENINGS)]
    assert (np.diff(means) > 0.005).all(), means
    ranges = [found(Opening(0.0, swing)).std() for swing in rehearsal.SWINGS]
    assert ranges[1] > 1.2 * ranges[0], ranges


def test_references_show_the_whole_jaw(seen: Analysis) -> None:
    person, first = person_of(seen), person_of(seen).track.first
    person.cut = frozenset(range(80))
    assert min(index for group in person.candidates(view_of(seen), 3) for index in group) >= first + 80
    person.cut = frozenset(range(FRAMES - 5))  # hardly any frame shows it: then the others have to do
    assert min(index for group in person.candidates(view_of(seen), 3) for index in group) < first + FRAMES - 5


def test_frames_whose_edge_cuts_off_the_chin_are_known(film: Path, seen: Analysis, tmp_path: Path) -> None:
    assert person_of(seen).cut == frozenset()
    chin = person_of(seen).track.landmarks[SPOILT : SPOILT + 30, 8, 1]
    height = int(np.median(chin)) // 2 * 2
    pictures = [image[:height] for _, image in islice(media.read_rgb(film), SPOILT, SPOILT + 30)]
    media.write_clip(tmp_path / "low.mp4", iter(pictures), 25, crf=10)
    low = person_of(analyse(media.probe(tmp_path / "low.mp4"), "largest", lambda stage, done, total: None))
    beyond = chin >= height + 1
    assert 3 < beyond.sum() < 27
    assert {row for row in range(30) if beyond[row]} <= low.cut
    assert len(low.cut) < 30


def test_an_own_network_tries_for_its_face(film: Path, seen: Analysis) -> None:
    class Never(Copying):
        def run(self, *given: Any) -> np.ndarray:
            pytest.fail("another network drew")

    rehearse(media.probe(film), seen, Never(), {0: Copying()})  # type: ignore[arg-type, dict-item]
    assert view_of(seen).chosen


@pytest.mark.parametrize("why", ["silent film", "unreadable sound", "short", "one reference"])
def test_where_nothing_can_be_tried_nothing_is_chosen(
    film: Path, seen: Analysis, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def unreadable(*_: Any) -> None:
        raise InputError("no sound")

    engine, clip = Copying(), media.probe(film)
    if why == "silent film":
        clip = replace(clip, audio_rate=None)
    if why == "unreadable sound":
        monkeypatch.setattr(rehearsal, "listen", unreadable)
    if why == "short":
        monkeypatch.setattr(rehearsal, "FEWEST", FRAMES + 1)
    if why == "one reference":
        engine.references = 1
    rehearse(clip, seen, engine, {})  # type: ignore[arg-type]
    assert view_of(seen).chosen == ()

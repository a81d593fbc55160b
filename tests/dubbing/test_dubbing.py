"""Dubbing: every frame keeps its time, only the hidden box changes, and nothing under it is ever looked at."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
import torch
from made_files import copy_clip
from small import save_networks

from sidgan import dubbing, geometry, media, provenance
from sidgan.blend import Steady, ToneMatch, mouth_alpha, polygon
from sidgan.blend.tone import GAIN
from sidgan.dubbing import Dubber, drawing, dub, redrawing, strip
from sidgan.dubbing.analysis import first_pass, looking
from sidgan.engine import Engine
from sidgan.errors import CheckpointError, ConfigError, InputError, NoFaceError, OutputError, SidganError
from sidgan.faces import search, track_faces
from sidgan.faces.pose import head_pose
from sidgan.jobs import Job
from sidgan.media import player
from sidgan.nn import Generator
from sidgan.people import Likeness, References, TrackedFace, sharpness, tracked
from sidgan.synth import LINES, Scene
from sidgan.synth import Person as Drawn
from sidgan.timeline import Length, Timeline
from sidgan.types import FaceTrack, Frame

FACES, EMPTY = 14, 5  # frames with and then without a face
SIZE = (256, 320)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """voice.wav; film.mp4 of uneven rate, a face first and an empty room then; empty.mp4; text.mp4; mute.mp4."""
    folder = tmp_path_factory.mktemp("films")
    scene = Scene(Drawn(3), LINES["hello"], seconds=FACES / 30 + 0.001, rate=Fraction(30), size=SIZE)
    images = [shot.image for shot in scene]
    assert len(images) == FACES
    room = np.full((*SIZE, 3), 235, np.uint8)
    media.write_clip(folder / "even.mp4", images + [room] * EMPTY, Fraction(30), crf=8)
    media.write_clip(folder / "empty.mp4", [room] * 8, Fraction(30))
    clip = media.probe(folder / "even.mp4")
    with media.Writer(folder / "film.mp4", clip, encoding=media.Encoding(crf=8)) as writer:
        for frame in media.read_frames(clip):
            writer.write(dataclasses.replace(frame, time=frame.time + Fraction(frame.index % 3, 120)))  # it jitters
    media.write_wav(folder / "voice.wav", Scene(Drawn(3), LINES["morning"], seconds=3.0).audio(16_000), 16_000)
    (folder / "text.mp4").write_text("this is not a film")
    return folder


@pytest.fixture(scope="module")
def tracks(folder: Path) -> list[FaceTrack]:
    return track_faces(media.read_frames(media.probe(folder / "film.mp4")))[0]


@pytest.fixture(scope="module")
def dubbed(folder: Path, generator: Generator) -> tuple[Path, dubbing.DubReport, list[tuple[Frame, Frame]]]:
    pairs: list[tuple[Frame, Frame]] = []
    out = folder / "dubbed.mp4"
    report = dub(
        folder / "film.mp4", folder / "voice.wav", out, generator=generator, device="cpu",
        on_frame=lambda *pair: pairs.append(pair),
    )  # fmt: skip
    return out, report, pairs


def times(path: Path) -> list[Fraction]:
    return [frame.time for frame in media.read_frames(media.probe(path))]


def fake_tracker(monkeypatch: pytest.MonkeyPatch, tracks: list[FaceTrack]) -> None:
    class Fixed:
        cuts: tuple[int, ...] = ()

        def add(self, frame: Frame) -> None:
            self.at = frame.index

        def here(self) -> dict[int, np.ndarray]:
            found = enumerate(tracks)
            return {i: track.landmarks[self.at - track.first] for i, track in found if self.at in track.frames}

        def finish(self) -> list[FaceTrack]:
            return tracks

    monkeypatch.setattr(first_pass, "Tracker", Fixed)


def mirror(monkeypatch: pytest.MonkeyPatch, edit: Callable[[Frame], Frame]) -> None:
    """Let every reader of frames see edited ones."""
    read = media.read_frames
    for module in (media, player):
        monkeypatch.setattr(module, "read_frames", lambda clip, **how: (edit(f) for f in read(clip, **how)))


def box_in_frame(track: FaceTrack, index: int) -> tuple[float, float, float, float]:
    """The hidden box of a frame in px: left, top, right, bottom."""
    person = TrackedFace(track)
    row = person.row(index)
    corners = geometry.transform(track.matrices[row], person.boxes[row].reshape(2, 2))
    return (*corners[0], *corners[1])


# ------------------------------------------------------------------------------------------------------ the whole way


def test_every_frame_is_there_at_its_time(dubbed: Any, folder: Path) -> None:
    out, report, pairs = dubbed
    expected = times(folder / "film.mp4")
    assert len(set(np.diff([float(t) for t in expected]).round(6))) > 1  # the rate does vary
    assert times(out) == expected
    assert [before.index for before, _ in pairs] == list(range(len(expected)))
    assert report.frames == len(expected) == FACES + EMPTY
    assert report.dubbed == FACES
    assert report.passed == ((FACES, FACES + EMPTY - 1, "no face"),)


def test_the_report_says_what_it_cost(dubbed: Any) -> None:
    _, report, _ = dubbed
    told = report.to_dict()
    stages = {"analyse", "listen", "mark", "crop", "reference", "network", "blend", "write", "verify"}
    assert stages == set(told["seconds"])
    assert max(told["seconds"].values()) <= told["wall"]
    assert sum(told["seconds"][stage] for stage in ("analyse", "listen", "mark", "network", "verify")) <= told["wall"]
    assert told["memory"] > 10
    assert told["cpu"] > 0
    assert told["face_side"] == pytest.approx(145, abs=25)


def test_the_output_speaks_with_the_new_voice_and_says_that_it_was_altered(dubbed: Any, folder: Path) -> None:
    out, _, _ = dubbed
    heard, said = media.read_audio(out), media.read_audio(folder / "voice.wav")
    count = min(len(heard), len(said))
    assert count == pytest.approx(16_000 * float(times(out)[-1]), abs=1600)  # it ends with the pictures
    assert np.corrcoef(heard[:count], said[:count])[0, 1] > 0.95
    with av.open(str(out)) as file:
        assert "altered by sidgan" in file.metadata["comment"]


def test_smoothing_can_be_turned_off(folder: Path, dubbed: Any, generator: Generator, tmp_path: Path) -> None:
    sharp: list[Frame] = []
    dub(folder / "film.mp4", folder / "voice.wav", tmp_path / "out.mp4", generator=generator, device="cpu", steady=0.0,
        on_frame=lambda _, after: sharp.append(after))  # fmt: skip
    same = [media.digest(after) == media.digest(one) for (_, after), one in zip(dubbed[2], sharp, strict=True)]
    assert same == [True] + [False] * (FACES - 1) + [True] * EMPTY  # there is nothing before the first


def test_only_the_hidden_box_changes(dubbed: Any, tracks: list[FaceTrack]) -> None:
    _, _, pairs = dubbed
    for before, after in pairs[:FACES]:
        assert after is not before
        left, top, right, bottom = box_in_frame(tracks[0], before.index)
        for plane, old, step in zip(after.planes, before.planes, (1, 2, 2), strict=True):
            changed = plane != old
            rows, columns = np.nonzero(changed.any(1))[0] * step, np.nonzero(changed.any(0))[0] * step
            assert changed.mean() > 0.01
            assert top - 3 <= rows[0]
            assert rows[-1] <= bottom + 1
            assert left - 3 <= columns[0]
            assert columns[-1] <= right + 3
    assert all(before is after for before, after in pairs[FACES:])


def test_what_is_under_the_mask_has_no_influence(
    folder: Path, generator: Generator, tracks: list[FaceTrack], monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[np.ndarray] = []
    run = Engine.run
    monkeypatch.setattr(Engine, "run", lambda *args: drawn.append(run(*args)) or drawn[-1])
    monkeypatch.setattr(tracked, "REFERENCE_FRAMES", 1)  # a reference may show its mouth: keep it out of this
    fake_tracker(monkeypatch, tracks)

    def scribbled(inset: float) -> Callable[[Frame], Frame]:
        def edit(frame: Frame) -> Frame:
            if not 0 < frame.index < FACES:
                return frame
            copy = media.editable(frame)
            left, top, right, bottom = (round(v) for v in box_in_frame(tracks[0], frame.index))
            noise = np.random.default_rng(frame.index)
            for plane, step in zip(copy.planes, (1, 2, 2), strict=True):
                rim = round(inset * step) if step == 1 else round(inset)
                part = plane[top // step + rim : bottom // step, left // step + rim : right // step - rim]
                part[...] = noise.integers(0, 256, part.shape)
            return copy

        return edit

    results = []
    for edit in (None, scribbled(10), scribbled(-20)):
        with monkeypatch.context() as patch:
            if edit is not None:
                mirror(patch, edit)
            drawn.clear()
            out = folder / "scribbled.mp4"
            dub(folder / "film.mp4", folder / "voice.wav", out, generator=generator, device="cpu")
            results.append(np.concatenate(drawn))
    assert np.array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])  # what lies beside the mask has


def test_a_perfect_network_would_leave_no_trace(folder: Path, generator: Generator) -> None:
    class Copy:
        size, batch, references, used = 512, 4, 1, "copy"

        def fitting(self, side: float) -> Copy:
            return self

        def encode_reference(self, images: np.ndarray, opening: object) -> dict[int, torch.Tensor]:
            return {}

        def run(self, crops: np.ndarray, *_: object) -> np.ndarray:
            return crops

    dubber = Dubber(generator=generator, device="cpu")
    dubber.engine = Copy()  # type: ignore[assignment]
    errors = []

    def look(before: Frame, after: Frame) -> None:
        errors.append(np.abs(before.planes[0].astype(int) - after.planes[0])[before.planes[0] != after.planes[0]])

    report = dubber.dub(folder / "film.mp4", folder / "voice.wav", folder / "copy.mp4", on_frame=look)
    assert report.engine == "copy"
    changes = np.concatenate(errors)  # resampling softens the grain a little
    assert 0 < changes.mean() < 3
    assert (changes > 10).mean() < 0.02  # of the 10,000 that differ; 100,000 are hidden


def test_a_voice_shorter_than_the_video_leaves_the_rest_alone(
    folder: Path, generator: Generator, tmp_path: Path
) -> None:
    seconds = times(folder / "film.mp4")[10]
    samples = media.read_audio(folder / "voice.wav")[: int(seconds * 16_000)]
    media.write_wav(tmp_path / "short.wav", samples, 16_000)
    same = []
    report = dub(
        folder / "film.mp4", tmp_path / "short.wav", tmp_path / "out.mkv", generator=generator, device="cpu",
        on_frame=lambda before, after: same.append(before is after),
    )  # fmt: skip
    first = report.passed[0][0]
    assert first in (10, 11)  # the file holds whole samples
    assert report.passed == ((first, FACES - 1, "voice is over"), (FACES, FACES + EMPTY - 1, "no face"))
    assert same == [False] * first + [True] * (FACES + EMPTY - first)
    assert len(times(tmp_path / "out.mkv")) == FACES + EMPTY


# ---------------------------------------------------------------------------------------------------------- what fails


@pytest.mark.parametrize(
    ("change", "error", "word"),
    [
        ({"video": "missing.mp4"}, InputError, "missing.mp4"),
        ({"video": "text.mp4"}, InputError, "text.mp4"),
        ({"video": "voice.wav"}, InputError, "voice.wav"),
        ({"video": "empty.mp4"}, NoFaceError, "no face found in"),
        ({"audio": "missing.wav"}, InputError, "missing.wav"),
        ({"audio": "empty.mp4"}, InputError, "no sound"),
        ({"out": "nowhere/out.mp4"}, OutputError, "nowhere"),
        ({"out": "out.txt"}, OutputError, "container"),
        ({"out": "film.mp4"}, OutputError, "one of the inputs"),
        ({"faces": "smallest"}, ConfigError, "largest"),
        ({"crf": 99}, ConfigError, "crf"),
        ({"device": "abacus"}, ConfigError, "abacus"),
        ({"generator": None, "model": "missing.safetensors"}, CheckpointError, "missing.safetensors"),
    ],
)
def test_what_cannot_work_is_one_line_and_leaves_no_file(
    change: dict[str, Any], error: type[SidganError], word: str, folder: Path, generator: Generator
) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    settings: dict[str, Any] = {"video": "film.mp4", "audio": "voice.wav", "out": "out.mp4"}
    settings |= {"generator": generator, "device": "cpu"} | change
    for name in ("video", "audio", "out"):
        settings[name] = folder / settings[name]
    with pytest.raises(error) as caught:
        dub(**settings)
    assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def test_an_output_that_lost_frames_is_told_and_removed(
    folder: Path, generator: Generator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = media.SegmentWriter.write
    monkeypatch.setattr(media.SegmentWriter, "write", lambda self, frame: frame.index == 3 or write(self, frame))
    with pytest.raises(SidganError, match=f"{FACES + EMPTY - 1} frames"):
        dub(folder / "film.mp4", folder / "voice.wav", tmp_path / "out.mp4", generator=generator, device="cpu")
    assert not list(tmp_path.iterdir())


# -------------------------------------------------------------------------------------------------------- who is drawn


def moved(track: FaceTrack, x: float, **change: Any) -> FaceTrack:
    shift = np.zeros((2, 3), np.float32)
    shift[0, 2] = x
    return dataclasses.replace(
        track, landmarks=track.landmarks + np.float32([x, 0]), matrices=track.matrices + shift, **change
    )


def test_largest_stays_with_one_face_and_all_redraws_every_face(
    folder: Path, generator: Generator, tracks: list[FaceTrack], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = tracks[0]
    visible = first.visible.copy()
    visible[6:9] = False
    fake_tracker(monkeypatch, [moved(first, -80, visible=visible), moved(first, 80)])
    monkeypatch.setattr(looking, "LONGEST_LOSS", 0)  # such a short loss would be bridged
    middle = SIZE[1] // 2
    for faces, expected in (("largest", {(True, False), (False, False)}), ("all", {(True, True), (False, True)})):
        sides = []

        def look(before: Frame, after: Frame, sides: list[tuple[bool, bool]] = sides) -> None:
            changed = (before.planes[0] != after.planes[0]).any(0)
            sides.append((bool(changed[: middle - 40].any()), bool(changed[middle + 40 :].any())))

        out = folder / "two.mp4"
        report = dub(
            folder / "film.mp4", folder / "voice.wav", out, faces=faces, generator=generator, device="cpu",
            on_frame=look,
        )  # fmt: skip
        assert set(sides[:FACES]) == expected
        assert [not left for left, _ in sides[:FACES]] == [not v for v in visible]
        assert ((6, 8, "face not visible") in report.passed) == (faces == "largest")


def test_small_and_turned_faces_are_left_alone(tracks: list[FaceTrack]) -> None:
    track = tracks[0]
    pose, matrices = track.pose.copy(), track.matrices.copy()
    pose[4, 0] = -75
    pose[6, 2] = head_pose(geometry.transform(np.array([[0.64, -0.77, 0], [0.77, 0.64, 0]]), track.landmarks[6]))[2]
    matrices[5, 0, 0] = matrices[5, 1, 1] = 50
    person = TrackedFace(dataclasses.replace(track, pose=pose, matrices=matrices, first=100))
    refusals = [person.refusal(i) for i in person.track.frames]
    assert "turned" in (refusals[4] or "")
    assert "smaller" in (refusals[5] or "")
    assert "tilted" in (refusals[6] or "")
    assert {r for i, r in enumerate(refusals) if i not in (4, 5, 6)} == {None}
    assert {104, 105, 106}.isdisjoint(person.candidates(person.views[0])[0])
    assert all({104, 105, 106}.isdisjoint(group) for group in person.candidates(person.views[0], 2))


@pytest.mark.parametrize("lines", [112, 144, 176])
def test_a_face_that_fills_a_small_picture_is_found(lines: int) -> None:
    scene = Scene(Drawn(3), LINES["hello"], seconds=0.041, rate=Fraction(25), size=(lines, lines))
    (face,) = search(cv2.cvtColor(next(iter(scene)).image, cv2.COLOR_RGB2GRAY))
    assert abs(face.landmarks[:, 0].mean() - lines / 2) < lines / 10


def test_only_unusable_faces_are_no_faces(
    folder: Path, generator: Generator, tracks: list[FaceTrack], monkeypatch: pytest.MonkeyPatch
) -> None:
    pose = np.full_like(tracks[0].pose, 80)
    fake_tracker(monkeypatch, [dataclasses.replace(tracks[0], pose=pose)])
    with pytest.raises(NoFaceError, match="turned"):
        dub(folder / "film.mp4", folder / "voice.wav", folder / "out.mp4", generator=generator, device="cpu")


def test_the_reference_is_the_sharpest_frontal_frame(folder: Path, tracks: list[FaceTrack]) -> None:
    pose = np.zeros_like(tracks[0].pose)
    pose[7, 0] = 30  # sharp, but turned
    person = TrackedFace(dataclasses.replace(tracks[0], pose=pose))

    def blurred() -> Iterator[Frame]:
        for frame in media.read_frames(media.probe(folder / "film.mp4")):
            copy = media.editable(frame)
            if frame.index not in (7, 11):
                copy.planes[0][...] = cv2.GaussianBlur(np.ascontiguousarray(copy.planes[0]), (0, 0), 3)
            yield copy

    (picture,) = References(lambda _: blurred(), [person], 64).likeness(person, person.views[0]).pictures
    frame = next(islice(blurred(), 11, None))
    assert np.array_equal(picture, geometry.crop_face(frame, person.track.matrices[11], 64).image)


def test_two_references_show_the_lips_closed_and_open(folder: Path, tracks: list[FaceTrack]) -> None:
    landmarks = tracks[0].landmarks.copy()
    landmarks[:, 66] = landmarks[:, 62] + (0, 5)
    landmarks[[4, 6, 8, 9], 66] += np.array([[0, -4], [0, -3.5], [0, -3], [0, 8]])
    landmarks[2, 66] += (0, 9)  # the widest, but turned
    pose = np.zeros_like(tracks[0].pose)
    pose[2, 0] = 30
    person = TrackedFace(dataclasses.replace(tracks[0], landmarks=landmarks, pose=pose))
    (view,), film = person.views, media.probe(folder / "film.mp4")
    pictures = References(lambda _: media.read_frames(film), [person], 64, 2).likeness(person, view).pictures
    frames = list(islice(media.read_frames(film), 10))
    crops = [geometry.crop_face(f, m, 64).image for f, m in zip(frames, person.track.matrices, strict=False)]
    assert person.candidates(view, 2) == [[4, 6, 8], [9]]  # lips that are pressed together show little of themselves
    for picture, group in zip(pictures, ((4, 6, 8), (9,)), strict=True):
        assert np.array_equal(picture, crops[max(group, key=lambda i: sharpness(crops[i]))])


def test_no_more_than_a_few_batches_wait(
    folder: Path, generator: Generator, tracks: list[FaceTrack], monkeypatch: pytest.MonkeyPatch
) -> None:
    visible = np.zeros_like(tracks[0].visible)
    visible[::9] = True  # a face now and then: the batch never fills
    fake_tracker(monkeypatch, [dataclasses.replace(tracks[0], visible=visible)])
    monkeypatch.setattr(looking, "LONGEST_LOSS", 0)
    newest = held = 0

    def count(frame: Frame) -> Frame:
        nonlocal newest
        newest = frame.index
        return frame

    def look(before: Frame, after: Frame) -> None:
        nonlocal held
        time.sleep(1.0 if before.index == 0 else 0)  # the stages before this one work ahead as far as they may
        held = max(held, newest - before.index + 1)

    mirror(monkeypatch, count)
    dubber = Dubber(generator=generator, device="cpu", batch=1)
    dubber.dub(folder / "film.mp4", folder / "voice.wav", folder / "held.mp4", on_frame=look)
    stages = 5
    assert 1 < held <= stages * drawing.MAX_HELD


def test_the_network_goes_on_while_frames_are_encoded(
    folder: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn, ready = 0, threading.Event()
    run, write = Engine.run, media.SegmentWriter.write

    def counted(*args: Any) -> Any:
        nonlocal drawn
        drawn += 1
        if drawn == 3:
            ready.set()
        return run(*args)

    def waits(writer: media.SegmentWriter, frame: Frame) -> None:
        assert ready.wait(30)  # for a batch that nothing before this one needs
        write(writer, frame)

    monkeypatch.setattr(Engine, "run", counted)
    monkeypatch.setattr(media.SegmentWriter, "write", waits)
    monkeypatch.setattr("sidgan.dubbing.passes.rehearse", lambda *_: None)  # it draws too
    Dubber(generator=generator, device="cpu", batch=1).dub(
        folder / "film.mp4", folder / "voice.wav", folder / "along.mp4"
    )
    assert drawn > 3


def test_an_error_in_any_stage_ends_the_dub_and_all_threads(folder: Path, generator: Generator) -> None:
    dubber = Dubber(generator=generator, device="cpu")
    threads = threading.active_count()

    def fail(*_: object) -> None:
        raise ZeroDivisionError

    for place in ("sidgan.geometry.crop_face", "sidgan.engine.Engine.run", "sidgan.geometry.paste_face"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(place, fail)
            with pytest.raises(ZeroDivisionError):
                dubber.dub(folder / "film.mp4", folder / "voice.wav", folder / "broken.mp4")
        assert threading.active_count() == threads
        assert not list(folder.glob("broken*"))


def test_whoever_watches_may_stop_the_dub(folder: Path, generator: Generator) -> None:
    threads = threading.active_count()

    def stop(before: Frame, after: Frame) -> None:
        if before.index == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        dub(folder / "film.mp4", folder / "voice.wav", folder / "stopped.mp4", generator=generator, device="cpu",
            on_frame=stop)  # fmt: skip
    assert threading.active_count() == threads
    assert not list(folder.glob("stopped*"))


def test_without_emphasis_the_voice_does_not_matter(folder: Path, generator: Generator, tmp_path: Path) -> None:
    def drawn(voice: Path, emphasis: float) -> list[np.ndarray]:
        frames: list[np.ndarray] = []
        dub(
            folder / "film.mp4", voice, tmp_path / "out.mp4", generator=generator, device="cpu", emphasis=emphasis,
            on_frame=lambda before, after: frames.append(after.planes[0].copy()),
        )  # fmt: skip
        return frames

    voices = [folder / "voice.wav", tmp_path / "other.wav"]
    media.write_wav(voices[1], Scene(Drawn(3), LINES["hello"], seconds=3.0).audio(16_000), 16_000)
    still, moving = ([drawn(voice, emphasis)[:5] for voice in voices] for emphasis in (0.0, 1.0))
    assert np.array_equal(*still)
    assert not np.array_equal(*moving)
    with pytest.raises(ConfigError, match="emphasis must be 0 to 3"):
        drawn(voices[0], 4.0)


# -------------------------------------------------------------------------------------------------- engine and blending


def test_grouping_does_not_change_a_bit(generator: Generator) -> None:
    rng = np.random.default_rng(0)
    engine = Engine(generator, "cpu", batch=4)
    crops = rng.integers(0, 256, (11, 64, 64, 3)).astype(np.uint8)
    masks = np.stack([geometry.mask_image(np.array([0.2, 0.6, 0.8, 1]), 64)] * 11)
    mels = rng.uniform(-4, 4, (11, 1, 80, 28)).astype(np.float32)
    reference = engine.encode_reference(crops[:1])
    whole = engine.run(crops, masks, mels, reference)
    assert whole.shape == crops.shape
    assert whole.dtype == np.uint8
    for cuts in ([0, 3, 11], [0, 1, 2, 7, 11], list(range(12))):
        parts = [engine.run(crops[a:b], masks[a:b], mels[a:b], reference) for a, b in pairwise(cuts)]
        assert np.array_equal(np.concatenate(parts), whole)
    scribbled = np.where(masks[..., None] > 0, rng.integers(0, 256, crops.shape).astype(np.uint8), crops)
    assert np.array_equal(engine.run(scribbled, masks, mels, reference), whole)
    assert not np.array_equal(engine.run(crops, masks, mels[::-1], reference), whole)
    assert engine.run(crops[:0], masks[:0], mels[:0], reference).shape == (0, 64, 64, 3)


@pytest.mark.parametrize("size", [64, 128, 512])
@pytest.mark.parametrize("drop", [-0.05, 0.0, 0.05, 0.4])
def test_alpha_covers_both_mouths_and_chins_and_stays_in_the_box(
    size: int, drop: float, tracks: list[FaceTrack]
) -> None:
    person = TrackedFace(tracks[0])
    old, box = person.points[5], person.boxes[5]
    new = old.copy()
    new[5:12, 1] += drop  # another chin, another mouth
    new[55:60, 1] += drop
    alpha = mouth_alpha(size, box, old, new)
    assert alpha.min() == 0
    assert alpha.max() == 1
    assert not alpha[geometry.mask_image(box, size) == 0].any()
    assert not alpha[[0, -1]].any()
    assert not alpha[:, [0, -1]].any()
    assert not alpha[: int(old[geometry.NOSE_BASE, 1] * size)].any()
    inner = (old[geometry.OUTER_LIPS].mean(0) + 0.98 * (old - old[geometry.OUTER_LIPS].mean(0)))[48:68]
    for x, y in inner:
        assert alpha[int(y * size), int(x * size)] == 1
    for x, y in np.concatenate([old[7:10], new[7:10]]):
        if y < 0.9:
            assert alpha[int(y * size), int(x * size)] > 0.9
    if size == 512:  # soft wherever it is not bounded by the lips
        assert np.abs(np.diff(alpha[int(0.8 * size)])).max() < 0.1


def test_tone_is_matched_within_limits_and_without_flicker(tracks: list[FaceTrack]) -> None:
    person = TrackedFace(tracks[0])
    old, box = person.points[5], person.boxes[5]
    source = np.random.default_rng(0).integers(60, 180, (128, 128, 3)).astype(np.uint8)
    assert np.abs(ToneMatch()(source, source, box, old, 0) - source).max() < 0.2
    drawn = np.round((source.astype(float) - 8) / 1.05).astype(np.uint8)
    assert np.abs(ToneMatch()(drawn, source, box, old, 0) - source).max() < 2
    far = ToneMatch()(np.full_like(source, 20), source, box, old, 0)
    assert far.max() <= 20 * GAIN[1] + 25.5
    tone = ToneMatch()
    for place in range(20):
        tone(source, source, box, old, place)
    calm = tone(drawn, source, box, old, 20)
    step = np.abs(calm - drawn).mean() / np.abs(source.astype(float) - drawn).mean()
    assert step < 0.15  # a sudden change comes in slowly


def test_each_face_is_hidden_and_aligned_by_its_own_landmarks(tracks: list[FaceTrack]) -> None:
    person, rows, given = TrackedFace(tracks[0]), [1, FACES // 2, FACES - 1], list[tuple[np.ndarray, np.ndarray]]()

    def run(crops: np.ndarray, masks: np.ndarray, mels: object, features: object, places: np.ndarray) -> np.ndarray:
        given.append((masks, places))
        return crops

    engine: Any = SimpleNamespace(size=64, run=run)
    sound = np.zeros((1, 80, 28), np.float32)
    jobs = [redrawing.Job(person, row, np.zeros((64, 64, 3), np.uint8), sound, 1.0) for row in rows]
    shown = person.points[[0, 2]]
    likeness = Likeness.of([job.crop for job in jobs[:2]], shown)
    redrawing.redraw(engine, jobs, likeness, None)  # type: ignore[arg-type]
    ((masks, places),) = given
    for row, mask, place in zip(rows, masks, places, strict=True):
        assert np.array_equal(mask, geometry.mask_image(person.boxes[row], 64))
        assert np.allclose(place, geometry.placement(person.points[[row]], shown)[0], atol=1e-6)


def test_a_face_gets_the_grain_of_its_frame_on_skin_and_clear_lips_at_its_own_size(
    folder: Path, tracks: list[FaceTrack]
) -> None:
    frame = next(media.read_frames(media.probe(folder / "film.mp4")))
    crop = geometry.crop_face(frame, tracks[0].matrices[0], 64).image
    smooth, grainy = media.editable(frame), media.editable(frame)
    smooth.planes[0][...] = 128
    grainy.planes[0][...] = np.random.default_rng(0).integers(108, 149, frame.planes[0].shape)
    made, soft = [], cv2.GaussianBlur(crop, (0, 0), 1.0)
    for one, filmed in ((smooth, crop), (grainy, crop), (smooth, soft)):
        person = TrackedFace(tracks[0])
        job = redrawing.Job(person, 0, filmed, np.zeros((1, 80, 28), np.float32), 1.0)
        made.append(redrawing.finished(one, job, soft, Steady(0)))
    side = round(float(person.sides[0]))
    assert made[0].image.shape == made[1].image.shape == (side, side, 3)
    assert side > 100
    grain = np.abs(made[1].image - made[0].image).mean(2)
    lips = np.zeros((side, side), np.uint8)
    cv2.fillPoly(lips, [(person.points[0][geometry.OUTER_LIPS] * side).astype(np.int32)], 1)
    assert lips.sum() > 100
    assert grain[lips > 0].max() == 0
    assert np.median(grain[(made[1].alpha > 0.9) & (cv2.dilate(lips, np.ones((25, 25))) == 0)]) > 1
    fine = [(one.image - cv2.GaussianBlur(one.image, (0, 0), 3))[lips > 0].std() for one in made]
    assert fine[0] > 1.25 * fine[2], "lips are as clear as they were filmed"


@pytest.mark.parametrize("down", [0.06, -0.04])
def test_the_mask_covers_the_filmed_mouth_and_the_drawn_one_and_ends_at_the_border(
    folder: Path, tracks: list[FaceTrack], monkeypatch: pytest.MonkeyPatch, down: float
) -> None:
    frame = next(media.read_frames(media.probe(folder / "film.mp4")))
    person = TrackedFace(tracks[0])
    old, moved = person.points[0], person.points[0].copy()
    moved[48:68, 1] += down
    moved[5:12, 1] += 3 * down  # the chin
    monkeypatch.setattr(redrawing, "found_again", lambda image, points: moved)
    crop = geometry.crop_face(frame, tracks[0].matrices[0], 64).image
    job = redrawing.Job(person, 0, crop, np.zeros((1, 80, 28), np.float32), 1.0)
    alphas = []
    for reach in (0.0, 0.1):
        monkeypatch.setattr(person, "border", lambda *_, reach=reach: reach)
        alphas.append(redrawing.finished(frame, job, crop, Steady(0)).alpha)
    near, far = alphas
    for points in (old, moved):
        assert near[polygon(len(near), points[geometry.OUTER_LIPS])].min() > 0.8
        chin = (points[8] * len(far)).astype(int)
        assert chin[1] >= len(far) or far[chin[1], chin[0]] > 0.4
    assert (far >= near - 1e-3).all()
    assert far.sum() > 1.1 * near.sum()


def test_a_strip_shows_before_above_after(dubbed: Any, folder: Path, tmp_path: Path) -> None:
    strip(folder / "film.mp4", dubbed[0], tmp_path / "strip.png", count=3, size=96)
    picture = cv2.imread(str(tmp_path / "strip.png")).astype(int)
    assert picture.shape == (192, 288, 3)
    above, below = picture[:96], picture[96:]
    assert np.abs(above[:40] - below[:40]).mean() < 4  # eyes
    assert np.abs(above[60:80, 30:60] - below[60:80, 30:60]).mean() > 10  # mouth
    with pytest.raises(InputError, match="ends before"):
        strip(folder / "film.mp4", dubbed[0], tmp_path / "late.png", times=[60.0])


def test_a_strip_is_spread_over_the_film_with_the_source_in_its_upper_row(tmp_path: Path) -> None:
    for name, level in (("before", 60), ("after", 150)):
        pictures = [np.full((64, 96, 3), level + 8 * i, np.uint8) for i in range(10)]
        media.write_clip(tmp_path / f"{name}.mp4", pictures, Fraction(25), crf=4)
    strip(tmp_path / "before.mp4", tmp_path / "after.mp4", tmp_path / "strip.png", count=2, size=32)
    picture = cv2.imread(str(tmp_path / "strip.png"))
    levels = [int(picture[row, column, 1]) for row in (16, 48) for column in (16, 48)]  # frames 2 and 7 of 10
    assert levels == pytest.approx([60 + 16, 60 + 56, 150 + 16, 150 + 56], abs=3)


@pytest.mark.parametrize(
    ("length", "sources"), [("hold", [2, 7, 9, 9]), ("loop", [2, 7, 2, 7]), ("pingpong", [2, 7, 6, 1])]
)
def test_a_strip_shows_all_of_a_dub_that_is_longer_than_its_video(
    tmp_path: Path, length: Length, sources: list[int]
) -> None:
    source = [np.full((64, 96, 3), 60 + 8 * i, np.uint8) for i in range(10)]
    for name, frames in (("before", 10), ("after", 20)):
        timeline = Timeline([Fraction(i, 25) for i in range(10)], Fraction(10, 25), Fraction(frames, 25), length)
        media.write_clip(tmp_path / f"{name}.mp4", [source[shown.source] for shown in timeline], Fraction(25), crf=4)
    strip(tmp_path / "before.mp4", tmp_path / "after.mp4", tmp_path / "strip.png", length=length, count=4, size=32)
    picture = cv2.imread(str(tmp_path / "strip.png"))
    for row in (16, 48):
        levels = [int(picture[row, 16 + 32 * column, 1]) for column in range(4)]
        assert levels == pytest.approx([60 + 8 * i for i in sources], abs=3)


def test_the_strip_of_a_job_shows_all_of_a_longer_dub(folder: Path, tmp_path: Path) -> None:
    model, _ = save_networks(tmp_path, 64)
    job = Job(folder / "film.mp4", folder / "voice.wav", tmp_path / "out.mp4", model=str(model), length="loop",
              strip=tmp_path / "strip.png", device="cpu")  # fmt: skip
    job.run(lambda *_: None, print)
    strip(job.video, job.out, tmp_path / "same.png", length="loop")
    assert (tmp_path / "strip.png").read_bytes() == (tmp_path / "same.png").read_bytes()
    picture = media.read_picture(tmp_path / "strip.png").astype(int)
    assert picture.shape == (640, 6 * 320, 3)
    assert np.abs(picture[:100] - picture[320:420]).mean() < 6, "above the eyes, nothing is redrawn"


def test_a_strip_is_spread_over_what_was_redrawn(tmp_path: Path) -> None:
    media.write_clip(tmp_path / "before.mp4", [np.full((64, 96, 3), 60 + 8 * i, np.uint8) for i in range(10)],
                     Fraction(25), crf=4)  # fmt: skip
    edited = provenance.Stretches.of([(0.08, 0.16), (0.32, 0.36), (9, 10)])  # frames 2, 3 and 8
    mark = provenance.Mark(model="m", weights="0" * 64, source="0" * 64, voice="0" * 64, edited=edited)
    copy_clip(tmp_path / "before.mp4", tmp_path / "after.mp4", crf=4, tags=mark.tags())
    strip(tmp_path / "before.mp4", tmp_path / "after.mp4", tmp_path / "strip.png", count=3, size=32)
    picture = cv2.imread(str(tmp_path / "strip.png"))
    assert [int(picture[16, column, 1]) for column in (16, 48, 80)] == pytest.approx([60 + 16, 60 + 24, 60 + 64], abs=3)


def test_a_strip_shows_whose_mouth_was_redrawn_beside_somebody_larger(folder: Path, tmp_path: Path) -> None:
    film = [picture for _, picture in islice(media.read_rgb(folder / "film.mp4"), 4)]
    small = [cv2.resize(picture, None, fx=0.7, fy=0.7, interpolation=cv2.INTER_AREA) for picture in film]
    high, wide = small[0].shape[:2]
    for name, changed in (("before", 0), ("after", 1)):
        pictures = []
        for large, other in zip(film, small, strict=True):
            beside = np.full((len(large), wide, 3), 90, np.uint8)
            beside[:high] = other[:, ::-1] if changed else other
            pictures.append(np.hstack([large, beside]))
        media.write_clip(tmp_path / f"{name}.mp4", pictures, Fraction(25), crf=4)
    strip(tmp_path / "before.mp4", tmp_path / "after.mp4", tmp_path / "strip.png", count=2, size=96)
    picture = cv2.imread(str(tmp_path / "strip.png")).astype(int)
    assert np.abs(picture[:96] - picture[96:]).mean() > 10


@pytest.mark.clips
def test_real_footage_is_dubbed(generator: Generator, clips: Path, tmp_path: Path) -> None:
    source = clips / "test" / "anchor_FAzSK8PLmGI_720p.mp4"
    clip = media.probe(source)
    with media.Writer(tmp_path / "in.mp4", clip, encoding=media.Encoding(preset="ultrafast")) as writer:
        for frame in islice(media.read_frames(clip), 12):
            writer.write(frame)
    report = dub(tmp_path / "in.mp4", source, tmp_path / "out.mp4", generator=generator, device="cpu")
    assert report.dubbed == report.frames == 12
    assert times(tmp_path / "out.mp4") == times(tmp_path / "in.mp4")

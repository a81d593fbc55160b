"""Streams: every picture comes out a fixed number later, and what is dubbed is what a file would have become."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from sidgan import Dubber, audio, media
from sidgan.dubbing.live import LOOK_AHEAD, STEP, hearing, live, watching
from sidgan.dubbing.live.album import CHOSEN_AT, Album, Albums
from sidgan.dubbing.live.hearing import REMEMBERED as HEARD
from sidgan.dubbing.live.hearing import Hearing
from sidgan.dubbing.live.live import Live
from sidgan.dubbing.live.pictures import editable, framed, shown
from sidgan.dubbing.live.watching import REMEMBERED, Watch
from sidgan.dubbing.redrawing import Job
from sidgan.dubbing.settings import Settings
from sidgan.engine import Engine
from sidgan.errors import ConfigError, InputError
from sidgan.faces import SMOOTHED, Tracker
from sidgan.geometry import mouth_opening
from sidgan.nn import Generator
from sidgan.people import Likeness, TrackedFace
from sidgan.people.tracked import BRIEF
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Byte, Float, Frame

RATE = 25
SIZE = (240, 240)


def person(seed: int, frames: int) -> list[Byte]:
    """Pictures of somebody who says hello."""
    return [shot.image for shot in Scene(Person(seed), LINES["hello"], (frames + 0.01) / RATE, size=SIZE)]


def sound(seconds: float) -> Float:
    """What somebody else says."""
    spoken = Scene(Person(5), LINES["morning"], 6).audio(audio.SAMPLE_RATE).astype(np.float32)
    return spoken[: round(seconds * audio.SAMPLE_RATE)]


@pytest.fixture(scope="module")
def pictures() -> list[Byte]:
    """A talking face, and at last an empty room."""
    return person(3, 44) + [np.full((*SIZE, 3), 235, np.uint8)] * 6


@pytest.fixture(scope="module")
def other() -> list[Byte]:
    """Another talking face, smaller and elsewhere, 40 pictures."""
    border = (0, 60, 60, 0, cv2.BORDER_REPLICATE)
    return [cv2.copyMakeBorder(cv2.resize(picture, (180, 180)), *border) for picture in person(14, 40)]


@pytest.fixture(scope="module")
def dubber(generator: Generator) -> Dubber:
    return Dubber(generator=generator, device="cpu")


@pytest.fixture(scope="module")
def whole(dubber: Dubber, pictures: list[Byte]) -> list[Byte]:
    return list(dubber.stream(pictures, sound(2)))


def changed(before: Iterable[Byte], after: Iterable[Byte]) -> list[bool]:
    return [not np.array_equal(old, new) for old, new in zip(before, after, strict=True)]


def test_every_picture_comes_out_and_only_faces_are_redrawn(pictures: list[Byte], whole: list[Byte]) -> None:
    assert len(whole) == len(pictures)
    edited = changed(pictures, whole)
    assert all(edited[:40])
    assert not any(edited[44:])
    for old, new in zip(pictures[:40], whole, strict=False):
        assert new.dtype == np.uint8
        assert np.array_equal(old[: SIZE[0] // 3], new[: SIZE[0] // 3])  # eyes and hair, bit for bit
        assert 0.01 < (old != new).any(-1).mean() < 0.3


def test_a_camera_may_reuse_its_memory(dubber: Dubber, pictures: list[Byte], whole: list[Byte]) -> None:
    memory = np.empty_like(pictures[0])

    def camera() -> Iterator[Byte]:
        for picture in pictures:
            memory[...] = picture
            yield memory

    assert not any(changed(whole, dubber.stream(camera(), sound(2))))


def test_no_more_pictures_are_taken_than_the_delay_says(dubber: Dubber, pictures: list[Byte]) -> None:
    taken = most = 0

    def camera() -> Iterator[Byte]:
        nonlocal taken
        for picture in pictures:
            taken += 1
            yield picture

    for given, _ in enumerate(dubber.stream(camera(), sound(2))):
        most = max(most, taken - given)
    assert most == LOOK_AHEAD + STEP


@pytest.mark.parametrize("cut", [1_000, 3_331])
def test_how_sound_is_cut_makes_no_difference(
    dubber: Dubber, pictures: list[Byte], whole: list[Byte], cut: int
) -> None:
    voice = sound(2)
    pieces = (voice[i : i + cut] for i in range(0, len(voice), cut))
    assert not any(changed(whole, dubber.stream(iter(pictures), pieces)))


@pytest.mark.parametrize(("rate", "seconds"), [(25, 33 / 25 - 0.2), (200, 0.5 + 8 / 200)])
def test_sound_is_waited_for_as_long_as_needed_and_hardly_longer_than_pictures(
    dubber: Dubber, pictures: list[Byte], rate: int, seconds: float
) -> None:
    heard = 0

    def microphone() -> Iterator[Float]:
        nonlocal heard
        for piece in np.split(sound(5), 500):
            heard += 1
            yield piece

    next(dubber.stream(pictures, microphone(), rate=rate))
    assert seconds <= heard / 100 <= seconds + 0.25


def test_any_rate_of_sound_is_taken(dubber: Dubber, pictures: list[Byte], whole: list[Byte]) -> None:
    fine = np.interp(np.arange(0, 32_000, 1 / 3), np.arange(32_000), sound(2)).astype(np.float32)
    streamed = list(dubber.stream(pictures, np.array_split(fine, 7), audio_rate=48_000))
    differences = [np.abs(a.astype(int) - b).mean() for a, b in zip(streamed[:40], whole, strict=False)]
    assert max(differences) < 0.1


def test_after_the_sound_pictures_pass(dubber: Dubber, pictures: list[Byte]) -> None:
    edited = changed(pictures, dubber.stream(pictures, sound(1)))
    assert all(edited[:25])
    assert not any(edited[25:])


@pytest.mark.parametrize("pieces", [1, 40])
def test_where_the_sound_ends_the_filmed_mouth_comes_back_softly(
    dubber: Dubber, pictures: list[Byte], whole: list[Byte], pieces: int
) -> None:
    ending = list(dubber.stream(pictures, np.array_split(sound(1), pieces)))

    def change(frame: int, made: list[Byte]) -> float:
        return float(np.abs(pictures[frame].astype(int) - made[frame]).mean())

    shares = [change(frame, ending) / change(frame, whole) for frame in range(19, 25)]
    assert shares[:2] == [1, 1]
    assert shares[2:] == pytest.approx([1, 0.75, 0.5, 0.25], abs=0.1), "the other voice goes on"
    short = list(dubber.stream(pictures[:25], sound(1)))
    assert change(24, short) == pytest.approx(change(24, whole), rel=0.1), "there is nothing to come back to"


def test_a_stream_is_dubbed_as_its_file_would_be(tmp_path: Path) -> None:
    """All is known of a clip that is no longer than the look-ahead, so both decide alike."""
    images, rate = person(3, 16), Fraction(RATE)
    media.write_clip(tmp_path / "talk.mp4", images, rate, crf=0)
    media.write_wav(tmp_path / "voice.wav", sound(1), audio.SAMPLE_RATE)
    dubber = Dubber(device="cpu")
    dubber.dub(tmp_path / "talk.mp4", tmp_path / "voice.wav", tmp_path / "out.mkv", lossless=True)
    before = [picture for _, picture in media.read_rgb(tmp_path / "talk.mp4")]
    filed = [picture for _, picture in media.read_rgb(tmp_path / "out.mkv")]
    streamed = dubber.stream(before, media.read_audio(tmp_path / "voice.wav"), rate=rate)
    change, apart = [], []
    for old, one, other in zip(before, filed, streamed, strict=True):
        edited = (old != other).any(-1)
        grey = [picture.mean(-1)[edited] for picture in (old, one, other)]  # the file's colours are coarser
        change.append(np.abs(grey[0] - grey[2]).mean())
        apart.append(np.abs(grey[1] - grey[2]).mean())
    assert max(change) > 8
    assert max(apart) < 3.5  # landmarks are read off the colours of the file, or of the picture
    assert np.mean(apart) < 0.35 * np.mean(change)


def test_a_new_shot_is_a_new_face_and_nothing_of_the_old_one(
    dubber: Dubber, pictures: list[Byte], other: list[Byte]
) -> None:
    first = pictures[:40]
    cut = list(dubber.stream(first + other, sound(4), silence="draw"))
    assert all(changed(first + other, cut))
    alone = list(dubber.stream(other, sound(4)[int(1.6 * audio.SAMPLE_RATE) :], silence="draw"))
    assert np.abs(cut[-1].astype(int) - alone[-1]).max() <= 3
    opaque, after_cut = (np.abs(new.astype(int) - other[0]).mean() for new in (alone[0], cut[40]))
    assert after_cut == pytest.approx(opaque, rel=0.2), "nothing fades at a cut"


def test_sound_that_is_forgotten_moves_no_mouth_later(
    dubber: Dubber, pictures: list[Byte], monkeypatch: pytest.MonkeyPatch
) -> None:
    remembering = list(dubber.stream(pictures[:40], sound(3), silence="draw"))
    monkeypatch.setattr(hearing, "REMEMBERED", 2 * audio.STEPS_PER_SECOND)  # of 2.6 s that are heard in the end
    assert not any(changed(remembering, dubber.stream(pictures[:40], sound(3), silence="draw")))


def test_a_face_is_as_opaque_as_it_is_trusted(
    dubber: Dubber, pictures: list[Byte], whole: list[Byte], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "fades", lambda person, *_: np.full(len(person.track), 0.25))
    first, faint = pictures[0].astype(int), next(dubber.stream(pictures, sound(2)))
    assert np.abs(faint - first).mean() == pytest.approx(0.25 * np.abs(whole[0] - first).mean(), rel=0.2)


@pytest.mark.parametrize("opened", [0.0, 1.0])
def test_in_a_pause_only_mouths_that_were_filmed_open_are_redrawn(
    dubber: Dubber, pictures: list[Byte], monkeypatch: pytest.MonkeyPatch, opened: float
) -> None:
    monkeypatch.setattr(watching, "opened", lambda person, *_: np.full(len(person.track), opened))
    pausing = np.append(sound(0.8), np.zeros(audio.SAMPLE_RATE, np.float32))
    edited = changed(pictures[:40], dubber.stream(pictures[:40], pausing))
    assert all(edited[:20])
    assert edited[28:38] == [bool(opened)] * 10


class Sketchbook:
    """As an engine: encodes pictures as what they are."""

    references, size = 2, 64

    def encode_reference(self, images: Byte) -> Byte:
        """The pictures, two of each face."""
        return images


def followed(pictures: Sequence[Byte]) -> tuple[dict[int, Frame], TrackedFace]:
    """The pictures as frames by index, and the only face in them."""
    frames = {i: framed(picture, i, Fraction(RATE), None) for i, picture in enumerate(pictures)}
    tracker = Tracker()
    for frame in frames.values():
        tracker.add(frame)
    return frames, TrackedFace(*tracker.finish())


def album_of(face: TrackedFace, frames: dict[int, Frame], sure: np.ndarray | None = None) -> Album:
    """An album with references from these frames."""
    album = Album(Sketchbook())
    see(album, face, frames, sure)
    album.choose()
    return album


def see(album: Album, face: TrackedFace, frames: dict[int, Frame], sure: np.ndarray | None = None) -> None:
    """Show frames to an album."""
    confidence = np.ones(len(face.track)) if sure is None else sure
    for index in sorted(frames):
        album.see(face, float(confidence[index]), frames[index])


def test_pictures_to_draw_after_are_chosen_again_as_better_ones_come(pictures: list[Byte]) -> None:
    frames, face = followed(pictures[:44] + pictures[:20])
    opening = mouth_opening(face.points)
    quiet = {i: frames[i] for i in np.argsort(opening[: CHOSEN_AT[1]])[:12]} | {0: frames[0]}  # lips that hardly part
    album = album_of(face, quiet)
    first = np.ptp(mouth_opening(album.likeness.points))
    see(album, face, {i: frames[i] for i in range(CHOSEN_AT[1], 64)})
    album.update(range(CHOSEN_AT[1], CHOSEN_AT[1] + 8))
    assert np.ptp(mouth_opening(album.likeness.points)) == first, "too early"
    album.update(range(56, 64))
    assert np.ptp(mouth_opening(album.likeness.points)) > first + 0.02
    unsure = np.where(opening > np.median(opening), 0.6, 1.0)
    album = album_of(face, frames, unsure)
    assert mouth_opening(album.likeness.points).max() <= np.median(opening)


def test_who_has_not_spoken_yet_is_drawn_after_a_mouth_that_was_opened(pictures: list[Byte]) -> None:
    frames, face = followed([pictures[0]] * 12 + pictures[:44])
    album = album_of(face, {i: frames[i] for i in range(12)})
    closed, wide = album.likeness.pictures
    assert np.abs(wide.astype(int) - closed)[len(closed) // 2 :].mean() > 2, "though all frames were the same"
    see(album, face, {i: frames[i] for i in range(12, 56)})
    album.update(range(CHOSEN_AT[1], CHOSEN_AT[1] + 8))
    opening = float(mouth_opening(face.points).max())
    assert mouth_opening(album.likeness.points)[1] > 0.8 * opening, "then it is seen"


def test_pictures_that_cut_off_a_chin_are_not_drawn_after_once_there_are_others(pictures: list[Byte]) -> None:
    frames, face = followed(pictures[:44])
    opening = mouth_opening(face.points)
    usual = np.quantile(opening, 0.75)
    for share, left_out in ((0.75, True), (0.1, False)):
        face.cut = frozenset(np.flatnonzero(opening > np.quantile(opening, share)).tolist())
        album = album_of(face, frames)
        assert (mouth_opening(album.likeness.points).max() <= usual) == left_out


def aside(face: TrackedFace, rows: range) -> TrackedFace:
    """The same face, turned in some frames as far as it can be told."""
    pose = face.track.pose.copy()
    pose[:, 0] = [40.0 if row in rows else 0.0 for row in range(len(pose))]
    return TrackedFace(replace(face.track, pose=pose))


def test_each_side_of_a_face_is_drawn_after_pictures_of_it(
    pictures: list[Byte], monkeypatch: pytest.MonkeyPatch
) -> None:
    frames, face = followed(pictures[:44] + pictures[:36])
    face = aside(face, range(44, 80))
    albums = Albums(Sketchbook())
    for begin in range(0, 80, 8):  # as in a stream: 8 are drawn when 25 more are there
        held = {i: frames[i] for i in range(begin, min(begin + 33, 80))}
        albums.update(face, np.ones(80), held, range(begin, begin + 8))
        assert albums.known == ([0] if begin < 40 else [0, 1])
    front, side = albums.views(face)
    assert (front.shares[:36] == 1).all()
    assert (side.shares[52:] == 1).all()
    for view, rows in ((front, slice(44)), (side, slice(44, 80))):
        assert view.likeness is not None
        assert all((face.points[rows] == one).all((1, 2)).any() for one in view.likeness.points)

    def redraw(_: object, jobs: Sequence[Job], likeness: Likeness, __: object) -> Byte:
        return np.stack([np.full((2, 2, 3), 200 if likeness is side.likeness else 100, np.uint8) for _ in jobs])

    monkeypatch.setattr(live, "redraw", redraw)
    jobs = [Job(face, row, pictures[0], np.zeros(0), 1.0) for row in (70, 10, 30, 60)]
    assert Live._redrawn(albums, jobs)[:, 0, 0, 0].tolist() == [200, 100, 100, 200]


@pytest.mark.parametrize("count", [12, 36])
def test_a_side_that_is_seen_too_briefly_stays_as_filmed(pictures: list[Byte], count: int) -> None:
    _, face = followed(pictures[:44] + pictures[:36])
    face = aside(face, range(44, 44 + count))
    face.find_views()
    assert (face.refusal(50) == BRIEF) == (count < 25)
    face.doubts = {}
    face.find_views(known=[1])
    assert face.refusal(50) is None, "there are references of it already"


def test_a_stream_knows_where_its_edge_cuts_off_a_chin_or_a_mouth(pictures: list[Byte]) -> None:
    def watched(lines: int) -> Watch:
        watch = Watch(everybody=True)
        for index, picture in enumerate(pictures[:12]):
            watch.add(framed(picture[:lines], index, Fraction(RATE), None))
        watch.look(0, 12, Fraction(RATE))
        return watch

    ((whole, _, _),) = watched(SIZE[0]).usable(5)
    assert whole.person.cut == frozenset()
    chin, lips = (whole.person.track.landmarks[:, row, 1].min() for row in (8, 57))
    ((known, _, _),) = watched(round(chin) - 4).usable(5)
    assert known.person.cut == frozenset(range(12))
    watch = watched(round(lips) - 4)
    assert watch.usable(5) == []
    assert [known.person.refusal(5) for known in watch._known.values()] == ["face cut off by the edge of the picture"]


def test_everybody_or_the_most_prominent(dubber: Dubber, pictures: list[Byte], other: list[Byte]) -> None:
    both = [np.hstack(pair) for pair in zip(pictures[:40], other, strict=True)]
    for faces, parts in (("largest", [True, False]), ("all", [True, True])):
        last = list(dubber.stream(both, sound(2), faces=faces))[-6]
        old = both[-6]
        assert [bool((old[:, part] != last[:, part]).any()) for part in (slice(240), slice(240, 480))] == parts


def test_who_was_chosen_stays_chosen(
    pictures: list[Byte], other: list[Byte], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch(everybody=False)
    for index, pair in enumerate(zip(pictures[:12], other, strict=False)):
        watch.add(framed(np.hstack(pair), index, Fraction(RATE), None))

    def chosen() -> int:
        watch.look(0, 12, Fraction(RATE))
        ((known, _, _),) = watch.usable(5)
        return round(float(known.person.track.landmarks[0, 30, 0]))

    first = chosen()
    assert first < 240, "the larger one"
    monkeypatch.setattr("sidgan.faces.tracker.prominence", lambda track: float(track.landmarks[0, 30, 0]))
    assert chosen() == first


@pytest.mark.parametrize(("silence", "moves"), [("close", 1.0), ("keep", 0.0), ("draw", 1.0)])
def test_pauses_of_a_stream_are_treated_as_settings_say(silence: Any, moves: float) -> None:
    pause = np.zeros(2 * audio.SAMPLE_RATE, np.float32)
    hearing = Hearing([sound(1.5), pause, sound(1.5)], audio.SAMPLE_RATE, silence)
    hearing.listen(Fraction(5))
    voice, _ = hearing.voice()
    assert voice.moves(Fraction(5, 2), 1.0) == moves
    assert voice.moves(Fraction(5, 2), 0.0) == (1.0 if silence == "draw" else 0.0)


def test_smoothing_can_be_turned_off(dubber: Dubber, pictures: list[Byte], whole: list[Byte]) -> None:
    sharp = list(islice(dubber.stream(pictures, sound(2), steady=0.0), STEP))
    assert changed(whole[:STEP], sharp) == [False] + [True] * (STEP - 1)  # there is nothing before the first


def test_memory_does_not_grow(generator: Generator, pictures: list[Byte]) -> None:
    hearing = Hearing(np.tile(sound(2), 8), audio.SAMPLE_RATE, "close")
    live = Live(Engine(generator, "cpu"), Settings(device="cpu"), Fraction(RATE), hearing)
    forth = [*pictures[:20], *pictures[19::-1]]
    held = []
    for i, _ in enumerate(live.dubbed(forth[i % 40] for i in range(280))):
        if i % 40 == 0:
            tracker = live._watch._tracker
            held.append((sum(len(f.points) for f in tracker._active + tracker._done),
                         sum(map(len, live._watch._looks.values()))))  # fmt: skip
    for points, surfaces in held:
        assert max(points, surfaces) <= REMEMBERED + LOOK_AHEAD + STEP
    assert held[3] == held[-2]


def test_a_voice_is_heard_as_in_a_file() -> None:
    voice = sound(3)
    mel = audio.log_mel(voice)
    hearing = Hearing(np.array_split(voice, 31), audio.SAMPLE_RATE, "draw")
    for index in range(0, 60, 7):
        time = Fraction(index, RATE)
        hearing.listen(time + 1)
        known, begins = hearing.voice()
        assert np.abs(known.at(time - begins) - audio.mel_windows(mel, [time])[0]).max() < 1e-4
    hearing.listen(Fraction(4))
    known, begins = hearing.voice()
    assert begins + known.end == 3
    assert known.mel.shape[1] <= HEARD + 1


def test_tracks_so_far_are_those_of_the_whole(pictures: list[Byte]) -> None:
    frames = [framed(picture, i, Fraction(RATE), None) for i, picture in enumerate(pictures[:44] + pictures[43::-1])]
    tracker, so_far = Tracker(), Tracker()
    for frame in frames:
        tracker.add(frame)
    (known,) = tracker.finish()
    for frame in frames[:70]:
        so_far.add(frame)
    so_far.forget(10)
    (track,) = so_far.recent(12).values()
    assert track.frames.start == 12
    inner = slice(12 + SMOOTHED, 70 - SMOOTHED)
    there = slice(inner.start - 12, inner.stop - 12)
    assert np.array_equal(known.matrices[inner], track.matrices[there])
    assert np.array_equal(known.landmarks[inner], track.landmarks[there])


def test_pictures_come_back_as_they_came() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (65, 77, 3), np.uint8)
    before = framed(picture, 0, Fraction(30), None)
    after = editable(before)
    assert np.array_equal(shown(before, after), picture)
    after.planes[0][10:20, 30:40] //= 2
    new = shown(before, after)
    assert not np.array_equal(new, picture)
    new[10:20, 30:40] = picture[10:20, 30:40]
    assert np.array_equal(new, picture)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"frames": [np.zeros((96, 96), np.uint8)]}, "give RGB pictures"),
        ({"frames": [np.zeros((96, 96, 3), np.float32)]}, "give RGB pictures"),
        ({"frames": [np.zeros((96, 96, 3), np.uint8), np.zeros((96, 98, 3), np.uint8)]}, "start a new stream"),
        ({"audio": [np.zeros(100, np.int16)]}, "floats in"),
        ({"audio": [np.zeros((100, 2), np.float32)]}, "one channel"),
        ({"audio": [np.full(100, np.nan, np.float32)]}, "NaN or infinite"),
    ],
)
def test_what_is_no_picture_and_no_sound_is_told(dubber: Dubber, change: dict[str, Any], told: str) -> None:
    given = {"frames": [np.zeros((96, 96, 3), np.uint8)], "audio": sound(1)} | change
    with pytest.raises(InputError, match=told) as error:
        list(dubber.stream(**given))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "change", [{"rate": 0}, {"rate": 1e-6}, {"audio_rate": 0}, {"faces": "speaking"}, {"face": 2}, {"device": "meta"}]
)
def test_impossible_settings_are_told_before_a_picture_is_taken(dubber: Dubber, change: dict[str, Any]) -> None:
    def none() -> Iterator[Byte]:
        raise AssertionError("taken")
        yield

    with pytest.raises(ConfigError):
        dubber.stream(none(), sound(1), **change)


def test_rates_of_any_type_of_number_are_taken(dubber: Dubber, pictures: list[Byte]) -> None:
    rates: list[Any] = [np.float32(25), np.int64(25), Fraction(25)]
    assert [len(list(dubber.stream(pictures[:2], sound(1), rate=rate))) for rate in rates] == [2, 2, 2]

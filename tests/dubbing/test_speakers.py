"""Who is redrawn, with whose voice, and how sure that is; on two drawn people whose places and sounds are known."""

from __future__ import annotations

import copy
import dataclasses
import json
import wave
import weakref
from collections.abc import Sequence
from fractions import Fraction
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import cv2
import numpy as np
import pytest
from marked import network, sidgan

from sidgan import audio, dubbing, geometry, jobs, media, provenance
from sidgan.adaptation.material import read_material
from sidgan.dubbing import dub, plan
from sidgan.dubbing.analysis import Seen, census, choice, first_pass, looking, speaking, trust
from sidgan.dubbing.analysis import glimpses as glimpsing
from sidgan.dubbing.analysis.captions import Captions
from sidgan.dubbing.analysis.choice import number_of, pictured
from sidgan.dubbing.analysis.glimpses import Glimpses
from sidgan.dubbing.analysis.speaking import scores_of, who_speaks
from sidgan.dubbing.live.pictures import framed
from sidgan.dubbing.settings import Settings
from sidgan.dubbing.silence import Silence, hushed, silent
from sidgan.dubbing.voice import listen, voices
from sidgan.errors import ConfigError, InputError, NoFaceError, OutputError, SidganError
from sidgan.faces import Tracker, smooth
from sidgan.geometry import INNER_LIPS, OUTER_LIPS, mouth_opening
from sidgan.people import SHUT, TrackedFace, cast
from sidgan.people.cast import Member
from sidgan.provenance import verify
from sidgan.synth import PHONES, Scene, bounds, random_line
from sidgan.synth import Person as Drawn
from sidgan.timeline import Timeline
from sidgan.types import Clip, Face, Frame

SIDE, TWO, ONE = 192, 65, 15  # px of one person's half; frames of both together, and of the right one alone
RATE = Fraction(25)


def talk(seed: int, seconds: float) -> Any:
    return random_line(np.random.default_rng(seed), seconds)


LINE = talk(5, 1.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """two.mp4: left (seed 3) speaks, right (seed 4, smaller) listens; then the right one alone. Also voices, photos."""
    folder = tmp_path_factory.mktemp("two")
    left = Scene(Drawn.random(3), talk(1, TWO / 25), seconds=TWO / 25, size=(SIDE, SIDE))
    right = Scene(Drawn.random(4), (("_", TWO / 25),), seconds=TWO / 25, size=(SIDE, SIDE), face_px=112)
    alone = Scene(Drawn.random(4), talk(2, ONE / 25), seconds=ONE / 25, size=(SIDE, 2 * SIDE), face_px=140)
    both = [np.concatenate([a.image, b.image], 1) for a, b in zip(left, right, strict=True)]
    single = [shot.image for shot in alone]
    sound = np.concatenate([left.audio(16_000), alone.audio(16_000)])
    media.write_clip(folder / "two.mp4", both + single, RATE, sound, crf=10)
    media.write_clip(folder / "mute.mp4", both + single, RATE, crf=10)
    media.write_png(folder / "right.png", single[4])
    media.write_png(folder / "stranger.png", next(iter(Scene(Drawn.random(9), talk(1, 1.0), size=(256, 256)))).image)
    media.write_png(folder / "room.png", np.full((200, 200, 3), 120, np.uint8))
    for name, seed, seconds in (("a", 5, 1.0), ("b", 6, 3.0), ("c", 7, 3.0)):
        voice = Scene(Drawn.random(seed), talk(seed, seconds), seconds=seconds).audio(16_000)
        media.write_wav(folder / f"{name}.wav", voice, 16_000)
    return folder


Known = tuple[Seen, tuple[Member, ...]]


@pytest.fixture(scope="module")
def known(folder: Path) -> Known:
    """What the first passes find in two.mp4, and who that is: once for all tests."""
    return first_pass.survey(media.probe(folder / "two.mp4"), lambda *_: None)


@pytest.fixture(autouse=True)
def remembered(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if "folder" in request.fixturenames:
        known = request.getfixturevalue("known")
        for module in (first_pass, census):
            monkeypatch.setattr(module, "survey", lambda clip, progress, **how: copy.deepcopy(known))


Changes = tuple[dubbing.DubReport, list[tuple[bool, bool]], list[Any]]


def changes(folder: Path, audio: str | None, **how: Any) -> Changes:
    """The report of a dub, and for each frame whether its left and right half changed, and what it became."""
    halves, after = [], []

    def look(before: Frame, edited: Frame) -> None:
        changed = (before.planes[0] != edited.planes[0]).any(0)
        halves.append((bool(changed[:SIDE].any()), bool(changed[SIDE:].any())))
        after.append(edited.planes[0].copy())

    report = dub(
        folder / "two.mp4", None if audio is None else folder / audio, folder / "out.mp4", generator=network(0),
        device="cpu", on_frame=look, **how,
    )  # fmt: skip
    return report, halves, after


# ------------------------------------------------------------------------------------------------------------- people


def test_an_excerpt_is_drawn_as_in_the_dub_of_all_of_it(folder: Path, known: Known, tmp_path: Path) -> None:
    drawing = dubbing.Dubber(generator=network(0, warp_levels=(64,)), device="cpu", lossless=True,
                             speakers={2: folder / "b.wav"})  # fmt: skip
    drawing.dub(folder / "two.mp4", folder / "b.wav", tmp_path / "whole.mkv")
    found = first_pass.undecided(copy.deepcopy(known[0]))
    found.save(tmp_path / "faces.npz")
    found = first_pass.Analysis.load(tmp_path / "faces.npz")
    frames = found.shown(1.21, 2.8)
    assert frames == range(31, 70)
    out = tmp_path / "before.mp4", tmp_path / "after.mp4"
    told = drawing.excerpt(folder / "two.mp4", folder / "b.wav", folder / "a.wav", frames, *out, found=found)
    assert (told.frames, told.notes) == (39, ())
    assert 30 <= told.dubbed <= 39
    whole, before, after = ([*media.read_frames(media.probe(file))] for file in (tmp_path / "whole.mkv", *out))
    assert [frame.time for frame in after] == [frame.time for frame in before] == [Fraction(i, 25) for i in range(39)]
    assert media.probe(out[1]).start == 0
    assert [media.digest(frame) for frame in after] == [media.digest(frame) for frame in whole[31:70]]
    assert sum(bool(one.views[0].chosen) for one in found.people) == 1, "nobody else is in the excerpt and redrawn"
    mark = provenance.read(out[1])
    assert mark is not None
    assert mark.source == provenance.digest_of(folder / "two.mp4")
    assert provenance.read(out[0]) is None
    with pytest.raises(InputError, match="nobody who has a voice is visible at this moment"):
        drawing.excerpt(folder / "two.mp4", folder / "b.wav", folder / "a.wav", range(66, 70), *out, found=found)


def test_people_are_found_numbered_and_shown(folder: Path, tmp_path: Path) -> None:
    code, said = sidgan("faces", folder / "two.mp4", "-o", tmp_path / "sheet.png", "--json")
    assert code == 0
    people = json.loads(said)["people"]
    assert [one["number"] for one in people] == [1, 2]
    by_place = {one["place"].split(",")[0]: one for one in people}
    assert by_place["left"]["frames"] == TWO
    assert by_place["right"]["frames"] == TWO + ONE  # two tracks, one person
    assert all(one["redrawable"] == one["frames"] and not one["reasons"] for one in people)
    assert by_place["left"]["seen"] == [[0.0, TWO / 25]]
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[0] % 2 == 0
    assert sheet.std() > 20
    numbers = {m.number: m.place for m in read_material(folder / "two.mp4", 64, "all")}
    assert numbers == {one["number"]: one["place"] for one in people}  # as adapt counts them


def test_nobody_and_bad_targets_are_told(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError, match="nowhere"):
        dubbing.faces(folder / "two.mp4", sheet=folder / "nowhere" / "sheet.png")
    monkeypatch.undo()
    video = tmp_path / "two.mp4"
    video.symlink_to(folder / "two.mp4")
    with pytest.raises(OutputError, match="the video itself"):
        dubbing.faces(video, sheet=folder / "two.mp4")
    media.write_clip(tmp_path / "room.mp4", [np.full((96, 96, 3), 120, np.uint8)] * 3, RATE)
    with pytest.raises(NoFaceError, match="no face found"):
        dubbing.faces(tmp_path / "room.mp4")


def test_a_number_chooses_a_person_in_every_shot(folder: Path, known: Known) -> None:
    right = number_at(known, "right")
    report, halves, _ = changes(folder, "b.wav", face=right)
    assert set(halves[:TWO]) == {(False, True)}
    assert report.dubbed == 75  # the voice lasts for 3 s
    assert [(s.first, s.last, s.person, s.dubbed) for s in report.shots] == [
        (0, TWO - 1, right, TWO), (TWO, TWO + ONE - 1, right, 75 - TWO),
    ]  # fmt: skip
    assert all(shot.confidence > 0.7 for shot in report.shots)


def test_a_single_track_is_not_asked_who_it_is(
    folder: Path, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    def asked(*args: object) -> None:
        raise AssertionError("asked")

    monkeypatch.setattr(cast, "identity", asked)
    clip, (seen, _) = media.probe(folder / "two.mp4"), known
    glimpses = seen_again(clip, seen.people)
    members, sure = looking.look(clip, seen.people[:1], seen.times, glimpses, Captions(), lambda *_: None)
    assert [(member.number, member.tracks) for member in members] == [(1, (0,))]
    assert set(sure) == {seen.people[0]}
    for people, identify in ((seen.people[:2], False), (seen.people[:1], True)):
        with pytest.raises(AssertionError, match="asked"):
            looking.look(clip, people, seen.times, glimpses, Captions(), lambda *_: None, identify=identify)


def seen_again(clip: Clip, people: Sequence[TrackedFace]) -> Glimpses:
    """Small pictures of these tracks."""
    glimpses = Glimpses()
    for frame in media.read_frames(clip):
        here = [p for p in people if frame.index in p.track.frames]
        glimpses.add(frame, [p.track.landmarks[p.row(frame.index)] for p in here])
    return glimpses


@pytest.mark.parametrize("layout", ["yuv420p", "yuv444p10le"])
def test_a_glimpse_shows_what_a_second_look_would(folder: Path, known: Known, layout: str, tmp_path: Path) -> None:
    with av.open(str(folder / "two.mp4")) as source, av.open(str(tmp_path / "some.mkv"), "w") as target:
        stream = target.add_stream("ffv1", rate=25, width=2 * SIDE, height=SIDE, pix_fmt=layout)
        for picture in islice(source.decode(video=0), 3):
            target.mux(stream.encode(picture.reformat(format=layout)))
        target.mux(stream.encode())
    clip, people = media.probe(tmp_path / "some.mkv"), [p for p in known[0].people if p.track.first == 0]
    with seen_again(clip, people) as glimpses:
        for frame in media.read_frames(clip):
            for person in people:
                unit = person.track.matrices[frame.index]
                whole = trust.surface(geometry.crop_face(frame, unit, 96).image).astype(int)
                off = np.abs(trust.surface(glimpses.picture(frame.index, unit)) - whole)
                assert off.mean() < 1.5
                luma, colours = np.percentile(off[..., 0], 98), np.percentile(off[..., 1:], 98)
                assert luma < trust.LIGHTER / 1.5  # on edges; most are far below what counts as foreign
                assert colours < trust.REDDER / 1.5


def test_glimpses_beyond_the_frame_and_beyond_memory(
    folder: Path, known: Known, monkeypatch: pytest.MonkeyPatch
) -> None:
    frame = next(media.read_frames(media.probe(folder / "two.mp4")))
    points = known[0].people[0].track.landmarks[0]
    places = [points, points + 5000, points - 5000, points * 40, points * 0.05]
    units = [geometry.square_matrix(geometry.face_square(place)) for place in places]
    seen = []
    for held in (glimpsing.HELD, 10_000):
        monkeypatch.setattr(glimpsing, "HELD", held)
        with Glimpses() as glimpses:
            glimpses.add(frame, places)
            assert glimpses._file._rolled == (held < 20_000)  # type: ignore[attr-defined]
            seen.append([trust.surface(glimpses.picture(0, unit)) for unit in units])
    assert np.array_equal(seen[0], seen[1])
    assert seen[0][0].std() > 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
def test_no_room_for_temporary_files_is_told(folder: Path, known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = next(media.read_frames(media.probe(folder / "two.mp4")))
    with Glimpses() as glimpses, Path("/dev/full").open("wb", buffering=0) as full:
        monkeypatch.setattr(glimpses, "_file", full)
        with pytest.raises(OutputError, match="cannot be written: no space left"):
            glimpses.add(frame, [known[0].people[0].track.landmarks[0]])


def test_a_photo_chooses_the_same(folder: Path, known: Known) -> None:
    assert shown(folder / "right.png", known) == number_at(known, "right")


def shown(photo: Path, known: Known) -> int:
    """The number of who is in a photo."""
    return number_of(photo, pictured(photo), known[1])


def test_a_stranger_is_nobody(folder: Path, known: Known, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choice, "SAME", 0.2)  # drawn people are more alike than real ones
    assert shown(folder / "right.png", known) == number_at(known, "right")
    with pytest.raises(InputError, match=r"nobody .* like .*stranger.png: person \d is nearest, at distance 0\.[2-5]"):
        shown(folder / "stranger.png", known)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"face": "room.png"}, "no face found in"), ({"face": "b.wav"}, "is not a picture"),
        ({"speakers": {1: "a.wav", 2: "room.png"}}, "has no sound"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_photo_or_any_voice_is_told_before_the_video_is_searched(
    folder: Path, tmp_path: Path, how: dict[str, Any], told: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_pass, "survey", lambda *_, **__: pytest.fail("searched"))
    how = {name: {n: folder / file for n, file in v.items()} if name == "speakers" else folder / v
           for name, v in how.items()}  # fmt: skip
    with pytest.raises(InputError, match=told):
        dub(folder / "two.mp4", folder / "b.wav", tmp_path / "out.mp4", generator=network(0), device="cpu", **how)
    assert not list(tmp_path.iterdir())


def test_one_voice_that_several_people_speak_is_told(folder: Path, known: Known) -> None:
    def told(**how: Any) -> list[str]:
        return [note for note in planned(folder, "b.wav", **how).seen.notes if "most prominent" in note]

    assert told() == ["the voice is spoken by whoever is most prominent: people 1 and 2 in turn; "
                      "to redraw one of them only, use --face, see sidgan faces"]  # fmt: skip
    assert told(face=number_at(known, "right")) == told(faces="all") == [], "this was chosen"
    alone = dataclasses.replace(known[0], people=tuple(p for p in known[0].people if p.track.first == 0)[:1])
    assert told(found=alone) == []


def test_who_is_not_in_a_shot_is_not_redrawn_there(folder: Path, known: Known) -> None:
    shots = list(planned(folder, "b.wav", face=number_at(known, "left")).shots())
    assert [(shot.person, shot.dubbed) for shot in shots] == [(number_at(known, "left"), TWO), (None, 0)]


def test_a_shot_tells_of_each_person_how_surely_and_how_often_they_were_redrawn(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(folder, "b.wav", faces="all")
    first, second = made.seen.by_frame[0]
    made.seen.by_frame[0].sort(key=lambda person: -made.seen.numbers[person])  # however they are found
    made.seen.trust[second].confidence[:] = np.linspace(0.5, 1.0, TWO)
    turned = {second: range(10)}
    monkeypatch.setattr(type(first), "refusal", lambda person, at: "away" if at in turned.get(person, ()) else None)
    told = {shot.person: shot for shot in made.shots() if shot.first == 0}
    assert list(told) == [1, 2]
    told_first, told_second = (told[made.seen.numbers[person]] for person in (first, second))
    assert (told_first.dubbed, told_second.dubbed) == (TWO, TWO - 10)
    assert told_second.confidence == 0.75


def test_a_shot_that_is_shown_again_is_listed_again(folder: Path) -> None:
    once = planned(folder, "b.wav")
    seen = dataclasses.replace(once.seen, cuts=())
    twice = dataclasses.replace(once, seen=seen, timeline=Timeline(seen.times, seen.end, 2 * seen.end, "loop"))
    assert {(shot.first, shot.last) for shot in twice.shots()} == {(0, 79), (80, 159)}
    assert {(shot.start, shot.end) for shot in twice.shots()} == {(0.0, 3.2), (3.2, 6.4)}
    held = dataclasses.replace(twice, timeline=Timeline(seen.times, seen.end, 2 * seen.end, "hold"))
    assert {(shot.first, shot.last) for shot in held.shots()} == {(0, 159)}, "which goes on and does not begin again"


def number_at(known: Known, side: str) -> int:
    """The number of the person who is on this side of the first shot."""
    middles = {n: p.track.landmarks[0, :, 0].mean() for p, n in known[0].numbers.items() if p.track.first == 0}
    return (min if side == "left" else max)(middles, key=lambda number: middles[number])


def planned(folder: Path, voice: str, silence: Silence = "close", **how: Any) -> plan.Plan:
    """What would become of each frame."""
    chosen = {"faces": "largest", "progress": lambda *_: None} | how
    seen = first_pass.analyse(media.probe(folder / "two.mp4"), **chosen)
    heard = voices(folder / voice, {}, silence)
    return plan.Plan(seen, heard, Timeline(seen.times, seen.end, heard.end, "cut"))


@pytest.mark.parametrize(
    ("how", "error", "words"),
    [
        ({"face": 5}, InputError, "no person 5 .* people 1 to 2"),
        ({"face": Path("room.png")}, InputError, "no face found in .*room.png"),
        ({"face": Path("gone.png")}, InputError, "gone.png"),
        ({"speakers": {3: Path("b.wav")}}, InputError, "no person 3"),
        ({"speakers": {1: Path("gone.wav")}}, InputError, "gone.wav"),
        ({"speakers": {1: Path("b.wav")}, "face": 1}, ConfigError, "not both"),
        ({"faces": "loudest"}, ConfigError, "speaking"),
        ({"silence": "mumble"}, ConfigError, "close, keep or draw"),
        ({"audio": None}, ConfigError, "give a voice"),
    ],
)
def test_who_cannot_be_chosen_is_told(how: dict[str, Any], error: type[SidganError], words: str, folder: Path) -> None:
    def placed(value: Any) -> Any:
        return folder / value if isinstance(value, Path) else value

    told = {key: {n: placed(f) for n, f in v.items()} if isinstance(v, dict) else placed(v) for key, v in how.items()}
    with pytest.raises(error, match=words):
        dub(folder / "two.mp4", told.pop("audio", folder / "b.wav"), folder / "no.mp4", generator=network(0),
            device="cpu", **told)  # fmt: skip
    assert not (folder / "no.mp4").exists()


@pytest.mark.parametrize("text", ["anna.wav", "one=a.wav", "1="])
def test_speakers_are_numbers_and_files(text: str, folder: Path) -> None:
    code, said = sidgan("dub", folder / "two.mp4", "-o", folder / "no.mp4", "--speaker", text)
    assert code == 2
    assert "2=anna.wav" in said


def test_a_face_that_is_found_twice_is_one(tmp_path: Path) -> None:
    points = next(iter(Scene(Drawn.random(6), LINE, size=(SIDE, SIDE)))).landmarks
    away = points + np.float32([90, -40])
    boxes = [(40.0, 40.0, 90.0, 90.0), (80.0, 80.0, 150.0, 150.0)]

    class Twice:
        def search(self, luma: np.ndarray, fine: bool) -> list[Face]:
            return [Face(box, 1.0, points) for box in boxes] + [Face((150, 0, 180, 30), 1.0, away)]

        def confirm(self, luma: np.ndarray, box: Any, others: Any = ()) -> float:
            return 1.0

    tracker = Tracker(Twice(), lambda luma, box: away if box[0] > 145 else points)
    media.write_clip(tmp_path / "film.mp4", [np.full((SIDE, SIDE, 3), 120, np.uint8)] * 6, RATE)
    for frame in media.read_frames(media.probe(tmp_path / "film.mp4")):
        tracker.add(frame)
    assert len(tracker.finish()) == 2


def test_a_list_of_jobs_gives_voices_too(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("video,speakers,out,face\nv.mp4,1=a.wav;2=b.wav,o.mp4,\n")
    (job,) = jobs.read(tmp_path / "jobs.csv", jobs.Job(Path(), None, Path()))
    assert (job.voice, job.speakers) == (None, {1: Path("a.wav"), 2: Path("b.wav")})
    (tmp_path / "jobs.csv").write_text("video,speakers,out\nv.mp4,,o.mp4\n")
    with pytest.raises(ConfigError, match="lacks voice"):
        jobs.read(tmp_path / "jobs.csv", jobs.Job(Path(), None, Path()))


# ------------------------------------------------------------------------------------------------------ several voices


def test_everybody_speaks_with_their_own_voice_and_the_mark_lists_them(folder: Path, known: Known) -> None:
    a, b, c = (folder / f"{name}.wav" for name in "abc")
    report, halves, first = changes(folder, None, speakers={1: b, 2: a}, length="hold")
    assert report.frames == 80  # 3.2 s of video; b lasts 3 s, a 1 s
    assert set(halves[3:20]) == {(True, True)}
    heard, mixed = media.read_audio(folder / "out.mp4"), np.zeros(48_000)
    for file in (a, b):
        voice = media.read_audio(file)
        mixed[: len(voice)] += voice
    count = min(len(heard), len(mixed))
    assert np.corrcoef(heard[:count], mixed[:count])[0, 1] > 0.98
    assert verify(folder / "out.mp4", source=folder / "two.mp4", voice=a).holds
    assert verify(folder / "out.mp4", voice=b).holds
    assert not verify(folder / "out.mp4", voice=c).holds
    _, _, second = changes(folder, None, speakers={1: c, 2: a})
    one, other = (slice(0, SIDE), slice(SIDE, None))[:: 1 if number_at(known, "left") == 1 else -1]
    assert any(not np.array_equal(x[:, one], y[:, one]) for x, y in zip(first[5:20], second[5:20], strict=True))
    assert all(np.array_equal(x[:, other], y[:, other]) for x, y in zip(first[5:20], second[5:20], strict=True))


def test_a_given_sound_track_is_heard_and_only_speakers_move(folder: Path) -> None:
    report, halves, _ = changes(folder, "c.wav", speakers={1: folder / "a.wav"})
    assert not [note for note in report.notes if "unheard" in note]
    assert len(set(halves[8:20])) == 1  # before that a pause, in which a shut mouth stays
    assert sum(halves[8]) == 1
    heard, said = media.read_audio(folder / "out.mp4"), media.read_audio(folder / "c.wav")
    count = min(len(heard), len(said))
    assert np.corrcoef(heard[:count], said[:count])[0, 1] > 0.95


def test_a_sound_track_that_is_over_before_a_speaker_is_told(folder: Path) -> None:
    report, _, _ = changes(folder, "a.wav", speakers={1: folder / "b.wav"})
    assert [note for note in report.notes if "a.wav ends at 1.00 s" in note and "mouths move unheard" in note]
    assert not [note for note in report.notes if "was cut" in note]


def test_a_speaker_who_is_cut_is_told(folder: Path, tmp_path: Path) -> None:
    media.write_wav(tmp_path / "long.wav", np.tile(media.read_audio(folder / "b.wav"), 2), 16_000)
    report, _, _ = changes(folder, None, speakers={1: tmp_path / "long.wav"})
    assert [note for note in report.notes if "longer than the video and was cut" in note]


def test_a_mix_is_as_long_as_the_longest_and_never_too_loud(folder: Path, tmp_path: Path) -> None:
    media.write_wav(tmp_path / "loud.wav", 0.9 * np.ones(16_000, np.float32), 16_000)
    media.write_mix(tmp_path / "mix.wav", [tmp_path / "loud.wav", tmp_path / "loud.wav", folder / "b.wav"])
    with wave.open(str(tmp_path / "mix.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (2, 48_000)
        mix = np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, 2) / 32768
    assert len(mix) == pytest.approx(3 * 48_000, abs=64)
    assert np.abs(mix).max() == pytest.approx(0.98, abs=0.01)
    assert np.abs(mix[60_000:]).max() > 0.05  # the longest goes on alone


def test_the_longest_voice_counts_and_no_more_is_read_than_is_needed(tmp_path: Path) -> None:
    files = [tmp_path / f"{seconds}.wav" for seconds in (1, 2, 4)]
    for file, seconds in zip(files, (1, 2, 4), strict=True):
        media.write_wav(file, np.random.default_rng(seconds).normal(0, 0.1, 16_000 * seconds), 16_000)
    short, middle, long = files
    assert voices(middle, {1: short, 2: middle}, "draw").end == 2
    assert voices(long, {1: short, 2: middle}, "draw").end == 4  # the sound track goes on
    assert voices(long, {1: short}, "draw", Fraction(3)).end == 3
    assert voices(middle, {}, "draw").end == 2
    assert 3 <= voices(long, {}, "draw", Fraction(2)).end + 1 < 5


@pytest.mark.parametrize(("length", "least", "most"), [("cut", 4.2, 5), ("keep", 4.2, 5), ("loop", 9, 9)])
def test_a_voice_is_read_as_far_as_it_is_heard(
    length: Any, least: float, most: float, folder: Path, tmp_path: Path
) -> None:
    media.write_wav(tmp_path / "long.wav", np.tile(media.read_audio(folder / "b.wav"), 3), 16_000)
    seen = first_pass.analyse(media.probe(folder / "two.mp4"), "largest", lambda *_: None)  # 3.2 s
    made = plan.planned(seen, tmp_path / "long.wav", Settings(length=length))
    assert least <= made.voices.end == made.timeline.voice <= most


def test_segments_drawn_by_other_processes_go_by_the_same_plan(folder: Path) -> None:
    seen = first_pass.analyse(media.probe(folder / "two.mp4"), "speaking", lambda *_: None)
    seen.people[0].bridged[7] = True
    seen.save(folder / "kept.npz")
    again = first_pass.Analysis.load(folder / "kept.npz")
    assert [again.numbers[p] for p in again.people] == [seen.numbers[p] for p in seen.people]
    assert (again.cuts, again.notes, again.times) == (seen.cuts, seen.notes, seen.times)
    for one, other in zip(seen.people, again.people, strict=True):
        assert one.doubts == other.doubts
        assert np.array_equal(one.bridged, other.bridged)
        assert np.array_equal(seen.trust[one].confidence, again.trust[other].confidence)
    place = {person: i for i, person in enumerate(seen.people)} | {person: i for i, person in enumerate(again.people)}
    chosen = [{i: [place[p] for p in people] for i, people in a.by_frame.items() if people} for a in (seen, again)]
    assert chosen[0] == chosen[1]


# ------------------------------------------------------------------------------------------------------------ speaking


def test_whoever_speaks_is_redrawn_and_what_is_unclear_is_told(folder: Path, known: Known) -> None:
    seen = first_pass.analyse(media.probe(folder / "two.mp4"), "speaking", lambda *_: None)
    assert {seen.numbers[p] for i in range(TWO) for p in seen.by_frame[i]} == {number_at(known, "left")}
    assert {seen.numbers[p] for i in range(TWO, TWO + ONE) for p in seen.by_frame[i]} == {number_at(known, "right")}
    assert seen.notes == ()
    seen = first_pass.analyse(media.probe(folder / "mute.mp4"), "speaking", lambda *_: None)
    assert {p for i in range(TWO) for p in seen.by_frame[i]} == {seen.people[0]}
    assert len(seen.notes) == 1
    assert "from 0.0 s on, it is not clear who speaks" in seen.notes[0]
    assert "the most prominent person is redrawn" in seen.notes[0]


def test_a_close_race_is_not_guessed() -> None:
    assert who_speaks([1], {}) == 1
    assert who_speaks([1, 2], {1: 1.0, 2: 2.5}) == 2
    assert who_speaks([1, 2], {1: 1.0, 2: 1.5}) == "several mouths fit the sound alike"
    assert who_speaks([1, 2, 3], {1: 1.0, 2: 2.5}) == 2
    assert "too little speech" in who_speaks([1, 2], {1: 9.0})  # type: ignore[operator]


def test_who_is_lost_for_a_while_is_not_their_own_rival(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """They have two tracks in a shot, and both speak; beside them, somebody larger listens."""
    listens, speaks, again, brief = (
        TrackedFace(dataclasses.replace(face[0].track, first=first)) for first in (0, 0, 80, 150)
    )
    scores = {listens: 0.5, speaks: 3.5, again: 3.0}
    monkeypatch.setattr(choice, "scores_of", lambda tracks, *_: {one: scores[one] for one in tracks if one in scores})
    monkeypatch.setattr(choice, "_own_sound", lambda _: None)
    usable, times = [listens, speaks, again, brief], [Fraction(i, 25) for i in range(220)]

    def chosen(cuts: Sequence[int], **numbers: int) -> tuple[set[TrackedFace], tuple[str, ...]]:
        who = dict(zip(usable, numbers.values(), strict=True))
        by_frame, notes = choice.speaking(usable, who, cuts, None, times)  # type: ignore[arg-type]
        return {one for people in by_frame.values() for one in people}, notes

    assert chosen((), listens=1, speaks=2, again=2, brief=2) == ({speaks, again, brief}, ())
    found, notes = chosen((), listens=1, speaks=2, again=3, brief=3)
    assert (len(notes), found) == (1, {listens, again, brief}), "two people fit alike"
    assert chosen((80,), listens=1, speaks=2, again=2, brief=2) == ({speaks, again, brief}, ())


# ---------------------------------------------------------------------------------------------------------- confidence


@pytest.fixture(scope="module")
def face() -> tuple[TrackedFace, list[np.ndarray]]:
    """A drawn person's true track of 60 frames, and the crops of its face."""
    scene = Scene(Drawn.random(6), talk(3, 2.4), seconds=2.4, size=(SIDE, SIDE))
    shots = list(scene)
    person = TrackedFace(smooth(0, np.stack([s.landmarks for s in shots]), np.full(len(shots), 1.5, np.float32)))
    crops = [
        cv2.warpAffine(s.image, geometry.crop_matrix(m, 96).astype(np.float64), (96, 96),
                       flags=cv2.INTER_AREA | cv2.WARP_INVERSE_MAP)
        for s, m in zip(shots, person.track.matrices, strict=True)
    ]  # fmt: skip
    return person, crops


def test_a_mouth_is_compared_with_the_sound_of_its_own_time(face: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speaking, "_cosines", lambda *_: {})
    early, rng = face[0], np.random.default_rng(0)
    late = TrackedFace(dataclasses.replace(early.track, first=50))
    times = [Fraction(i, 25) for i in range(110)]
    before, own = (audio.log_mel(rng.normal(0, 0.1, n * 640).astype(np.float32))[:, : n * 16 // 5] for n in (50, 60))

    def score(person: TrackedFace, mel: Any) -> dict[TrackedFace, float]:
        return scores_of([person], mel, times, None)  # type: ignore[arg-type]

    assert score(late, np.concatenate([before, own], 1))[late] == score(early, own)[early]
    brief = np.full_like(own, -4)
    brief[:, :80] = own[:, :80]
    assert score(late, np.concatenate([before, brief], 1)) == {}  # a second is too little


def test_no_more_of_a_track_is_kept_than_how_well_it_fits_the_sound(
    face: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a film, the features of all tracks would fill the memory."""
    kept = weakref.WeakSet[Any]()
    most = 0

    class Sync:
        def __init__(self, expert: Any) -> None:
            self.frames = 0
            kept.add(self)

        def update(self, faces: Any, mels: Any) -> None:
            nonlocal most
            self.frames, most = self.frames + 1, max(most, len(kept))

        def compute(self) -> Any:
            return SimpleNamespace(cosines=np.full(31, self.frames / 100))

    pictures = [framed(np.zeros((SIDE, SIDE, 3), np.uint8), i, RATE, None) for i in range(250)]
    expert = SimpleNamespace(config=SimpleNamespace(face=32))
    monkeypatch.setattr(speaking, "MouthSync", Sync)
    monkeypatch.setattr(speaking, "coupling", lambda *_: 0.0)
    monkeypatch.setattr(speaking.checkpoint, "load_syncnet", lambda: expert)
    monkeypatch.setattr(speaking.media, "read_frames", lambda _: iter(pictures))
    people = [TrackedFace(dataclasses.replace(face[0].track, first=first)) for first in (120, 0, 60, 180)]
    mel = audio.log_mel(np.random.default_rng(0).normal(0, 0.1, 160_000).astype(np.float32))
    scores = scores_of(people, mel, [one.time for one in pictures], None)  # type: ignore[arg-type]
    assert scores == dict.fromkeys(people, pytest.approx(len(face[0].track) / 100 / speaking.COSINE))
    assert most == 1, "one at a time, as no two are seen at once"


@pytest.mark.parametrize(("colour", "name"), [((30, 30, 34), "microphone"), ((120, 80, 60), "hand")])
def test_what_covers_the_chin_lowers_the_confidence(face: Any, colour: tuple[int, ...], name: str) -> None:
    person, crops = face
    covered = [crop.copy() for crop in crops]
    for i in range(20, 32):
        cv2.ellipse(covered[i], (44, 82), (26, 17), 10, 0, 360, colour, -1)
    free, doubted = (trust.trust(person, np.stack([trust.surface(c) for c in some])) for some in (crops, covered))
    assert (free.confidence > trust.SURE).all()
    assert (doubted.confidence[21:31] < trust.SURE).all(), name
    assert (doubted.confidence[[*range(17), *range(35, 60)]] > trust.SURE).all()
    assert doubted.reason(25) == "face partly covered"


@pytest.mark.parametrize("turns", [True, False])
def test_light_that_changes_on_cheeks_covers_nothing_where_the_head_turns(face: Any, turns: bool) -> None:
    seen, change = np.full((50, 12, 12, 3), 128, np.uint8), np.linspace(0, 1, 50, dtype=np.float32)
    points = np.repeat(face[0].points[:1], 50, 0)
    points[:, :, 0] += 0.1 * change[:, None] * turns
    seen[:, 7:, :, 0] = (70 + 100 * change[:, None, None]).round()
    shares = trust.covered(seen, points, np.ones(50, bool))
    assert (shares[[0, -1]].max() < 0.1) == turns


def test_what_is_seldom_there_covers_and_what_changes_all_over_is_light(face: Any) -> None:
    seen, good = np.full((50, 12, 12, 3), 128, np.uint8), np.ones(50, bool)
    points = np.repeat(face[0].points[:1], 50, 0)
    seen[[0, 5, 49], 7:] += 60  # a hand; it was there twice before
    seen[30] += 60
    shares = trust.covered(seen, points, good)
    assert shares[[0, 5, 49]].min() > trust.SURE
    assert shares[[*range(1, 5), *range(6, 49)]].max() == 0
    assert trust.covered(seen[:18], points[:18], good[:18]).max() == 0, "too little to compare with"


def test_confidence_falls_as_a_face_is_turned_small_and_hardly_seen(face: Any) -> None:
    person, crops = face
    surfaces, track = np.stack([trust.surface(crop) for crop in crops]), person.track

    def rated(**change: Any) -> tuple[float, str]:
        found = trust.trust(TrackedFace(dataclasses.replace(track, **change)), surfaces)
        return float(np.median(found.confidence)), found.reason(30)

    def yaw(degrees: float) -> dict[str, Any]:
        return {"pose": np.full_like(track.pose, -degrees)}

    def side(px: float) -> dict[str, Any]:
        scale = px / person.sides[0]
        return {"matrices": scale * track.matrices, "landmarks": scale * track.landmarks}

    free = rated()[0]
    assert free > 0.8
    assert rated(**yaw(30))[0] == free
    assert rated(**yaw(60)) == (pytest.approx(0.5, abs=0.01), "face turned too far")
    assert rated(**side(64)) == (pytest.approx(0.5, abs=0.02), "face too small")
    assert rated(scores=np.full_like(track.scores, 0.04)) == (pytest.approx(0.55, abs=0.01), "face hardly detected")
    visible = track.visible.copy()
    visible[20:24] = False
    lost = TrackedFace(dataclasses.replace(track, visible=visible, scores=np.where(visible, track.scores, 0)))
    assert trust.trust(lost, surfaces).confidence[20:24].max() == 0
    lost.bridged = ~visible
    assert trust.trust(lost, surfaces).confidence[20:24].min() > 0.8, "as sure as before and after"


def test_a_single_frame_that_looks_odd_is_no_doubt(face: Any) -> None:
    person, crops = face
    surfaces = np.stack([trust.surface(crop) for crop in crops])
    surfaces[30, 7:] = 0
    assert trust.covered(surfaces, person.points, person.track.visible)[30] > 0.5
    assert trust.trust(person, surfaces).confidence[30] > trust.SURE


def test_landmarks_that_jump_are_doubted(face: Any) -> None:
    person, crops = face
    points = person.track.landmarks.copy()
    points[30:40] += np.random.default_rng(0).normal(0, 0.04 * person.sides[0], points[30:40].shape)
    shaken = TrackedFace(dataclasses.replace(person.track, landmarks=points))
    found = trust.trust(shaken, np.stack([trust.surface(crop) for crop in crops]))
    assert (found.confidence[32:38] < trust.SURE).all()
    assert found.reason(35) == "face landmarks unstable"
    assert (found.confidence[:25] > trust.SURE).all()


def moments(rate: int) -> list[Fraction]:
    """The times of 90 frames."""
    return [Fraction(index, rate) for index in range(90)]


def test_a_doubted_stretch_is_left_alone_and_faded(face: Any) -> None:
    person = TrackedFace(face[0].track)
    person.doubts = dict.fromkeys(range(20, 30), "face partly covered")
    weights = plan.fades(person, (), moments(25), 60)
    assert weights[20:30].max() == 0
    assert weights[16:20].tolist() == weights[30:34][::-1].tolist() == [1.0, 0.75, 0.5, 0.25]
    assert weights[:16].min() == weights[34:].min() == 1
    person.doubts |= dict.fromkeys(range(36, 40), "face partly covered")  # between the two, the nearer one decides
    assert plan.fades(person, (), moments(25), 60)[29:37].tolist() == [0, 0.25, 0.5, 0.75, 0.75, 0.5, 0.25, 0]
    assert plan.fades(TrackedFace(face[0].track), (60,), moments(25), 90)[-1] == 1  # nothing fades at a cut
    assert plan.fades(TrackedFace(face[0].track), (), moments(25), 90)[-1] == 0.25
    later = TrackedFace(dataclasses.replace(face[0].track, first=30))
    assert plan.fades(later, (30,), moments(25), 90)[0] == 1
    assert plan.fades(later, (), moments(25), 90)[0] == 0.25
    later.doubts = dict.fromkeys(range(20, 30), "face partly covered")  # it may fade twice
    assert plan.fades(later, (), moments(25), 90)[:21].tolist() == [0.25, 0.5, 0.75, *[1] * 14, 0.75, 0.5, 0.25, 0]


@pytest.mark.parametrize(("rate", "weights"), [(5, [1.0]), (25, [0.25, 0.5, 0.75, 1.0]), (50, np.arange(1, 9) / 8)])
def test_a_fade_takes_as_long_at_any_frame_rate(
    face: Any, rate: int, weights: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    person = TrackedFace(face[0].track)
    person.doubts = dict.fromkeys(range(20, 30), "face partly covered")
    faded = plan.fades(person, (), moments(rate), 60)[30:]
    assert faded[: len(weights)] == pytest.approx(weights)
    assert faded[len(weights) :].min() == 1
    monkeypatch.setattr(plan, "mouth_opening", lambda points: np.where(np.arange(60) < 30, 0.1, 0.0))
    assert plan.opened(person, moments(rate))[30:].tolist() == (1 - faded).tolist()
    later = TrackedFace(dataclasses.replace(face[0].track, first=30))
    assert plan.opened(later, moments(rate))[30:].tolist() == pytest.approx(1 - faded)


def test_short_losses_are_bridged_where_the_face_stays_near(face: Any) -> None:
    track = face[0].track
    times = [Fraction(i, 25) for i in range(60)]

    def bridged(first: int, last: int, moved: float = 0.0, turned: float = 0.0) -> int:
        visible, landmarks, pose = track.visible.copy(), track.landmarks.copy(), np.zeros_like(track.pose)
        visible[first:last] = False
        landmarks[last:] += moved
        pose[last:, 0] += turned
        person = TrackedFace(dataclasses.replace(track, visible=visible, landmarks=landmarks, pose=pose))
        return int(looking.bridges(person, times).sum())

    assert bridged(20, 32) == 12
    assert bridged(20, 33) == 0  # longer than half a second
    assert bridged(20, 25, moved=60.0) == 0
    assert bridged(20, 25, turned=-14) == 5
    assert bridged(20, 25, turned=-16) == 0
    assert bridged(55, 60) == 0  # nobody knows where it goes
    assert bridged(0, 5) == 0  # or where it comes from


# ------------------------------------------------------------------------------------------------------------- silence


def test_who_does_not_speak_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def survey(*given: Any, **how: Any) -> tuple[Seen, tuple[Member, ...]]:
        found, members = real(*given, **how)
        for person in found.people:
            if found.numbers[person] == shut:
                person.points[:, INNER_LIPS] = person.points[:, OUTER_LIPS].mean(1, keepdims=True)
        return found, members

    real, shut = first_pass.survey, 1
    monkeypatch.setattr(first_pass, "survey", survey)
    clip = media.probe(folder / "two.mp4")
    notes = first_pass.analyse(clip, "all", lambda *_: None).notes
    assert [note.split(", so")[0] for note in notes] == [f"person 1 does not speak in {clip.path}"]
    shut = 0
    assert first_pass.analyse(clip, "all", lambda *_: None).notes == ()


def test_who_speaks_only_where_somebody_else_is_redrawn_does_speak(face: Any) -> None:
    large, speaks, listens = (TrackedFace(dataclasses.replace(face[0].track, first=first)) for first in (0, 0, 80))
    listens.points[:, INNER_LIPS] = listens.points[:, OUTER_LIPS].mean(1, keepdims=True)
    people, times = (large, speaks, listens), tuple(Fraction(i, 25) for i in range(140))
    seen = Seen(times, Fraction(140, 25), (), (), (80,), people, {large: 1, speaks: 2, listens: 2}, {})
    clip: Any = SimpleNamespace(path=Path("film.mp4"))
    found = first_pass.analyse(clip, "largest", lambda *_: None, found=seen)
    assert {one for some in found.by_frame.values() for one in some} == {large, listens}
    assert listens.mute()
    assert not any("does not speak" in note for note in found.notes)


def pausing(tmp_path: Path, noise: float) -> Path:
    """Speech, 0.6 s of nothing but noise from 1.0 s on, and speech."""
    said = Scene(Drawn.random(5), LINE, seconds=1.0).audio(16_000)
    samples = np.concatenate([said, np.zeros(9600, np.float32), said])
    samples += noise * np.random.default_rng(0).standard_normal(len(samples)).astype(np.float32)
    media.write_wav(tmp_path / "pausing.wav", samples, 16_000)
    return tmp_path / "pausing.wav"


@pytest.mark.parametrize("noise", [0.0, 0.001])
def test_pauses_are_found_and_hushed(noise: float, tmp_path: Path) -> None:
    mel = listen(pausing(tmp_path, noise)).mel
    quiet = silent(mel)
    steps = audio.STEPS_PER_SECOND
    assert quiet[round(1.1 * steps) : round(1.5 * steps)].all()
    vowels = [(a + b) / 2 for (name, _), a, b in zip(LINE, *bounds(LINE), strict=True) if PHONES[name].kind == "vowel"]
    assert len(vowels) > 1
    assert not quiet[[round(vowel * steps) for vowel in vowels]].any()
    assert (hushed(mel, quiet)[:, round(1.2 * steps)] == audio.SILENCE).all()
    assert np.array_equal(hushed(mel, quiet)[:, ~quiet], mel[:, ~quiet])


def test_loud_noise_and_short_stops_are_no_silence(tmp_path: Path) -> None:
    assert not silent(listen(pausing(tmp_path, 0.08)).mel)[90:110].any()
    mel = np.zeros((80, 200), np.float32)
    mel[:, 50:70] = audio.SILENCE  # 0.25 s
    mel[:, 100:130] = audio.SILENCE
    assert np.flatnonzero(silent(mel)).tolist() == pytest.approx(list(range(100, 130)), abs=2)


def test_long_silence_does_not_hide_the_pauses_of_what_is_said() -> None:
    mel = np.full((80, 4000), audio.SILENCE, np.float32)
    mel[:, :250] = 0.0
    mel[:, 100:150] = -3.0  # a pause with noise in it
    quiet = silent(mel)
    assert quiet[102:148].all()
    assert quiet[252:].all()
    assert not quiet[:98].any()
    assert not quiet[152:248].any()


def test_a_faint_voice_has_pauses_and_nothing_at_all_is_one() -> None:
    mel = np.full((80, 200), -3.0, np.float32)
    mel[:, 50:100] = audio.SILENCE
    quiet = silent(mel)
    assert quiet[52:98].all()
    assert not quiet[np.r_[:48, 102:200]].any()
    assert silent(np.full((80, 100), audio.SILENCE, np.float32)).all()
    assert silent(np.zeros((80, 0), np.float32)).shape == (0,)


def test_in_silence_the_mouth_can_stay_as_it_was_filmed(folder: Path, tmp_path: Path) -> None:
    voice = str(pausing(tmp_path, 0.0))
    kept, closed = (planned(folder, voice, silence) for silence in ("keep", "close"))
    frames = list(kept.timeline)
    assert all(kept.faces(frame) == "pause of the voice" for frame in frames[30:36])  # 1.2 to 1.44 s
    shares = [found[0][1] for found in map(kept.faces, frames[:60]) if not isinstance(found, str)]
    assert {0.0 < share < 1.0 for share in shares} == {True, False}  # it comes and goes softly
    (person, share), *_ = closed.faces(frames[32])
    assert mouth_opening(person.points)[32] > SHUT
    assert share == 1, "an open mouth is shut"
    heard = closed.voices.of(closed.seen.numbers[person]).at(frames[32].time)
    assert (heard[0, :, 12:16] == audio.SILENCE).all()


def test_pauses_go_by_the_time_of_the_output_where_the_video_is_played_again(folder: Path, tmp_path: Path) -> None:
    twice = np.tile(media.read_audio(pausing(tmp_path, 0.0)), 2)  # pauses at 1.0 and 3.6 s, 0.6 s each
    media.write_wav(tmp_path / "twice.wav", twice, 16_000)
    once = planned(folder, str(tmp_path / "twice.wav"), "keep")
    made = dataclasses.replace(once, timeline=Timeline(once.seen.times, once.seen.end, once.voices.end, "loop"))
    paused = {float(frame.time): made.faces(frame) == "pause of the voice" for frame in made.timeline}
    assert [paused[at] for at in (1.2, 1.4, 3.8, 4.0)] == [True] * 4
    assert [paused[at] for at in (0.4, 0.6, 3.2 + 1.4)] == [False] * 3, "it is heard there"


def test_a_face_that_is_refused_does_not_hide_that_the_voice_is_over(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = planned(folder, "a.wav", faces="all")
    late = list(made.timeline)[40]  # 1.6 s, of a voice of 1 s
    first, second = made.seen.by_frame[late.source]
    refusals = {first: "turned away", second: None}
    monkeypatch.setattr(type(first), "refusal", lambda person, index: refusals[person])
    assert made.faces(late) == "voice is over"
    refusals[second] = "too small"
    assert made.faces(late) == "turned away"


def test_where_a_voice_ends_the_filmed_mouth_comes_back_softly(folder: Path) -> None:
    made = planned(folder, "a.wav")  # 1 s of it, and 3.2 s of video
    shares = [found if isinstance(found, str) else found[0][1] for found in map(made.faces, list(made.timeline)[12:27])]
    assert shares[:9] == [1.0] * 9
    assert shares[9:13] == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert shares[13:] == ["voice is over"] * 2
    made.seen.by_frame[0][0].doubts[23] = "face partly covered"
    shares = [found if isinstance(found, str) else found[0][1] for found in map(
        dataclasses.replace(made, _weights={}).faces, list(made.timeline)[20:25])]  # fmt: skip
    assert shares == [0.75, 0.5, 0.25, "face partly covered", 0.25], "of two fades the lower one counts"
    whole = dataclasses.replace(made, timeline=Timeline(made.seen.times, Fraction(1), Fraction(1), "cut"),
                                seen=dataclasses.replace(made.seen, end=Fraction(1)))  # fmt: skip
    assert whole.faces(list(made.timeline)[24]) == made.faces(list(made.timeline)[12]), "no more is shown then"


def test_a_mouth_that_is_shut_stays_as_it_was_filmed_in_pauses(folder: Path, tmp_path: Path) -> None:
    voice = str(pausing(tmp_path, 0.0))

    def shares(shut: slice, silence: Silence = "close") -> list[float]:
        made = planned(folder, voice, silence)
        frames, person = list(made.timeline)[:50], made.seen.by_frame[0][0]
        person.points[:, INNER_LIPS] += [0, 0.05] * np.array([-1, -1, -1, -1, -1, 1, 1, 1])[:, None]  # wide open
        person.points[shut, INNER_LIPS] = person.points[shut, OUTER_LIPS].mean(1, keepdims=True)
        return [0.0 if isinstance(found, str) else found[0][1] for found in map(made.faces, frames)]

    said = planned(folder, voice, "close").voices.common
    quiet = [said.moves(Fraction(k, 25), 0.0) for k in range(50)]  # type: ignore[union-attr]
    assert set(quiet[30:36]) == {0.0}
    assert set(quiet[12:20]) == {1.0}
    assert shares(slice(0, 0)) == shares(slice(0, 50), "draw") == [1.0] * 50, "who never shuts it is always redrawn"
    assert shares(slice(0, 50)) == quiet, "who never opens it is redrawn in speech"
    some = shares(slice(28, 36))
    assert some[:28] + some[36:] == [1.0] * 42
    assert some[28:36] == [0.75, 0.5, 0.25, 0.0, 0.0, 0.25, 0.5, 0.75], "it comes and goes softly"

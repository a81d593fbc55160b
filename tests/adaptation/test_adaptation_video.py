"""Adaptation from a video to weights for its faces; on drawn people."""

import json
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

import sidgan
from sidgan import adaptation, audio, checkpoint, dubbing, faces, media
from sidgan.adaptation import AdaptConfig, adapt, adapt_faces, material, networks
from sidgan.adaptation.material import read_material
from sidgan.adaptation.sound import Sound
from sidgan.cli import app
from sidgan.config import GeneratorConfig
from sidgan.dubbing.analysis import first_pass
from sidgan.errors import ConfigError, InputError, OutputError
from sidgan.geometry import mouth_opening
from sidgan.jobs import Job
from sidgan.metrics import opening_match
from sidgan.nn import Generator
from sidgan.people import cast
from sidgan.settings import from_dict, read_toml
from sidgan.synth import Person, Scene, random_line

SHORT = AdaptConfig(steps=2)
SIDE, SECONDS = 192, 2.4

pytestmark = pytest.mark.usefixtures("known_faces")


def pictures(seed, seconds=SECONDS, side=SIDE):
    scene = Scene(Person.random(seed), random_line(np.random.default_rng(seed), seconds), size=(side, side))
    return [shot.image for shot in scene], scene.audio(16000)


def nano(seed=0):
    torch.manual_seed(seed)
    return Generator(from_dict(GeneratorConfig, read_toml("nano64")["generator"])).eval()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """talk.mp4 with its sound, mute.mp4 without; two.mp4: two people beside each other, pair.mp4: its beginning."""
    folder = tmp_path_factory.mktemp("people")
    left, sound = pictures(3)
    right, _ = pictures(4, side=160)
    around = [np.pad(image, ((16, 16), (16, 16), (0, 0)), mode="edge") for image in right]
    media.write_clip(folder / "talk.mp4", left, Fraction(25), sound, 16000)
    media.write_clip(folder / "mute.mp4", left, Fraction(25))
    media.write_clip(folder / "short.mp4", left[:30], Fraction(25), sound, 16000)
    both = [np.concatenate(pair, 1) for pair in zip(left, around, strict=True)]
    media.write_clip(folder / "two.mp4", both, Fraction(25), sound, 16000)
    media.write_clip(folder / "pair.mp4", both[:15], Fraction(25), sound[:9600], 16000)
    media.write_clip(folder / "nobody.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 30, Fraction(25))
    media.write_wav(folder / "voice.wav", pictures(5, 1.0)[1], 16000)
    checkpoint.save(folder / "base.safetensors", nano())
    return folder


def test_adapted_weights_are_kept_and_used_again(folder, tmp_path):
    out = tmp_path / "me.safetensors"
    how = AdaptConfig(steps=20)
    net, report = adapt(folder / "talk.mp4", model=folder / "base.safetensors", config=how, out=out)
    assert report.sound == "own"
    assert report.kept, "an untrained network has everything to learn"
    assert report.bytes == out.stat().st_size
    assert checkpoint.read_meta(out)["meta"]["adapted_to"] == "talk.mp4"
    loaded = checkpoint.load_generator(out)
    for name, parameter in net.named_parameters():
        assert torch.allclose(loaded.get_parameter(name), parameter, atol=2e-3), name
    dubbed = sidgan.dub(folder / "talk.mp4", folder / "voice.wav", tmp_path / "out.mp4", model=out, device="cpu")
    assert dubbed.dubbed > 20


def test_without_sound_only_the_appearance_is_adapted(folder, tmp_path):
    base = folder / "base.safetensors"
    net, report = adapt(folder / "mute.mp4", model=base, config=AdaptConfig(steps=12), out=tmp_path / "me.safetensors")
    assert report.sound == "silent"
    assert report.gap_after is None
    assert "sound silent; only the appearance was adapted" in report.line()
    before = checkpoint.load_generator(base)
    changed = {n for n, p in net.named_parameters() if not torch.equal(p, before.get_parameter(n))}
    assert bool(changed) == report.kept
    assert not [n for n in changed if n.startswith(("audio.", "blocks.8."))]


def test_each_face_gets_weights_of_its_own(folder, tmp_path):
    base = folder / "base.safetensors"
    both = adapt_faces(folder / "two.mp4", model=base, faces="all", config=AdaptConfig(steps=10))
    assert [r.report.face for r in both] == [1, 2]
    assert [r.report.place.split(",")[0] for r in both] == ["left", "right"]
    assert sorted(t for r in both for t in r.tracks) == list(range(len(both)))
    (one,) = adapt_faces(folder / "two.mp4", model=base, faces="largest", config=SHORT)
    assert (one.report.face, one.tracks) == (1, both[0].tracks)
    own = networks(both)
    assert set(own) == {t for r in both if r.report.kept for t in r.tracks}


def test_the_faces_of_a_video_are_found_once_for_adaptation_and_dub(folder, tmp_path, monkeypatch):
    def survey(clip, progress, **how):
        found.append(how)
        return real(clip, progress, **how)

    def adapted(results):
        own.update(networks(results))
        return own

    real, found, own = first_pass.survey, [], {}
    monkeypatch.setattr(first_pass, "survey", survey)
    monkeypatch.setattr(material, "survey", survey)
    monkeypatch.setattr(adaptation, "networks", adapted)
    how = {"model": str(folder / "base.safetensors"), "faces": "all", "device": "cpu"}
    job = Job(video=folder / "two.mp4", voice=folder / "voice.wav", out=tmp_path / "out.mp4", adapt=0.05, **how)
    job.run(lambda *_: None, print)
    assert len(found) == 1
    dubbing.Dubber(job.model, job).dub(job.video, job.voice, tmp_path / "same.mp4", own=own)
    assert len(found) == 2
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "same.mp4").read_bytes()


@pytest.mark.parametrize(("wrong", "says"), [({"device": "cuda:99"}, "'cuda:99'"), ({"minutes": np.inf}, "not inf")])
def test_what_cannot_be_is_refused_before_the_video_is_read(folder, monkeypatch, wrong, says):
    monkeypatch.setattr("sidgan.adaptation.run.read_material", lambda *_, **__: pytest.fail("read"))
    for learn in (adapt, adapt_faces):
        with pytest.raises(ConfigError, match=says):
            learn(folder / "two.mp4", model=folder / "base.safetensors", config=SHORT, **wrong)


def test_who_is_not_there_is_told_before_the_adaptation(folder, tmp_path, monkeypatch):
    media.write_png(tmp_path / "room.png", np.full((192, 192, 3), 200, np.uint8))
    monkeypatch.setattr("sidgan.adaptation.run._adapt_one", lambda *_, **__: pytest.fail("adapted"))
    wrong = ({"face": 3}, "no person 3"), ({"speakers": {3: folder / "voice.wav"}}, "no person 3"), (
        {"face": tmp_path / "room.png"}, "no face found in")  # fmt: skip
    for who, text in wrong:
        job = Job(folder / "two.mp4", folder / "voice.wav", tmp_path / "out.mp4", adapt=0.05, device="cpu",
                  model=str(folder / "base.safetensors"), **who)  # fmt: skip
        with pytest.raises(InputError, match=text):
            job.run(lambda *_: None, print)


def test_a_dub_draws_each_face_with_its_own_weights(folder, tmp_path):
    tracks, _ = faces.track_faces(media.read_frames(media.probe(folder / "pair.mp4")))
    assert len(tracks) == 2

    def dubbed(**own):
        after = []
        sidgan.dub(folder / "pair.mp4", folder / "voice.wav", tmp_path / "out.mp4", generator=nano(), device="cpu",
                   faces="all", on_frame=lambda _, frame: after.append(frame.planes[0].copy()), **own)  # fmt: skip
        return after[5]

    plain, mixed, swapped = dubbed(), dubbed(own={1: nano(7)}), dubbed(own={0: nano(7)})
    assert np.array_equal(plain[:, :SIDE], mixed[:, :SIDE])
    assert not np.array_equal(plain[:, SIDE:], mixed[:, SIDE:])
    assert not np.array_equal(plain[:, :SIDE], swapped[:, :SIDE])
    assert np.array_equal(plain[:, SIDE:], swapped[:, SIDE:])


def test_the_command_line_adapts_to_all_faces_and_says_what_became_of_each(folder, tmp_path):
    result = CliRunner().invoke(app, [
        "dub", str(folder / "two.mp4"), str(folder / "voice.wav"), "-o", str(tmp_path / "out.mp4"), "--adapt", "0.01",
        "--faces", "all", "--model", str(folder / "base.safetensors"), "--device", "cpu", "--json",
    ])  # fmt: skip
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    assert [one["face"] for one in told["adapted"]] == [1, 2]
    assert told["dubbed"] > 20
    lines = [line for line in result.stderr.splitlines() if line.startswith("face ")]
    assert [line[:12] for line in lines] == ["face 1 (left", "face 2 (righ"]


def test_one_face_can_be_chosen(folder):
    _, report = adapt(folder / "two.mp4", model=folder / "base.safetensors", face=2, config=SHORT)
    assert (report.face, report.place.split(",")[0]) == (2, "right")


@pytest.mark.parametrize(
    ("name", "more", "text"),
    [
        ("nobody.mp4", {}, "no face"),
        ("none.mp4", {}, "no such file"),
        ("short.mp4", {}, r"seen for only 1\.2 s"),
        ("two.mp4", {"face": 5}, "no face 5 in .*; there are 1: left, .*; 2: right"),
    ],
)
def test_what_cannot_be_adapted_to_is_refused_clearly(folder, name, more, text):
    with pytest.raises(InputError, match=text):
        adapt(folder / name, model=folder / "base.safetensors", config=SHORT, **more)
    if not more:
        with pytest.raises(InputError, match=text):
            adapt_faces(folder / name, model=folder / "base.safetensors", config=SHORT)


@pytest.mark.parametrize("minutes", [-3, 0, float("nan"), float("inf")])
def test_adaptation_takes_a_time_that_ends(folder, minutes):
    for learn in (adapt, adapt_faces):
        with pytest.raises(ConfigError, match="more than 0"):
            learn(folder / "talk.mp4", model=folder / "base.safetensors", minutes=minutes)


def test_the_base_is_not_overwritten(folder):
    before = (folder / "base.safetensors").read_bytes()
    with pytest.raises(OutputError, match="is the model to start from"):
        adapt(folder / "talk.mp4", model=folder / "base.safetensors", out=folder / "base.safetensors", config=SHORT)
    assert (folder / "base.safetensors").read_bytes() == before


def test_weights_are_not_called_a_video(folder, tmp_path):
    with pytest.raises(OutputError, match=r"me.mp4 must end in .safetensors"):
        adapt(folder / "talk.mp4", model=folder / "base.safetensors", out=tmp_path / "me.mp4", config=SHORT)


# -------------------------------------------------------------------------------------------------- the material


def test_material_follows_the_clock_and_the_sound(folder):
    (found,) = read_material(folder / "talk.mp4", 64)
    (clip,) = found.clips
    assert abs(len(clip) - SECONDS * 25) <= 1
    assert clip.images.shape[1:] == (3, 64, 64)
    assert float(clip.mels.max()) > 0
    assert found.frames == len(clip)


@pytest.mark.parametrize("shift", [4, -3])
def test_sound_is_moved_to_its_picture(folder, monkeypatch, shift):
    """By what was found in `test_a_shifted_sound_is_moved_back`."""
    monkeypatch.setattr(material, "judge_sounds", lambda faces, samples: [Sound("shifted", shift)] * len(faces))
    (found,) = read_material(folder / "short.mp4", 64)
    (clip,) = found.clips
    mel = audio.log_mel(media.read_audio(folder / "short.mp4"))
    meant = audio.mel_windows(mel, [Fraction(i - shift, 25) for i in range(len(clip))])
    assert np.allclose(clip.mels, meant, atol=0.01)


def test_long_material_is_shortened_to_fit(folder, monkeypatch):
    monkeypatch.setattr(material, "MAX_BYTES", 3 * 64 * 64 * 30)
    (found,) = read_material(folder / "talk.mp4", 64)
    assert len(found) == 30


def test_only_the_beginning_is_read_where_that_is_asked_for(folder):
    (found,) = read_material(folder / "talk.mp4", 64, seconds=1.2)
    assert len(found) == pytest.approx(30, abs=1)


def test_damage_is_passed_over_where_that_is_asked_for(folder, tmp_path):
    with av.open(str(folder / "talk.mp4")) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.pos is not None]
    data = bytearray((folder / "talk.mp4").read_bytes())
    for pos, size in places[40:44]:
        data[pos : pos + size] = bytes(size)
    (tmp_path / "damaged.mp4").write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        read_material(tmp_path / "damaged.mp4", 64)
    (found,) = read_material(tmp_path / "damaged.mp4", 64, tolerant=True)
    assert len(found) > 25


def test_what_no_dub_redraws_is_not_learnt(folder, tmp_path):
    images, sound = pictures(3)
    covered = [image.copy() for image in images]
    for image in covered[:20]:  # a hand in front of the mouth
        cv2.ellipse(image, (96, 185), (55, 60), 0, 0, 360, (150, 100, 75), -1)
    media.write_clip(tmp_path / "hand.mp4", covered, Fraction(25), sound, 16000)
    (found,) = read_material(tmp_path / "hand.mp4", 64)
    (clip,) = found.clips
    assert 30 <= len(clip) <= SECONDS * 25 - 20


def test_every_frame_of_the_material_has_its_own_picture_landmarks_and_sound(folder, tmp_path, monkeypatch):
    """Of somebody who comes in, moves across the picture, and has a hand in front of the mouth at first."""
    images, sound = pictures(3)
    images = [np.pad(image, ((0, 0), (i, 80 - i), (0, 0)), mode="edge") for i, image in enumerate(images)]
    for i, image in enumerate(images[:15]):
        cv2.ellipse(image, (96 + i, 185), (55, 60), 0, 0, 360, (150, 100, 75), -1)
    media.write_clip(tmp_path / "in.mp4", [np.zeros_like(images[0])] * 5 + images, Fraction(25), sound, 16000, crf=8)
    judged = []
    monkeypatch.setattr(material, "judge_sounds", lambda faces, samples: judged.extend(faces) or [Sound("own")])
    (found,) = read_material(tmp_path / "in.mp4", 64)
    (clip,), (((points, start),),) = found.clips, judged
    first = round(start * 25) - 5
    assert 10 < first < 20
    mel = audio.log_mel(media.read_audio(tmp_path / "in.mp4"))
    meant = audio.mel_windows(mel, [start + Fraction(i, 25) for i in range(len(clip))])
    assert np.allclose(clip.mels, meant, atol=0.01)
    seen = [image.permute(1, 2, 0).numpy() for image in clip.images]
    again = np.stack([faces.landmarks(image, faces.box_of(place * 64)) / 64
                      for image, place in zip(seen, clip.landmarks, strict=True)])  # fmt: skip
    assert np.abs(again - clip.landmarks).mean() < 0.02, "each picture is cut around its own face"
    film = [faces.search(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))[0].landmarks for image in images[first:]]
    opened = mouth_opening(np.stack(film[: len(clip)]))
    for known in (clip.landmarks, points, again):
        match = opening_match(mouth_opening(known), opened)
        assert match.lag == 0
        assert match.correlation > 0.8


def test_shots_of_less_than_a_second_are_not_learnt_from(folder, tmp_path):
    images, sound = pictures(3)
    dark = [np.zeros_like(images[0])] * 2
    media.write_clip(tmp_path / "cut.mp4", images[:15] + dark + images[15:], Fraction(25), sound, 16000)
    (found,) = read_material(tmp_path / "cut.mp4", 64, "all")
    (clip,) = found.clips
    assert 40 <= len(clip) <= 45
    assert found.frames > 50, "a dub redraws both"


def test_shots_of_one_person_are_one_face(folder, tmp_path, monkeypatch):
    """Two shots of one person at other places, a dark frame between them; the later one is longer."""
    images, sound = pictures(3)
    wide = [np.pad(i, ((40, 0), (60, 20), (0, 0)), mode="edge") for i in images[26:]]
    first = [np.pad(i, ((20, 20), (20, 60), (0, 0)), mode="edge") for i in images[:26]]
    judged = []
    monkeypatch.setattr(material, "judge_sounds", lambda faces, samples: judged.extend(faces) or [Sound("own")])
    cut = [np.zeros_like(first[0])] * 2
    media.write_clip(tmp_path / "cut.mp4", first + cut + wide, Fraction(25), sound, 16000)
    (found,) = read_material(tmp_path / "cut.mp4", 64, "all")
    assert sorted(found.tracks) == [0, 1]
    assert [len(clip) for clip in found.clips] == [26, 34]
    assert [start for _, start in judged[0]] == [0, Fraction(28, 25)], "in order of time, as the end is held out"
    assert found.frames == len(found)


def test_people_who_meet_are_two_however_alike(folder, monkeypatch):
    monkeypatch.setattr(cast, "SAME", 10.0)
    shares = []
    found = read_material(folder / "two.mp4", 64, "all", lambda part, _: shares.append(part))
    assert [m.number for m in found] == [1, 2]
    assert [m.tracks for m in found] == [(0,), (1,)]
    assert max(m.frames for m in found) <= SECONDS * 25
    assert shares == sorted(shares), "the progress never goes back"
    assert shares[-1] == 1


def test_of_two_who_are_seen_at_once_the_most_prominent_is_learnt_unless_all_are_asked_for(folder):
    assert [m.number for m in read_material(folder / "pair.mp4", 64)] == [1]
    assert [m.number for m in read_material(folder / "pair.mp4", 64, "all")] == [1, 2]


def test_the_public_name_still_works():
    assert sidgan.adapt is adaptation.adapt

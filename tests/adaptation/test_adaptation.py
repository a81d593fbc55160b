"""Adaptation in its parts: what a sound is good for, what is held back, what is kept, and what is stored."""

import copy
import dataclasses
from fractions import Fraction

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open

from sidgan import audio, checkpoint
from sidgan.adaptation import AdaptConfig, run
from sidgan.adaptation.judging import Judge, Scores, silenced, split
from sidgan.adaptation.material import Material
from sidgan.adaptation.run import time_shares
from sidgan.adaptation.sound import Sound, foreign_speech, judge_sounds, sound_under
from sidgan.adaptation.tuning import frozen, tune
from sidgan.config import CriticsConfig, DiscriminatorConfig, GeneratorConfig
from sidgan.data.offset import Offset
from sidgan.errors import CheckpointError, ConfigError
from sidgan.geometry import mouth_opening
from sidgan.nn import Generator
from sidgan.nn.baselines import Critics
from sidgan.synth import Mouth, Person, Portrait, mouth, pose, random_line, voice
from sidgan.train.gan import GanTask
from sidgan.train.growth import trunk_of

MOVING = {"rgb": "copying", "warp_levels": (8, 16)}
SMALL = GeneratorConfig(size=32, base=4, cmax=8, start=8, rgb_levels=(16, 32), audio_levels=(8,), audio_width=1,
                        audio_blocks=0.0)  # fmt: skip


def small(seed=0):
    torch.manual_seed(seed)
    return Generator(SMALL).eval()


# --------------------------------------------------------------------------------------------------------- sound


def speaking(seconds, seed=3):
    """Landmarks (N, 68, 2), of which only eyes and lips mean anything, and the voice that moves them."""
    line = random_line(np.random.default_rng(seed), seconds)
    points = np.zeros((int(25 * seconds), 68, 2), np.float32)
    points[:, 45, 0] = 100
    states = mouth(line, [i / 25 for i in range(len(points))])
    points[:, 66, 1] = [60 * lips.opening for lips in states]
    points[:, 57, 1] = 20 + points[:, 66, 1]
    points[:, 54, 0] = [60 + 20 * lips.spread - 20 * lips.round for lips in states]
    return points, voice(line, Person.random(seed))


@pytest.fixture(scope="module")
def talk():
    return speaking(14)


def verdicts(*faces, samples):
    return judge_sounds([[(points, Fraction(0))] for points in faces], samples)


def test_a_sound_that_fits_is_its_own(talk):
    points, spoken = talk
    (sound,) = verdicts(points, samples=spoken)
    assert (sound.verdict, sound.shift, sound.teaches) == ("own", 0, True)


@pytest.mark.parametrize("late", [-10, 5])
def test_a_shifted_sound_is_moved_back(talk, late):
    points, spoken = talk
    moved = sound_under(spoken, Fraction(-late, 25), len(points))  # the sound comes `late` frames after the picture
    (sound,) = verdicts(points, samples=moved)
    assert sound.verdict == f"shifted by {sound.shift} frames"
    assert sound.teaches
    right, mended = audio.log_mel(spoken), audio.log_mel(moved)
    for frame in (100, 200):
        assert np.allclose(audio.mel_window(right, Fraction(frame, 25)),
                           audio.mel_window(mended, Fraction(frame - sound.shift, 25)), atol=0.05)  # fmt: skip


def test_somebody_elses_voice_teaches_no_lips(talk):
    points, _ = talk
    _, other = speaking(14, seed=8)
    (sound,) = verdicts(points, samples=other)
    assert (sound.verdict, sound.shift, sound.teaches) == ("not its own", 0, False)


def test_what_is_too_short_to_tell_is_taken_for_its_own(talk):
    points, _ = talk
    _, other = speaking(14, seed=8)
    (sound,) = verdicts(points[:75], samples=other[: 3 * 16000])
    assert sound.teaches


@pytest.mark.parametrize("samples", [np.zeros(0, np.float32), np.full(14 * 16000, 1e-4, np.float32)])
def test_silence_teaches_no_lips(talk, samples):
    (sound,) = verdicts(talk[0], samples=samples)
    assert (sound.verdict, sound.teaches) == ("silent", False)


def test_what_is_heard_while_a_face_is_seen_decides_whether_it_is_silent(talk):
    points, spoken = talk
    late = np.concatenate([np.zeros(len(points) * 640, np.float32), spoken])
    before, during = ([(points, start)] for start in (Fraction(0), Fraction(len(points), 25)))
    assert [sound.verdict for sound in judge_sounds([before, during], late)] == ["silent", "own"]


def test_a_quiet_voice_is_not_silent(talk):
    points, spoken = talk
    quiet = spoken * 10 ** (-50 / 20) / np.sqrt(np.mean(np.square(spoken)))  # -50 dBFS
    assert verdicts(points, samples=quiet)[0].teaches


def test_who_speaks_says_where_the_sound_of_a_file_lies(talk):
    points, spoken = talk
    late = sound_under(spoken, Fraction(-6, 25), len(points))
    speaker, brief = verdicts(points, points[50:110], samples=late)
    assert brief.shift == speaker.shift != 0, "two seconds say nothing, but they are of the same file"
    listener, _ = speaking(14, seed=9)
    assert verdicts(points, listener, samples=late)[1].verdict == "not its own"


@pytest.mark.parametrize(
    ("frames", "lag", "evidence", "verdict"),
    [(600, 4, 5.0, "shifted by 3 frames"), (600, 4, 3.0, "not its own"), (400, 4, 3.0, "shifted by 3 frames"),
     (400, 8, 3.0, "not its own"), (200, 8, 3.0, "shifted by 3 frames"), (600, 8, 12.0, "shifted by 8 frames")],
)  # fmt: skip
def test_a_face_is_judged_by_its_length_its_evidence_and_the_surest_face(monkeypatch, frames, lag, evidence, verdict):
    found = {700: Offset(3, 20.0), 300: Offset(-2, 11.0), frames: Offset(lag, evidence)}  # by the length of a face
    monkeypatch.setattr("sidgan.adaptation.sound.estimate_offset", lambda points, mel: found[len(points)])
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, 28 * 16000).astype(np.float32)
    sure, less, judged = verdicts(*(np.zeros((n, 68, 2), np.float32) for n in (700, 300, frames)), samples=samples)
    assert (sure.verdict, less.verdict) == ("shifted by 3 frames", "shifted by -2 frames")
    assert judged.verdict == verdict
    assert judged.shift == (int(verdict.split()[2]) if judged.teaches else 0)


def test_a_face_seen_in_many_short_stretches_is_judged_by_them_together(talk):
    points, spoken = talk
    stretches = [(points[i : i + 34], Fraction(i, 25)) for i in range(0, len(points) - 33, 34)]
    (sound,) = judge_sounds([stretches], spoken)
    assert (sound.verdict, sound.shift) == ("own", 0)
    assert sound.evidence > 10


def test_sound_beyond_the_recording_is_silence():
    samples = np.ones(1000, np.float32)
    assert sound_under(samples, Fraction(-1, 25), 2).tolist() == [0.0] * 640 + [1.0] * 640
    assert sound_under(samples, Fraction(1, 25), 2).tolist() == [1.0] * 360 + [0.0] * 920
    assert not sound_under(samples, Fraction(9), 3).any()
    assert not sound_under(samples, Fraction(-9), 3).any()


def test_foreign_speech_speaks():
    windows = foreign_speech(50, 1)
    assert windows.shape == (50, 1, 80, 28)
    assert windows.max() > 0


# ------------------------------------------------------------------------------------------------------ held back


def material(blob, *frames, sound=None, size=32):
    clips = tuple(blob(size, n, seed=i) for i, n in enumerate(frames))
    return Material(1, (0,), sum(frames), "somewhere", clips, sound or Sound("own"))


@pytest.mark.parametrize(
    ("frames", "held", "gap"), [((50,), 16, 5), ((125,), 31, 12), ((500,), 125, 25), ((300, 300), 150, 25)]
)
def test_the_end_is_held_back_behind_a_gap(blob, frames, held, gap):
    train, judged, _ = split(material(blob, *frames))
    assert sum(len(clip) for clip in train) == sum(frames) - held - gap
    assert len(judged) - 1 == min(held, 150)
    last = material(blob, *frames).clips[-1]
    assert torch.equal(judged.images[-1], last.images[-1])
    assert torch.equal(judged.images[0], train[0].images[0]), "the reference is the face's first frame"


def test_long_material_holds_back_half_a_minute_and_looks_at_some(blob):
    clip = blob(8, 1000)
    long = dataclasses.replace(material(blob, 50, size=8), clips=(clip,) * 15)
    train, judged, every = split(long)
    assert sum(len(c) for c in train) == 15000 - 750 - 25
    assert (len(judged), every) == (151, 5)


def seen(psnr, gap=1.0, answer=10.0, frames=100):
    rng = np.random.default_rng(0)
    return Scores(np.full(frames, psnr), gap + rng.normal(0, 0.5, frames), np.zeros(frames), np.full(frames, answer))


@pytest.fixture
def judge(blob):
    return lambda hears: Judge(split(material(blob, 60))[1], hears, 1.0)


def test_any_gain_is_kept_and_nothing_else(judge):
    before = seen(30.0)
    assert judge(True).refusal(seen(30.000001), before) is None, "decided on unrounded figures"
    assert judge(True).refusal(seen(30.0), before)
    assert judge(True).refusal(seen(29.999999), before)
    assert judge(True).refusal(seen(np.nan), before)


def test_a_mouth_that_moves_against_its_sound_is_not_kept(judge):
    listening = seen(30.0, gap=0.5)
    assert judge(True).refusal(seen(33.0, gap=-0.5), listening)
    assert judge(True).refusal(seen(33.0, gap=-0.05), listening) is None, "that is noise"
    assert judge(True).refusal(seen(33.0, gap=0.1), listening) is None, "a better skin helps whatever is heard"
    assert judge(True).refusal(seen(33.0, gap=-0.5), seen(30.0, gap=-1.0)) is None, "it was worse before"


def test_frames_that_are_neighbours_count_as_one(blob):
    """A gap that swings over 40 frames tells little about its mean, unless these frames lie far from each other."""
    before = seen(30.0, frames=120)
    swinging = dataclasses.replace(seen(33.0, frames=120), gap=0.7 * np.sin(np.arange(120) * np.pi / 20) - 0.2)
    held = split(material(blob, 60))[1]
    assert Judge(held, True, 1.0).refusal(swinging, before) is None
    assert Judge(held, True, 10.0).refusal(swinging, before)


def test_without_own_sound_a_mouth_must_not_go_deaf(judge):
    before = seen(30.0)
    assert judge(False).refusal(seen(31.0, gap=-2.0, answer=6.0), before) is None
    assert judge(False).refusal(seen(31.0, answer=2.0), before)


def test_without_own_sound_the_held_back_frames_are_silent_and_the_answer_is_to_speech(blob):
    clip = split(material(blob, 60))[1]
    silent = silenced(clip)
    assert (silent.mels == -4).all()
    look = Judge(silent, False, 1.0).score(small())
    assert (look.answer > 0).any(), "it hears speech, though its clip is silent"
    loud = Judge(silent, True, 1.0).score(small())
    assert not loud.answer.any()


def test_without_own_sound_lips_do_not_judge(blob):
    clip = split(material(blob, 60))[1]
    points = np.zeros((len(clip), 68, 2), np.float32)
    points[:, 48:68] = np.linspace((0.4, 0.7), (0.6, 0.8), 20)
    smeared = dataclasses.replace(clip, landmarks=points, images=clip.images.clone())
    smeared.images[1:, :, 23:25, 14:18] = 255
    clean = dataclasses.replace(clip, landmarks=points)
    looks = [[Judge(c, hears, 1.0).score(small()) for c in (clean, smeared)] for hears in (True, False)]
    assert not np.allclose(looks[0][0].psnr, looks[0][1].psnr)
    assert np.allclose(looks[1][0].psnr, looks[1][1].psnr)


# --------------------------------------------------------------------------------------------------------- steps


def tuned(blob, config, hears=True, base=None, **how):
    """Weights at each look, by share."""
    found = {}
    tune(base or small(), [blob(32, 60)], 1.0, config, hears=hears, device="cpu", seed=0,
         look=found.__setitem__, progress=lambda *told: None, **how)  # fmt: skip
    return found


def differing(one, other):
    return {n for n, p in one.named_parameters() if not torch.equal(p, other.get_parameter(n))}


def test_weights_are_looked_at_on_the_way(blob):
    base = small()
    before = {n: p.clone() for n, p in base.named_parameters()}
    found = tuned(blob, AdaptConfig(steps=8), base=base)
    assert list(found) == [0.5, 0.75, 1.0]
    assert differing(found[0.5], found[1.0])
    assert all(torch.equal(p, before[n]) for n, p in base.named_parameters()), "the base stays as it is"


def test_part_of_what_was_learnt_is_used(blob):
    base = small()
    whole, half = (tuned(blob, AdaptConfig(steps=3, part=part), base=base)[1.0] for part in (1.0, 0.5))
    assert differing(base, half)
    for name, value in half.named_parameters():
        wanted = (base.state_dict()[name].double() + whole.state_dict()[name].double()) / 2
        assert torch.allclose(value.double(), wanted, atol=1e-6), name


def test_a_short_run_is_judged_at_its_end(blob):
    assert list(tuned(blob, AdaptConfig(steps=1))) == [1.0]


def test_time_ends_a_run(blob):
    found = {}
    steps, spent = tune(small(), [blob(32, 60)], 0.02, AdaptConfig(), hears=True, device="cpu", seed=0,
                        look=found.__setitem__, progress=lambda *told: None)  # fmt: skip
    assert list(found)[-1] == 1.0
    assert steps > 1
    assert 0.02 <= spent < 1


def test_without_own_sound_what_hears_stays(blob):
    base = small()
    changed = differing(tuned(blob, AdaptConfig(steps=3), hears=False, base=base)[1.0], base)
    assert changed
    assert not [n for n in changed if n.startswith(("audio.", "blocks.8."))]
    assert frozen(base, True, AdaptConfig()) == []


def test_only_the_named_layers_are_tuned(blob):
    base = small()
    changed = differing(tuned(blob, AdaptConfig(steps=3, tuned=("rgb.", "blocks.32.")), base=base)[1.0], base)
    assert changed
    assert all(n.startswith(("rgb.", "blocks.32.")) for n in changed)


def critics(level=32):
    torch.manual_seed(1)
    return Critics(CriticsConfig({level: DiscriminatorConfig(base=4, layers=2, sees="detail")}))


def test_the_critic_that_the_weights_knew_has_its_say(blob, monkeypatch):
    """It goes on from what it has learnt, at the finest level, where the sound says what mouths do."""
    begun = []

    class Watched(GanTask):
        def step(self, index):
            begun.append(None if self.critics is None else copy.deepcopy(self.critics.module.state_dict()))
            return super().step(index)

    monkeypatch.setattr("sidgan.adaptation.tuning.GanTask", Watched)
    plain = tuned(blob, AdaptConfig(steps=2))[1.0]
    assert begun == [None, None]
    rivals = critics()
    judged = tuned(blob, AdaptConfig(steps=2), rivals=rivals)[1.0]
    assert all(torch.equal(value, rivals.state_dict()[name]) for name, value in begun[2].items())
    assert any(not torch.equal(value, begun[2][name]) for name, value in begun[3].items()), "it goes on learning"
    assert differing(judged, plain)
    for how in ({"rivals": critics(16)}, {"rivals": rivals, "hears": False}):
        tuned(blob, AdaptConfig(steps=1), **how)
        assert begun[-1] is None, how


@pytest.mark.parametrize(("name", "value", "says"), [("batch", 3, "batch must be"), ("rate", -1.0, "lr must be"),
                                                     ("ema", 1.0, "ema must be")])  # fmt: skip
def test_settings_that_cannot_be_are_refused_before_the_video_is_read(tmp_path, name, value, says):
    with pytest.raises(ConfigError, match=says):
        run.adapt(tmp_path / "no_such.mp4", config=AdaptConfig(**{name: value}))


def test_critics_are_kept_beside_weights_and_found_from_changes_too(kept):
    folder, _, _ = kept
    assert checkpoint.load_critics(folder / "me.safetensors") is None
    rivals = critics()
    checkpoint.save(folder / "critics.safetensors", rivals)
    for name in ("base", "me"):
        found = checkpoint.load_critics(folder / f"{name}.safetensors")
        assert found.config == rivals.config
        assert all(torch.equal(v, rivals.state_dict()[k]) for k, v in found.state_dict().items())
    assert run._load_base(folder / "me.safetensors", 1.0, AdaptConfig(), "cpu")[2] is None
    checkpoint.save(folder / "new.safetensors", small(1))
    checkpoint.save_critics(folder / "new.safetensors", rivals)
    _, found, note = run._load_base(folder / "me.safetensors", 1.0, AdaptConfig(), "cpu")
    assert found is None
    assert note == ("the critics.safetensors beside base.safetensors belongs to other weights and was not used; keep "
                    "each generator in a folder with its own critics")  # fmt: skip
    (folder / "critics.safetensors").write_bytes(b"no weights")
    with pytest.raises(CheckpointError, match=r"critics\.safetensors is not a safetensors file"):
        checkpoint.load_critics(folder / "base.safetensors")


def test_the_bundled_critic_tells_pictures_from_softer_ones():
    """It belongs to the level at which a person is learnt, and finds what a blur has taken less real."""
    size = trunk_of(checkpoint.load_generator()).config.size
    bundled = checkpoint.load_critics()
    assert set(bundled.config.levels) == {size}
    people = [Portrait(Person.random(seed), (size, size)) for seed in range(3)]
    pictures = np.stack([who.render(Mouth(0.3), pose(7, [0])[0]) for who in people])
    sharp = torch.from_numpy(pictures).permute(0, 3, 1, 2).float() / 255
    soft = F.avg_pool2d(F.pad(sharp, (2, 2, 2, 2), mode="replicate"), 5, 1)
    mels = torch.zeros(3, 1, 80, 28)
    with torch.no_grad():
        real, blurred = (bundled({size: (shown, mels)})[size].mean((1, 2, 3)) for shown in (sharp, soft))
    assert (real > blurred + 0.1).all()


def test_what_moves_references_is_adapted_and_judged_with_two(blob):
    torch.manual_seed(0)
    base = Generator(dataclasses.replace(SMALL, **MOVING)).eval()
    points = np.random.default_rng(0).uniform(0.3, 0.7, (100, 68, 2)).astype(np.float32)
    clip = dataclasses.replace(blob(32, 100), landmarks=points)
    talk = dataclasses.replace(material(blob, 100), clips=(clip,))
    how = {"device": "cpu", "seed": 0, "progress": lambda *told: None}
    result = run._adapt_one(base, talk, 1.0, AdaptConfig(steps=2), note="no critic", **how)
    assert result.report.line().endswith("; no critic")
    assert (result.report.held_back, result.report.frames) == (25, 65)
    assert {type(value) for value in result.report.to_dict().values()} <= {int, float, str, bool, type(None)}
    _, judged, _ = split(talk, 2)
    opening = mouth_opening(judged.landmarks)
    assert opening[0] < np.median(opening) < opening[1]
    assert any((clip.images[i] == judged.images[1]).all() for i in range(65)), "what is shown was trained on"
    deaf = frozen(base, False, AdaptConfig())
    assert {"motion.8.head.bias", "motion.16.look.weight", "blocks.8.blend.weight"} <= set(deaf)


@pytest.mark.parametrize(
    "wrong",
    [{"part": 0.0}, {"steps": 0}, {"looks": ()}, {"looks": (0.5,)}, {"looks": (0.75, 0.5, 1.0)}],
)
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ConfigError):
        AdaptConfig(**wrong)


def test_time_is_shared_by_frames_with_a_least_share():
    assert time_shares([300]) == [1.0]
    assert time_shares([300, 100]) == [0.75, 0.25]
    long, brief = time_shares([990, 10])
    assert long + brief == pytest.approx(1)
    assert 0.19 < brief < 0.25


def test_the_best_look_is_used_and_not_the_last(blob, monkeypatch):
    good, bad, base = small(1), small(2), small()
    figures = {id(base): seen(30.0), id(good): seen(32.0), id(bad): seen(31.0)}

    def pretend(*args, look, **how):
        look(0.5, good)
        look(1.0, bad)
        return 10, 0.1

    monkeypatch.setattr(run, "tune", pretend)
    monkeypatch.setattr(Judge, "score", lambda self, generator: figures[id(generator)])
    how = {"config": AdaptConfig(), "device": "cpu", "seed": 0, "progress": lambda *told: None}
    result = run._adapt_one(base, material(blob, 60), 1.0, **how)
    assert result.generator is good
    assert (result.report.after, result.report.best_at, result.report.kept) == (32.0, 0.5, True)
    figures[id(bad)] = seen(33.0, gap=-0.5)
    assert run._adapt_one(base, material(blob, 60), 1.0, **how).generator is good, "the other moves against its sound"
    figures[id(good)] = figures[id(bad)] = seen(29.0)
    result = run._adapt_one(base, material(blob, 60), 1.0, **how)
    assert result.generator is base
    assert not result.report.kept
    assert "is left unchanged" in result.report.line()


def test_the_time_of_a_run_is_divided_among_faces(blob, monkeypatch):
    faces = [material(blob, 150), material(blob, 50), material(blob, 30)]
    given, told = [], []

    def pretend(base, one, minutes, config, *, progress, **how):
        given.append((len(one), minutes))
        progress(0.5, "half")
        progress(1.0, "done")

    monkeypatch.setattr(run, "_load_base", lambda *_: (small(), None, None))
    monkeypatch.setattr(run, "read_material", lambda *_, **__: faces)
    monkeypatch.setattr(run, "_adapt_one", pretend)
    run.adapt_faces("two.mp4", minutes=8.0, faces="all", progress=lambda share, text: told.append(share))
    assert given == [(150, 6.0), (50, 2.0)], "the third is seen too briefly"
    assert told == [0.375, 0.75, 0.875, 1.0]


# -------------------------------------------------------------------------------------------------------- changes


@pytest.fixture
def kept(tmp_path):
    """A base, a network that differs from it in two tensors, and the file of the changes."""
    base = small()
    checkpoint.save(tmp_path / "base.safetensors", base)
    other = small()
    with torch.no_grad():
        other.rgb["32"].weight += 0.25
        other.rgb["32"].bias -= 0.5
    meta = {"adapted_to": "talk.mp4"}
    checkpoint.save_changes(tmp_path / "me.safetensors", other, tmp_path / "base.safetensors", meta)
    return tmp_path, base, other


def test_only_changes_are_stored(kept):
    folder, base, other = kept
    with safe_open(folder / "me.safetensors", "pt") as file:
        stored = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    assert set(stored) == {"rgb.32.weight", "rgb.32.bias"}
    assert all(tensor.dtype == torch.float16 for tensor in stored.values())
    loaded = checkpoint.load_generator(folder / "me.safetensors")
    assert differing(loaded, base) == set(stored)
    for name, parameter in other.named_parameters():
        assert torch.allclose(loaded.get_parameter(name), parameter, atol=1e-3)
    assert checkpoint.read_meta(folder / "me.safetensors")["meta"] == {"adapted_to": "talk.mp4"}
    assert (folder / "me.safetensors").stat().st_size < 0.2 * (folder / "base.safetensors").stat().st_size


def test_changes_keep_how_lively_a_dub_should_be(kept):
    folder, _, other = kept
    other.lively = 1.5
    checkpoint.save(folder / "base.safetensors", other, {"lively": 1.5})
    with torch.no_grad():
        other.rgb["32"].bias += 0.25
    adapted = copy.deepcopy(checkpoint.load_generator(folder / "base.safetensors"))
    adapted.load_state_dict(other.state_dict())
    checkpoint.save_changes(folder / "me.safetensors", adapted, folder / "base.safetensors", {"adapted_to": "a.mp4"})
    assert checkpoint.load_generator(folder / "me.safetensors").lively == 1.5


@pytest.mark.parametrize("lively", ["very", None, [1.5]])
def test_weights_that_say_no_number_are_told_in_one_line(kept, lively):
    folder, base, _ = kept
    checkpoint.save(folder / "odd.safetensors", base, {"lively": lively})
    with pytest.raises(CheckpointError, match=r"odd.safetensors does not fit"):
        checkpoint.load_generator(folder / "odd.safetensors")


def test_weights_from_before_openings_were_tried_still_serve(kept):
    folder, base, other = kept
    tensors = {name: tensor for name, tensor in base.state_dict().items() if name != "opens"}
    checkpoint._write(folder / "old.safetensors", base, tensors, {}, {})
    assert not checkpoint.load_generator(folder / "old.safetensors").opens.any()
    checkpoint.save_changes(folder / "new.safetensors", other, folder / "old.safetensors")
    assert differing(checkpoint.load_generator(folder / "new.safetensors"), base) == {"rgb.32.weight", "rgb.32.bias"}


def test_nothing_changed_is_almost_nothing_to_store(kept):
    folder, base, _ = kept
    checkpoint.save_changes(folder / "same.safetensors", base, folder / "base.safetensors")
    assert not differing(checkpoint.load_generator(folder / "same.safetensors"), base)
    assert (folder / "same.safetensors").stat().st_size < 2000


def test_changes_find_their_base_where_it_was_or_beside_them(kept, tmp_path):
    folder, _, other = kept
    (folder / "people").mkdir()
    checkpoint.save_changes(folder / "people" / "me.safetensors", other, folder / "base.safetensors")
    assert checkpoint.load_generator(folder / "people" / "me.safetensors").config == SMALL
    (folder / "base.safetensors").rename(folder / "people" / "base.safetensors")
    assert checkpoint.load_generator(folder / "people" / "me.safetensors").config == SMALL


def test_changes_on_another_drive_than_their_base_are_kept(kept, monkeypatch):
    def elsewhere(*_):
        raise ValueError("path is on mount 'D:', start on mount 'C:'")

    folder, _, other = kept
    monkeypatch.setattr("sidgan.checkpoint.os.path.relpath", elsewhere)
    checkpoint.save_changes(folder / "far.safetensors", other, folder / "base.safetensors")
    assert checkpoint.load_generator(folder / "far.safetensors").config == SMALL


def test_changes_without_their_base_say_so(kept):
    folder, base, _ = kept
    (folder / "base.safetensors").unlink()
    with pytest.raises(CheckpointError, match=r"base\.safetensors.*missing; put base\.safetensors beside it"):
        checkpoint.load_generator(folder / "me.safetensors")
    checkpoint.save(folder / "base.safetensors", small(5))
    with pytest.raises(CheckpointError, match="is not those weights"):
        checkpoint.load_generator(folder / "me.safetensors")
    checkpoint.save(folder / "base.safetensors", base, {"other": "words"})
    checkpoint.load_generator(folder / "me.safetensors")


def test_changes_of_changes_belong_to_the_first_base(kept):
    folder, base, other = kept
    with torch.no_grad():
        other.rgb["16"].bias += 1
    checkpoint.save_changes(folder / "again.safetensors", other, folder / "me.safetensors")
    (folder / "me.safetensors").unlink()
    assert differing(checkpoint.load_generator(folder / "again.safetensors"), base) == {
        "rgb.32.weight", "rgb.32.bias", "rgb.16.bias"
    }  # fmt: skip


def test_changes_of_another_network_are_refused(kept):
    folder, _, _ = kept
    with pytest.raises(CheckpointError, match="does not have the shape"):
        checkpoint.save_changes(folder / "x.safetensors", Generator(dataclasses.replace(SMALL, base=2)),
                                folder / "base.safetensors")  # fmt: skip
    assert not (folder / "x.safetensors").exists()

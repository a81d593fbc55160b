"""Recordings with their speech sounds, and a listener that learns to tell them apart."""

import builtins
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric
from safetensors.torch import load_file
from typer.testing import CliRunner

from sidgan import audio, checkpoint
from sidgan.cli import app
from sidgan.config import ListenerConfig, SyncNetConfig
from sidgan.data import labelling
from sidgan.data.labelling import by_column, label
from sidgan.data.speech import HEARD, UNKNOWN, Recording, SpeechSet
from sidgan.errors import CheckpointError, ConfigError, DataError, InputError, SidganError
from sidgan.media import write_wav
from sidgan.nn import SOUNDS, Listener, SyncNet
from sidgan.synth import Person, random_line, voice
from sidgan.train import augment
from sidgan.train.listener import ListenerTask, ListenerTrainConfig
from sidgan.train.loop import LoopConfig, run

SMALL = ListenerConfig(audio_width=4, blocks=0.0)


def toy_voice(name: str, seed: int, count: int = 400) -> Recording:
    """A voice that says four sounds, each of which is loud in bands of its own; its pitch moves all of them."""
    rng = np.random.default_rng(seed)
    sounds = np.repeat(rng.integers(0, 4, count // 20), 20).astype(np.int8)
    bands = np.arange(80)[:, None] - rng.integers(0, 6)
    mel = 3 * np.exp(-(((bands - 10 - 18 * sounds[None]) / 6) ** 2)) - 2 + 0.3 * rng.standard_normal((80, count))
    return Recording(name, mel.astype(np.float16), sounds)


def toy_set(voices: int = 6) -> SpeechSet:
    return SpeechSet(toy_voice(f"v{k}", k) for k in range(voices))


# ----------------------------------------------------------------------------------------------------------- labels


def test_sounds_lie_where_they_are_spoken():
    columns = by_column([("silence", 0.0, 0.5), ("AA", 0.5, 1.0), ("M", 1.2, 1.3)], 120)
    assert len(columns) == 120
    for name, middle in (("silence", 0.25), ("AA", 0.75), ("M", 1.25)):
        assert SOUNDS[columns[round(middle * audio.STEPS_PER_SECOND)]] == name
    assert columns[round(1.1 * 80)] == UNKNOWN
    change = int(np.flatnonzero(columns == SOUNDS.index("AA"))[0]) / 80
    assert abs(change - 0.5) <= 1 / 80, "a sound begins where it is said to, to a column"


def test_a_window_is_asked_for_the_sound_at_its_frame():
    """The label of a window lies at the time of the frame that the window is for, within a column."""
    for frame in range(25):
        time = Fraction(frame, 25)
        asked = Fraction(audio.window_start(time) + HEARD, audio.STEPS_PER_SECOND)
        assert abs(asked - time) <= Fraction(1, audio.STEPS_PER_SECOND)


def test_drawn_windows_are_what_the_recordings_hold():
    count = 300
    counting = np.tile(np.linspace(-4, 4, count), (80, 1)).astype(np.float16)
    sounds = np.arange(count, dtype=np.int64) % 40
    data = SpeechSet([Recording("v", counting, sounds.astype(np.int8))])
    mels, asked = data.draw(np.random.default_rng(0), 3, 5)
    assert mels.shape == (3, 5, 1, 80, 16)
    assert asked.shape == (3, 5)
    starts = np.abs(mels[..., 0, 0, 0, None] - counting[0].astype(np.float32)).argmin(-1)
    assert (asked == sounds[starts + HEARD]).all()


def test_rare_voices_are_drawn_too():
    data = SpeechSet([toy_voice("much", 0, 8000), toy_voice("little", 1, 80)])
    data.voices["little"][0].sounds[:] = 5
    _, asked = data.draw(np.random.default_rng(0), 400, 1)
    assert 0.04 < float((asked == 5).mean()) < 0.25  # a hundredth of the time, a tenth of the draws


def test_held_out_voices_are_not_learnt_from():
    train, held = toy_set(12).divided(4)
    assert len(held.voices) == 3
    assert not set(train.voices) & set(held.voices)
    assert len(train.voices) == 9


def said(seed: int) -> np.ndarray:
    """Two seconds of a drawn person's voice, as loud as recordings are."""
    samples = voice(random_line(np.random.default_rng(seed), 1.5), Person.random(seed), 16_000)
    return np.asarray(0.5 * samples / np.abs(samples).max(), np.float32)


@pytest.fixture(scope="module")
def spoken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("pocketsphinx")
    folder = tmp_path_factory.mktemp("recordings")
    (folder / "anna").mkdir()
    for k in range(2):
        write_wav(folder / "anna" / f"{k}.wav", said(k), 16_000)
    write_wav(folder / "bert.wav", said(7), 16_000)
    write_wav(folder / "nobody.wav", np.zeros(16_000, np.float32), 16_000)
    (folder / "broken.mp3").write_bytes(b"no sound")
    (folder / "notes.txt").write_text("no recording")
    return folder


def test_recordings_are_labelled_once_and_bad_ones_named(spoken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    lines: list[str] = []
    voices = label(spoken, tmp_path / "out", report=lines.append)
    assert set(voices) == {"anna", "bert"}
    assert len(lines) == 2
    assert any("nobody" in line and "silent" in line for line in lines)
    assert [line.count("broken.mp3") for line in lines if "broken" in line] == [1]
    data = SpeechSet.read([tmp_path / "out"])
    assert {name: len(found) for name, found in data.voices.items()} == {"anna": 2, "bert": 1}
    for recordings in data.voices.values():
        for recording in recordings:
            assert recording.mel.shape == (80, len(recording.sounds))
            assert (recording.sounds >= 0).mean() > 0.5, "most of it is some sound"
    monkeypatch.setattr(labelling, "recognise", lambda samples: pytest.fail("done already"))
    assert label(spoken, tmp_path / "out") == pytest.approx(voices)


def test_a_folder_of_faces_is_not_told_to_be_removed(tmp_path: Path):
    (tmp_path / "clips").mkdir()
    np.savez(tmp_path / "clips" / "a.npz", mel=np.zeros((80, 20), np.float16), pose=np.zeros((5, 3)))
    with pytest.raises(DataError, match=r"a\.npz is not a labelled recording; give a folder from sidgan label"):
        SpeechSet.read([tmp_path])


def test_recordings_of_which_none_is_long_enough_are_refused(tmp_path: Path):
    (tmp_path / "anna").mkdir()
    np.savez(tmp_path / "anna" / "a.npz", mel=np.zeros((80, 16), np.float16), sounds=np.zeros(16, np.int8))
    with pytest.raises(DataError, match="too short; label longer ones"):
        SpeechSet.read([tmp_path])


def test_two_recordings_of_one_name_are_refused_before_work(tmp_path: Path):
    pytest.importorskip("pocketsphinx")
    for name in ("anna/b/c.wav", "anna/b__c.wav"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(InputError, match=r"labelled under the same name; rename one"):
        label(tmp_path, tmp_path / "out")


def test_silence_is_heard_as_silence():
    pytest.importorskip("pocketsphinx")
    rng = np.random.default_rng(0)
    line = said(0)
    quiet = 1e-4 * rng.standard_normal(16_000).astype(np.float32)
    columns = by_column(labelling.recognise(np.concatenate([quiet, line, quiet])), 400)
    assert (columns[5:70] == 0).mean() > 0.8
    assert (columns[90:180] > 0).mean() > 0.5


def test_what_is_heard_does_not_depend_on_what_was_heard_before():
    pytest.importorskip("pocketsphinx")
    first = labelling.recognise(said(1))
    labelling.recognise(said(2))
    assert first
    assert labelling.recognise(said(1)) == first


def test_what_cannot_be_labelled_is_one_clear_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("pocketsphinx")
    with pytest.raises(InputError, match="no folder"):
        label(tmp_path / "none", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no recordings"):
        label(tmp_path / "empty", tmp_path / "out")
    with pytest.raises(DataError, match="sidgan label"):
        SpeechSet.read([tmp_path / "empty"])
    (tmp_path / "empty" / "v").mkdir()
    (tmp_path / "empty" / "v" / "x.npz").write_bytes(b"torn")
    with pytest.raises(DataError, match="remove it"):
        SpeechSet.read([tmp_path / "empty"])


def test_a_missing_recogniser_is_named(monkeypatch: pytest.MonkeyPatch):
    real = builtins.__import__

    def without(name: str, *rest, **more):
        if name == "pocketsphinx":
            raise ImportError
        return real(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SidganError, match=r"sidgan\[speech\]"):
        labelling.recogniser()


# --------------------------------------------------------------------------------------------------------- augmentation


@pytest.fixture(scope="module")
def mels() -> torch.Tensor:
    drawn, _ = toy_set().draw(np.random.default_rng(0), 6, 4)
    return torch.from_numpy(drawn)


@pytest.mark.parametrize("name", ["room", "company", "gaps"])
def test_augmented_sound_stays_sound(mels: torch.Tensor, name: str):
    change = {
        "room": lambda rng: augment.mel_echo(mels, rng, chance=1.0),
        "company": lambda rng: augment.mel_background(mels, rng),
        "gaps": lambda rng: augment.mel_band_gaps(mels, rng, chance=1.0),
    }[name]
    once, again, other = (change(np.random.default_rng(seed)) for seed in (1, 1, 2))
    assert once.shape == mels.shape
    assert once.abs().max() <= 4
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert not torch.equal(once, mels)


def test_a_room_only_prolongs(mels: torch.Tensor):
    echoed = augment.mel_echo(mels, np.random.default_rng(0), chance=1.0)
    assert (echoed >= mels - 1e-6).all()
    assert torch.equal(echoed[..., 0], mels[..., 0]), "nothing is known of what was before"
    assert torch.equal(augment.mel_echo(mels, np.random.default_rng(0), chance=0.0), mels)


def test_company_stays_below_the_voice(mels: torch.Tensor):
    """The loudest bands change little, whatever is with them; silence between them does not stay silent."""
    mixed = augment.mel_background(mels, np.random.default_rng(0))
    loud = mels > mels.amax(-2, keepdim=True) - 0.3
    assert (mixed - mels)[loud].mean() < 0.5
    assert (mixed - mels)[mels < -1.5].mean() > 0.1


# ------------------------------------------------------------------------------------------------------------- training


def listener_task(**changes) -> ListenerTask:
    fabric = Fabric(accelerator="cpu", devices=1)
    settings = {"model": SMALL, "loop": LoopConfig(steps=60), "batch": 16, "each": 4, "augment": 0.0, "held": 3}
    return ListenerTask(ListenerTrainConfig(**settings | changes), toy_set(), fabric)


def test_a_listener_learns_sounds_of_voices_that_it_never_met():
    task = listener_task()
    for index in range(60):
        figures = task.step(index)
    assert figures["right"] > 0.8
    assert task.evaluate(60, Path())["held_right"] > 0.8  # chance is 1 in 4


def test_labels_that_are_unknown_teach_nothing():
    task = listener_task()
    for recordings in task.train.voices.values():
        for recording in recordings:
            recording.sounds[:] = UNKNOWN
    before = [p.clone() for p in task.net.parameters()]
    assert not np.isfinite(task.step(0)["loss"])
    assert all(torch.equal(a, b) for a, b in zip(before, task.net.parameters(), strict=True))


def test_sound_that_is_none_spoils_no_statistics():
    task = listener_task()
    task.step(0)
    take = task.batches.take
    task.batches.take = lambda index: (take(index)[0] * float("nan"), take(index)[1])
    assert not np.isfinite(task.step(1)["loss"])
    task.batches.take = take
    assert np.isfinite(task.step(2)["loss"])
    assert all(bool(torch.isfinite(buffer).all()) for buffer in task.ema.buffers())
    assert np.isfinite(task.evaluate(3, Path())["held_right"])


def test_a_gradient_that_is_none_teaches_nothing():
    task = listener_task()
    before = [p.clone() for p in (*task.net.parameters(), *task.ema.parameters())]
    next(task.net.parameters()).register_hook(lambda gradient: gradient * float("inf"))
    report = task.step(0)
    assert np.isfinite(report["loss"])
    assert np.isnan(report["gradient"])
    after = (*task.net.parameters(), *task.ema.parameters())
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert task.state()["precision"] == {}  # in fp16 the scale


def test_a_stopped_run_goes_on_as_if_it_had_not(tmp_path: Path):
    loop = LoopConfig(steps=6, save_every=3, eval_every=6)
    whole, halves = tmp_path / "whole", tmp_path / "halves"
    for folder, steps in ((whole, 6), (halves, 3), (halves, 6)):
        task = listener_task(loop=loop)  # the rate follows from the length of the whole run
        run(task, folder, replace(loop, steps=steps), lambda line: None)
    one, other = (load_file(folder / "weights.safetensors") for folder in (whole, halves))
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_its_ears_are_taken_over(tmp_path: Path):
    path = tmp_path / "listener.safetensors"
    net = Listener(SMALL).eval()
    checkpoint.save(path, net, {"steps": 1})
    ears = checkpoint.load_ears(path)
    expert = SyncNet(SyncNetConfig(width=4, audio_width=4, blocks=0.0)).eval()
    expert.audio.take_over(ears)
    mel = torch.randn(3, 1, 80, 16, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.equal(expert.audio(mel), net.audio(mel))
    with pytest.raises(ConfigError, match="audio_width"):
        SyncNet(SyncNetConfig(width=4, audio_width=8, blocks=0.0)).audio.take_over(ears)
    with pytest.raises(CheckpointError, match="holds a listener, not a generator"):
        checkpoint.load_generator(path)
    assert isinstance(checkpoint.load_ears(checkpoint.bundled("syncnet")), type(ears))
    assert isinstance(checkpoint.load_ears("bundled"), type(ears))


def test_label_and_train_by_command(spoken: Path, tmp_path: Path):
    runner = CliRunner()
    assert runner.invoke(app, ["label", str(spoken), str(tmp_path / "speech")]).exit_code == 0
    small = ["--set", "model.audio_width=4", "--set", "model.blocks=0", "--set", "batch=4", "--set", "held=2"]
    done = runner.invoke(app, ["train", "listener", str(tmp_path / "speech"), "--steps", "2", "--run",
                               str(tmp_path / "run"), *small])  # fmt: skip
    assert done.exit_code == 0, done.output
    assert (tmp_path / "run" / "weights.safetensors").is_file()
    assert checkpoint.load_ears(tmp_path / "run" / "weights.safetensors").settings == (4, 0, "none")

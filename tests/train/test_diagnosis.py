"""Why an expert does not learn: each cause shown on material broken on purpose, and none on sound material."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from lightning.fabric import Fabric

from sidgan import audio, synth
from sidgan.config import SyncNetConfig
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.errors import ConfigError, DataError
from sidgan.train.alignment import measure_alignment
from sidgan.train.diagnosis import (
    Facts,
    PlateauWatch,
    diagnose,
    explain,
    offset_histogram,
    self_test,
    too_easy,
)
from sidgan.train.loop import LoopConfig, run
from sidgan.train.syncnet import SyncTask, SyncTrainConfig

NET = SyncNetConfig(face=96, width=2, audio_width=4, blocks=0.0)
FRAMES, CLIPS = 120, 26


def talk(seed: int, *, fps: float = 25, lag: int = 0, noise: float = 0.5) -> PackedClip:
    """A clip with landmarks and mels, and no pictures to speak of; a mouth that follows its voice only roughly.

    Args:
        fps: at which it was filmed, while it counts as 25.
        lag: frames by which its pictures come late.
    """
    rng = np.random.default_rng(seed)
    clock = np.arange(-2 * FRAMES, 6 * FRAMES) / 2  # in frames of 25 fps
    loud = np.convolve(rng.standard_normal(len(clock)), np.hanning(13) / 3, "same")

    def at(frame):
        return np.interp(frame, clock, loud)

    frames = np.arange(FRAMES)
    wide = 0.15 + 0.05 * (at((frames - lag) * 25 / fps) + noise * rng.standard_normal(FRAMES))
    landmarks = np.zeros((FRAMES, 68, 2), np.float32)
    landmarks[:, 45, 0] = 0.4
    landmarks[:, 54, 0] = 0.3
    landmarks[:, 66, 1] = landmarks[:, 57, 1] = 0.4 * wide
    steps = frames[:, None] + (np.arange(16) - 7.5) / 3.2
    mels = np.clip(-1 + at(steps)[:, None, None] + noise * rng.standard_normal((FRAMES, 1, 80, 16)), -4, 4)
    return PackedClip(f"talk/{seed}", torch.randint(0, 255, (FRAMES, 3, 8, 8), dtype=torch.uint8),
                      torch.from_numpy(mels.astype(np.float16)), torch.zeros(FRAMES, 4), landmarks)  # fmt: skip


def task(clips, **changes):
    data = PackedSet.of(clips)
    config = SyncTrainConfig(**({"model": NET, "batch": 4, "negatives": 2, "loop": LoopConfig(steps=40)} | changes))
    return SyncTask(config, data, {}, Fabric(accelerator="cpu", devices=1))


def cause(clips) -> str | None:
    facts = replace(task(clips).facts(), grown=1.2, moved=0.5)  # of a network that has been trained for a while
    found = explain(facts)
    return found.cause if found else None


def test_clips_in_sync_give_no_cause():
    assert cause([talk(i) for i in range(CLIPS)]) is None
    assert cause([talk(i, lag=1) for i in range(CLIPS)]) is None, "one frame is what landmarks can tell"


@pytest.mark.parametrize("lag", [4, -6])
def test_one_lag_in_all_clips_is_a_misaligned_mel(lag):
    clips = [talk(i, lag=lag) for i in range(CLIPS)]
    assert measure_alignment(PackedSet.of(clips)).lag == lag
    assert cause(clips) == "mels misaligned"


def test_scattered_lags_are_data_out_of_sync():
    rng = np.random.default_rng(0)
    assert cause([talk(i, lag=int(rng.integers(-15, 16))) for i in range(CLIPS)]) == "data out of sync"
    strangers = [talk(i) for i in range(CLIPS)]
    voices = [*strangers[1:], strangers[0]]
    mixed = [replace(c, mels=v.mels) for c, v in zip(strangers, voices, strict=True)]
    assert cause(mixed) == "data out of sync"


def test_few_frames_are_no_proof_that_data_is_out_of_sync():
    assert cause([talk(i, lag=15 * (i % 3) - 15) for i in range(6)]) is None


@pytest.mark.parametrize("fps", [24, 30, 20, 50])
def test_a_drift_in_all_clips_is_a_wrong_frame_rate(fps):
    clips = [talk(i, fps=fps) for i in range(CLIPS)]
    assert measure_alignment(PackedSet.of(clips)).rate == fps
    assert cause(clips) == "wrong frame rate"


def test_silence_and_humming_are_negatives_nobody_can_tell_apart():
    clips = [talk(i) for i in range(CLIPS)]
    for clip in clips[: 2 * CLIPS // 3]:
        clip.mels[:] = -4.0
    for clip in clips[2 * CLIPS // 3 :]:
        clip.mels[:] = clip.mels[:1].clone()
    assert cause(clips) == "negatives too similar"


def test_clips_without_landmarks_say_nothing(blob):
    assert measure_alignment(PackedSet.of([blob(64, 60, i) for i in range(4)])) is None


def drawn(seed: int) -> PackedClip:
    """Landmarks and voice of a person drawn by the package; the pictures themselves are not needed."""
    line, person = synth.random_line(np.random.default_rng(seed), 4.0), synth.Person.random(seed)
    portrait, times = synth.Portrait(person, (128, 128)), np.arange(100) / 25
    states = zip(synth.mouth(line, times), synth.pose(seed, times), strict=True)
    landmarks = np.stack([portrait.landmarks(lips, head) for lips, head in states]).astype(np.float32) / 128
    heard = [Fraction(i, 25) for i in range(100)]
    mels = audio.mel_windows(audio.log_mel(synth.voice(line, person)), heard).astype(np.float16)
    return PackedClip(f"drawn/{seed}", torch.zeros(100, 3, 8, 8, dtype=torch.uint8), torch.from_numpy(mels),
                      torch.zeros(100, 4), landmarks)  # fmt: skip


def test_people_drawn_by_the_package_are_in_sync_until_their_sound_is_moved():
    people = [drawn(seed) for seed in range(8)]
    assert cause(people) is None
    assert cause([replace(clip, mels=clip.mels.roll(5, 0)) for clip in people]) == "mels misaligned"


@pytest.mark.parametrize(("lr", "expected"), [(3e-6, "learning rate too low"), (1.0, "learning rate too high")])
def test_weights_tell_of_a_wrong_learning_rate(lr, expected, blob):
    stuck = task([blob(128, 60)], lr=lr, warmup=1)
    for index in range(40):
        stuck.step(index)
    assert explain(stuck.facts()).cause == expected


def test_a_healthy_learning_rate_is_not_blamed(blob):
    well = task([blob(128, 60)], lr=4e-3, warmup=1)
    for index in range(40):
        well.step(index)
    assert explain(well.facts()) is None


def test_the_data_is_blamed_before_the_learning_rate():
    facts = task([talk(i, lag=5) for i in range(CLIPS)]).facts()
    assert explain(replace(facts, moved=0.0)).cause == "mels misaligned"
    assert explain(Facts(None, 0.0, 1.0, 0.0)).cause == "learning rate too low"


def test_negatives_that_are_told_apart_without_listening_to_the_moment():
    assert "negatives too easy" in too_easy({"ranked": 0.97, "within1": 0.2})
    assert too_easy({"ranked": 0.97, "within1": 0.8}) is None
    assert too_easy({"ranked": 0.7, "within1": 0.2}) is None, "it is still learning"
    assert too_easy({"ranked": 0.97, "within1": float("nan")}) is None, "clips too short to tell"


def test_the_watch_speaks_of_a_plateau_less_and_less_often():
    watch = PlateauWatch(10)
    said = [i for i in range(100) if watch.add(0.69)]
    assert said == [9, 29, 69]
    again = PlateauWatch(10)
    again.restore(watch.state())
    assert [again.add(0.69) for _ in range(80)] == [watch.add(0.69) for _ in range(80)]
    assert not any(PlateauWatch(10).add(0.4) for _ in range(100))
    assert not any(PlateauWatch(0).add(0.7) for _ in range(100))


def test_a_run_that_stays_at_069_says_why_in_its_log(tmp_path, blob):
    stuck = task([blob(128, 60)], lr=1e-7, warmup=1, watch=6)
    run(stuck, tmp_path, LoopConfig(steps=6, eval_every=6), lambda line: None)
    assert "near 0.69 after 6 steps; likely cause: learning rate too low" in (tmp_path / "log.txt").read_text()


def test_without_a_cause_the_line_says_what_was_measured():
    line = diagnose(task([talk(i) for i in range(CLIPS)]).facts())
    assert "learning rate too low" in line, "nothing was trained yet"
    well = task([talk(i) for i in range(CLIPS)])
    well.origin = [p * 0.9 for p in well.origin]
    assert "no measurement explains it (lag 0, evidence" in diagnose(well.facts())


# ------------------------------------------------------------------------------------------------ before the run


def outcome(data: PackedSet, lr: float = 1e-3) -> str:
    return self_test(data, NET, lr=lr, seed=0, device=torch.device("cpu"))


def test_the_self_test_passes_sound_data_and_disturbs_nothing(blob):
    one, other = task([blob(128, 40)]), task([blob(128, 40)])
    before = torch.get_rng_state()
    assert "memorises 8 windows" in outcome(one.train)
    assert torch.equal(before, torch.get_rng_state())
    for index in range(2):
        assert one.step(index) == other.step(index)


def test_the_self_test_names_what_is_wrong(blob):
    silent = blob(128, 40)
    silent.mels[:] = -4.0
    with pytest.raises(DataError, match="right and wrong sounds are the same"):
        outcome(PackedSet.of([silent]))
    still = blob(128, 40)
    still.images[:] = still.images[:1].clone()
    with pytest.raises(DataError, match="all frames are the same"):
        outcome(PackedSet.of([still]))
    broken = blob(128, 40)
    broken.mels[5:] = float("nan")
    with pytest.raises(DataError, match="NaN or infinite"):
        outcome(PackedSet.of([broken]))
    with pytest.raises(ConfigError, match="learning rate 1e-06 is too low"):
        outcome(PackedSet.of([blob(128, 40)]), lr=1e-6)


def test_offsets_are_shown_as_a_histogram():
    measured = [(0, 20.0), (0, 12.0), (0, 4.0), (1, 9.0), (4, 11.0)]
    records = [{"offset": o, "offset_evidence": evidence} for o, evidence in measured] + [{"kept": False}]
    title, *bars = offset_histogram(records)
    assert "5 clips" in title
    assert bars == ["  +0     3 ##.", "  +1     1 .", "  +4     1 #"]
    assert offset_histogram([]) == []

"""The protocol on clips whose answers are known: flat mouths that change their colour, and sounds that tell which."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor

from sidgan import faces
from sidgan.config import GeneratorConfig, SyncNetConfig
from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.errors import ConfigError, DataError
from sidgan.evaluation import COLUMNS, ROWS, EvalResult, Record, bootstrap, evaluate, table
from sidgan.evaluation.measures import LipJitter, Opening, bridged
from sidgan.evaluation.networks import sound_of
from sidgan.evaluation.remarks import partial
from sidgan.evaluation.revoicing import enough, others, revoice_clip
from sidgan.evaluation.rows import heard
from sidgan.evaluation.subject import BATCH, Subject, closed_and_open
from sidgan.nn import Generator, SyncNet

COUNT, SIZE = 12, 64
BOX = (0.25, 0.5, 0.75, 1.0)
LEVELS = np.random.default_rng(5).permutation(20)[:COUNT] * 10 + 20  #: grey of the mouth in each frame


def made_clip(name: str = "a/clip", count: int = COUNT) -> PackedClip:
    """Frame i: noise that does not change, a flat mouth of ``LEVELS[i]``, and a sound that is i all over."""
    rng = np.random.default_rng(0)
    images = np.repeat(rng.integers(0, 256, (1, 3, SIZE, SIZE), np.uint8), count, 0)
    for i in range(count):
        images[i, :, SIZE // 2 :, SIZE // 4 : 3 * SIZE // 4] = LEVELS[i % COUNT]
    landmarks = np.broadcast_to(rng.uniform(0.2, 0.9, (68, 2)).astype(np.float32), (count, 68, 2)).copy()
    return PackedClip(
        name=name, images=torch.from_numpy(images), landmarks=landmarks,
        mels=torch.arange(count).half()[:, None, None, None].expand(-1, 1, 80, 28).clone(),
        masks=torch.tensor(BOX).expand(count, 4).clone(),
    )  # fmt: skip


def made_set(*clips: PackedClip) -> PackedSet:
    return PackedSet.of(clips)


class Oracle(Generator):
    """Draws the mouth that the sound stands for, and green wherever it may look but not draw."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(
            GeneratorConfig(size=size, base=2, cmax=4, rgb_levels=(size,), audio_levels=(16,), audio_width=1)
        )
        self.queries: list[Tensor] = []

    def encode_reference(self, reference: Tensor) -> dict[int, Tensor]:
        return {0: reference}

    def decode(
        self, query: Tensor, features: Mapping[int, Tensor], mel: Tensor,
        level: int | None = None, fade: float | None = None, placed: Tensor | None = None, sharp: Tensor | None = None,
        finest: bool = False, favour: Tensor | None = None,
    ) -> dict[int, Tensor]:  # fmt: skip
        assert not self.training
        self.queries.append(query)
        levels = torch.tensor(LEVELS)[mel[:, 0, 0, 0].long()].float() / 255
        drawn = levels[:, None, None, None].expand_as(query).clone()
        drawn[..., : query.shape[-1] // 2 - 2, :] = torch.tensor([0.0, 1.0, 0.0])[:, None, None]
        return {self.config.size: drawn}


@pytest.fixture(autouse=True)
def _fake_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A landmark model whose lower inner lip hangs as low as the mouth is bright; an identity of mouth colours."""

    def landmarks(image: np.ndarray, box: faces.Box) -> np.ndarray:
        assert image.shape == (256, 256, 3)
        points = np.zeros((68, 2), np.float32)
        points[45] = 100, 0  # eyes 100 px apart
        points[66] = 0, image[192, 128, 0]
        return points

    def embed(image: np.ndarray, points: np.ndarray) -> np.ndarray:
        return np.full(128, image[192, 128, 0] / 255 / math.sqrt(128), np.float32)

    monkeypatch.setattr(faces, "landmarks", landmarks)
    monkeypatch.setattr(faces, "embed", embed)


@pytest.fixture(scope="module")
def expert() -> SyncNet:
    torch.manual_seed(0)
    return SyncNet(SyncNetConfig(face=96, width=1, audio_width=1, blocks=0.0))


def values(result: EvalResult, row: str, system: str = "composite") -> dict[str, float]:
    return next(r.values for r in result.records if (r.row, r.system) == (row, system))


def decibels(mine: np.ndarray, true: np.ndarray) -> float:
    """Mean PSNR of flat mouths."""
    return float(np.mean(20 * np.log10(255 / np.abs(mine.astype(float) - true))))


def test_a_perfect_generator_is_perfect() -> None:
    result = evaluate(Oracle(), made_set(made_clip()))
    for row in ("truth", "model"):
        found = values(result, row)
        assert [found[k] for k in ("mouth_psnr", "psnr", "ssim")] == pytest.approx([100, 100, 1])
        assert [found[k] for k in ("lmd", "lmd_c", "id")] == [0, 0, 0]
        assert [found[k] for k in ("opening", "opening_lag", "opening_ratio")] == pytest.approx([1, 0, 1])
        assert math.isnan(found["sync"])
    assert values(result, "truth", "raw")["psnr"] == 100
    assert values(result, "model", "raw")["psnr"] < 20  # the green half counts here only
    assert values(result, "model", "raw")["mouth_psnr"] == 100
    assert {r.frames for r in result.records} == {COUNT - 1}
    assert "swapped" not in {r.row for r in result.records}, "there is no other clip"


def test_every_row_scores_what_its_mouths_deserve() -> None:
    result = evaluate(Oracle(), made_set(made_clip()))
    true = LEVELS[1:]
    expected = {
        "wrong": np.roll(LEVELS, -COUNT // 2)[1:],
        "reference": np.full(COUNT - 1, LEVELS[0]),
        "average": np.full(COUNT - 1, np.round(LEVELS.mean())),
    }
    for row, mouths in expected.items():
        found = values(result, row)
        assert found["mouth_psnr"] == pytest.approx(decibels(mouths, true))
        assert found["psnr"] == pytest.approx(decibels(mouths, true) + 10 * math.log10(4))  # a quarter of the picture
        off = np.abs(mouths - true)
        assert found["lmd"] == pytest.approx(off.mean() / 20)  # one of 20 lip points
        assert found["id"] == pytest.approx(off[::5].mean() / 255, rel=1e-4)
    assert values(result, "reference")["opening_ratio"] == pytest.approx(0, abs=1e-6)
    assert values(result, "reference")["opening"] == 0
    assert values(result, "wrong")["opening"] == pytest.approx(np.corrcoef(expected["wrong"], true)[0, 1])
    assert values(result, "random")["mouth_psnr"] < 40  # never the frame itself


def test_what_wrong_sounds_are_worth() -> None:
    """The oracle draws what it hears, so its pictures tell which sound each frame was given."""
    clips = made_set(made_clip("x", 40), made_clip("y", 30))
    silent, shuffled, swapped = (
        heard(row, Subject(clips.clips[0], swapped=clips.clips[1].mels)) for row in ("silent", "shuffled", "swapped")
    )
    assert (silent == -4).all()
    order = shuffled[:, 0, 0, 0].long().reshape(-1, 5)
    assert sorted(order.flatten().tolist()) == list(range(40))
    assert (order.diff(dim=1) == 1).all(), "pieces of five frames stay whole"
    assert (order[:, 0] != torch.arange(0, 40, 5)).all(), "and none stays where it was"
    assert swapped[:, 0, 0, 0].tolist() == [i % 30 for i in range(40)]


def test_the_lower_half_and_the_first_frame_can_be_judged() -> None:
    clip = made_clip()
    half = Subject(clip, mask="lower").masks(torch.tensor([0]))
    assert half[0, 0, : SIZE // 2].sum() == 0
    assert half[0, 0, SIZE // 2 :].all()
    found = evaluate(Oracle(), made_set(clip), rows=["reference"], score_reference=True)
    plain = evaluate(Oracle(), made_set(clip), rows=["reference"])
    assert found.records[0].frames == COUNT
    total = values(plain, "reference")["mouth_psnr"] * (COUNT - 1) + 100
    assert values(found, "reference")["mouth_psnr"] == pytest.approx(total / COUNT), "it flatters whoever copies"


def test_a_model_that_draws_nan_is_named_and_not_averaged() -> None:
    class Broken(Oracle):
        def decode(self, query, features, mel, **others):  # type: ignore[no-untyped-def]
            return {k: v * math.nan for k, v in super().decode(query, features, mel).items()}

    with pytest.raises(DataError, match="produces NaN"):
        evaluate(Broken(), made_set(made_clip()), rows=["model"])


def test_missing_faces_are_bridged_but_not_invented() -> None:
    assert bridged(np.array([0.0, np.nan, 2.0])).tolist() == [0, 1, 2]  # type: ignore[union-attr]
    assert bridged(np.array([0.0, np.nan, np.nan])) is None


def test_the_last_frame_as_reference() -> None:
    result = evaluate(Oracle(), made_set(made_clip()), reference="last", rows=["reference"])
    assert values(result, "reference")["mouth_psnr"] == pytest.approx(decibels(LEVELS[-1], LEVELS[:-1]))


def test_the_generator_never_sees_the_mouth_it_must_draw() -> None:
    oracle = Oracle()
    evaluate(oracle, made_set(made_clip()), rows=["model"])
    query = torch.cat(oracle.queries)
    assert (query[:, :, SIZE // 2 :, SIZE // 4 : 3 * SIZE // 4] == 0).all()
    assert (query[:, :, : SIZE // 2 - 1] == query[:1, :, : SIZE // 2 - 1]).all()
    assert query.max() > 0.9


@pytest.mark.parametrize("size", [32, 128])
def test_generators_of_other_sizes_are_scaled(size: int) -> None:
    oracle = Oracle(size)
    found = values(evaluate(oracle, made_set(made_clip()), rows=["model"]), "model")
    assert oracle.queries[0].shape[-1] == size
    assert found["mouth_psnr"] == 100


def test_sync_is_judged_by_the_sound_it_was_drawn_from(expert: SyncNet) -> None:
    expert.train()
    clip = made_clip()
    result = evaluate(Oracle(), made_set(clip), expert=expert)
    assert expert.training  # as it was before
    for row in set(ROWS) - {"silent", "swapped"}:
        found = values(result, row)
        assert 0 <= found["sync"] <= 1
        assert found["sync_near"] == float(abs(found["sync_offset"]) <= 1)
    assert math.isnan(values(result, "silent")["sync"]), "silence is in sync with nothing"
    assert values(result, "model")["sync"] == values(result, "truth")["sync"]
    assert values(result, "wrong")["sync"] != values(result, "truth")["sync"]


def test_same_figures_again_and_whatever_else_is_in_the_set() -> None:
    torch.manual_seed(0)
    rows = [row for row in ROWS if row != "swapped"]
    alone = evaluate(Oracle(), made_set(made_clip("x")), rows=rows)
    torch.manual_seed(1)
    both = evaluate(Oracle(), made_set(made_clip("y"), made_clip("x")), rows=rows)
    again = [r for r in both.records if r.clip == "x"]
    for one, other in zip(alone.records, again, strict=True):
        assert (one.row, one.frames) == (other.row, other.frames)
        np.testing.assert_equal(one.values, other.values)
    assert values(both, "random")["mouth_psnr"] != next(r for r in again if r.row == "random").values["mouth_psnr"]


@pytest.mark.parametrize("count", [2, 34, 35])
def test_a_last_batch_of_one_frame_is_judged_like_any_other(count: int) -> None:
    result = evaluate(Oracle(), made_set(made_clip(count=count)), rows=("truth", "reference"))
    assert values(result, "truth")["lmd"] == 0
    assert result.records[0].counts["lmd"] == count - 1


def test_only_the_beginning_and_without_identities() -> None:
    result = evaluate(Oracle(), made_set(made_clip()), max_frames=6, id_every=0, rows=["reference"])
    assert result.records[0].frames == 5
    assert math.isnan(result.records[0].values["id"])
    assert result.records[0].values["mouth_psnr"] == pytest.approx(decibels(LEVELS[0], LEVELS[1:6]))


@pytest.mark.parametrize(
    "wrong",
    [{"rows": ["modell"]}, {"systems": ["row"]}, {"mask": "ears"}, {"reference": "middle"}, {"id_every": -1},
     {"max_frames": 1}], ids=str,
)
def test_impossible_settings_say_so(wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong)).rstrip("s")):
        evaluate(Oracle(), made_set(made_clip()), **wrong)  # type: ignore[arg-type]


def record(clip: str, row: str, value: float) -> Record:
    return Record(clip, row, 10, dict.fromkeys(COLUMNS, math.nan) | {"psnr": value})


def test_means_count_clips_and_skip_what_is_undefined() -> None:
    found = [("a", 20.0), ("b", 30.0), ("c", math.nan)]
    result = EvalResult({}, tuple(record(clip, "model", v) for clip, v in found))
    means = result.means["composite"]["model"]
    assert means["psnr"] == (25, 20, 30)
    assert math.isnan(means["ssim"].mean)


def test_pooled_means_count_frames() -> None:
    records = [Record(c, "model", n, {"psnr": v}, counts={"psnr": n}) for c, n, v in (("a", 10, 20.0), ("b", 30, 40.0))]
    found = EvalResult({}, tuple(records)).summary()["composite"]["model"]["psnr"]
    assert (found["mean"], found["pooled"]) == (30, 35)


def test_bootstrap_covers_the_mean() -> None:
    """About 95 of 100 intervals over 40 clips hold the true mean, and they are as wide as they must be."""
    rng = np.random.default_rng(0)
    intervals = [bootstrap(rng.normal(5, 2, 40).tolist()) for _ in range(100)]
    assert 88 <= sum(i.low <= 5 <= i.high for i in intervals) <= 99
    width = np.mean([i.high - i.low for i in intervals])
    assert width == pytest.approx(2 * 1.96 * 2 / math.sqrt(40), rel=0.1)
    assert math.isnan(bootstrap([3.0]).low)
    assert bootstrap([3.0]).mean == 3


def test_a_mean_over_some_of_the_clips_says_so() -> None:
    values = {"a": {"psnr": 30.0, "lmd": 1.0}, "b": {"psnr": 20.0, "lmd": math.nan}, "c": {"psnr": 25.0}}
    records = tuple(Record(clip, "result", 9, some) for clip, some in values.items())
    means = EvalResult({}, records, {"composite": {"result": {"fid": 3.0}}}).summary()
    assert {m: figure["clips"] for m, figure in means["composite"]["result"].items()} == {"fid": 3, "psnr": 3, "lmd": 1}
    assert list(partial({"clips": 3, "means": means})) == ["result, composite: LMD px over only 1 of 3 clips"]


def test_intervals_know_that_clips_of_one_person_are_alike() -> None:
    """Twelve people of ten clips each: by clips, an interval would hold the true mean less than half of the time."""
    rng, people = np.random.default_rng(1), [f"person {i // 10}" for i in range(120)]
    held = {"people": 0, "clips": 0}
    for _ in range(60):
        values = (np.repeat(rng.normal(5, 2, 12), 10) + rng.normal(0, 0.5, 120)).tolist()
        for by, found in (("people", bootstrap(values, people)), ("clips", bootstrap(values))):
            held[by] += found.low <= 5 <= found.high
    assert held["people"] >= 50
    assert held["clips"] < 35
    assert bootstrap([1.0, 2.0, 4.0], ["a", "b", "c"]) == bootstrap([1.0, 2.0, 4.0])
    assert bootstrap([1.0, 2.0, 4.0], ["a", "a", "a"]) == bootstrap([1.0, 2.0, 4.0]), "of one person, by clips"
    uneven = bootstrap([0.0, 0.0, 3.0, math.nan], ["a", "a", "b", "c"])
    assert uneven == (1, 0, 3), "every clip counts the same in the mean"
    told = (("a", 1.0, "p"), ("b", 2.0, "p"), ("c", 3.0, ""))
    records = tuple(Record(clip, "model", 9, {"psnr": value}, person=person) for clip, value, person in told)
    found = EvalResult({}, records).means["composite"]["model"]["psnr"]
    assert found == bootstrap([1.0, 2.0, 3.0], ["p", "p", "c"])


def test_table_and_dict() -> None:
    rows = [record(c, r, v) for c, v in (("a", 20.0), ("b", 30.0)) for r in ("truth", "reference")]
    result = EvalResult({"reference": "first"}, tuple(rows))
    text = table({"heldout": result, "unseen": EvalResult({}, (record("z", "model", 12.345),))})
    lines = text.splitlines()
    assert lines[0].startswith("heldout, composite (2 clips)")
    assert "PSNR dB" in lines[0]
    assert "SSIM" not in text
    assert lines[1].split() == ["truth", "25.00", "±5.00"]
    assert len({len(line) for line in lines[:3]}) == 1
    assert lines[-1].split() == ["model", "12.35"] or lines[-1].split() == ["model", "12.34"]
    plain = json.loads(json.dumps(result.to_dict(), allow_nan=False))
    psnr = plain["means"]["composite"]["truth"]["psnr"]
    assert psnr == {"mean": 25.0, "low": 20.0, "high": 30.0, "pooled": None, "clips": 2}
    assert plain["clips"][0]["values"]["ssim"] is None


def speaking(name: str, levels: np.ndarray) -> PackedClip:
    """A clip whose mouth is as bright as ``levels``, with sounds that index `LEVELS`."""
    clip = made_clip(name, len(levels))
    mels = torch.from_numpy(levels).half()[:, None, None, None].expand(-1, 1, 80, 28).clone()
    images = clip.images.clone()
    images[:, :, SIZE // 2 :, SIZE // 4 : 3 * SIZE // 4] = torch.from_numpy(LEVELS[levels]).byte()[:, None, None, None]
    return PackedClip(name, images, mels, clip.masks, clip.landmarks)


def revoiced(generator: Oracle, *clips: PackedClip, expert: SyncNet | None = None) -> list[Record]:
    """The records of all clips, each with the sound of another one."""
    chosen = [(clip, *(clips[k] for k in others(i, len(clips)))) for i, clip in enumerate(clips)]
    return [record for three in chosen for record in revoice_clip(generator.eval(), *three, expert)]


def test_a_mouth_that_follows_the_new_voice_is_told_from_one_that_does_not(expert: SyncNet) -> None:
    rng = np.random.default_rng(3)
    clips = [speaking(f"a/{i}", rng.integers(0, COUNT, 60)) for i in range(4)]
    records = revoiced(Oracle(), *clips, expert=expert)
    assert {(r.clip, r.row) for r in records} == {(c.name, row) for c in clips for row in ("donor", "elsewhere")}
    for record in records:
        assert record.frames == 59
        if record.row == "donor":
            assert record.values["opening"] == pytest.approx(1)
            assert record.values["opening_ratio"] == pytest.approx(1)
            assert record.values["opening_lag"] == 0
        else:
            assert abs(record.values["opening"]) < 0.4
    heard = {row: [r.values["sync"] for r in records if r.row == row] for row in ("donor", "elsewhere")}
    assert heard["donor"] != heard["elsewhere"]
    assert "new voice" in table({"heldout, new voice": EvalResult({}, tuple(records))})


def test_a_deaf_generator_follows_nobody() -> None:
    rng = np.random.default_rng(3)
    clips = [speaking(f"a/{i}", rng.integers(0, COUNT, 60)) for i in range(3)]

    class Deaf(Oracle):
        def decode(self, query, features, mel, **others):  # type: ignore[no-untyped-def]
            return super().decode(query, features, torch.zeros_like(mel))

    assert all(r.values["opening"] == 0 for r in revoiced(Deaf(), *clips))


def test_a_clip_whose_last_batch_is_one_frame_is_judged_with_a_new_voice() -> None:
    rng = np.random.default_rng(3)
    clips = [speaking(f"a/{i}", rng.integers(0, COUNT, BATCH + 2)) for i in range(3)]  # one frame is the reference
    assert {r.frames for r in revoiced(Oracle(), *clips)} == {BATCH + 1}


def test_a_pair_of_references_shows_the_person_with_a_new_voice_too() -> None:
    seen: list[Tensor] = []

    class Watched(Oracle):
        def encode_reference(self, reference: Tensor) -> dict[int, Tensor]:
            seen.append(reference)
            return super().encode_reference(reference)

    rng = np.random.default_rng(3)
    clips = [speaking(f"a/{i}", rng.integers(0, COUNT, 60)) for i in range(3)]
    landmarks = clips[0].landmarks.copy()
    landmarks[:, 66, 1] = landmarks[:, 62, 1] + 0.01
    landmarks[[4, 8], 66, 1] += 0.03, -0.01
    moving = Watched().eval()
    moving.config = replace(moving.config, warp_levels=(16,))
    shown = replace(clips[0], landmarks=landmarks)
    references = closed_and_open(landmarks)
    (donor, _) = revoice_clip(moving, shown, clips[1], clips[2], None, reference="pair")
    assert torch.equal(seen[0] * 255, shown.images[references][None].float())
    assert donor.frames == 58
    assert donor.values["opening"] == pytest.approx(1), "all mouths of the donor are known, its first one too"


def test_a_new_voice_needs_others_to_come_from() -> None:
    with pytest.raises(ConfigError, match="three clips"):
        enough(2)


def test_a_pair_shows_the_mouth_closed_and_open_and_judges_neither():
    seen: list[Tensor] = []

    class Watched(Oracle):
        def encode_reference(self, reference: Tensor) -> dict[int, Tensor]:
            seen.append(reference)
            return super().encode_reference(reference)

    clip = made_clip()
    landmarks = clip.landmarks.copy()
    landmarks[:, 66, 1] = landmarks[:, 62, 1] + 0.01
    landmarks[3, 66, 1] -= 0.01
    landmarks[5, 66, 1] += 0.05
    clip = replace(clip, landmarks=landmarks)
    moving = Watched()
    moving.config = replace(moving.config, warp_levels=(16,))
    found = {r.row: r for r in evaluate(moving, made_set(clip), rows=["model"], reference="pair").records}
    assert found["model"].frames == len(clip) - 2
    assert torch.equal(seen[0] * 255, clip.images[[3, 5]][None].float())
    evaluate(Watched(), made_set(clip), rows=["model"], reference="pair")
    assert seen[1].shape[1] == 1, "who cannot move references is shown one"


def test_a_few_frames_say_nothing_of_an_opening() -> None:
    found = {len(clip): evaluate(Oracle(), made_set(clip), rows=["truth"]).records[0].values["opening"]
             for clip in (made_clip(count=5), made_clip(count=6))}  # fmt: skip
    assert math.isnan(found[5]), "four frames beside the reference; two would always correlate"
    assert not math.isnan(found[6])


def test_frames_that_are_not_judged_leave_a_gap_in_time() -> None:
    """A mouth that drifts evenly beside one that stands still: across a gap it would seem to jump."""
    frames = [torch.tensor([1, 2, 3, 5]), torch.tensor([8, 9, 10, 11, 12])]
    tremor, opening, samples = LipJitter(), Opening(), np.repeat(np.arange(11.0), 640)
    for some in frames:
        moved = np.zeros((len(some), 68, 2))
        moved[:, 45, 0] = 1
        look = SimpleNamespace(frames=some, landmarks=moved, true_landmarks=moved.copy())
        moved[:, 66, 1] = some
        tremor.update(look)  # type: ignore[arg-type]
        opening.update(look)  # type: ignore[arg-type]
    assert tremor.values()["jitter"] == pytest.approx(0, abs=1e-12)
    mine = np.concatenate(opening._mine)
    assert np.flatnonzero(np.isnan(mine)).tolist() == [3, 5, 6], "frames 4, 6 and 7, counted from the first"
    assert np.allclose(np.diff(bridged(mine)), np.diff(mine)[0])
    heard = sound_of(np.append(samples, 0.5), torch.cat(frames))
    assert heard.reshape(-1, 640)[:, 0].tolist() == [1, 2, 3, 5, 8, 9, 10], "each frame beside its own sound, if any"

"""The published judge of synchronisation: what it hears and sees, what it is made of, what is made of its features."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from sidgan import downloads, metrics
from sidgan.errors import CheckpointError, MetricError
from sidgan.evaluation.meanings import MEANINGS
from sidgan.metrics.lag import REACH
from sidgan.nn import SyncNet2016, count_parameters

# -------------------------------------------------------------------------------------------------------------- sound


def sound(count: int, seed: int = 0) -> np.ndarray:
    """Noise and tones that come and go, 16-bit values as floats."""
    rng = np.random.default_rng(seed)
    time = np.arange(count) / 16000
    wave = 0.3 * np.sin(2 * np.pi * 300 * time) * np.sin(2 * np.pi * 3 * time) + rng.normal(0, 0.05, count)
    return np.rint(wave * 32767) / 32768


def by_hand(samples: np.ndarray, row: int) -> np.ndarray:
    """One row of cepstra, written out from the definition: sums over samples, bins and filters."""
    x = samples * 32768
    x = np.array([x[i] - (0.97 * x[i - 1] if i else 0) for i in range(len(x))])
    frame = np.concatenate([x, np.zeros(400)])[160 * row : 160 * row + 400]
    turn = np.exp(-2j * np.pi * np.outer(np.arange(257), np.arange(400)) / 512)
    power = np.abs(turn @ frame) ** 2 / 512
    mels = [i * 2595 * math.log10(1 + 8000 / 700) / 27 for i in range(28)]
    edges = [math.floor(513 * 700 * (10 ** (m / 2595) - 1) / 16000) for m in mels]
    logs = []
    for low, middle, high in zip(edges, edges[1:], edges[2:], strict=False):
        rising = sum(power[k] * (k - low) / (middle - low) for k in range(low, middle))
        logs.append(math.log(rising + sum(power[k] * (high - k) / (high - middle) for k in range(middle, high))))
    out = [math.log(power.sum())]
    for n in range(1, 13):
        total = sum(v * math.cos(math.pi * n * (2 * i + 1) / 52) for i, v in enumerate(logs))
        out.append(math.sqrt(2 / 26) * total * (1 + 11 * math.sin(math.pi * n / 22)))
    return np.array(out)


def test_cepstra_by_hand() -> None:
    samples = sound(1000)
    found = metrics.mfcc(samples)
    assert found.shape == (1 + math.ceil(600 / 160), 13)
    for row in range(len(found)):
        np.testing.assert_allclose(found[row], by_hand(samples, row), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("count", [1, 400, 401, 1600, 16000, 16333])
def test_cepstra_agree_with_python_speech_features(count: int) -> None:
    reference = pytest.importorskip("python_speech_features")
    samples = sound(count, seed=count)
    samples[count // 3 : count // 2] = 0  # digital silence
    expected = reference.mfcc((samples * 32768).astype(np.int16), 16000)
    np.testing.assert_allclose(metrics.mfcc(samples), expected, rtol=1e-9, atol=1e-9)


def test_what_is_no_sound_is_named() -> None:
    for samples in (np.zeros(0), np.zeros((2, 100)), np.full(100, np.nan), np.full(100, 3000.0)):
        with pytest.raises(MetricError):
            metrics.mfcc(samples)


# ------------------------------------------------------------------------------------------------------------ network


@pytest.fixture(scope="module")
def judge() -> SyncNet2016:
    torch.manual_seed(0)
    return SyncNet2016()


def test_the_layers_are_named_as_in_the_published_file(judge: SyncNet2016) -> None:
    convolutions = {
        name: tuple(m.weight.shape) for name, m in judge.named_modules() if isinstance(m, nn.Conv2d | nn.Conv3d)
    }
    assert convolutions == {
        "netcnnaud.0": (64, 1, 3, 3), "netcnnaud.4": (192, 64, 3, 3), "netcnnaud.8": (384, 192, 3, 3),
        "netcnnaud.11": (256, 384, 3, 3), "netcnnaud.14": (256, 256, 3, 3), "netcnnaud.18": (512, 256, 5, 4),
        "netcnnlip.0": (96, 3, 5, 7, 7), "netcnnlip.4": (256, 96, 1, 5, 5), "netcnnlip.8": (256, 256, 1, 3, 3),
        "netcnnlip.11": (256, 256, 1, 3, 3), "netcnnlip.14": (256, 256, 1, 3, 3), "netcnnlip.18": (512, 256, 1, 6, 6),
    }  # fmt: skip
    state = judge.state_dict()
    for head in ("netfcaud", "netfclip"):
        assert state[f"{head}.0.weight"].shape == (512, 512)
        assert state[f"{head}.1.running_mean"].shape == (512,)
        assert state[f"{head}.3.weight"].shape == (1024, 512)
    # The published file is 54,573,114 bytes long: this many numbers of four bytes, and what names them.
    bytes_of_numbers = 4 * sum(v.numel() for k, v in state.items() if v.is_floating_point())
    assert 0 < 54_573_114 - bytes_of_numbers < 40_000
    assert count_parameters(judge) <= bytes_of_numbers / 4


def test_the_network_embeds_windows(judge: SyncNet2016) -> None:
    video = judge.embed_video(255 * torch.rand(1, 3, 5, 224, 224))
    assert video.shape == (1, 1024)
    assert judge.embed_audio(torch.randn(2, 1, 13, 20)).shape == (2, 1024)
    assert not judge.training
    assert not any(p.requires_grad for p in judge.parameters())


def test_weights_are_loaded_without_running_anything(
    judge: SyncNet2016, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "syncnet_v2.model"
    old = {k: v for k, v in judge.state_dict().items() if "num_batches" not in k}  # as torch before 0.4.1 wrote them
    torch.save(old, path, _use_new_zipfile_serialization=False)
    loaded = metrics.load_lag_expert(path)
    assert torch.equal(loaded.netfclip[3].weight, judge.netfclip[3].weight)
    assert not loaded.published
    assert len(loaded.sha256) == 64
    monkeypatch.setattr(downloads, "SYNCNET_V2", replace(downloads.SYNCNET_V2, sha256=loaded.sha256))
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path))
    assert metrics.load_lag_expert().published
    assert not SyncNet2016(old).published  # whatever came without its file


class Shout:
    """A pickle that acts."""

    def __reduce__(self) -> tuple[object, ...]:
        return (Path.touch, (Path("/tmp/sidgan-test-shout"),))


def test_other_files_are_one_line(judge: SyncNet2016, tmp_path: Path) -> None:
    path = tmp_path / "x.model"
    cases = [b"text", b"", {"a": torch.zeros(1)}, [1], Shout(),
             judge.state_dict() | {"netfcaud.0.weight": torch.zeros(2, 2)}]  # fmt: skip
    for content in cases:
        path.write_bytes(content) if isinstance(content, bytes) else torch.save(content, path)
        with pytest.raises(CheckpointError) as caught:
            metrics.load_lag_expert(path)
        assert "\n" not in str(caught.value)
    assert not Path("/tmp/sidgan-test-shout").exists()
    with pytest.raises(CheckpointError, match="no weights file"):
        metrics.load_lag_expert(tmp_path / "none.model")


# ----------------------------------------------------------------------------------------------------------- distance


def vectors(count: int, seed: int = 0, size: int = 64) -> Tensor:
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed))


def by_loop(seen: Tensor, heard: Tensor) -> list[float]:
    """The mean distances, one pair at a time."""
    out = []
    for k in range(-REACH, REACH + 1):
        total = 0.0
        for i in range(len(seen)):
            other = heard[i + k] if 0 <= i + k < len(heard) else torch.zeros(seen.shape[1])
            total += math.sqrt(sum((float(a) - float(b) + 1e-6) ** 2 for a, b in zip(seen[i], other, strict=True)))
        out.append(total / len(seen))
    return out


@pytest.mark.parametrize("count", [10, 24])
def test_distances_by_a_direct_loop(count: int) -> None:
    seen, heard = vectors(count, 1, 5), vectors(count, 2, 5)
    match = metrics.lag_match(seen, heard)
    assert match is not None
    expected = by_loop(seen, heard)
    np.testing.assert_allclose(match.distances.numpy(), expected, rtol=1e-9)
    assert match.distance == pytest.approx(min(expected))
    assert match.confidence == pytest.approx(sorted(expected)[15] - min(expected))
    assert match.offset == 15 - expected.index(min(expected))


@pytest.mark.parametrize("lag", [-15, -3, 0, 1, 15])
def test_a_known_lag_is_found(lag: int) -> None:
    both = vectors(130)
    seen, heard = both[15:115], both[15 + lag : 115 + lag]  # sound i + k is mouth i + k + lag: equal at k = -lag
    match = metrics.lag_match(seen, heard)
    assert match is not None
    assert match.offset == lag
    assert match.confidence > 1


def test_an_offset_says_by_how_much_the_picture_lags() -> None:
    """As our own experts' does: what the mouth does at frame i + 3 was heard at frame i."""
    both = torch.nn.functional.normalize(vectors(130), dim=1)
    seen, heard = both[15:115], both[18:118]
    match = metrics.lag_match(seen, heard)
    assert match is not None
    assert match.offset == metrics.sync_match(seen, heard).offset == 3
    assert "lags" in MEANINGS["lse_offset"][1]
    assert "lags" in MEANINGS["sync_offset"][1]


def test_features_that_do_not_change() -> None:
    nothing = torch.zeros(40, 8)
    match = metrics.lag_match(nothing, nothing)
    assert match is not None
    assert match.confidence == 0
    # Alike, but not nothing: the zeros beyond the ends alone make a confidence; at the median offset 8 of 40 are zeros.
    same = torch.full((40, 8), 3.0)
    match = metrics.lag_match(same, same)
    assert match is not None
    assert (match.offset, match.distance) == (0, pytest.approx(0, abs=1e-5))
    assert match.confidence == pytest.approx(8 / 40 * math.sqrt(8 * 9), rel=1e-4)


def test_short_clips_are_undefined_and_misuse_is_named() -> None:
    assert metrics.lag_match(vectors(9), vectors(9)) is None
    assert metrics.lag_match(vectors(10), vectors(10)) is not None
    with pytest.raises(MetricError, match="two stacks"):
        metrics.lag_match(vectors(10), vectors(11))
    with pytest.raises(MetricError, match="not finite"):
        metrics.lag_match(vectors(10), vectors(10) * math.nan)


# -------------------------------------------------------------------------------------------------------- accumulated


class Stub(nn.Module):
    """A judge that sees one pixel of each picture and hears the cepstra's sum."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.ones(1))
        self.windows: list[Tensor] = []
        self.sounds: list[Tensor] = []

    def embed_video(self, windows: Tensor) -> Tensor:
        self.windows.append(windows[..., 0, 0])
        return windows[..., 0, 0].flatten(1)

    def embed_audio(self, cepstra: Tensor) -> Tensor:
        self.sounds.append(cepstra)
        return cepstra[:, 0, :, :15].mean(1)


def coloured(count: int, seed: int = 0) -> Tensor:
    """Pictures of one colour each."""
    colours = torch.randint(0, 256, (count, 3, 1, 1), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    return colours.expand(-1, -1, 224, 224)


def test_windows_are_blue_first_and_sounds_start_with_their_frame() -> None:
    stub, samples, faces = Stub(), sound(640 * 30), coloured(30)
    meter = metrics.MouthLag(stub, samples)  # type: ignore[arg-type]
    meter.update(faces)
    match = meter.compute()
    assert match is not None
    seen = torch.cat(stub.windows)
    for s in (0, 7, 24):
        expected = faces[s : s + 5, [2, 1, 0], 0, 0].T.float()  # colour, then time
        assert torch.equal(seen[s], expected)
    heard, cepstra = torch.cat(stub.sounds), metrics.mfcc(samples)
    assert heard.shape == (25, 1, 13, 20)  # one window fewer than there are: as published
    np.testing.assert_allclose(heard[7, 0].numpy(), cepstra[28:48].T, rtol=1e-5, atol=1e-4)
    whole = metrics.lag_match(seen.flatten(1)[:25], heard[:, 0, :, :15].mean(1))
    assert whole is not None
    assert torch.equal(match.distances, whole.distances)


@pytest.mark.parametrize("cuts", [(1, 2, 3, 4, 5), (17,), (22, 23)])
def test_pieces_change_nothing(cuts: tuple[int, ...]) -> None:
    faces, samples = coloured(24), sound(640 * 24 + 100)
    whole, parts = metrics.MouthLag(Stub(), samples), metrics.MouthLag(Stub(), samples)  # type: ignore[arg-type]
    whole.update(faces)
    for a, b in itertools.pairwise([0, *cuts, 24]):
        parts.update(faces[a:b])
    one, other = whole.compute(), parts.compute()
    assert one is not None
    assert other is not None
    assert torch.equal(one.distances, other.distances)


@pytest.mark.parametrize(
    ("frames", "length", "judged"), [(15, 20, True), (14, 20, False), (20, 15, True), (20, 14, False)]
)
def test_the_shorter_of_picture_and_sound_decides(frames: int, length: int, judged: bool) -> None:
    meter = metrics.MouthLag(Stub(), sound(640 * length))  # type: ignore[arg-type]
    meter.update(coloured(frames))
    assert (meter.compute() is not None) == judged
    with pytest.raises(MetricError, match="224"):
        meter.update(torch.zeros(1, 3, 96, 96, dtype=torch.uint8))


# -------------------------------------------------------------------------------------------------------------- crops


def test_squares_are_medians_with_zeros_beyond_the_ends() -> None:
    rng = np.random.default_rng(0)
    centre, half = rng.uniform(200, 300, (30, 2)), rng.uniform(40, 60, 30)
    reach = np.column_stack([half, half / 2])
    boxes = np.hstack([centre - reach, centre + reach])
    found = metrics.pipeline_squares(boxes)
    padded = np.pad(np.column_stack([centre, half]), ((6, 6), (0, 0)))
    expected = [np.median(padded[i : i + 13], axis=0) for i in range(30)]
    np.testing.assert_allclose(found, expected)
    for bad in (boxes[:6], boxes[:, :3], np.full((9, 4), np.nan)):
        with pytest.raises(MetricError):
            metrics.pipeline_squares(bad)


@pytest.mark.parametrize("square", [(160, 120, 40.0), (10.3, 20.7, 33.3), (310, 235, 50.9)])
def test_the_crop_is_that_of_the_padded_frame(square: tuple[float, float, float]) -> None:
    import cv2

    image = np.random.default_rng(0).integers(0, 256, (240, 320, 3), np.uint8)
    x, y, half = square
    pad = int(half * 1.8)
    frame = np.pad(image, ((pad, pad), (pad, pad), (0, 0)), constant_values=110)
    x, y = x + pad, y + pad
    face = frame[int(y - half) : int(y + half * 1.8), int(x - half * 1.4) : int(x + half * 1.4)]
    assert np.array_equal(metrics.pipeline_crop(image, np.array(square)), cv2.resize(face, (224, 224)))
    assert abs(face.shape[0] - face.shape[1]) <= 1
    with pytest.raises(MetricError, match="too small"):
        metrics.pipeline_crop(image, np.array([100, 100, 0.0]))


def test_crops_are_only_resized() -> None:
    images = coloured(2)[:, :, :100, :100]
    assert torch.equal(metrics.direct_crops(images), coloured(2))
    ramp = torch.arange(96, dtype=torch.uint8).expand(1, 3, 96, 96)
    row = metrics.direct_crops(ramp)[0, 0, 0].double()
    middles = ((torch.arange(224) + 0.5) * 96 / 224 - 0.5).clamp(0, 95)
    assert (row - middles).abs().max() < 0.75  # OpenCV interpolates bytes in fixed point
    with pytest.raises(MetricError):
        metrics.direct_crops(torch.rand(1, 3, 8, 8))

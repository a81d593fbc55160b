"""Metrics against independent implementations and hand-made cases; batches must not matter."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from invariants import sound
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from torch import Tensor

from sidgan import metrics
from sidgan.config import SyncNetConfig
from sidgan.errors import MetricError
from sidgan.nn import SyncNet


def pictures(count: int, size: int, seed: int = 0) -> Tensor:
    """Noise on slopes: flat, smooth and busy places."""
    rng = np.random.default_rng(seed)
    slope = np.linspace(0, 200, size)[:, None] * rng.uniform(0, 1, (count, 3, 1, 1))
    noise = rng.normal(0, 40, (count, 3, size, size)) * (np.arange(size) > size // 2)
    return torch.from_numpy(np.clip(slope + noise, 0, 255).astype(np.uint8))


def disturbed(images: Tensor, amount: float, seed: int = 1) -> Tensor:
    noise = torch.randn(images.shape, generator=torch.Generator().manual_seed(seed))
    return (images.float() + amount * noise).clamp(0, 255).to(torch.uint8)


def channels_last(image: Tensor) -> np.ndarray:
    return image.permute(1, 2, 0).numpy()


# ------------------------------------------------------------------------------------------------------------ images


@pytest.mark.parametrize("amount", [1.0, 20.0, 200.0])
def test_psnr_and_ssim_agree_with_scikit_image(amount: float) -> None:
    truth = pictures(3, 48)
    images = disturbed(truth, amount)
    for i in range(3):
        a, b = channels_last(images[i]), channels_last(truth[i])
        assert float(metrics.psnr(images, truth)[i]) == pytest.approx(peak_signal_noise_ratio(b, a, data_range=255))
        expected = structural_similarity(
            a, b, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=-1
        )
        assert float(metrics.ssim(images, truth)[i]) == pytest.approx(expected, abs=1e-9)


def test_equal_pictures() -> None:
    images = pictures(2, 32)
    assert metrics.psnr(images, images).tolist() == [100.0, 100.0]
    assert metrics.ssim(images, images).tolist() == pytest.approx([1.0, 1.0])


def test_psnr_of_a_known_error() -> None:
    truth = torch.full((1, 3, 16, 16), 100, dtype=torch.uint8)
    assert float(metrics.psnr(truth + 1, truth)) == pytest.approx(20 * math.log10(255))
    assert float(metrics.psnr(truth - 100, truth)) == pytest.approx(20 * math.log10(2.55))  # no wrap-around of uint8


def test_masked_psnr_sees_the_mask_only() -> None:
    truth = pictures(2, 32)
    mask = torch.zeros(2, 1, 32, 32)
    mask[:, :, 20:, 8:24] = 1
    inside = torch.where(mask > 0, disturbed(truth, 30), truth)
    outside = torch.where(mask > 0, truth, disturbed(truth, 30))
    assert metrics.psnr(outside, truth, mask).tolist() == [100.0, 100.0]
    expected = [
        peak_signal_noise_ratio(channels_last(t[:, 20:, 8:24]), channels_last(i[:, 20:, 8:24]), data_range=255)
        for i, t in zip(inside, truth, strict=True)
    ]
    assert metrics.psnr(inside, truth, mask).tolist() == pytest.approx(expected)
    assert (metrics.psnr(inside, truth) > metrics.psnr(inside, truth, mask)).all()
    assert math.isnan(float(metrics.psnr(inside[:1], truth[:1], 0 * mask[:1])))


def test_masked_ssim_is_the_mean_of_the_map_under_the_mask() -> None:
    truth = pictures(2, 40)
    images = disturbed(truth, 25)
    mask = torch.zeros(2, 1, 40, 40)
    mask[:, :, 18:, 8:30] = 1  # reaches the border, where there are no windows
    for i in range(2):
        _, whole = structural_similarity(
            channels_last(images[i]), channels_last(truth[i]), gaussian_weights=True, sigma=1.5,
            use_sample_covariance=False, data_range=255, channel_axis=-1, full=True,
        )  # fmt: skip
        assert float(metrics.ssim(images, truth, mask)[i]) == pytest.approx(whole[18:35, 8:30].mean(), abs=1e-9)
    everywhere = metrics.ssim(images, truth, torch.ones_like(mask))
    torch.testing.assert_close(everywhere, metrics.ssim(images, truth), rtol=0, atol=1e-12)
    assert math.isnan(float(metrics.ssim(images[:1], truth[:1], 0 * mask[:1])))


def test_l1_counts_levels() -> None:
    truth = torch.full((2, 3, 16, 16), 100, dtype=torch.uint8)
    images = truth.clone()
    images[0, 1, 4:8, 4:8] = 90
    images[0, 2, 0, 0] = 255
    mask = torch.zeros(2, 1, 16, 16)
    mask[:, :, 4:12, 4:8] = 1
    assert metrics.l1(images, truth, mask).tolist() == pytest.approx([10 * 16 / (3 * 32), 0])
    assert metrics.l1(images, truth).tolist() == pytest.approx([(160 + 155) / (3 * 256), 0])
    assert math.isnan(float(metrics.l1(images, truth, 0 * mask)[0]))


@pytest.mark.parametrize("metric", [metrics.psnr, metrics.ssim, metrics.l1])
def test_pictures_that_cannot_be_compared_are_named(metric: Callable[..., Tensor]) -> None:
    good = pictures(2, 24)
    cases = [
        ((good, good[:1]), "differ in shape"), ((good.float() / 255, good), "uint8"),
        ((good[0], good[0]), "N, 3, S, S"),
        ((good, good, torch.ones(2, 24, 24)), "mask"), ((good, good[:, :1]), "N, 3, S, S"),
    ]  # fmt: skip
    for arguments, says in cases:
        with pytest.raises(MetricError, match=says):
            metric(*arguments)


def test_ssim_of_tiny_pictures_is_refused() -> None:
    with pytest.raises(MetricError, match="11 px"):
        metrics.ssim(pictures(1, 10), pictures(1, 10))


@given(cuts=st.lists(st.integers(0, 7), max_size=5))
@settings(max_examples=10, deadline=None)
def test_parts_equal_the_whole_bit_for_bit(cuts: list[int]) -> None:
    truth = pictures(7, 24)
    images = disturbed(truth, 15)
    edges = [0, *sorted(cuts), 7]
    parts = [metrics.ssim(images[a:b], truth[a:b]) for a, b in itertools.pairwise(edges) if a < b]
    assert torch.equal(torch.cat(parts), metrics.ssim(images, truth))


# -------------------------------------------------------------------------------------------------- identity and lips


def test_identity_distance() -> None:
    a = np.zeros((2, 128), np.float32)
    b = a.copy()
    b[1, :2] = 0.3, 0.4
    np.testing.assert_allclose(metrics.identity_distance(a, b), [0, 0.5])


def faces(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0, 256, (count, 68, 2)).astype(np.float32)


def test_lmd_is_about_lips_only() -> None:
    truth = faces(3)
    moved = truth.copy()
    moved[:, :48] += 50
    np.testing.assert_allclose(metrics.lmd(moved, truth), 0)
    moved[:, 48:] += (3, 4)
    np.testing.assert_allclose(metrics.lmd(moved, truth), 5, rtol=1e-5)
    np.testing.assert_allclose(metrics.lmd_centred(moved, truth), 0, atol=1e-5)
    moved[:, 48] += (0, 20)
    assert (metrics.lmd_centred(moved, truth) > 0.9).all()


def test_normalised_lmd_does_not_care_about_size() -> None:
    truth = faces(3)
    truth[:, 36], truth[:, 45] = (100, 100), (130, 140)  # 50 px apart
    moved = truth.copy()
    moved[:, 48:] += (3, 4)
    np.testing.assert_allclose(metrics.lmd_normalised(moved, truth), 10, rtol=1e-5)
    np.testing.assert_allclose(metrics.lmd_normalised(2 * moved, 2 * truth), 10, rtol=1e-5)
    truth[0, 36] = truth[0, 45]
    assert np.isnan(metrics.lmd_normalised(moved, truth)).tolist() == [True, False, False]


def test_landmarks_and_embeddings_that_cannot_be_compared_are_named() -> None:
    for metric in (metrics.lmd, metrics.lmd_centred, metrics.lmd_normalised):
        for bad in (faces(2), faces(3)[:, 48:], faces(3)[0]):
            with pytest.raises(MetricError, match="landmarks"):
                metric(bad, faces(3))
    with pytest.raises(MetricError, match="embeddings"):
        metrics.identity_distance(np.zeros((2, 128)), np.zeros((1, 128)))
    with pytest.raises(MetricError, match="series"):
        metrics.opening_match(np.zeros(5), np.zeros(6))


def openings(count: int, seed: int = 0) -> np.ndarray:
    """A series that resembles itself at no other lag."""
    return np.random.default_rng(seed).uniform(0, 1, count)


@pytest.mark.parametrize("lag", range(-3, 4))
def test_opening_finds_a_known_lag_and_size(lag: int) -> None:
    series = openings(86)
    truth = series[3:83]
    late = 0.1 + 0.5 * series[3 - lag : 83 - lag]  # at frame i it does what the truth did at i - lag
    match = metrics.opening_match(late, truth)
    assert match.lag == lag
    assert match.correlations.max() == pytest.approx(1)
    assert match.ratio == pytest.approx(0.5, rel=0.1)
    if lag:
        assert abs(match.correlation) < 0.5


def test_a_still_mouth_follows_nothing() -> None:
    match = metrics.opening_match(np.full(50, 0.2), openings(50))
    assert (match.correlations == 0).all()
    assert match.ratio == pytest.approx(0)
    assert math.isnan(metrics.opening_match(openings(50), np.full(50, 0.2)).ratio)


# -------------------------------------------------------------------------------------------------------------- sync


def directions(count: int, seed: int = 0) -> Tensor:
    vectors = torch.randn(count, 512, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(vectors, dim=1)


@pytest.mark.parametrize("lag", [-10, -4, 0, 1, 10])
def test_sync_finds_a_known_offset(lag: int) -> None:
    sound = directions(80)
    seen, heard = sound[10 - lag : 70 - lag], sound[10:70]  # what is seen was heard ``lag`` frames before
    match = metrics.sync_match(seen, heard)
    assert match.offset == lag
    assert match.cosines[match.offset + 10] == pytest.approx(1)
    assert match.probability == pytest.approx(1.0 if lag == 0 else 0.5, abs=0.02)


def test_sync_offset_is_the_lag_and_equal_features_have_none() -> None:
    sound.known_lag_is_found()


def test_short_clips_search_less() -> None:
    vectors = directions(7)
    match = metrics.sync_match(vectors, vectors)
    assert len(match.cosines) == 7  # three frames to either side
    assert match.offset == 0
    one = metrics.sync_match(vectors[:1], -vectors[:1])
    assert (one.offset, one.probability) == (0, pytest.approx(0, abs=1e-6))


@pytest.fixture(scope="module")
def expert() -> SyncNet:
    torch.manual_seed(0)
    return SyncNet(SyncNetConfig(face=96, width=2, audio_width=2, blocks=0.0)).eval()


def test_sync_meter_pairs_windows_with_their_middle_frames_sound(expert: SyncNet) -> None:
    images = pictures(9, 96)
    mels = torch.randn(9, 1, 80, 16, generator=torch.Generator().manual_seed(3))
    meter = metrics.MouthSync(expert)
    meter.update(images, mels)
    with torch.no_grad():
        windows = torch.stack([images[s : s + 5].float().flatten(0, 1)[:, 48:] / 255 for s in range(5)])
        expected = expert(windows, mels[2:7])
    match = meter.compute()
    assert match is not None
    assert match.probability == pytest.approx(float((1 + expected.mean()) / 2), abs=1e-6)


@pytest.mark.parametrize("cuts", [(3,), (4, 5, 6), (1, 2, 3, 4)])
def test_sync_meter_does_not_care_about_pieces(expert: SyncNet, cuts: tuple[int, ...]) -> None:
    images, mels = pictures(9, 96), torch.randn(9, 1, 80, 16, generator=torch.Generator().manual_seed(3))
    whole, parts = metrics.MouthSync(expert), metrics.MouthSync(expert)
    whole.update(images, mels)
    edges = [0, *cuts, 9]
    for a, b in itertools.pairwise(edges):
        parts.update(images[a:b], mels[a:b])
    one, other = whole.compute(), parts.compute()
    assert one is not None
    assert other is not None
    torch.testing.assert_close(one.cosines, other.cosines, atol=1e-6, rtol=0)


def test_sync_of_four_frames_is_undefined(expert: SyncNet) -> None:
    meter = metrics.MouthSync(expert)
    meter.update(pictures(4, 96), torch.zeros(4, 1, 80, 16))
    assert meter.compute() is None

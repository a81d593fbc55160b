"""The Fréchet distance, its accumulator, and the network whose features make it FID."""

from __future__ import annotations

import hashlib
import itertools
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from torch import Tensor, nn

from sidgan import downloads, metrics
from sidgan.errors import CheckpointError, MetricError


def features(count: int, size: int = 6, seed: int = 0) -> np.ndarray:
    """Correlated numbers about as large as Inception's."""
    rng = np.random.default_rng(seed)
    mix = rng.normal(0, 0.4, (size, size))
    return (rng.normal(0, 1, (count, size)) @ mix + rng.uniform(0, 2, size)).astype(np.float32)


def gaussian(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return rows.astype(np.float64).mean(0), np.cov(rows.astype(np.float64).T)


def test_agrees_with_the_matrix_square_root_of_scipy() -> None:
    a, b = gaussian(features(50, seed=1)), gaussian(features(60, seed=2))
    expected = np.square(a[0] - b[0]).sum() + np.trace(a[1] + b[1] - 2 * sqrtm(a[1] @ b[1]).real)
    assert metrics.frechet_distance(*a, *b) == pytest.approx(expected, rel=1e-9)
    assert metrics.frechet_distance(*b, *a) == pytest.approx(expected, rel=1e-9)


def test_of_known_gaussians() -> None:
    zero, one = np.zeros(1), np.ones((1, 1))
    assert metrics.frechet_distance(zero, one, zero + 3, one) == pytest.approx(9)
    assert metrics.frechet_distance(zero, one, zero, 16 * one) == pytest.approx((4 - 1) ** 2)
    a, b = np.array([1.0, 4.0, 0.0]), np.array([9.0, 0.0, 0.0])  # variances along common axes, some of them none
    expected = np.square(np.sqrt(a) - np.sqrt(b)).sum()
    assert metrics.frechet_distance(np.zeros(3), np.diag(a), np.zeros(3), np.diag(b)) == pytest.approx(expected)


@pytest.mark.parametrize("count", [2, 5, 40])
def test_singular_covariances_need_no_help(count: int) -> None:
    a, b = gaussian(features(count, 100, 1)), gaussian(features(count, 100, 2))
    assert metrics.frechet_distance(*a, *a) == pytest.approx(0, abs=1e-9)
    left, right = (features(count, 100, s).astype(np.float64) for s in (1, 2))
    left, right = (left - left.mean(0)) / math.sqrt(count - 1), (right - right.mean(0)) / math.sqrt(count - 1)
    cross = np.linalg.svd(left @ right.T, compute_uv=False).sum()  # the same trace by way of the data, not squared
    expected = np.square(a[0] - b[0]).sum() + np.trace(a[1] + b[1]) - 2 * cross
    assert metrics.frechet_distance(*a, *b) == pytest.approx(expected, rel=1e-6)


def test_accumulated_agrees_with_numpy() -> None:
    fake, true = features(90, seed=3), features(70, seed=4)
    generated, truth = metrics.FeatureMoments(), metrics.FeatureMoments()
    generated.update(torch.from_numpy(fake))
    truth.update(true)
    np.testing.assert_allclose(generated.mean, fake.mean(0), atol=1e-4)
    np.testing.assert_allclose(truth.covariance, np.cov(true.T), atol=1e-4)
    expected = metrics.frechet_distance(*gaussian(fake), *gaussian(true))
    assert generated.distance(truth) == pytest.approx(expected, abs=1e-4)
    assert np.array_equal(truth.covariance, truth.covariance.T)


@given(cuts=st.lists(st.integers(0, 30), max_size=6), seed=st.integers(0, 99))
@settings(max_examples=15, deadline=None)
def test_pieces_and_order_change_no_bit(cuts: list[int], seed: int) -> None:
    rows = features(30)
    whole, parts = metrics.FeatureMoments(), metrics.FeatureMoments()
    whole.update(rows)
    shuffled = np.random.default_rng(seed).permutation(rows)
    for a, b in itertools.pairwise([0, *sorted(cuts), 30]):
        parts.update(shuffled[a:b])
    assert parts.count == 30
    assert np.array_equal(parts.mean, whole.mean)
    assert np.array_equal(parts.covariance, whole.covariance)


def test_many_large_features_overflow_nothing() -> None:
    rows = np.full((9000, 2), 128.0)
    rows[::2, 1] = -128
    moments = metrics.FeatureMoments()
    for _ in range(3):
        moments.update(rows)
    np.testing.assert_array_equal(moments.mean, [128, 0])
    np.testing.assert_allclose(moments.covariance, [[0, 0], [0, 128**2]], rtol=1e-4)


def test_fewer_than_two_are_undefined() -> None:
    generated, truth = metrics.FeatureMoments(), metrics.FeatureMoments()
    assert math.isnan(generated.distance(truth))
    generated.update(features(1))
    truth.update(features(5))
    assert math.isnan(generated.distance(truth))
    assert math.isnan(truth.distance(generated))
    assert math.isnan(metrics.frechet_distance(*gaussian(features(5)), np.zeros(6), np.full((6, 6), math.nan)))
    generated.update(features(1, seed=5))
    assert generated.distance(truth) > 0


@pytest.mark.parametrize(
    ("rows", "says"),
    [(np.zeros(6), r"\(n, D\)"), (np.full((2, 6), np.nan), "not finite"), (np.full((2, 6), 200.0), "scale them"),
     (np.zeros((2, 5)), "earlier ones had 6")],
)  # fmt: skip
def test_features_that_cannot_be_summed_are_named(rows: np.ndarray, says: str) -> None:
    moments = metrics.FeatureMoments()
    moments.update(features(3))
    with pytest.raises(MetricError, match=says):
        moments.update(rows)
    assert moments.count == 3
    with pytest.raises(MetricError, match="must be"):
        metrics.frechet_distance(np.zeros(3), np.eye(3), np.zeros(3), np.eye(4))


# --------------------------------------------------------------------------------------------------------- Inception


class Stand(nn.Module):
    """The published network's interface, and nothing of its content."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.line = nn.Linear(3, width)

    def forward(self, img: Tensor, return_features: bool = False) -> Tensor:
        features = self.line(img.float().mean([2, 3]) / 255)
        return features if return_features else features.softmax(1)


@pytest.fixture
def stand(tmp_path: Path) -> Path:
    torch.jit.script(Stand(2048)).save(str(tmp_path / "stand.pt"))
    return tmp_path / "stand.pt"


def test_a_scripted_network_is_loaded_and_named(stand: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inception = metrics.load_inception(stand)
    images = torch.randint(0, 256, (33, 3, 20, 24), dtype=torch.uint8)
    found = inception(images)
    assert found.shape == (33, 2048)
    torch.testing.assert_close(found[7:9], inception(images[7:9]))
    assert inception(images[:0]).shape == (0, 2048)
    assert not inception.published
    assert inception.sha256 == hashlib.sha256(stand.read_bytes()).hexdigest()
    # The published file is known by its digest, wherever it lies.
    known = replace(downloads.INCEPTION, sha256=inception.sha256, file=stand.name)
    monkeypatch.setattr(downloads, "INCEPTION", known)
    monkeypatch.setenv("SIDGAN_CACHE", str(stand.parent))
    assert metrics.load_inception().published


def test_other_files_and_pictures_are_refused(stand: Path, tmp_path: Path) -> None:
    inception = metrics.load_inception(stand)
    with pytest.raises(MetricError, match="uint8"):
        inception(torch.rand(1, 3, 8, 8))
    (tmp_path / "text.pt").write_text("no network")
    with pytest.raises(CheckpointError, match="not a TorchScript file") as caught:
        metrics.load_inception(tmp_path / "text.pt")
    assert "\n" not in str(caught.value)
    with pytest.raises(CheckpointError, match="no weights file"):
        metrics.load_inception(tmp_path / "none.pt")
    torch.jit.script(Stand(64)).save(str(tmp_path / "narrow.pt"))
    with pytest.raises(CheckpointError, match=r"\(1, 64\), not \(1, 2048\)"):
        metrics.load_inception(tmp_path / "narrow.pt")(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    torch.jit.script(nn.Linear(3, 3)).save(str(tmp_path / "line.pt"))
    with pytest.raises(CheckpointError, match="does not accept the input") as caught:
        metrics.load_inception(tmp_path / "line.pt")(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
    assert "\n" not in str(caught.value)

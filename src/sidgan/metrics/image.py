"""How close pictures are, pixel by pixel and in local structure (the paper's Tables 1 and 2: PSNR, SSIM).

Pictures are compared as they would be stored: uint8 RGB, (N, 3, S, S). Each function gives one value per picture, and
raises `MetricError` for pictures, truth and mask that do not belong together.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from sidgan.metrics.checks import pictures, require, shape
from sidgan.types import Float

PSNR_CAP = 100.0  #: dB, for pictures without any difference
PEAK = 255.0
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  #: px
SSIM_K1, SSIM_K2 = 0.01, 0.03


def psnr(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB.

    Args:
        images: (N, 3, S, S) uint8.
        truth: (N, 3, S, S) uint8.
        mask: (N, 1, S, S), 1 where pixels count, 0 elsewhere; everywhere by default.

    Returns:
        (N,) float64, at most 100; NaN where a mask is empty.
    """
    pictures(images, truth, mask)
    error = _mean((images.double() - truth.double()).square(), mask)
    return (10 * torch.log10(PEAK**2 / error)).clamp(max=PSNR_CAP)


def l1(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference in levels of 255.

    Args:
        images: (N, 3, S, S) uint8.
        truth: (N, 3, S, S) uint8.
        mask: (N, 1, S, S), 1 where pixels count, 0 elsewhere; everywhere by default.

    Returns:
        (N,) float64 in 0..255; NaN where a mask is empty.
    """
    pictures(images, truth, mask)
    return _mean((images.double() - truth.double()).abs(), mask)


def _mean(errors: Tensor, mask: Tensor | None) -> Tensor:
    """Of each picture's errors (N, 3, S, S)."""
    if mask is None:
        return errors.mean((1, 2, 3))
    return (errors * mask).sum((1, 2, 3)) / (errors.shape[1] * mask.double().sum((1, 2, 3)))


def ssim(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity under an 11 x 11 Gaussian of sigma 1.5, population covariance, mean of the channels.

    Only windows that lie inside the picture count (Wang et al., "Image quality assessment", 2004).

    Args:
        images: (N, 3, S, S) uint8, S >= 11.
        truth: (N, 3, S, S) uint8.
        mask: (N, 1, S, S), 1 at the centres of windows that count, 0 elsewhere; everywhere by default. Windows at its
            edge look 5 px beyond it.

    Returns:
        (N,) float64 in [-1, 1]; NaN where no window is left.
    """
    pictures(images, truth, mask)
    require(min(images.shape[2:]) >= SSIM_WINDOW, f"SSIM needs at least {SSIM_WINDOW} px, not {shape(images)[2:]}")
    maps = [_ssim(a, b) for a, b in zip(_planes(images), _planes(truth), strict=True)]
    if mask is None:
        return torch.tensor([values.mean() for values in maps], dtype=torch.float64)
    edge = SSIM_WINDOW // 2
    weights = mask[:, 0, edge:-edge, edge:-edge].double().cpu().numpy()
    return torch.tensor([_weighted(v, w) for v, w in zip(maps, weights, strict=True)], dtype=torch.float64)


def _weighted(values: Float, weights: Float) -> float:
    """Mean of (s, s, 3) under (s, s)."""
    total = float(weights.sum())
    return float((values.mean(-1) * weights).sum()) / total if total > 0 else float("nan")


def _planes(images: Tensor) -> Float:
    """(N, S, S, 3) float64, as OpenCV filters them."""
    return images.cpu().permute(0, 2, 3, 1).double().numpy()


def _ssim(a: Float, b: Float) -> Float:
    """The map of one pair (S, S, 3), of the windows that lie inside: (S - 10, S - 10, 3)."""
    c1, c2 = (SSIM_K1 * PEAK) ** 2, (SSIM_K2 * PEAK) ** 2
    mean_a, mean_b, aa, bb, ab = (_blur(x) for x in (a, b, a * a, b * b, a * b))
    variances = aa - mean_a**2 + bb - mean_b**2
    covariance = ab - mean_a * mean_b
    structure = (2 * covariance + c2) / (variances + c2)
    return structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)


def _blur(x: Float) -> Float:
    """Gaussian means of the windows that lie inside: (S - 10, S - 10, 3)."""
    kernel = cv2.getGaussianKernel(SSIM_WINDOW, SSIM_SIGMA, cv2.CV_64F)
    edge = SSIM_WINDOW // 2
    return np.asarray(cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel))[edge:-edge, edge:-edge]

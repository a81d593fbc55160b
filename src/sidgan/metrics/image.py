"""Image similarity: PSNR and SSIM of the paper's Tables 1 and 2, and the mean absolute difference.

Images are compared as they would be stored: uint8 RGB, (N, 3, S, S). Each function returns one value per image, and
raises `MetricError` if the shapes or types of images, truth and mask do not match.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from sidgan.metrics.checks import check_images, require, shape
from sidgan.types import Float

PSNR_CAP = 100.0  #: dB, for identical images
PEAK = 255.0
SSIM_WINDOW, SSIM_SIGMA = 11, 1.5  #: px
SSIM_K1, SSIM_K2 = 0.01, 0.03


def psnr(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Peak signal-to-noise ratio in dB.

    Args:
        images: (N, 3, S, S) uint8.
        truth: (N, 3, S, S) uint8.
        mask: (N, 1, S, S), 1 where pixels count, 0 elsewhere; by default all pixels count.

    Returns:
        (N,) float64, at most 100; NaN where the mask is empty.
    """
    check_images(images, truth, mask)
    error = _mean((images.double() - truth.double()).square(), mask)
    return (10 * torch.log10(PEAK**2 / error)).clamp(max=PSNR_CAP)


def l1(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean absolute difference, in levels of 0 to 255.

    Args:
        images: (N, 3, S, S) uint8.
        truth: (N, 3, S, S) uint8.
        mask: (N, 1, S, S), 1 where pixels count, 0 elsewhere; by default all pixels count.

    Returns:
        (N,) float64 in 0..255; NaN where the mask is empty.
    """
    check_images(images, truth, mask)
    return _mean((images.double() - truth.double()).abs(), mask)


def _mean(errors: Tensor, mask: Tensor | None) -> Tensor:
    """Mean of the errors (N, 3, S, S) of each image, under the mask: (N,)."""
    if mask is None:
        return errors.mean((1, 2, 3))
    return (errors * mask).sum((1, 2, 3)) / (errors.shape[1] * mask.double().sum((1, 2, 3)))


def ssim(images: Tensor, truth: Tensor, mask: Tensor | None = None) -> Tensor:
    """Structural similarity under an 11 x 11 Gaussian of sigma 1.5, population covariance, mean of the channels.

    Only windows inside the image count (Wang et al., "Image quality assessment", 2004).

    Args:
        images: (N, 3, S, S) uint8, S >= 11.
        truth: (N, 3, S, S) uint8.
        mask: (N, 1, S, S), 1 at the centres of windows that count, 0 elsewhere; by default all windows count. Windows
            at the edge of the mask extend 5 px beyond it.

    Returns:
        (N,) float64 in [-1, 1]; NaN where no window counts.
    """
    check_images(images, truth, mask)
    require(min(images.shape[2:]) >= SSIM_WINDOW, f"SSIM needs at least {SSIM_WINDOW} px, not {shape(images)[2:]}")
    maps = [_ssim(a, b) for a, b in zip(_channels_last(images), _channels_last(truth), strict=True)]
    if mask is None:
        return torch.tensor([values.mean() for values in maps], dtype=torch.float64)
    edge = SSIM_WINDOW // 2
    weights = mask[:, 0, edge:-edge, edge:-edge].double().cpu().numpy()
    return torch.tensor([_weighted(v, w) for v, w in zip(maps, weights, strict=True)], dtype=torch.float64)


def _weighted(values: Float, weights: Float) -> float:
    """Mean of values (s, s, 3) with weights (s, s); NaN if all weights are 0."""
    total = float(weights.sum())
    return float((values.mean(-1) * weights).sum()) / total if total > 0 else float("nan")


def _channels_last(images: Tensor) -> Float:
    """(N, 3, S, S) -> (N, S, S, 3) float64, the layout of OpenCV."""
    return images.cpu().permute(0, 2, 3, 1).double().numpy()


def _ssim(a: Float, b: Float) -> Float:
    """SSIM map of one pair of images (S, S, 3) for all windows inside them: (S - 10, S - 10, 3)."""
    c1, c2 = (SSIM_K1 * PEAK) ** 2, (SSIM_K2 * PEAK) ** 2
    mean_a, mean_b, aa, bb, ab = (_blur(x) for x in (a, b, a * a, b * b, a * b))
    variances = aa - mean_a**2 + bb - mean_b**2
    covariance = ab - mean_a * mean_b
    structure = (2 * covariance + c2) / (variances + c2)
    return structure * (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)


def _blur(x: Float) -> Float:
    """Gaussian-weighted means of all windows inside the image: (S - 10, S - 10, 3)."""
    kernel = cv2.getGaussianKernel(SSIM_WINDOW, SSIM_SIGMA, cv2.CV_64F)
    edge = SSIM_WINDOW // 2
    return np.asarray(cv2.sepFilter2D(x, cv2.CV_64F, kernel, kernel))[edge:-edge, edge:-edge]

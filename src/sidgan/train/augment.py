"""Random changes of colour, geometry, sharpness and sound, the same for all frames of a window.

Parameters are drawn from a NumPy generator, so that a resumed run draws the same; torch applies them on the device.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

Rng = np.random.Generator


def random_affines(
    rng: Rng, count: int, *, shift: float, scale: float, turn: float = 0.0, mirror: float = 0.5
) -> np.ndarray:
    """Random affine maps (count, 2, 3) from positions in the result to positions in the picture, both in [-1, 1].

    Args:
        shift: largest shift, as a share of the side.
        scale: largest relative change of size.
        turn: largest rotation, degrees.
        mirror: probability of mirroring.
    """
    angle = np.radians(rng.uniform(-turn, turn, count))
    zoom = 1 + rng.uniform(-scale, scale, count)
    side = np.where(rng.random(count) < mirror, -1.0, 1.0)
    move = 2 * rng.uniform(-shift, shift, (2, count))
    cos, sin = np.cos(angle) * zoom, np.sin(angle) * zoom
    return np.stack([np.stack([cos * side, -sin, move[0]], -1), np.stack([sin * side, cos, move[1]], -1)], 1)


def apply_affines(images: Tensor, theta: np.ndarray, bent: Tensor | None = None, top: float = 0.0) -> Tensor:
    """Resample each item of (B, C, H, W) by an affine map; beyond the border, its outermost pixels are repeated.

    Args:
        theta: (B, 2, 3), see `random_affines`.
        bent: (B, 2, H, W), displacements added to the mapped positions, in units of half the side.
        top: share of the rows, from the top, that the result omits.
    """
    grid = F.affine_grid(_tensor(theta, images), list(images.shape), align_corners=False)
    if bent is not None:
        grid = grid + bent.permute(0, 2, 3, 1)
    grid = grid[:, round(top * images.shape[-2]) :]
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def random_displacements(images: Tensor, rng: Rng, *, strength: float) -> Tensor:
    """Smooth random displacements (B, 2, H, W) for (B, C, H, W), which change the proportions of a face.

    Args:
        strength: standard deviation, as a share of the side.
    """
    return _smooth(rng.normal(0, 2 * strength, (len(images), 2, 5, 5)), images)


def colour(images: Tensor, rng: Rng, *, strength: float) -> Tensor:
    """Change brightness, contrast, colour balance, saturation of (B, T, 3, H, W) in [0, 1] by up to ``strength``."""
    count = len(images)
    gain = 1 + rng.uniform(-strength, strength, (count, 1, 1)) + rng.uniform(-0.4, 0.4, (count, 3, 1)) * strength
    lift = 0.5 * rng.uniform(-strength, strength, (count, 1, 1, 1))
    saturation = 1 + rng.uniform(-strength, strength, (count, 1, 1))
    mix = gain * (saturation * np.eye(3) + (1 - saturation) / 3)  # one (3, 3) matrix per window, for a single pass
    pixels = torch.matmul(_tensor(mix, images)[:, None], images.flatten(-2))
    return pixels.add_(_tensor(lift, images)).clamp_(0, 1).view_as(images)


def repaint(images: Tensor, rng: Rng, *, strength: float) -> Tensor:
    """Change how people in (B, T, 3, H, W), in [0, 1], look: mixed channels, another tone curve, blotched skin.

    Args:
        strength: 0 to 1, largest strength; each item gets a random share of it.
    """
    count = len(images)
    amount = strength * rng.uniform(0, 1, (count, 1, 1))
    mix = np.eye(3) + amount * rng.uniform(-0.5, 0.5, (count, 3, 3))
    mix /= mix.sum(2, keepdims=True) * (1 + amount * rng.uniform(-0.3, 0.3, (count, 3, 1)))
    pixels = torch.matmul(_tensor(mix, images)[:, None], images.flatten(-2))
    curve = np.exp(amount * rng.uniform(-0.7, 0.7, (count, 1, 1)))[:, None]
    pixels = pixels.clamp_(1e-3, 1).pow_(_tensor(curve, images)).view_as(images)
    for side in (4, 12, 32):
        depth = amount[:, None] * rng.uniform(0, 0.3, (count, 1, 1, 1))
        pixels *= 1 + _smooth(depth * rng.uniform(-1, 1, (count, 3, side, side)), images[:, 0])[:, None]
    return pixels.clamp_(0, 1)


def _smooth(coarse: np.ndarray, like: Tensor) -> Tensor:
    return F.interpolate(_tensor(coarse, like), like.shape[-2:], mode="bicubic", align_corners=False)


def soften(images: Tensor, rng: Rng, *, chance: float) -> Tensor:
    """Downscale and upscale (B, T, 3, H, W) with probability ``chance``, to look like low-resolution footage."""
    out = images.clone()
    for i in np.flatnonzero(rng.random(len(images)) < chance):
        factor = rng.uniform(1.5, 4.0)
        reduced = F.interpolate(images[i], [int(side / factor) for side in images.shape[-2:]], mode="area")
        out[i] = F.interpolate(reduced, images.shape[-2:], mode="bilinear", align_corners=False)
    return out


def mel_noise(mels: Tensor, rng: Rng) -> Tensor:
    """Change the loudness of (B, ..., 80, W) mel windows by up to +-6 dB, and add noise; silence stays silent."""
    gain = _tensor(rng.uniform(-6, 6, (len(mels),) + (1,) * (mels.dim() - 1)) * 8 / 100, mels)
    noise = _tensor(rng.normal(0, 0.05, mels.shape).astype(np.float32), mels)
    return torch.where(mels > -4, (mels + gain + noise).clamp(-4, 4), mels)


def mel_voice(mels: Tensor, rng: Rng) -> Tensor:
    """Change (B, ..., 80, W) mel windows as another speaker, microphone and room would; silence stays silent.

    The bands are stretched by up to 12 % (a shorter or longer vocal tract), and get a smooth gain of up to +-8 dB.
    """
    count, flat = len(mels), mels.reshape(len(mels), -1, *mels.shape[-2:])
    stretch = rng.uniform(0.88, 1.12, count)
    theta = np.zeros((count, 2, 3))
    theta[:, 0, 0], theta[:, 1, 1], theta[:, 1, 2] = 1, stretch, stretch - 1  # the lowest band stays where it is
    stretched = apply_affines(flat, theta)
    curve = rng.uniform(-8, 8, (count, 1, 5)) * 8 / 100
    bands = F.interpolate(_tensor(curve, mels), mels.shape[-2], mode="linear", align_corners=True)
    changed = (stretched + bands[..., None]).clamp(-4, 4)
    return torch.where(stretched > -4 + 1e-3, changed, stretched).view_as(mels)


def _tensor(values: np.ndarray, like: Tensor) -> Tensor:
    return torch.as_tensor(values, dtype=like.dtype, device=like.device)


def mel_echo(mels: Tensor, rng: Rng, *, chance: float) -> Tensor:
    """Add echo to (B, ..., 80, W) mel windows with probability ``chance``: bands decay slowly instead of abruptly."""
    count, flat = len(mels), mels.reshape(len(mels), -1, *mels.shape[-2:])
    fall = rng.uniform(0.05, 0.6, (count, 1, 1)) + 8.0 * (rng.random((count, 1, 1)) >= chance)  # per column
    columns = [flat[..., 0]]
    for column in flat[..., 1:].unbind(-1):
        columns.append(torch.maximum(column, columns[-1] - _tensor(fall, mels)))
    return torch.stack(columns, -1).view_as(mels)


def mel_background(mels: Tensor, rng: Rng) -> Tensor:
    """Add noise, or the voice of another item, 5 to 45 dB below the loudest moment of (B, ..., 80, W) mel windows."""
    count, shape = len(mels), (len(mels),) + (1,) * (mels.dim() - 1)
    top = mels.flatten(1).amax(1).view(shape)
    below = _tensor(rng.uniform(5, 45, shape) * 8 / 100, mels)
    tilt = _tensor(rng.uniform(-2, 0, (count, 1, 6)), mels)  # louder in some bands than in others
    tilt = F.interpolate(tilt, mels.shape[-2], mode="linear", align_corners=True).view(*shape[:-2], -1, 1)
    noise = top + tilt + 0.15 * _tensor(rng.standard_normal(mels.shape, np.float32), mels)
    others = mels[torch.as_tensor(rng.permutation(count), device=mels.device)]
    other_voice = others - others.flatten(1).amax(1).view(shape) + top
    background = torch.where(_tensor(rng.random(shape), mels) < 0.3, other_voice, noise) - below
    to_nepers = np.log(10) * 100 / 8 / 20  # per unit of the mel: amplitudes are added, not decibels
    return (torch.logaddexp(mels * to_nepers, background * to_nepers) / to_nepers).clamp(-4, 4)


def mel_band_gaps(mels: Tensor, rng: Rng, *, chance: float) -> Tensor:
    """Replace up to 13 neighbouring bands of (B, ..., 80, W) mel windows by the mean, with probability ``chance``."""
    out = mels.clone()
    for i in np.flatnonzero(rng.random(len(mels)) < chance):
        first, many = rng.integers(0, mels.shape[-2]), rng.integers(2, 14)
        out[i, ..., first : first + many, :] = mels[i].mean()
    return out

"""A clip for training, drawn in no time; on its own, so that processes that only train import nothing else."""

import numpy as np
import torch

from sidgan.data.dataset import PackedClip


def talking_blob(size: int, frames: int, seed: int = 0) -> PackedClip:
    """A packed clip of a coloured disc whose dark mouth opens with the loudness of its sound."""
    rng = np.random.default_rng(seed)
    opening = 0.5 + 0.5 * np.sin(np.cumsum(rng.uniform(0.2, 0.9, frames)))
    y, x = np.mgrid[0:size, 0:size] / size
    skin = rng.uniform(0.4, 0.9, 3)
    images = np.empty((frames, size, size, 3), np.uint8)
    for i, wide in enumerate(opening):
        face = ((x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.2)[..., None] * skin
        mouth = (((x - 0.5) / 0.15) ** 2 + ((y - 0.72) / (0.02 + 0.1 * wide)) ** 2 < 1)[..., None]
        images[i] = 255 * np.where(mouth, 0.1, face)
    mels = np.full((frames, 1, 80, 28), -4.0, np.float16)
    for i, wide in enumerate(opening):
        mels[i] = -3 + 5 * wide + 0.1 * rng.standard_normal((1, 80, 28))
    masks = np.tile(np.array([0.2, 0.55, 0.8, 1.0], np.float32), (frames, 1))
    return PackedClip(
        name=f"blob/{seed}", images=torch.from_numpy(images).permute(0, 3, 1, 2).contiguous(),
        mels=torch.from_numpy(mels), masks=torch.from_numpy(masks), landmarks=np.zeros((frames, 68, 2), np.float32),
    )  # fmt: skip

"""Base class of the compared systems, which gives them the interface of our generator."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sidgan.config import GeneratorConfig
from sidgan.nn.generator import PICTURE, Features, Generator
from sidgan.nn.syncnet import AudioEncoder


class Baseline(Generator):
    """A generator with one output and one reference picture, whose audio encoder is trained with the rest.

    Args:
        config: its ``kind`` names the system.
        audio_features: size of the audio feature, of which ``usual`` is the running mean.
    """

    def __init__(self, config: GeneratorConfig, audio_features: int) -> None:
        nn.Module.__init__(self)  # not `Generator.__init__`: it has the same interface, but none of its layers
        self.config = config
        self.register_buffer("usual", torch.zeros(audio_features))
        self.register_buffer("opens", torch.zeros(1), persistent=False)  # it cannot be told to open a mouth further
        self.emphasis = 1.0
        self._audio_frozen = False

    @property
    def ears(self) -> AudioEncoder | None:
        """``None``, as no expert has an audio encoder of the same shape."""
        return None

    def freeze_audio(self, frozen: bool = True) -> None:
        """Do nothing: the audio encoder is always trained."""

    def recompute(self, blocks: int) -> None:
        """Do nothing: gradient checkpointing is not supported."""

    def encode_reference(self, reference: Tensor) -> dict[int, Tensor]:
        """The references themselves, (M, 3, S, S) or (M, K, 3, S, S) in [0, 1]; only the first of K is used."""
        pictures = reference if reference.dim() == 5 else reference[:, None]
        if pictures.shape[-1] != self.config.size:
            raise ValueError(f"this generator sees {self.config.size} px, not {pictures.shape[-1]}")
        return {PICTURE: pictures}

    def decode(
        self,
        query: Tensor,
        features: Features,
        mel: Tensor,
        level: int | None = None,
        fade: float | None = None,
        placed: Tensor | None = None,
        sharp: Tensor | None = None,
        finest: bool = False,
        favour: Tensor | None = None,
        opening: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """Draw faces (N, 3, S, S); see `Generator.decode`. ``placed``, ``finest`` and what follows have no effect."""
        self._checked(query, level, sharp)
        if fade is not None:
            raise ValueError("the only output has nothing to fade from")
        return {self.config.size: self.draw(query, features, mel).float()}

    def draw(self, query: Tensor, features: Features, mel: Tensor) -> Tensor:
        """Faces (N, 3, S, S) in [0, 1] from queries (N, 3, S, S), features of `encode_reference`, and mel windows."""
        raise NotImplementedError


def first(features: Mapping[int, Tensor], key: int, count: int) -> Tensor:
    """Features (N, ...) of each query's first reference, from ``features[key]`` (M, K, ...) of M people."""
    found = features[key][:, 0]
    if count % len(found):
        raise ValueError(f"{len(found)} references cannot be shared evenly by {count} queries")
    return found if len(found) == count else found.repeat_interleave(count // len(found), 0)


def upper_half(query: Tensor) -> Tensor:
    """Queries (N, 3, S, S) with the whole lower half blacked out, whatever their masks hide."""
    seen = query[:, :, : query.shape[-2] // 2]
    return torch.cat([seen, torch.zeros_like(query[:, :, seen.shape[-2] :])], 2)

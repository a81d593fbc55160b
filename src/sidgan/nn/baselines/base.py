"""What the compared systems share: the interface of our generator, behind which nobody need know which one it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sidgan.config import GeneratorConfig
from sidgan.nn.generator import PICTURE, Features, Generator
from sidgan.nn.syncnet import AudioEncoder


class Baseline(Generator):
    """A generator of one output, that sees one reference picture and learns to hear together with the rest.

    Args:
        config: its ``kind`` names the system.
        heard: features of a sound, of which ``usual`` keeps the average.
    """

    def __init__(self, config: GeneratorConfig, heard: int) -> None:
        nn.Module.__init__(self)  # it behaves as a Generator, but has none of its layers
        self.config = config
        self.register_buffer("usual", torch.zeros(heard))
        self.emphasis = 1.0
        self._audio_frozen = False

    @property
    def ears(self) -> AudioEncoder | None:
        """None that an expert's could replace."""
        return None

    def freeze_audio(self, frozen: bool = True) -> None:
        """Nothing: what hears is learnt."""

    def recompute(self, blocks: int) -> None:
        """Nothing: all activations are kept."""

    def encode_reference(self, reference: Tensor) -> dict[int, Tensor]:
        """The pictures themselves, (M, 3, S, S) or (M, K, 3, S, S) in [0, 1]; of K, the first is looked at."""
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
    ) -> dict[int, Tensor]:
        """Draw faces (N, 3, S, S); see `Generator.decode`. Where references lie does not matter here."""
        self._checked(query, level, sharp)
        if fade is not None:
            raise ValueError("the only output has nothing to fade from")
        return {self.config.size: self.draw(query, features, mel).float()}

    def draw(self, query: Tensor, features: Features, mel: Tensor) -> Tensor:
        """Faces (N, 3, S, S) in [0, 1] of queries (N, 3, S, S), what `encode_reference` gave, and mel windows."""
        raise NotImplementedError


def first(features: Mapping[int, Tensor], key: int, count: int) -> Tensor:
    """(N, ...) what is kept under ``key`` of each query's first reference, of (M, K, ...) for M persons."""
    found = features[key][:, 0]
    if count % len(found):
        raise ValueError(f"{len(found)} references cannot be shared evenly by {count} queries")
    return found if len(found) == count else found.repeat_interleave(count // len(found), 0)


def upper_half(query: Tensor) -> Tensor:
    """Queries (N, 3, S, S) with everything below the middle hidden, whatever their masks hide."""
    seen = query[:, :, : query.shape[-2] // 2]
    return torch.cat([seen, torch.zeros_like(query[:, :, seen.shape[-2] :])], 2)

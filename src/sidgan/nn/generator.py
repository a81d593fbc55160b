"""The pyramid generator: draws a speaking face from a face with the mouth hidden, a reference picture and a sound.

::

    query ─ FaceEncoder ─ f_Q 16 … 512 ┐
    reference ─ FaceEncoder ─ f_R … ───┼─▶ block 16 ▶ block 32 ▶ block 64 ▶ block 128 ▶ block 256 ▶ block 512
    mel ─ AudioEncoder ─ f_A ──────────┘      ▲ f_A      ▲ f_A      ▲ f_A       ▼ RGB       ▼ RGB       ▼ RGB
    query, resized to 16 ────────────────────▶┘

The resolutions are those of the paper's network (Sec. 3.1, 3.2); `sidgan.config.GeneratorConfig` can change them all.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from sidgan.config import AUDIO_FEATURES, MEL_HOP, MEL_STEPS, GeneratorConfig
from sidgan.nn.layers import SLOPE, FeatureNorm, ResidualBlock, convolved, laid_out
from sidgan.nn.motion import Motion, Reading, enlarged, gathered, hidden_as_well, mixed, repeated, shrunk
from sidgan.nn.syncnet import AudioEncoder, middle

#: Features of K references of each of M people: resolution r -> (M, K, C, r, r); `PICTURE` -> the pictures themselves.
Features = Mapping[int, Tensor]
USUAL = 0.01  #: weight of each batch in the running mean of f_A
PICTURE = 0  #: key in `Features` of the references themselves, (M, K, 3, S, S)


class FaceEncoder(nn.Module):
    """Encodes a face as one feature map per block resolution (Sec. 3.1). Query and reference have one encoder each.

    The first layer has no normalisation, so that the finest map keeps the absolute colour of the skin. Each level above
    the trunk (``config.trunk``) consists of only such a layer.
    """

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        levels = [r for r in config.levels[::-1] if r <= config.base_size]
        self.stem = nn.Conv2d(3, config.channels(levels[0]), 7, padding=3)
        finer_levels = config.levels[len(levels) :]
        self.fine = nn.ModuleDict({str(r): nn.Conv2d(3, config.channels(r), 3, padding=1) for r in finer_levels})
        self.side = levels[0]
        self.stages = nn.ModuleDict()
        for finer, level in itertools.pairwise(levels):
            channels = config.channels(level)
            self.stages[str(level)] = nn.Sequential(
                nn.Conv2d(config.channels(finer), channels, 3, stride=2, padding=1),
                FeatureNorm(channels),
                nn.LeakyReLU(SLOPE, inplace=True),
                ResidualBlock(channels),
            )

    def forward(self, image: Tensor, small: Tensor | None = None) -> dict[int, Tensor]:
        """Map (N, 3, S, S) in [0, 1] to {S: (N, C, S, S), S / 2: ..., start: ...}.

        ``small`` (N, 3, T, T) is the trunk's input; by default ``image`` averaged down to the trunk's size T.
        """
        x = self._seen(self.stem, shrunk(image, self.side) if small is None else small)
        features = {self.side: x}
        for level, layer in self.fine.items():
            if int(level) <= image.shape[-1]:
                features[int(level)] = self._seen(layer, shrunk(image, int(level)))
        for level, stage in self.stages.items():
            x = stage(x)
            features[int(level)] = x
        return features

    @staticmethod
    def _seen(layer: nn.Module, image: Tensor) -> Tensor:
        return F.leaky_relu(layer(laid_out(image)), SLOPE, inplace=True)


class GeneratorBlock(nn.Module):
    """Blends the coarser features with query and reference features of its resolution and the audio (Sec. 3.2).

    Args:
        inputs: channels of the coarser features; the skip connections add twice ``outputs``.
        outputs: channels of this level.
        audio: ``adain``: f_A sets scale and shift after each of the three normalisations. ``concat``: f_A is tiled and
            concatenated to the input. ``None``: this block does not use f_A.
    """

    def __init__(self, inputs: int, outputs: int, audio: str | None) -> None:
        super().__init__()
        self.concat = audio == "concat"
        tiled = AUDIO_FEATURES if self.concat else 0
        self.blend = nn.Conv2d(inputs + 2 * outputs + tiled, outputs, 3, padding=1)
        self.norm = FeatureNorm(outputs, audio == "adain")
        self.residual = ResidualBlock(outputs, audio == "adain")

    def forward(self, x: Tensor, query: Tensor, reference: Tensor, audio: Tensor) -> Tensor:
        """Map x (N, inputs, r, r) or (N, inputs, r / 2, r / 2) and skips (N, outputs, r, r) to (N, outputs, r, r)."""
        if x.shape[-1] != query.shape[-1]:
            x = F.interpolate(laid_out(x), scale_factor=2, mode="bilinear", align_corners=False)  # no checkerboards
        parts = [x, query, reference]
        if self.concat:
            parts.append(audio[:, :, None, None].expand(-1, -1, *query.shape[2:]))
        channels = itertools.accumulate((part.shape[1] for part in parts), initial=0)
        terms = [convolved(self.blend, part, first) for part, first in zip(parts, channels, strict=False)]
        blend = functools.reduce(torch.add, terms)
        y = self.residual(F.leaky_relu(self.norm(blend, audio), SLOPE, inplace=True), audio)
        # Normalisation removes the absolute brightness; the skip around it keeps it available to the RGB blocks.
        return (blend + y).mul_(math.sqrt(0.5))


class Generator(nn.Module):
    """SIDGAN's generator with its two face encoders and its audio encoder (Eq. 1).

    Attributes:
        audio: the `AudioEncoder`; `AudioEncoder.take_over` copies the weights of an expert or a listener into it.
        usual: (512,) running mean of f_A, updated in training.
        emphasis: factor on the difference between f_A and its mean ``usual``; 1 as trained, above 1 moves the mouth
            more. Where a sound allows several mouth shapes, training converges to their mean, which moves less than
            each of them. For inference only.
        opens: (512,) what, added to f_A, opens a mouth further, by about as much as the widest fifth of the frames of
            speech differs from the least open fifth; measured after training (``tools/measure_opening.py``), else 0.
        lively: the ``emphasis`` that dubs should use with these weights, measured after training.
    """

    lively: float = 1.0

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        self.query = FaceEncoder(config)
        self.reference = FaceEncoder(config)
        self.audio = AudioEncoder(config.audio_width, config.audio_blocks, config.aps_audio)
        self.blocks = nn.ModuleDict()
        self.rgb = nn.ModuleDict()
        self.motion = nn.ModuleDict({str(r): Motion(config.channels(r)) for r in config.warp_levels})
        inputs = 3  # the resized query
        for level in config.levels:
            outputs = config.channels(level)
            audio = config.audio_inject if level in config.audio_levels else None
            self.blocks[str(level)] = GeneratorBlock(inputs, outputs, audio)
            if level in config.rgb_levels:
                last = nn.Conv2d(outputs, 6 if config.rgb == "copying" else 3, 3, padding=1)
                if level > config.base_size:  # corrects the trunk's output; the correction is 0 at first
                    nn.init.zeros_(last.weight)
                    nn.init.zeros_(cast(Tensor, last.bias))
                self.rgb[str(level)] = last
            inputs = outputs
        if config.audio_context:
            near = config.audio_context + 1 - torch.arange(-config.audio_context, config.audio_context + 1).abs()
            self.context = nn.Parameter((near / near.sum())[:, None].repeat(1, AUDIO_FEATURES))
        self.usual: Tensor
        self.register_buffer("usual", torch.zeros(AUDIO_FEATURES))
        self.opens: Tensor
        self.register_buffer("opens", torch.zeros(AUDIO_FEATURES))
        self.emphasis = 1.0
        self._audio_frozen = False
        self._recomputed: tuple[int, ...] = ()

    def load_state_dict(self, state_dict: Mapping[str, Any], *args: Any, **how: Any) -> Any:
        """See `torch.nn.Module.load_state_dict`; older weights, without ``opens``, may be loaded too."""
        none = {name: torch.zeros_like(tensor) for name, tensor in self.state_dict().items() if name == "opens"}
        return super().load_state_dict({**none, **state_dict}, *args, **how)

    @property
    def ears(self) -> AudioEncoder | None:
        """The audio encoder if it can be taken over from an expert; ``None`` if it is trained with the rest."""
        return self.audio

    @property
    def read(self) -> tuple[Tensor, Tensor] | None:
        """Lip and audio features (N, C) of the last training pass, in generators that extract both; else ``None``."""
        return None

    def recompute(self, blocks: int) -> None:
        """Recompute the activations of the finest ``blocks`` blocks in the backward pass (gradient checkpointing).

        Outputs and gradients stay the same; training takes less memory and more time.
        """
        levels = self.config.levels
        self._recomputed = levels[max(0, len(levels) - blocks) :]

    def forward(
        self,
        query: Tensor,
        reference: Tensor,
        mel: Tensor,
        level: int | None = None,
        fade: float | None = None,
        placed: Tensor | None = None,
    ) -> dict[int, Tensor]:
        """Draw the faces: `encode_reference`, then `decode`; see there for shapes and options."""
        return self.decode(query, self.encode_reference(reference), mel, level, fade, placed)

    def encode_reference(self, reference: Tensor) -> dict[int, Tensor]:
        """Features of one reference (M, 3, S, S) or K references (M, K, 3, S, S) of each of M people, in [0, 1].

        Keep the result where the same references serve many frames. References may be larger than the network's size
        by a whole factor: the network is shown them reduced, and copies from them at full size.

        Raises:
            ValueError: references of another size.
        """
        pictures = reference if reference.dim() == 5 else reference[:, None]
        side = min(pictures.shape[-1], self.config.size)
        if pictures.shape[-1] % self.config.size and side not in self.config.sizes:
            raise ValueError(f"this generator sees {self.config.size} px, not {pictures.shape[-1]}")
        maps = self.reference(shrunk(pictures, side).flatten(0, 1))
        return {PICTURE: pictures, **{r: x.view(*pictures.shape[:2], *x.shape[1:]) for r, x in maps.items()}}

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
        """Draw the faces at all output resolutions up to ``level``.

        Args:
            query: (N, 3, S, S) in [0, 1] with the mouth region blacked out; S is one of ``config.sizes``. A generator
                with a trunk accepts sizes from the trunk's on; ``level`` is then at most S, and references are S px.
            features: of M people, from `encode_reference`. Each serves N / M consecutive queries.
            mel: (N, 1, 80, 16), one window per frame, or wider (`sidgan.audio.mel_windows`): the middle is used.
            level: finest output wanted, one of ``config.rgb_levels``; finer blocks are not computed. S by default.
            fade: share t in [0, 1] of the finest output's own RGB while that level fades in during training; the rest
                is the next coarser output, enlarged. 1 by default.
            placed: (N, K, 2, 3) affines from query to reference coordinates (`sidgan.geometry.placement`), for
                generators with ``warp_levels``. The identity by default.
            sharp: (N, 3, T, T), the query at a multiple T of its size, for ``copying`` outputs only: adds an output of
                T px. Copied pixels are then as sharp as the references; generated ones are enlarged.
            finest: return only the finest output; coarser ones are computed only where it depends on them.
            favour: (N, K) added to the logits of the belief in each reference, for generators with ``warp_levels``.
            opening: (N, 2), the values of `sidgan.types.Opening` for each frame; none by default.

        Returns:
            {r: (N, 3, r, r) float32 in [0, 1]} from coarse to fine.

        Raises:
            ValueError: wrong query size, N not a multiple of M, unknown ``level``, or no coarser output to fade from.
        """
        config = self.config
        level = self._checked(query, level, sharp)
        audio = self.heard(mel)
        if opening is not None:
            audio = self._opened(audio, opening)
        small = hidden_as_well(query, config.base_size)
        skips = self.query(query, small)
        x = shrunk(small, config.start)
        images: dict[int, Tensor] = {}
        reading = Reading.begun(placed, query.shape[0], features[PICTURE], favour) if config.warp_levels else None
        wanted = (level,) if finest and config.rgb == "copying" else config.rgb_levels
        correct: Tensor | None = None  # logits of the coarser level, which this level corrects; from the trunk on
        for r in config.levels:
            moved, reference = gathered(features[r], reading)
            x = self._block(r, x, skips[r], repeated(reference, query.shape[0]).to(skips[r].dtype), audio)
            if reading is not None and r in config.warp_levels:
                reading = replace(reading, motion=self.motion[str(r)](x, moved, reading.motion))
            if r in wanted or 0 < config.trunk <= r:
                drawn = self.rgb[str(r)](x).float()
                if correct is not None:
                    drawn = drawn + enlarged(correct, r)
                correct = drawn if 0 < config.trunk <= r else None
            if r in wanted:
                if config.rgb == "copying":
                    queries = [shrunk(small, r) if r <= config.base_size else hidden_as_well(query, r)]
                    queries += [] if sharp is None or r != level else [sharp]
                    pictures = features[PICTURE]
                    images |= _copied(drawn, queries[-1:] if finest else queries, pictures, reading, config.base_size)
                else:
                    images[r] = self._image(drawn, images)
            if r == level:
                break
        return images if fade is None else _fade(images, fade)

    @property
    def within(self) -> list[str]:
        """Names of the trunk's parameters, or of all where there is no trunk."""
        config = self.config
        finer = [r for r in config.sizes if r > config.base_size]
        beyond = [f"{part}.{r}." for part in ("blocks", "rgb", "motion") for r in finer]
        beyond += ["query.fine.", "reference.fine."]
        return [name for name, _ in self.named_parameters() if not name.startswith(tuple(beyond))]

    def _block(self, level: int, *inputs: Tensor) -> Tensor:
        """Output of a level's block; with `recompute`, its activations are not kept for the backward pass."""
        block = self.blocks[str(level)]
        if level in self._recomputed and torch.is_grad_enabled():
            return cast(Tensor, checkpoint(block, *inputs, use_reentrant=False, preserve_rng_state=False))
        return cast(Tensor, block(*inputs))

    def heard(self, mel: Tensor) -> Tensor:
        """f_A (N, 512) of mel windows, normalised; with ``audio_context``, a weighted mean over adjacent windows."""
        reach = self.config.audio_context
        windows = middle(mel, MEL_STEPS + 2 * MEL_HOP * reach).unfold(-1, MEL_STEPS, MEL_HOP)  # (N, 1, 80, K, 16)
        heard = self.audio(windows.permute(0, 3, 1, 2, 4).flatten(0, 1)).float()
        heard = F.layer_norm(heard, (AUDIO_FEATURES,))
        if reach:
            mixed = (heard.unflatten(0, (mel.shape[0], -1)) * self.context).sum(1)
            heard = F.layer_norm(mixed, (AUDIO_FEATURES,))
        return self._emphasised(heard)

    def _emphasised(self, heard: Tensor) -> Tensor:
        """Scale the difference between f_A (N, C) and its running mean by ``emphasis``; training updates the mean."""
        if self.training and torch.is_grad_enabled():  # not in validation passes
            self.usual.lerp_(heard.detach().float().mean(0), USUAL)
        return heard if self.emphasis == 1 else torch.lerp(self.usual, heard, self.emphasis)

    def _opened(self, heard: Tensor, opening: Tensor) -> Tensor:
        """f_A (N, C) for mouths that open as ``opening`` (N, 2) says."""
        along = self.opens / self.opens.square().sum().clamp_min(1e-9)
        share = ((heard - self.usual) * along).sum(-1, keepdim=True)  # no matrix product: autocast would round it
        further, swing = opening.split(1, dim=-1)
        return heard + (further + swing * share) * self.opens

    def _checked(self, query: Tensor, level: int | None, sharp: Tensor | None) -> int:
        """The level to draw, after checking that the arguments fit the network."""
        config, side = self.config, query.shape[-1]
        if side not in config.sizes:
            raise ValueError(f"this generator sees {config.size} px, not {side}")
        level = side if level is None else level
        if level not in config.rgb_levels or level > side:
            raise ValueError(f"level {level} is not one of the outputs {config.rgb_levels} of {side} px")
        if sharp is not None and (config.rgb != "copying" or level != side):
            raise ValueError("only the finest output of a generator that copies can be enlarged")
        return level

    def _image(self, drawn: Tensor, coarser: Mapping[int, Tensor]) -> Tensor:
        """A level's output image from its RGB block's output (N, 3, r, r) and the coarser images."""
        if self.config.rgb == "direct" or not coarser:
            return torch.sigmoid(drawn)
        size = drawn.shape[-2:]
        enlarged = F.interpolate(coarser[max(coarser)], size, mode="bilinear", align_corners=False)
        return (enlarged + torch.tanh(drawn)).clamp(0, 1)

    def freeze_audio(self, frozen: bool = True) -> None:
        """Freeze the audio encoder: no gradients, and evaluation mode whatever `train` says."""
        self._audio_frozen = frozen
        self.audio.requires_grad_(not frozen)
        self.audio.train(self.training and not frozen)

    def train(self, mode: bool = True) -> Generator:
        """Switch to training or evaluation mode; a frozen audio encoder stays in evaluation mode."""
        super().train(mode)
        if self._audio_frozen:
            self.audio.eval()
        return self


def _copied(
    drawn: Tensor, queries: Sequence[Tensor], pictures: Tensor, reading: Reading | None, exact: int
) -> dict[int, Tensor]:
    """One output for each of ``queries``, which show the same faces at different sizes; see `mixed` for ``exact``."""
    images = {}
    for query in queries:
        side = query.shape[-1]
        images[side] = mixed(drawn, query, shrunk(pictures, side), reading, exact)
    return images


def _fade(images: dict[int, Tensor], t: float) -> dict[int, Tensor]:
    """Replace the finest image by a blend of itself (share t) and the next coarser one, enlarged."""
    if len(images) < 2:
        raise ValueError("the coarsest output has nothing to fade from")
    coarse, fine = list(images)[-2:]
    enlarged = F.interpolate(images[coarse], (fine, fine), mode="bilinear", align_corners=False)
    return {**images, fine: torch.lerp(enlarged, images[fine], t)}

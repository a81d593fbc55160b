"""Warping of the references, so that a mouth can mostly be copied from the person's own pictures.

The paper's generator blends the reference's features without moving them (Sec. 3.2). Trained on thousands of identities
it learns to find what it needs; trained on few, it overfits to those. Here each level predicts a motion field from the
sound, the query and the reference as warped so far, which corrects the motion field of the coarser level. Outputs can
then copy pixels of the warped references. Each of several references has a motion field and a weight per pixel (its
*belief*) of its own; their order does not matter.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.nn.layers import SLOPE, convolved, laid_out

REACH = 0.25  #: motion, in halves of the side, for a network output of 1; small, so that training starts smoothly
BELIEF = 2.0  #: logit of belief for an output of 1; large, so that one of two poses soon outweighs the other
NEVER = -1e4  #: logit of a share that must be 0; finite, as engines and bfloat16 require
HIDDEN = 32  #: largest number of hidden channels of `Motion`


class SamplingGrids(NamedTuple):
    """How feature maps of one resolution are sampled from K references and averaged.

    Attributes:
        grids: K sampling grids (N, r, r, 2), -1 to 1 across the square, as `grid_sample` takes them.
        belief: K - 1 maps (N, 1, r, r); map k is the share of reference k + 1 in the running mean up to it.
    """

    grids: Sequence[Tensor]
    belief: Sequence[Tensor]


@dataclass(frozen=True)
class Reading:
    """Where the references are sampled for each query, and with which weights.

    Attributes:
        placed: (N, K, 2, 3) affines from query to reference coordinates, -1 to 1 across the square.
        motion: (N, K, 3, r, r) what the network adds, at any resolution: x and y offset, and the logit of belief.
        favour: (N, K) added to the logit of belief everywhere, if anything is.
    """

    placed: Tensor
    motion: Tensor | None = None
    favour: Tensor | None = None
    _cache: dict[int, SamplingGrids] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def begun(cls, placed: Tensor | None, queries: int, pictures: Tensor, favour: Tensor | None = None) -> Reading:
        """Start without motion, at ``placed`` or the identity, for N queries and ``pictures`` (M, K, ...)."""
        if placed is None:
            placed = torch.eye(2, 3, device=pictures.device).expand(queries, pictures.shape[1], 2, 3)
        return cls(placed.float(), favour=favour)

    def at(self, side: int) -> SamplingGrids:
        """The grids for maps of this side; cached, as a level samples feature maps and pictures of the same size."""
        if side not in self._cache:
            self._cache[side] = self._at(side)
        return self._cache[side]

    def _at(self, side: int) -> SamplingGrids:
        grids = [_affine_grid(affine, side) for affine in self.placed.unbind(1)]
        belief = grids[0].new_zeros((1, len(grids), 1, 1, 1))
        if self.motion is not None:
            motion = enlarged(self.motion.flatten(0, 1), side).view(*self.motion.shape[:3], side, side)
            grids = [grid + own for grid, own in zip(grids, motion[:, :, :2].unbind(1), strict=True)]
            belief = motion[:, :, 2:]
        if self.favour is not None:
            belief = belief + self.favour[..., None, None, None]
        shares = belief.softmax(1)
        sums = itertools.accumulate(shares.unbind(1))  # `cumsum` is slow in OpenVINO and ONNX Runtime
        running = [own / so_far.clamp(min=1e-30) for own, so_far in zip(shares.unbind(1), sums, strict=True)]
        return SamplingGrids([grid.permute(0, 2, 3, 1) for grid in grids], running[1:])


class Motion(nn.Module):
    """Predicts a correction to the coarser level's motion field and belief, for each reference.

    It is initialised to no motion and equal belief.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = min(HIDDEN, 2 * channels)
        self.look = nn.Conv2d(2 * channels, hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, x: Tensor, moved: Sequence[Tensor], motion: Tensor | None) -> Tensor:
        """The motion of this level.

        Args:
            x: (N, C, r, r) features of this level's block.
            moved: K feature maps (N, C, r, r) of the references, warped by the coarser motion.
            motion: (N, K, 3, ...) of the coarser level, at any resolution, see `Reading`; ``None`` at the first level.
                Offsets are in halves of the side.

        Returns:
            (N, K, 3, r, r).
        """
        common = convolved(self.look, x)
        hidden = [common + convolved(self.look, maps, x.shape[1]) for maps in moved]
        correction = torch.stack([self.head(F.leaky_relu(h, SLOPE, inplace=True)) for h in hidden], 1).float()
        correction = correction * correction.new_tensor([REACH, REACH, BELIEF]).view(3, 1, 1)
        if motion is None:
            return correction
        return correction + enlarged(motion.flatten(0, 1), x.shape[-1]).view_as(correction)


def mixed(drawn: Tensor, query: Tensor, pictures: Tensor, reading: Reading | None, exact: int | None = None) -> Tensor:
    """Mix each pixel of an output from the generated colour, the warped references and the query.

    Args:
        drawn: (N, 6, r, r) from an RGB block: logits of the three colours, then of the three shares (generated,
            reference, query).
        query: (N, 3, R, R) with R >= r; colours and shares are enlarged to R.
        pictures: (M, K, 3, R, R) references of M people, each for N / M consecutive queries.
        reading: where the references are sampled.
        exact: px, the largest R whose shares are exact; r by default. Enlarged shares are imprecise at the edge of the
            hidden region, so the query's share is set to 0 where the query is black.

    Returns:
        (N, 3, R, R) in [0, 1].
    """
    size = query.shape[-1]
    # `contiguous` (channels first): slices of channels-last maps are strided, and processed one number at a time.
    colours, logits = enlarged(drawn, size).contiguous().chunk(2, 1)
    if size > (exact or drawn.shape[-1]):
        seen = query.amax(1, keepdim=True) > 0
        # On the logits: if the query's share was almost 1, the others are too small to be rescaled after the softmax.
        logits = torch.cat([logits[:, :2], torch.where(seen, logits[:, 2:], NEVER)], 1)
    shares = logits.softmax(1)
    shown = repeated(gathered(pictures, reading)[1], query.shape[0])
    own, copied, kept = shares.split(1, 1)
    return torch.sigmoid(colours) * own + shown * copied + query * kept


def gathered(maps: Tensor, reading: Reading | None) -> tuple[Sequence[Tensor], Tensor]:
    """Warp maps (M, K, C, r, r) of K references of M people for N queries, and average them.

    Returns:
        K warped maps (N, C, r, r) in float32, and their mean weighted by belief (N, C, r, r). Without a reading, the
        maps as they are and their plain mean, for M people instead of N queries.
    """
    if reading is None:
        return maps.unbind(1), maps.mean(1)
    grids, belief = reading.at(maps.shape[-1])
    # Always in float32: bfloat16 coordinates are up to a quarter of a pixel apart. One reference at a time, so that all
    # queries of one person share its maps without copies.
    warped = [
        F.grid_sample(repeated(own, grid.shape[0]), grid, padding_mode="border", align_corners=False)
        for own, grid in zip(maps.float().unbind(1), grids, strict=True)
    ]
    further = zip(warped[1:], belief, strict=True)
    return warped, functools.reduce(lambda mean, other: torch.lerp(mean, *other), further, warped[0])


def repeated(maps: Tensor, count: int) -> Tensor:
    """Repeat each of M maps ``count`` / M times in a row; for M = 1 as a view, without copying."""
    have = maps.shape[0]
    if have == count:
        return maps
    if count % have:
        raise ValueError(f"{have} references cannot be shared evenly by {count} queries")
    return maps[:, None].expand(-1, count // have, *maps.shape[1:]).flatten(0, 1)


def _affine_grid(affine: Tensor, side: int) -> Tensor:
    """Map the pixel centres of a square by affines (N, 2, 3): x and y as (N, 2, side, side), -1 to 1.

    Not `torch.nn.functional.affine_grid`, because it multiplies matrices, which autocast does in bfloat16.
    """
    centres = (2 * torch.arange(side, device=affine.device) + 1) / side - 1
    across, down, shift = affine[..., None, None].unbind(2)
    return (across * centres + shift) + down * centres[:, None]


def enlarged(maps: Tensor, side: int) -> Tensor:
    """Resize (N, C, r, r) to (N, C, side, side), bilinearly."""
    if maps.shape[-1] == side:
        return maps
    return F.interpolate(laid_out(maps), (side, side), mode="bilinear", align_corners=False)


def hidden_as_well(query: Tensor, side: int) -> Tensor:
    """A query (N, 3, S, S) averaged down; pixels that include a black one are black, so the mask keeps a hard edge."""
    if query.shape[-1] == side:
        return query
    factor = query.shape[-1] // side
    black = F.max_pool2d((query == 0).all(1, keepdim=True).to(query.dtype), factor) > 0
    return shrunk(query, side).masked_fill(black, 0)


def shrunk(images: Tensor, side: int) -> Tensor:
    """Average (..., S, S) down to (..., side, side)."""
    if images.shape[-1] == side:
        return images
    return F.avg_pool2d(images.flatten(0, -4), images.shape[-1] // side).view(*images.shape[:-2], side, side)

"""References that move to fit: a mouth is mostly the person's own, opened, and need not be drawn anew.

The paper's generator blends the reference's features where they lie (Sec. 3.2). With the identities of thousands it
learns to look for what it needs; with few it learns those few by heart. Here each level says where the reference is to
be read, from the sound, the query and the reference as it lies now, and corrects what the coarser level said. An output
may then copy. Several references are read each in its own way, and believed each by its own share, in any order.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.nn.layers import SLOPE

REACH = 0.25  #: what an output of 1 moves, in halves of the side; small, so that training begins without leaps
BELIEF = 2.0  #: what an output of 1 adds to the logit of belief; large, so that of two poses one is soon believed
HIDDEN = 32  #: channels, at most, in which a level compares itself with a reference


class Reading(NamedTuple):
    """Where references are read.

    Attributes:
        placed: (N, K, 2, 3) affine from places in the query to places in each reference, -1 to 1 across the square.
        motion: (N, K, 3, r, r), what the network adds, at any resolution: columns, rows, and the logit of belief.
    """

    placed: Tensor
    motion: Tensor | None = None

    @classmethod
    def begun(cls, placed: Tensor | None, queries: int, pictures: Tensor) -> Reading:
        """As placed, or where they lie: K ``pictures`` (M, K, ...) of each person for N queries."""
        if placed is not None:
            return cls(placed.float())
        return cls(torch.eye(2, 3, device=pictures.device).expand(queries, pictures.shape[1], 2, 3))


class Motion(nn.Module):
    """How each reference moves to fit, and which is believed where: the coarser level's answer, corrected.

    It starts as no motion and equal belief.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = min(HIDDEN, 2 * channels)
        self.look = nn.Conv2d(2 * channels, hidden, 3, padding=1)
        self.head = nn.Conv2d(hidden, 3, 3, padding=1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(cast(Tensor, self.head.bias))

    def forward(self, x: Tensor, moved: Tensor, motion: Tensor | None) -> Tensor:
        """Correct a motion, of any resolution or none yet.

        Args:
            x: (N, C, r, r), of the block at this level.
            moved: (N, K, C, r, r), the references' maps as the coarser motion moves them.
            motion: (N, K, 3, ...), see `Reading`; columns and rows in halves of the side.

        Returns:
            (N, K, 3, r, r).
        """
        both = torch.cat([x[:, None].expand_as(moved), moved], 2).flatten(0, 1)
        own = self.head(F.leaky_relu(self.look(both), SLOPE)).float()
        own = own * own.new_tensor([REACH, REACH, BELIEF]).view(3, 1, 1)
        own = own.view(*moved.shape[:2], *own.shape[1:])
        return own if motion is None else own + _resized(motion, x.shape[-1])


def mixed(drawn: Tensor, query: Tensor, pictures: Tensor, reading: Reading | None, exact: int | None = None) -> Tensor:
    """An output of which each pixel is a mix of what is drawn, what the references show there, and the query.

    Args:
        drawn: (N, 6, r, r), of an RGB block: logits of three colours and of the three shares.
        query: (N, 3, R, R), R = r, or larger: colours and shares are then enlarged.
        pictures: (N, K, 3, R, R), the references.
        reading: where the references are read.
        exact: px, up to which shares are exact, r by default. Those of larger outputs come from enlarged ones, which
            are a little astray at the edges of what is hidden: nothing is then taken from where the query is black.

    Returns:
        (N, 3, R, R) in [0, 1].
    """
    size = query.shape[-1]
    colours, logits = enlarged(drawn, size).chunk(2, 1)
    shares = logits.softmax(1)
    if size > (exact or drawn.shape[-1]):
        seen = (query > 0).any(1, keepdim=True)
        shares = torch.cat([shares[:, :2], shares[:, 2:] * seen], 1)
        shares = shares / shares.sum(1, keepdim=True).clamp(min=1e-6)
    sources = (torch.sigmoid(colours), gathered(pictures, reading)[1], query)
    return _sum(share * source for share, source in zip(shares.split(1, 1), sources, strict=True))


def gathered(maps: Tensor, reading: Reading | None) -> tuple[Tensor, Tensor]:
    """Maps of K references (N, K, C, r, r) as they are read, and one made of them by belief: (N, C, r, r)."""
    if reading is None:
        return maps, maps.mean(1)
    pictures, side = maps.shape[1], maps.shape[-1]
    places = _places(reading.placed.flatten(0, 1), side)
    belief = None
    if reading.motion is not None:
        motion = _resized(reading.motion, side)
        places = places + motion[:, :, :2].flatten(0, 1).permute(0, 2, 3, 1)
        belief = motion[:, :, 2:].softmax(1).to(maps.dtype)
    # In float32 whatever the maps: places in bfloat16 are a quarter of a pixel apart.
    moved = F.grid_sample(maps.flatten(0, 1).float(), places, padding_mode="border", align_corners=False)
    moved = moved.to(maps.dtype).view_as(maps)
    if pictures == 1:
        return moved, moved[:, 0]
    if belief is None:
        return moved, moved.mean(1)
    return moved, _sum(belief[:, k] * moved[:, k] for k in range(pictures))


def _places(affine: Tensor, side: int) -> Tensor:
    """(N, 2, 3) affine to the places (N, side, side, 2) that they bring the centres of a square's pixels to.

    By hand, because ``affine_grid`` multiplies matrices, and mixed precision does that in bfloat16.
    """
    centres = (2 * torch.arange(side, device=affine.device) + 1) / side - 1
    across, down, shift = affine[:, None, None].unbind(-1)
    return (across * centres[None, None, :, None] + shift) + down * centres[None, :, None, None]


def _sum(parts: Iterable[Tensor]) -> Tensor:
    """The sum of a few maps, one after the other: runtimes are slow at sums over the axis of a stack of them."""
    return functools.reduce(torch.add, parts)


def _resized(motion: Tensor, side: int) -> Tensor:
    return enlarged(motion.flatten(0, 1), side).view(*motion.shape[:3], side, side)


def enlarged(maps: Tensor, side: int) -> Tensor:
    """(N, C, r, r) to (N, C, side, side), smoothly."""
    if maps.shape[-1] == side:
        return maps
    return F.interpolate(maps, (side, side), mode="bilinear", align_corners=False)


def hidden_as_well(query: Tensor, side: int) -> Tensor:
    """A query (N, 3, S, S) averaged down, black wherever some of it was: what is hidden keeps its hard edge."""
    if query.shape[-1] == side:
        return query
    times = query.shape[-1] // side
    black = F.max_pool2d((query == 0).all(1, keepdim=True).to(query.dtype), times) > 0
    return shrunk(query, side).masked_fill(black, 0)


def shrunk(images: Tensor, side: int) -> Tensor:
    """(..., S, S) averaged down to (..., side, side)."""
    if images.shape[-1] == side:
        return images
    return F.avg_pool2d(images.flatten(0, -4), images.shape[-1] // side).view(*images.shape[:-2], side, side)

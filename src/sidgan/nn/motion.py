"""References that move to fit: a mouth is mostly the person's own, opened, and need not be drawn anew.

The paper's generator blends the reference's features where they lie (Sec. 3.2). With the identities of thousands it
learns to look for what it needs; with few it learns those few by heart. Here each level says where the reference is to
be read, from the sound, the query and the reference as it lies now, and corrects what the coarser level said. An output
may then copy. Several references are read each in its own way, and believed each by its own share, in any order.
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

REACH = 0.25  #: what an output of 1 moves, in halves of the side; small, so that training begins without leaps
BELIEF = 2.0  #: what an output of 1 adds to the logit of belief; large, so that of two poses one is soon believed
NEVER = -1e4  #: logit of a share that must be nothing; finite, for all engines and bfloat16
HIDDEN = 32  #: channels, at most, in which a level compares itself with a reference


class Places(NamedTuple):
    """Where maps of one resolution are read, of each of K references.

    Attributes:
        grids: K of (N, r, r, 2), -1 to 1 across the square.
        belief: K - 1 of (N, 1, r, r), in turn the share of each further reference in the mean of all up to it.
    """

    grids: Sequence[Tensor]
    belief: Sequence[Tensor]


@dataclass(frozen=True)
class Reading:
    """Where references are read.

    Attributes:
        placed: (N, K, 2, 3) affine from places in the query to places in each reference, -1 to 1 across the square.
        motion: (N, K, 3, r, r), what the network adds, at any resolution: columns, rows, and the logit of belief.
    """

    placed: Tensor
    motion: Tensor | None = None
    _known: dict[int, Places] = field(default_factory=dict, init=False, repr=False)

    @classmethod
    def begun(cls, placed: Tensor | None, queries: int, pictures: Tensor) -> Reading:
        """As placed, or where they lie: K ``pictures`` (M, K, ...) of each person for N queries."""
        if placed is not None:
            return cls(placed.float())
        return cls(torch.eye(2, 3, device=pictures.device).expand(queries, pictures.shape[1], 2, 3))

    def at(self, side: int) -> Places:
        """The places for maps of this side, worked out once: an output reads pictures where its level read maps."""
        if side not in self._known:
            self._known[side] = self._at(side)
        return self._known[side]

    def _at(self, side: int) -> Places:
        grids = [_places(affine, side) for affine in self.placed.unbind(1)]
        if self.motion is None:
            shares = grids[0].new_full((1, len(grids), 1, 1, 1), 1 / len(grids))
        else:
            motion = enlarged(self.motion.flatten(0, 1), side).view(*self.motion.shape[:3], side, side)
            grids = [grid + own for grid, own in zip(grids, motion[:, :, :2].unbind(1), strict=True)]
            shares = motion[:, :, 2:].softmax(1)
        sums = itertools.accumulate(shares.unbind(1))  # `cumsum` is slow in other engines
        turns = [own / so_far.clamp(min=1e-30) for own, so_far in zip(shares.unbind(1), sums, strict=True)]
        return Places([grid.permute(0, 2, 3, 1) for grid in grids], turns[1:])


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

    def forward(self, x: Tensor, moved: Sequence[Tensor], motion: Tensor | None) -> Tensor:
        """Correct a motion, of any resolution or none yet.

        Args:
            x: (N, C, r, r), of the block at this level.
            moved: K of (N, C, r, r), the references' maps as the coarser motion moves them.
            motion: (N, K, 3, ...), see `Reading`; columns and rows in halves of the side.

        Returns:
            (N, K, 3, r, r).
        """
        seen = convolved(self.look, x)
        looks = [seen + convolved(self.look, maps, x.shape[1]) for maps in moved]
        own = torch.stack([self.head(F.leaky_relu(look, SLOPE, inplace=True)) for look in looks], 1).float()
        own = own * own.new_tensor([REACH, REACH, BELIEF]).view(3, 1, 1)
        if motion is None:
            return own
        return own + enlarged(motion.flatten(0, 1), x.shape[-1]).view_as(own)


def mixed(drawn: Tensor, query: Tensor, pictures: Tensor, reading: Reading | None, exact: int | None = None) -> Tensor:
    """An output of which each pixel is a mix of what is drawn, what the references show there, and the query.

    Args:
        drawn: (N, 6, r, r), of an RGB block: logits of three colours and of the three shares.
        query: (N, 3, R, R), R = r, or larger: colours and shares are then enlarged.
        pictures: (M, K, 3, R, R), the references of M people, each for N / M consecutive queries.
        reading: where the references are read.
        exact: px, up to which shares are exact, r by default. Those of larger outputs come from enlarged ones, which
            are a little astray at the edges of what is hidden: nothing is then taken from where the query is black.

    Returns:
        (N, 3, R, R) in [0, 1].
    """
    size = query.shape[-1]
    # Plane by plane: halves of maps with their channels last are gone through number by number.
    colours, logits = enlarged(drawn, size).contiguous().chunk(2, 1)
    if size > (exact or drawn.shape[-1]):
        seen = query.amax(1, keepdim=True) > 0
        # Before the shares are made: next to a share of almost 1 there is nothing left that could fill its place.
        logits = torch.cat([logits[:, :2], torch.where(seen, logits[:, 2:], NEVER)], 1)
    shares = logits.softmax(1)
    shown = repeated(gathered(pictures, reading)[1], query.shape[0])
    own, copied, kept = shares.split(1, 1)
    return torch.sigmoid(colours) * own + shown * copied + query * kept


def gathered(maps: Tensor, reading: Reading | None) -> tuple[Sequence[Tensor], Tensor]:
    """Maps of K references of M people (M, K, C, r, r) as N queries read them.

    Returns:
        K of (N, C, r, r) float32, and one made of them by belief. Without a reading as they lie, of M people.
    """
    if reading is None:
        return maps.unbind(1), maps.mean(1)
    grids, belief = reading.at(maps.shape[-1])
    # In float32 whatever the maps: places in bfloat16 are a quarter of a pixel apart. One reference after the other,
    # as those of one person are then read by all queries without copies of them.
    moved = [
        F.grid_sample(repeated(own, grid.shape[0]), grid, padding_mode="border", align_corners=False)
        for own, grid in zip(maps.float().unbind(1), grids, strict=True)
    ]
    further = zip(moved[1:], belief, strict=True)
    return moved, functools.reduce(lambda mean, other: torch.lerp(mean, *other), further, moved[0])


def repeated(maps: Tensor, count: int) -> Tensor:
    """Each of M maps ``count`` / M times in a row; of one person without a copy."""
    have = maps.shape[0]
    if have == count:
        return maps
    if count % have:
        raise ValueError(f"{have} references cannot be shared evenly by {count} queries")
    return maps[:, None].expand(-1, count // have, *maps.shape[1:]).flatten(0, 1)


def _places(affine: Tensor, side: int) -> Tensor:
    """(N, 2, 3) affine to the places (N, 2, side, side) that they bring the centres of a square's pixels to.

    By hand, because ``affine_grid`` multiplies matrices, and mixed precision does that in bfloat16.
    """
    centres = (2 * torch.arange(side, device=affine.device) + 1) / side - 1
    across, down, shift = affine[..., None, None].unbind(2)
    return (across * centres + shift) + down * centres[:, None]


def enlarged(maps: Tensor, side: int) -> Tensor:
    """(N, C, r, r) to (N, C, side, side), smoothly."""
    if maps.shape[-1] == side:
        return maps
    return F.interpolate(laid_out(maps), (side, side), mode="bilinear", align_corners=False)


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

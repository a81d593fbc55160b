"""Training from shards: a pool of clips in memory that moves on by one clip a step.

The shards of a split are dealt out to the processes, and those of a process to its threads, so that each is read by
one of them only. A process goes through the clips of its shards over and over, each time in an order drawn from seed,
process and round: one endless stream. **At step s the pool holds clips s to s + N - 1 of it**; nothing else need be
remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from sidgan.data.dataset import PackedClip, PackedSet
from sidgan.data.shards import Fetched, Shard, fetch_piece, glance, read_index, weights
from sidgan.errors import DataError, counted

READERS = 4  #: threads of a process that read, where it has as many shards
AHEAD = 16  #: clips that are read before their step
TOLERATED = 10  #: failures that never stop a run
MOST_FAILURES = 0.1  #: the largest share of clips read that may be damaged, beyond those


class ShardSet(PackedSet):
    """A pool of the clips to train on in folders of shards; otherwise as a `PackedSet`.

    `at` moves the pool to a step, while threads read the clips of the next steps. Clips stay in the host's memory, as
    bytes; windows go to ``device``. A clip of more than `sidgan.data.shards.PIECE` frames comes in pieces, each of
    which counts as one clip here: so the pool takes hardly more than N x 250 x 3 S S bytes.

    Resuming: which clips a step draws from follows from ``seed``, the step, ``rank``, ``world``, ``pool`` and the
    files. So a resumed run sees the clips that an uninterrupted one would, if as many processes train on the same
    shards; a damaged sample that was mended in between is seen from then on. With another number of processes a run
    goes on as well, and shards are dealt out anew.

    Args:
        roots: folders of shards, drawn from as if they were one.
        seed: of the order.
        rank: which of the processes this is, from 0.
        world: how many processes there are.
        pool: N, clips to hold; where a process has no more than that, it holds all of them, always.
        device: where windows go.
        report: called at once with a line about each thing that cannot be read. Without it, `at` returns the lines.

    Raises:
        DataError: nothing to train on, fewer shards than processes, or crops of several sizes.
    """

    def __init__(
        self, roots: Sequence[Path], *, seed: int = 0, rank: int = 0, world: int = 1, pool: int = 128,
        device: str | torch.device = "cpu", report: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.device, self.report = torch.device(device), report
        self._side, self._all = _read(roots)
        self._where = ", ".join(map(str, roots))
        train = self._of("train")
        self.shards = train[rank::world]
        if len(train) < world:
            raise DataError(_too_few(train, world))
        self._pieces = [(n, number) for n, shard in enumerate(self.shards) for number in range(len(shard.pieces))]
        self._weights = weights(self.shards)
        self.pool, self._moves = min(pool, len(self._pieces)), len(self._pieces) > pool
        self._most = pool
        self._order = lru_cache(maxsize=2)(
            lambda turn: np.random.default_rng((seed, rank, turn)).permutation(len(self._pieces))
        )
        self._threads = [ThreadPoolExecutor(1) for _ in range(min(READERS, len(self.shards)))]
        self._held: dict[int, PackedClip | None] = {}  # by place in the stream
        self._coming: dict[int, Future[Fetched]] = {}
        self._clips: list[PackedClip] = []
        self._lines: list[str] = []
        self._told: set[str] = set()
        self._failed = self._taken = 0
        for line in filter(None, map(glance, self.shards)):
            self._tell(line)

    @property
    def size(self) -> int:
        """Crop side S in px."""
        return self._side

    @property
    def clips(self) -> list[PackedClip]:
        """The clips that are held; those of step 0 where `at` has not been called yet."""
        if not self._held:
            self._move(0)
        return self._clips

    def at(self, step: int) -> list[str]:
        """Move the pool to a training step; returns lines about what could not be read since the last call.

        Raises:
            DataError: too much cannot be read, or all clips of the pool cannot.
        """
        self._move(step)
        lines, self._lines = self._lines, []
        return lines

    def sample(self, split: str) -> PackedSet:
        """Up to ``pool`` clips of any split, evenly picked: the same every time, and in all processes."""
        pieces = [(shard, number) for shard in self._of(split) for number in range(len(shard.pieces))]
        picks = np.unique(np.linspace(0, len(pieces) - 1, min(self._most, len(pieces))).astype(int))
        return PackedSet.of(self._readable([self._kept(partial(fetch_piece, *pieces[i])) for i in picks]))

    @property
    def splits(self) -> list[str]:
        """Names of all splits that there are shards of."""
        return sorted({shard.split for shard in self._all})

    def _of(self, split: str) -> list[Shard]:
        found = [shard for shard in self._all if shard.split == split]
        if not found:
            raise DataError(f"no clips for {split} in {self._where}")
        return found

    def _piece(self, place: int) -> int:
        """Which of the process's pieces stands at a place of the stream."""
        turn, index = divmod(place, len(self._pieces))
        return int(self._order(turn)[index])

    def _move(self, step: int) -> None:
        first = step if self._moves else 0
        wanted = range(first, first + self.pool)
        ahead = range(first, wanted.stop + (AHEAD if self._moves else 0))
        self._held = {place: clip for place, clip in self._held.items() if place in wanted}
        for place in [place for place in self._coming if place not in ahead]:
            self._coming.pop(place).cancel()
        for place in ahead:
            if place not in self._held and place not in self._coming:
                shard, number = self._pieces[self._piece(place)]
                thread = self._threads[shard % len(self._threads)]
                self._coming[place] = thread.submit(fetch_piece, self.shards[shard], number)
        missing = [place for place in wanted if place not in self._held]
        for place in missing:
            self._held[place] = self._kept(self._coming.pop(place).result)
        if missing:
            self._clips = self._readable([self._held[place] for place in wanted])
            chances = self._weights[[self._piece(place) for place in wanted if self._held[place] is not None]]
            self._chances = chances / chances.sum()

    def _readable(self, clips: Sequence[PackedClip | None]) -> list[PackedClip]:
        found = [clip for clip in clips if clip is not None]
        if not found:
            raise DataError(f"none of {counted(len(clips), 'clip')} in {self._where} can be read; "
                            "look at: sidgan inspect SHARDS")  # fmt: skip
        return found

    def _kept(self, fetch: Callable[[], Fetched]) -> PackedClip | None:
        """The clip that ``fetch`` gives, or ``None`` where it is damaged, which is told and counted."""
        self._taken += 1
        try:
            return fetch().unpack()
        except DataError as error:
            self._failed += 1
            self._tell(str(error))
            if self._failed > max(TOLERATED, MOST_FAILURES * self._taken):
                raise DataError(
                    f"{self._failed} of {self._taken} clips cannot be read, the last: {error}; "
                    "see what is damaged with: sidgan inspect SHARDS, and pack that again"
                ) from None
            return None

    def _tell(self, line: str) -> None:
        if line in self._told:
            return
        self._told.add(line)
        if self.report is not None:
            self.report(f"skipped: {line}")
        else:
            self._lines.append(f"skipped: {line}")


def _read(roots: Sequence[Path]) -> tuple[int, list[Shard]]:
    """Crop side, and the shards of all folders."""
    found = [read_index(root) for root in roots]
    sides: Any = sorted({side for side, _ in found})
    if len(sides) > 1:
        raise DataError(f"the shards have crops of {' and '.join(map(str, sides))} px; give folders of one size")
    return sides[0], [shard for _, shards in found for shard in shards]


def _too_few(shards: Sequence[Shard], world: int) -> str:
    megabytes = sum(shard.bytes for shard in shards) / 1e6 / world / 8
    return (f"{counted(len(shards), 'shard')} of train for {world} processes, each of which needs its own; "
            f"start fewer, or pack smaller shards: sidgan shards DATA SHARDS --size-mb {megabytes:.2g}")  # fmt: skip

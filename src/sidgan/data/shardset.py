"""Training from shards: a pool of clips in memory that advances by one clip per step.

The shards of a split are divided among the processes, and those of a process among its reader threads, so that only one
thread reads a shard. A process cycles through its clips, each epoch in an order derived from seed, process and epoch:
an endless stream. **At step s the pool holds clips s to s + N - 1 of the stream**; no other state is needed.
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

READERS = 4  #: reader threads per process; fewer if it has fewer shards
AHEAD = 16  #: clips read ahead of their step
TOLERATED = 10  #: failures that never stop a run
MOST_FAILURES = 0.1  #: beyond those, the largest share of clips read that may be damaged


class ShardSet(PackedSet):
    """A pool of training clips from folders of shards, with the interface of `PackedSet`.

    `at` moves the pool to a step, while threads read the clips of the next steps. Clips stay in host memory as uint8;
    windows go to ``device``. A clip of more than `sidgan.data.shards.PIECE` frames is split into pieces, each of which
    counts as one clip here, so the pool needs little more than N x 250 x 3 S S bytes.

    Resuming: the clips of a step depend only on ``seed``, step, ``rank``, ``world``, ``pool`` and the files. So a
    resumed run sees the same clips as an uninterrupted one, if the number of processes and the shards are the same; a
    damaged sample that was repaired in between is used from then on. With another number of processes, training also
    resumes, but the shards are divided anew.

    Args:
        roots: folders of shards, used as one.
        seed: of the order of clips.
        rank: number of this process, from 0.
        world: number of processes.
        pool: N, clips in memory; a process that has no more clips than this holds all of them.
        device: where windows go.
        report: called at once with one line about each file or sample that cannot be read. Without it, `at` returns
            the lines.

    Raises:
        DataError: nothing to train on, fewer shards than processes, or crops of several sizes.
    """

    def __init__(
        self, roots: Sequence[Path], *, seed: int = 0, rank: int = 0, world: int = 1, pool: int = 128,
        device: str | torch.device = "cpu", report: Callable[[str], None] | None = None,
    ) -> None:  # fmt: skip
        self.device, self.report = torch.device(device), report
        self._side, self._all = _read(roots)
        self._root_names = ", ".join(map(str, roots))
        train = self._of("train")
        self.shards = train[rank::world]
        if len(train) < world:
            raise DataError(_too_few(train, world))
        self._pieces = [(n, number) for n, shard in enumerate(self.shards) for number in range(len(shard.pieces))]
        self._weights = weights(self.shards)
        self.pool, self._moves = min(pool, len(self._pieces)), len(self._pieces) > pool
        self._pool_limit = pool
        self._order = lru_cache(maxsize=2)(
            lambda epoch: np.random.default_rng((seed, rank, epoch)).permutation(len(self._pieces))
        )
        self._threads = [ThreadPoolExecutor(1) for _ in range(min(READERS, len(self.shards)))]
        self._held: dict[int, PackedClip | None] = {}  # by position in the stream; None is a clip that cannot be read
        self._coming: dict[int, Future[Fetched]] = {}
        self._clips: list[PackedClip] = []
        self._lines: list[str] = []
        self._reported: set[str] = set()
        self._failed = self._fetched = 0
        for line in filter(None, map(glance, self.shards)):
            self._report_once(line)

    @property
    def size(self) -> int:
        """Crop side S in px."""
        return self._side

    @property
    def clips(self) -> list[PackedClip]:
        """The clips in the pool; those of step 0 before the first call of `at`."""
        if not self._held:
            self._move(0)
        return self._clips

    def at(self, step: int) -> list[str]:
        """Move the pool to a training step; returns lines about what could not be read since the last call.

        Raises:
            DataError: too many clips, or all clips of the pool, cannot be read.
        """
        self._move(step)
        lines, self._lines = self._lines, []
        return lines

    def sample(self, split: str) -> PackedSet:
        """Up to ``pool`` evenly spaced clips of any split: the same on every call, and in all processes."""
        pieces = [(shard, number) for shard in self._of(split) for number in range(len(shard.pieces))]
        picks = np.unique(np.linspace(0, len(pieces) - 1, min(self._pool_limit, len(pieces))).astype(int))
        return PackedSet.of(self._readable([self._unpacked(partial(fetch_piece, *pieces[i])) for i in picks]))

    @property
    def splits(self) -> list[str]:
        """Names of all splits in the shards, sorted."""
        return sorted({shard.split for shard in self._all})

    def _of(self, split: str) -> list[Shard]:
        found = [shard for shard in self._all if shard.split == split]
        if not found:
            raise DataError(f"no clips for {split} in {self._root_names}")
        return found

    def _piece(self, position: int) -> int:
        """Index of the piece at a position of the stream."""
        epoch, index = divmod(position, len(self._pieces))
        return int(self._order(epoch)[index])

    def _move(self, step: int) -> None:
        """Drop clips that left the pool, queue the next ones, and wait for those that the pool lacks."""
        first = step if self._moves else 0
        wanted = range(first, first + self.pool)
        ahead = range(first, wanted.stop + (AHEAD if self._moves else 0))
        self._held = {position: clip for position, clip in self._held.items() if position in wanted}
        for position in [position for position in self._coming if position not in ahead]:
            self._coming.pop(position).cancel()
        for position in ahead:
            if position not in self._held and position not in self._coming:
                shard, number = self._pieces[self._piece(position)]
                thread = self._threads[shard % len(self._threads)]
                self._coming[position] = thread.submit(fetch_piece, self.shards[shard], number)
        missing = [position for position in wanted if position not in self._held]
        for position in missing:
            self._held[position] = self._unpacked(self._coming.pop(position).result)
        if missing:
            self._clips = self._readable([self._held[position] for position in wanted])
            weight = self._weights[[self._piece(position) for position in wanted if self._held[position] is not None]]
            self._probabilities = weight / weight.sum()

    def _readable(self, clips: Sequence[PackedClip | None]) -> list[PackedClip]:
        found = [clip for clip in clips if clip is not None]
        if not found:
            raise DataError(f"none of {counted(len(clips), 'clip')} in {self._root_names} can be read; "
                            "look at: sidgan inspect SHARDS")  # fmt: skip
        return found

    def _unpacked(self, fetch: Callable[[], Fetched]) -> PackedClip | None:
        """The clip that ``fetch`` returns, or ``None`` if it is damaged, which is reported and counted."""
        self._fetched += 1
        try:
            return fetch().unpack()
        except DataError as error:
            self._failed += 1
            self._report_once(str(error))
            if self._failed > max(TOLERATED, MOST_FAILURES * self._fetched):
                raise DataError(
                    f"{self._failed} of {self._fetched} clips cannot be read, the last: {error}; "
                    "see what is damaged with: sidgan inspect SHARDS, and pack that again"
                ) from None
            return None

    def _report_once(self, line: str) -> None:
        if line in self._reported:
            return
        self._reported.add(line)
        if self.report is not None:
            self.report(f"skipped: {line}")
        else:
            self._lines.append(f"skipped: {line}")


def _read(roots: Sequence[Path]) -> tuple[int, list[Shard]]:
    """Crop side in px, and the shards of all folders."""
    found = [read_index(root) for root in roots]
    sides: Any = sorted({side for side, _ in found})
    if len(sides) > 1:
        raise DataError(f"the shards have crops of {' and '.join(map(str, sides))} px; give folders of one size")
    return sides[0], [shard for _, shards in found for shard in shards]


def _too_few(shards: Sequence[Shard], world: int) -> str:
    megabytes = sum(shard.bytes for shard in shards) / 1e6 / world / 8
    return (f"{counted(len(shards), 'shard')} of train for {world} processes, each of which needs its own; "
            f"start fewer, or pack smaller shards: sidgan shards DATA SHARDS --size-mb {megabytes:.2g}")  # fmt: skip

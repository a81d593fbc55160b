"""Why an expert does not learn: a test before the run, and a plateau watch that names the likely cause.

An expert that has learnt nothing has a loss of ln 2 = 0.69, and most failing runs stay there. The causes can be
measured without the expert: see `measure` and `explain`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sidgan.config import SyncNetConfig
from sidgan.data.dataset import PackedSet
from sidgan.data.offset import TRUST
from sidgan.errors import ConfigError, DataError, counted
from sidgan.nn import SyncNet, lower_half_windows
from sidgan.train.alignment import MIN_FRAMES, Alignment, measure_alignment
from sidgan.train.pairs import SyncPairs, draw_pairs, pair_loss, same_sound

STUCK = 0.66  #: mean loss above which an expert counts as not having learnt anything
WINDOWS, NEGATIVES = 8, 3  #: in the self-test: number of windows, and of wrong sounds for each
LEARNT_LOSS, MAX_STEPS = 0.5, 100  #: loss to get under, and steps for it; most networks need 5, slow ones 50
USUAL_RATE = 1e-3  #: a learning rate at which every preset memorises the windows
MAX_SAME_SOUND = 0.5  #: largest share of wrong sounds that equal the right one
MAX_GROWTH, MIN_MOVE = 5.0, 0.03  #: bounds of `Facts.grown` and `Facts.moved` for a suitable learning rate
BAR_LENGTH = 40  #: length of the longest bar of the histogram, characters


@dataclass(frozen=True)
class Facts:
    """Measurements of an expert in training and of its data.

    Attributes:
        alignment: of the training set; ``None`` if it is too small to measure.
        unheard: share of wrong sounds that equal the right one.
        grown: norm of a layer's weights relative to its initial norm; median over the layers.
        moved: distance of a layer's weights from the initial ones, relative to the same norm; median likewise.
    """

    alignment: Alignment | None
    unheard: float
    grown: float
    moved: float


@dataclass(frozen=True)
class Finding:
    """A likely cause, the evidence for it, and the remedy."""

    cause: str
    evidence: str
    remedy: str

    def __str__(self) -> str:
        return f"likely cause: {self.cause} ({self.evidence}); {self.remedy}"


def explain(facts: Facts) -> Finding | None:
    """The likely cause of a loss that stays near 0.69, or ``None`` if all measurements are normal."""
    found = facts.alignment
    if facts.unheard > MAX_SAME_SOUND:
        return Finding("negatives too similar", f"{facts.unheard:.0%} of the wrong sounds equal the right one",
                       "leave out clips that are silent or hold one note")  # fmt: skip
    if found is not None and found.related and not found.steady:
        return Finding("wrong frame rate", f"sound and picture drift apart, as if filmed at {found.rate} fps",
                       "prepare the footage again from files with correct timestamps")  # fmt: skip
    if found is not None and found.related and abs(found.lag) > 1:
        side = "lags" if found.lag > 0 else "leads"
        return Finding("mels misaligned", f"the picture {side} the sound by {abs(found.lag)} frames in all clips",
                       "such a shift comes from preparation: align mels and frames, and prepare again")  # fmt: skip
    if found is not None and not found.related and found.frames >= MIN_FRAMES:
        return Finding("data out of sync", f"no common lag matches mouths and sounds in {found.frames} frames",
                       "prepare the footage again and drop clips with an offset far from 0")  # fmt: skip
    if facts.grown > MAX_GROWTH:
        return Finding("learning rate too high", f"the weights have grown to {facts.grown:.1f} times their size",
                       "divide lr by 10")  # fmt: skip
    if facts.moved < MIN_MOVE:
        return Finding("learning rate too low", f"the weights have moved by only {facts.moved:.2%}",
                       "multiply lr by 10")  # fmt: skip
    return None


def diagnose(facts: Facts) -> str:
    """One line about an expert whose loss stays near 0.69."""
    found = explain(facts)
    if found is not None:
        return str(found)
    lag = "too little footage to measure sync"
    if facts.alignment is not None:
        lag = f"lag {facts.alignment.lag}, evidence {facts.alignment.evidence:.0f}"
    return (f"no measurement explains it ({lag}; {facts.unheard:.0%} of the wrong sounds equal the right one; "
            f"weights moved by {facts.moved:.0%}); train longer, with a larger batch or less augmentation")  # fmt: skip


def measure(data: PackedSet, layers: Sequence[Tensor], origin: Sequence[Tensor]) -> Facts:
    """Measure an expert in training and its data; takes seconds.

    Args:
        data: the training set.
        layers, origin: the weights of each convolution, now and before the training.
    """
    _, mels = draw_pairs(np.random.default_rng(0), data, 64, NEGATIVES)
    ratios = [(float(now.norm() / then.norm()), float((now - then.to(now)).norm() / then.norm()))
              for now, then in zip(layers, origin, strict=True)]  # fmt: skip
    grown, moved = np.median(ratios, 0)
    return Facts(measure_alignment(data), _same_sound_share(mels), float(grown), float(moved))


def _same_sound_share(mels: Tensor) -> float:
    """Share of the wrong sounds in (B, M, 1, 80, 28) that equal the right one, the first of each row."""
    return float(torch.stack([same_sound(m[:1], m[1:]) for m in mels]).float().mean())


# ------------------------------------------------------------------------------------------------ before the run


def self_test(data: PackedSet, model: SyncNetConfig, *, lr: float, seed: int, device: torch.device) -> str:
    """Let a new network memorise a few windows. This needs no sync, but a working data path and learning rate.

    The random state does not change.

    Args:
        data: the training set.
        model: of the network.
        lr: learning rate of the training.
        seed: decides which windows are drawn.
        device: where the network is trained.

    Returns:
        A line to log.

    Raises:
        DataError: the windows contain nothing to learn from.
        ConfigError: the learning rate or the network is unsuitable.
    """
    faces, mels = draw_pairs(np.random.default_rng(seed), data, WINDOWS, NEGATIVES)
    video, mels = (x.to(device) for x in (lower_half_windows(faces, model.face), mels))
    if not bool(torch.isfinite(mels).all()):
        raise DataError("the mels contain NaN or infinite values; prepare the data again")
    if float((video - video[:1]).abs().max()) < 1 / 255:
        raise DataError("all frames are the same, but an expert needs moving faces; check the clips")
    if _same_sound_share(mels) > MAX_SAME_SOUND:
        raise DataError("right and wrong sounds are the same, as in silent clips; leave such clips out")
    steps = _steps_to_learn(model, video, mels, lr)
    if steps is None:
        usual = _steps_to_learn(model, video, mels, USUAL_RATE)
        if usual is None:
            raise ConfigError(f"the network cannot memorise {WINDOWS} windows; check the settings of [model], or "
                              "switch this test off: --set self_test=false")  # fmt: skip
        side = "low" if lr < USUAL_RATE else "high"
        raise ConfigError(f"the learning rate {lr:g} is too {side}: {WINDOWS} windows are not memorised within "
                          f"{MAX_STEPS} steps, but within {usual} at {USUAL_RATE:g}; "
                          "change lr, or switch this test off: --set self_test=false")  # fmt: skip
    return f"self-test: a new network memorises {WINDOWS} windows within {steps} steps"


def _steps_to_learn(model: SyncNetConfig, video: Tensor, mels: Tensor, lr: float) -> int | None:
    """Steps that a new network needs to memorise these windows; ``None`` if more than `MAX_STEPS`."""
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(0)
        net = SyncPairs(SyncNet(model)).to(video.device).train()
        optimiser = torch.optim.Adam(net.parameters(), lr=lr)
        for step in range(MAX_STEPS):
            loss = pair_loss(net(video, mels))
            if loss.item() < LEARNT_LOSS:
                return step
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            optimiser.step()
    return None


def offset_histogram(records: Iterable[Mapping[str, Any]]) -> list[str]:
    """A text histogram of the offsets that were measured during preparation, from the manifest's records.

    Only offsets with enough evidence are sure, and were corrected (see `sidgan.data.offset`); those of short clips are
    mostly noise.
    """
    kept = [r for r in records if r.get("kept", True) and "offset" in r]
    if not kept:
        return []
    known = Counter(int(r["offset"]) for r in kept if r.get("offset_evidence", 0) >= TRUST)
    clips = Counter(int(r["offset"]) for r in kept)
    scale = min(1.0, BAR_LENGTH / max(clips.values()))
    lines = [f"offsets of {counted(len(kept), 'clip')} in frames, +: picture late (#: sure, corrected; .: uncertain)"]
    for lag in sorted(clips):
        sure, rest = (int(np.ceil(scale * n)) for n in (known[lag], clips[lag] - known[lag]))
        lines.append(f"{lag:+4d} {clips[lag]:5d} {'#' * sure}{'.' * rest}".rstrip())
    return lines


# ------------------------------------------------------------------------------------------------ during the run


class PlateauWatch:
    """Detects that a loss stays near 0.69: for ``patience`` steps, then for twice as many, and so on.

    Args:
        patience: number of steps; 0 disables the watch.
    """

    def __init__(self, patience: int) -> None:
        self.patience, self.count, self.total = patience, 0, 0.0

    def add(self, loss: float) -> bool:
        """Add a step's loss; returns whether it is time to look for the cause."""
        if self.patience == 0 or not np.isfinite(loss):
            return False
        self.count += 1
        self.total += loss
        if self.count < self.patience:
            return False
        stuck = self.total / self.count > STUCK
        self.patience *= 2 if stuck else 1
        self.count, self.total = 0, 0.0
        return stuck

    def state(self) -> dict[str, Any]:
        """Plain values for a checkpoint."""
        return dict(vars(self))

    def restore(self, state: Mapping[str, Any]) -> None:
        """Restore `state`."""
        vars(self).update(state)


def too_easy(scores: Mapping[str, float]) -> str | None:
    """A warning if wrong sounds are recognised but the right lag is not found (`sidgan.train.syncnet.pair_scores`).

    The wrong sounds then differ from the right one in more than timing, perhaps in loudness.
    """
    if scores["ranked"] < 0.9 or not scores["within1"] < 0.35:
        return None
    finding = Finding(
        "negatives too easy",
        f"{scores['ranked']:.0%} of the wrong sounds rank below the right one, but of 21 lags the right one is found "
        f"in only {scores['within1']:.0%}",
        "raise near (the share of wrong sounds 2 to 4 frames off), or train longer with it",
    )
    return str(finding)

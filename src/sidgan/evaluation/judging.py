"""Judging one clip as dubbed by somebody: every metric of `sidgan.evaluation.measures`, for one or both systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sidgan.evaluation import measures
from sidgan.evaluation.measures import ClipMetric, Look, SetMetric
from sidgan.evaluation.networks import NONE, Networks, sound_of
from sidgan.evaluation.results import RAW, Record
from sidgan.evaluation.subject import BATCH, Dubber, Subject
from sidgan.nn import SyncNet
from sidgan.types import Byte, Float


@dataclass
class Verdict:
    """What is found of one clip: ``record``, values by frame, features by set metric, and a few pictures to look at."""

    record: Record
    series: dict[str, Float] = field(default_factory=dict)
    features: dict[str, Float] = field(default_factory=dict)
    pictures: Sequence[Byte] = ()


def judge(
    subject: Subject, row: str, dub: Dubber, heard: Tensor, *, systems: Sequence[str], expert: SyncNet | None,
    samples: Float | None = None, whole: bool = False, networks: Networks = NONE, faces: Tensor | None = None,
) -> list[Verdict]:  # fmt: skip
    """Let a dubber redraw a clip and judge the result, as it was drawn and pasted inside the hidden box.

    Args:
        subject: the clip.
        row: the dubber's name.
        dub: draws whole pictures.
        heard: (N, 1, 80, 28), the sound it draws from.
        systems: which of `sidgan.evaluation.results.SYSTEMS` to judge.
        expert: judges synchronisation, in eval mode.
        samples: that sound at 16 kHz, from frame 0 of the clip on.
        faces: see `sidgan.evaluation.networks.Lag`.
        whole: the dubber's pictures are frames of a finished video: they are judged as they are.
        networks: those of others that judge too.
    """
    sets, shown = measures.SETS | dict(networks.sets), subject.shown()
    samples = None if samples is None else sound_of(samples, subject.frames)
    scores = {
        system: _Scores([*measures.clip_metrics(expert), *networks.clip_metrics(samples, faces)], sets, shown)
        for system in systems
    }
    for frames in torch.split(subject.frames, BATCH):
        raw = dub(frames)
        for system, score in scores.items():
            truth = subject.clip.images[frames]
            images = raw if system == RAW or whole else torch.where(subject.masks(frames) > 0, raw, truth)
            score.update(subject.look(images, frames, heard))
    return [score.verdict(subject.clip.name, row, system) for system, score in scores.items()]


class _Scores:
    """Accumulates all metrics over one clip."""

    def __init__(self, clip: Sequence[ClipMetric], sets: Mapping[str, SetMetric], shown: Sequence[int]) -> None:
        self._frames = 0
        self._clip, self._sets, self._shown = clip, sets, shown
        self._pictures: list[Byte] = []
        self._series: dict[str, list[Float]] = {name: [] for name in (*measures.FRAME, *measures.SERIES)}
        self._features: dict[str, list[Float]] = {name: [] for name in sets}

    def update(self, look: Look) -> None:
        for name, metric in (*measures.FRAME.items(), *measures.SERIES.items()):
            self._series[name].append(_numbers(metric(look)))
        for name, sets in self._sets.items():
            wanted = np.flatnonzero(np.arange(self._frames, self._frames + len(look.frames)) % sets.every == 0)
            if len(wanted):
                found = sets.features(look if sets.every == 1 else look.some(wanted))
                self._features[name].append(found[~np.isnan(found).any(1)])
        for clip in self._clip:
            clip.update(look)
        self._pictures += [p for i, p in zip(look.frames.tolist(), look.pictures, strict=True) if i in self._shown]
        self._frames += len(look.frames)

    def verdict(self, clip: str, row: str, system: str) -> Verdict:
        series = {name: np.concatenate(parts) for name, parts in self._series.items()}
        values, counts = dict[str, float](), dict[str, int]()
        for name in measures.FRAME:
            known = series[name][~np.isnan(series[name])].tolist()
            counts[name] = len(known)
            values[name] = math.fsum(known) / len(known) if known else math.nan
        for metric in self._clip:
            values |= metric.values()
        features = {name: np.concatenate(parts).astype(np.float32) for name, parts in self._features.items()}
        return Verdict(Record(clip, row, self._frames, values, system, counts), series, features, self._pictures)


def _numbers(values: Tensor | Float) -> Float:
    numbers = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return numbers.astype(np.float64)

"""Evaluation of one clip and row: every metric of `sidgan.evaluation.measures`, for one or both systems."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sidgan.evaluation import measures
from sidgan.evaluation.measures import ClipMetric, FrameBatch, SetMetric
from sidgan.evaluation.networks import NONE, Networks, sound_of
from sidgan.evaluation.results import RAW, Record
from sidgan.evaluation.subject import BATCH, Dubber, Subject
from sidgan.nn import SyncNet
from sidgan.types import Byte, Float


@dataclass
class Verdict:
    """The figures of one clip, row and system.

    Attributes:
        record: values of the clip.
        series: metric -> values of the judged frames (n,).
        features: set metric -> features (m, D).
        pictures: a few crops (256, 256, 3) for the contact sheet (`sidgan.evaluation.strips`).
    """

    record: Record
    series: dict[str, Float] = field(default_factory=dict)
    features: dict[str, Float] = field(default_factory=dict)
    pictures: Sequence[Byte] = ()


def judge(
    subject: Subject, row: str, dub: Dubber, heard: Tensor, *, systems: Sequence[str], expert: SyncNet | None,
    samples: Float | None = None, whole: bool = False, networks: Networks = NONE, faces: Tensor | None = None,
) -> list[Verdict]:  # fmt: skip
    """Let a dubber redraw a clip, and evaluate the result as drawn (raw) and pasted inside the hidden box (composite).

    Args:
        subject: the clip.
        row: name of the dubber.
        dub: the dubber; it returns whole crops.
        heard: (N, 1, 80, 28) mel windows of the sound that it draws from.
        systems: which of `sidgan.evaluation.results.SYSTEMS` to evaluate.
        expert: sync expert in eval mode, if any.
        samples: the same sound at 16 kHz, from frame 0 of the clip on.
        whole: the crops are from a finished video, and are evaluated without pasting.
        networks: published networks for further metrics.
        faces: see `sidgan.evaluation.networks.Lag`.
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
            score.update(subject.batch(images, frames, heard))
    return [score.verdict(subject.clip.name, row, system) for system, score in scores.items()]


class _Scores:
    """Accumulates all metrics over one clip."""

    def __init__(self, clip: Sequence[ClipMetric], sets: Mapping[str, SetMetric], shown: Sequence[int]) -> None:
        self._count = 0  # frames so far
        self._clip, self._sets, self._shown = clip, sets, shown
        self._pictures: list[Byte] = []
        self._series: dict[str, list[Float]] = {name: [] for name in (*measures.FRAME, *measures.SERIES)}
        self._features: dict[str, list[Float]] = {name: [] for name in sets}

    def update(self, batch: FrameBatch) -> None:
        for name, metric in (*measures.FRAME.items(), *measures.SERIES.items()):
            self._series[name].append(_array(metric(batch)))
        for name, sets in self._sets.items():
            index = np.flatnonzero(np.arange(self._count, self._count + len(batch.frames)) % sets.every == 0)
            if len(index):
                features = sets.features(batch if sets.every == 1 else batch.select(index))
                self._features[name].append(features[~np.isnan(features).any(1)])
        for clip in self._clip:
            clip.update(batch)
        self._pictures += [p for i, p in zip(batch.frames.tolist(), batch.pictures, strict=True) if i in self._shown]
        self._count += len(batch.frames)

    def verdict(self, clip: str, row: str, system: str) -> Verdict:
        series = {name: np.concatenate(parts) for name, parts in self._series.items()}
        values, counts = dict[str, float](), dict[str, int]()
        for name in measures.FRAME:
            defined = series[name][~np.isnan(series[name])].tolist()
            counts[name] = len(defined)
            values[name] = math.fsum(defined) / len(defined) if defined else math.nan
        for metric in self._clip:
            values |= metric.values()
        features = {name: np.concatenate(parts).astype(np.float32) for name, parts in self._features.items()}
        return Verdict(Record(clip, row, self._count, values, system, counts), series, features, self._pictures)


def _array(values: Tensor | Float) -> Float:
    array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
    return array.astype(np.float64)

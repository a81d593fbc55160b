"""Eq. 4: the weighted terms of a generator's objective at one level, and the networks that judge its pictures."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from lightning.fabric import Fabric
from torch import Tensor

from sidgan.config import SYNC_FRAMES, LossWeights
from sidgan.losses import RIVALRY, contextual_loss, focal_frequency_loss, masked_l1, perceptual_loss, sync_loss
from sidgan.nn import VGG19, SyncNet, lower_half_windows
from sidgan.train.batch import Batch, at_level
from sidgan.train.calibration import BANDS, Calibration
from sidgan.train.settings import GanTrainConfig


class Objective:
    """The terms of Eq. 4.

    Args:
        config: of the training; its schedule is not read.
        fabric: its precision is that of the networks; the losses convert to float32.
        calibration: rescales the weights.
        critics: as set up by ``fabric``; ``None`` without any.
        expert: provides the sync loss; ``None`` for none.
        vgg: provides the features; needed if a level has a ``features`` weight.
    """

    def __init__(
        self, config: GanTrainConfig, fabric: Fabric, calibration: Calibration, critics: Any, expert: SyncNet | None,
        vgg: VGG19 | None,
    ) -> None:  # fmt: skip
        self.config, self.critics = config, critics
        self._fabric, self._calibration, self._expert, self._vgg = fabric, calibration, expert, vgg

    def weights_at(self, level: int) -> LossWeights:
        """Current weights at an output, including calibration."""
        weights, scale = self.config.weights_at(level), self._calibration.scale
        return replace(weights, **{t: getattr(weights, t) * scale(level, t) for t in BANDS})

    def terms(
        self, level: int, image: Tensor, batch: Batch, sync: float, gan: bool, some: Tensor | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, Tensor]:  # fmt: skip
        """The weighted terms at one level.

        Args:
            level: r, the side of the output, px.
            image: (N, 3, r, r), the output.
            batch: its input; must consist of windows of five frames if ``sync`` is not 0.
            sync: factor of the sync loss, 0 to 1; 0 omits it.
            gan: whether to include the adversarial term.
            some: indices of the frames for features, frequency and gan; all by default.
            only: names of the terms to compute; all by default.
        """
        weights = self.weights_at(level)
        if only is not None:
            weights = replace(weights, **{t: 0.0 for t in BANDS if t not in only})
        truth = at_level(batch.target, level)
        emphasis = at_level(batch.mask + weights.lips * batch.lips, level)
        losses = {"l1": weights.l1 * masked_l1(image, truth, emphasis, weights.mouth)}
        part, true_part = (image, truth) if some is None else (image[some], truth[some])
        if weights.features and self._vgg is not None:
            losses["features"] = weights.features * self._feature_loss(self._vgg, part, true_part)
        if weights.frequency:
            losses["frequency"] = weights.frequency * focal_frequency_loss(part, true_part)
        if gan and weights.gan and self.critics is not None and str(level) in self.critics.module:
            generator_loss = RIVALRY[self.config.critics[level].kind][1]
            heard = batch.mels if some is None else batch.mels[some]
            losses["gan"] = weights.gan * generator_loss(self._score(level, part, heard))
        if sync and weights.sync and self._expert is not None:
            losses["sync"] = sync * weights.sync * self._sync_loss(self._expert, image, batch.sync_mel)
        return losses

    @contextmanager
    def critics_in_eval(self) -> Iterator[None]:
        """Put the critics into eval mode, in which spectral normalisation is not updated."""
        if self.critics is None:
            yield
            return
        self.critics.eval()
        try:
            yield
        finally:
            self.critics.train()

    def _feature_loss(self, vgg: VGG19, image: Tensor, truth: Tensor) -> Tensor:
        compare = contextual_loss if self.config.features == "contextual" else perceptual_loss
        with self._fabric.autocast():
            drawn, true = vgg(image), vgg(truth)
        return compare(drawn, true)

    def _sync_loss(self, expert: SyncNet, image: Tensor, mels: Tensor) -> Tensor:
        seen = lower_half_windows(image.view(-1, SYNC_FRAMES, *image.shape[1:]), expert.config.face)
        with self._fabric.autocast():
            cosine = expert(seen, mels)  # frozen: the gradient flows to the picture only
        return sync_loss(cosine)

    def _score(self, level: int, image: Tensor, mels: Tensor) -> Tensor:
        with self._fabric.autocast():
            return self.critics.module[str(level)](image, mels)

"""Evaluate an adapted generator on held-out frames: whether it is better, and its mouth still follows the sound."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from sidgan import metrics
from sidgan.adaptation.material import Material
from sidgan.adaptation.sound import foreign_speech
from sidgan.audio import SILENCE
from sidgan.config import SYNC_FRAMES
from sidgan.data.dataset import PackedClip, box_masks, lip_boxes
from sidgan.evaluation.subject import BATCH, Subject, beginning, closed_and_open, generated, judged_size
from sidgan.nn import Generator
from sidgan.types import Float

HELD_SHARE, MIN_HELD, MAX_HELD = 0.25, 16, 750  #: share of frames held out at the end, and bounds of their number
MAX_JUDGED = 150  #: held-out frames that are evaluated, spread evenly
BLOCK_FRAMES = 10  #: frames averaged before the confidence interval, as neighbouring frames are correlated
FOREIGN_SPEAKER = 11  #: seed of the synthetic speaker for faces without a sound of their own
MIN_RESPONSE = 0.25  #: share of its response to sound that a mouth must keep if there is no right sound to test with


def split(material: Material, references: int = 1) -> tuple[list[PackedClip], PackedClip, float]:
    """Split a face into training clips and one clip for evaluation.

    A quarter is held out, but at least `MIN_HELD` frames and at most `MAX_HELD` (half a minute). Between the two parts
    lies a gap of a tenth: at least 5 frames (with fewer, a held-out frame would share its sound with a training frame)
    and at most 25 (after a second, frames are as new as later ones).

    Args:
        references: number of reference frames that the generator takes.

    Returns:
        The training clips; the evaluation clip, which begins with reference frames from the training part (the first
        frame; or one with lips closed and one with lips open, as in dubbing); and the distance of its other frames.
    """
    total = len(material)
    held = int(np.clip(total * HELD_SHARE, MIN_HELD, MAX_HELD))
    gap = int(np.clip(total // 10, 5, 25))
    train: list[PackedClip] = []
    first, seen = 0, total - held - gap
    for clip in material.clips:
        kept = min(len(clip), seen - first)
        if kept >= 2 * SYNC_FRAMES or not train:
            train.append(beginning(clip, kept))
        first += len(clip)
    judges = np.linspace(total - held, total - 1, min(held, MAX_JUDGED)).astype(int)
    return train, picked(material.clips, [*_shown(material.clips, seen, references), *judges]), held / len(judges)


def _shown(clips: Sequence[PackedClip], frames: int, count: int) -> list[int]:
    """Indices of ``count`` reference frames among the first ``frames`` of some clips."""
    if count == 1:
        return [0]
    return closed_and_open(np.concatenate([c.landmarks for c in clips])[:frames])


def picked(clips: Sequence[PackedClip], frames: Sequence[int]) -> PackedClip:
    """One clip of some frames, indexed across all ``clips``."""
    starts = np.cumsum([0, *(len(clip) for clip in clips)])
    places = [(clips[i], int(f - starts[i])) for f in frames for i in [int(np.searchsorted(starts, f, "right")) - 1]]
    return PackedClip(
        clips[0].name, torch.stack([c.images[f] for c, f in places]), torch.stack([c.mels[f] for c, f in places]),
        torch.stack([c.masks[f] for c, f in places]), np.stack([c.landmarks[f] for c, f in places]),
    )  # fmt: skip


def silenced(clip: PackedClip) -> PackedClip:
    """The same clip with silent sound."""
    return replace(clip, mels=torch.full_like(clip.mels, SILENCE))


@dataclass(frozen=True)
class Scores:
    """Scores of a generator on the held-out frames, all (n,), one for each frame.

    Attributes:
        psnr: PSNR in the hidden box, dB; without the lips if there is no right sound.
        gap: loss of PSNR with a wrong sound, dB; meaningless if there is no right sound.
        lmd: distance of the lip landmarks, px at 256 px.
        answer: response to sound: mean difference inside the box between the pictures for two sounds, in grey levels.
    """

    psnr: Float
    gap: Float
    lmd: Float
    answer: Float

    @property
    def quality(self) -> float:
        """Mean PSNR."""
        return float(self.psnr.mean())


class Judge:
    """Scores generators, always on the same frames.

    Args:
        clip: from `split`.
        hears: whether the clip's sound belongs to its picture.
        every: distance of the evaluated frames, frames of the face.
        references: number of reference frames at the start of the clip, which are not evaluated.
    """

    def __init__(self, clip: PackedClip, hears: bool, every: float, references: int = 1) -> None:
        self._subject, self.hears = Subject(clip), hears
        self._subject.references = list(range(references))
        self._subject.frames = torch.arange(references, len(clip))
        self._block = max(1, round(BLOCK_FRAMES / every))
        speech = clip.mels if hears else torch.from_numpy(foreign_speech(len(clip), FOREIGN_SPEAKER)).to(clip.mels)
        judged = speech[references:]
        self._sounds = speech, torch.cat([speech[:references], judged.roll(-(len(judged) // 2), 0)])

    @torch.no_grad()
    def score(self, generator: Generator) -> Scores:
        """Let a generator redraw the held-out frames with their own sound, and with that of frames half a clip away.

        Without a sound of its own, a face is drawn with silence; its response to sound is measured with foreign speech.
        """
        subject, mels = self._subject, self._subject.clip.mels
        right = generated(generator, subject, mels)
        one, other = (generated(generator, subject, sound) for sound in self._sounds)
        found: dict[str, list[Float]] = {"psnr": [], "gap": [], "lmd": [], "answer": []}
        for frames in torch.split(subject.frames, BATCH):
            truth, counts = subject.clip.images[frames], self._counts(frames)
            own, other_drawn = right(frames), other(frames)
            first = own if self.hears else one(frames)
            psnr = metrics.psnr(own, truth, counts)
            found["psnr"].append(psnr.numpy())
            found["gap"].append((psnr - metrics.psnr(other_drawn, truth, counts)).numpy())
            found["answer"].append(metrics.l1(first, other_drawn, subject.masks(frames)).numpy())
            pasted = torch.where(subject.masks(frames) > 0, own, truth)
            points = subject.find_landmarks(judged_size(pasted), frames)
            found["lmd"].append(metrics.lmd(points, subject.landmarks[frames.numpy()]))
        return Scores(**{name: np.concatenate(parts) for name, parts in found.items()})

    def refusal(self, after: Scores, before: Scores) -> str | None:
        """Why the adapted weights must not be used; ``None`` if they may be.

        PSNR must be better: any gain counts, as neither network has seen these frames. And the mouth must not have
        learnt to move against the sound. If wrong sound gives a significantly higher PSNR than right sound, and the gap
        has become significantly worse, the weights have learnt something other than speech, such as a lag or a habit,
        and may do anything with a new voice. A gap that only shrinks is no such sign: a skin that fits better improves
        the picture with any sound.

        Without a sound that belongs to the picture, the mouth must still respond to sound. Part of the response of a
        badly drawn face is noise, which may vanish; a quarter must remain.
        """
        if not after.quality > before.quality:  # also refuses NaN
            return "not better"
        if not self.hears:
            answers = float(after.answer.mean()) >= MIN_RESPONSE * float(before.answer.mean())
            return None if answers else "better, but the mouth hardly responded to sound"
        against = self._negative(after.gap) and self._negative(after.gap - before.gap)
        return "better, but the mouth moved against the sound" if against else None

    def _negative(self, series: Float) -> bool:
        """Whether the 95 % confidence interval of the mean lies below 0 (Student's t over block means)."""
        from scipy.stats import t  # takes a second to import

        blocks = [float(b.mean()) for b in np.array_split(series, max(2, len(series) // self._block))]
        half_width = float(t.ppf(0.975, len(blocks) - 1)) * np.std(blocks, ddof=1) / np.sqrt(len(blocks))
        return bool(np.mean(blocks) + half_width < 0)

    def _counts(self, frames: Tensor) -> Tensor:
        """(n, 1, S, S), 1 where pixels are evaluated."""
        masks = self._subject.masks(frames)
        if self.hears:
            return masks
        lips = box_masks(lip_boxes(self._subject.clip.landmarks[frames.numpy()]).to(masks.device), masks.shape[-1])
        return masks * (1 - lips)

"""Whether an adapted generator is better on what it was not trained on, and whether its mouth still listens."""

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

SHARE, FEWEST, MOST = 0.25, 16, 750  #: of the frames, at the end, are held back; no fewer and no more than so many
JUDGED = 150  #: of these that are looked at, spread evenly
BLOCK = 10  #: frames that say about the same, as a mouth does not change faster; the unit of what is noise
SPEAKER = 11  #: who is heard where a video has no sound of its own
LISTENING = 0.25  #: share of its answer to sound that a mouth must keep where the sound cannot judge


def split(material: Material, references: int = 1) -> tuple[list[PackedClip], PackedClip, float]:
    """What is trained on, and what judges, and how far the judged frames are apart.

    What judges is one clip: as many frames of those trained on as the generator is shown (the first one; or one with
    lips closed and one with lips open, as in dubbing), and some of the face's last ones.

    A quarter is held back, but no less than can judge anything and no more than is needed: of ten minutes, half a
    minute judges. Between the two lies a gap of a tenth, from 5 frames (with fewer a frame would share its sound with
    one that was trained on) to 25 (what comes after a second is as new as what comes later).
    """
    total = len(material)
    held = int(np.clip(total * SHARE, FEWEST, MOST))
    gap = int(np.clip(total // 10, 5, 25))
    train: list[PackedClip] = []
    first, seen = 0, total - held - gap
    for clip in material.clips:
        kept = min(len(clip), seen - first)
        if kept >= 2 * SYNC_FRAMES or not train:
            train.append(beginning(clip, kept))
        first += len(clip)
    judges = np.linspace(total - held, total - 1, min(held, JUDGED)).astype(int)
    return train, picked(material.clips, [*_shown(material.clips, seen, references), *judges]), held / len(judges)


def _shown(clips: Sequence[PackedClip], frames: int, count: int) -> list[int]:
    """The references among the first ``frames`` of some clips."""
    if count == 1:
        return [0]
    return closed_and_open(np.concatenate([c.landmarks for c in clips])[:frames])


def picked(clips: Sequence[PackedClip], frames: Sequence[int]) -> PackedClip:
    """One clip of these frames of some clips, counted through all of them."""
    starts = np.cumsum([0, *(len(clip) for clip in clips)])
    places = [(clips[i], int(f - starts[i])) for f in frames for i in [int(np.searchsorted(starts, f, "right")) - 1]]
    return PackedClip(
        clips[0].name, torch.stack([c.images[f] for c, f in places]), torch.stack([c.mels[f] for c, f in places]),
        torch.stack([c.masks[f] for c, f in places]), np.stack([c.landmarks[f] for c, f in places]),
    )  # fmt: skip


def silenced(clip: PackedClip) -> PackedClip:
    """The same in silence."""
    return replace(clip, mels=torch.full_like(clip.mels, SILENCE))


@dataclass(frozen=True)
class Look:
    """What a generator makes of the held-back frames. All (n,), by frame.

    Attributes:
        psnr: in the hidden box, dB; beside the lips only, where nobody knows what they should do.
        gap: how much of it wrong sound costs, dB; of no meaning where there is no right one.
        lmd: distance of the lip landmarks, px at 256 px.
        answer: how much of the picture the sound decides: mean difference inside the box between two sounds, levels.
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
    """Looks at generators, always at the same frames.

    Args:
        clip: from `split`.
        references: how many of its frames, at the beginning, are shown and not judged.
        hears: whether the clip's sound belongs to its picture.
        every: distance of the judged frames in the video.
    """

    def __init__(self, clip: PackedClip, hears: bool, every: float, references: int = 1) -> None:
        self._subject, self.hears = Subject(clip), hears
        self._subject.references = list(range(references))
        self._subject.frames = torch.arange(references, len(clip))
        self._block = max(1, round(BLOCK / every))
        speech = clip.mels if hears else torch.from_numpy(foreign_speech(len(clip), SPEAKER)).to(clip.mels)
        judged = speech[references:]
        self._sounds = speech, torch.cat([speech[:references], judged.roll(-(len(judged) // 2), 0)])

    @torch.no_grad()
    def look(self, generator: Generator) -> Look:
        """Let a generator redraw the held-back frames, with their sound and with that of half the stretch later.

        Without a sound of their own they hear silence, and then, to see whether that moves the mouth, foreign speech.
        """
        subject, mels = self._subject, self._subject.clip.mels
        right = generated(generator, subject, mels)
        one, other = (generated(generator, subject, sound) for sound in self._sounds)
        found: dict[str, list[Float]] = {"psnr": [], "gap": [], "lmd": [], "answer": []}
        for frames in torch.split(subject.frames, BATCH):
            truth, counts = subject.clip.images[frames], self._counts(frames)
            mine, its = right(frames), other(frames)
            first = mine if self.hears else one(frames)
            psnr = metrics.psnr(mine, truth, counts)
            found["psnr"].append(psnr.numpy())
            found["gap"].append((psnr - metrics.psnr(its, truth, counts)).numpy())
            found["answer"].append(metrics.l1(first, its, subject.masks(frames)).numpy())
            pasted = torch.where(subject.masks(frames) > 0, mine, truth)
            points = subject.find_landmarks(judged_size(pasted), frames)
            found["lmd"].append(metrics.lmd(points, subject.landmarks[frames.numpy()]))
        return Look(**{name: np.concatenate(parts) for name, parts in found.items()})

    def refusal(self, after: Look, before: Look) -> str | None:
        """Why the adapted weights may not be used, if so.

        The mouth must be drawn better: any gain counts, since neither has seen these frames. And it must not have
        learnt to move against its sound. Where wrong sound draws it better than right, beyond what noise would do, and
        by more than before, the weights know something about these frames that is not what is said, a lag or a habit;
        what they do with a new voice is then anybody's guess, however sharp the picture. A gap that only shrinks is
        no such sign: a skin that fits better makes every mouth better, whatever it hears.

        Without a sound that belongs to the picture there is no right one; then the mouth must not have gone deaf. Some
        of what sound moves in a face that is drawn badly is noise, which may go; a quarter must stay.
        """
        if not after.quality > before.quality:  # NaN is no better either
            return "not better"
        if not self.hears:
            answers = float(after.answer.mean()) >= LISTENING * float(before.answer.mean())
            return None if answers else "better, but its mouth had gone deaf"
        against = self._negative(after.gap) and self._negative(after.gap - before.gap)
        return "better, but its mouth moved against the sound" if against else None

    def _negative(self, series: Float) -> bool:
        """Whether a mean is below zero beyond doubt: its 95 % interval is, by Student's t over the means of blocks."""
        from scipy.stats import t  # takes a second to import

        blocks = [float(b.mean()) for b in np.array_split(series, max(2, len(series) // self._block))]
        reach = float(t.ppf(0.975, len(blocks) - 1)) * np.std(blocks, ddof=1) / np.sqrt(len(blocks))
        return bool(np.mean(blocks) + reach < 0)

    def _counts(self, frames: Tensor) -> Tensor:
        """(n, 1, S, S), 1 where pixels count."""
        masks = self._subject.masks(frames)
        if self.hears:
            return masks
        lips = box_masks(lip_boxes(self._subject.clip.landmarks[frames.numpy()]).to(masks.device), masks.shape[-1])
        return masks * (1 - lips)

"""Evaluate weights on dubs with a known ground truth, which footage cannot provide, by synthetic people.

    python tools/judge_new_voices.py data bundled runs/gan/weights.safetensors --split test --pairs 8

``data`` is a prepared folder; voices and mouth motion come from its clips in the split. For each pair of clips of two
people, one synthetic person is drawn twice with the same head motion, speaking as in each clip. The first drawing is
dubbed with the voice of the second clip, and the second drawing is the ground truth. Takes half a minute per pair.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import torch

from sidgan import audio, checkpoint, geometry, metrics
from sidgan.config import FPS
from sidgan.data.dataset import PackedClip, box_masks, lip_boxes, read_manifest
from sidgan.data.drawn import drawn_twice
from sidgan.data.transfer import Material, Stretch, load
from sidgan.evaluation.subject import Subject, generated, judged_size
from sidgan.geometry import mouth_opening
from sidgan.nn import Generator
from sidgan.types import Byte, Float

OWN, OTHER = 125, 75  #: frames at most of the clip that is dubbed, and of the dub and its ground truth
COLUMNS = ("dB", "lips, px of 256", "r of the opening", "its size", "detail")


def pairs(data: Path, split: str, count: int, seed: int, size: int) -> Iterator[tuple[PackedClip, Byte, torch.Tensor]]:
    """Yield a clip to dub, the ground truth (75, S, S, 3), and the mel windows of the new voice."""
    spans = [(r, *r["splits"][split]) for r in read_manifest(data) if r["kept"] and split in r.get("splits", {})]
    voices = [Stretch(data, r, r["name"], first, last) for r, first, last in spans if last - first >= OTHER]
    people = {voice.person for voice in voices}
    if len(people) < 2:
        raise SystemExit(f"{data}: not two people with {OTHER} frames in the split {split}; name another --split")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        own = voices[int(rng.integers(len(voices)))]
        others = [voice for voice in voices if voice.person != own.person]
        said, other = load(own), load(others[int(rng.integers(len(others)))])
        length = min(OWN, len(own))
        made, truth = drawn_twice(said.motion[np.arange(length)], other.motion[np.arange(OTHER)], size, rng)
        unit = geometry.to_unit(made.track.matrices, made.track.landmarks)
        clip = PackedClip(
            own.name, torch.from_numpy(made.images).permute(0, 3, 1, 2).contiguous(), windows(said, length),
            torch.from_numpy(geometry.mask_boxes(unit)), unit,
        )  # fmt: skip
        yield clip, truth, windows(other, OTHER)


def windows(voice: Material, count: int) -> torch.Tensor:
    """Mel windows (count, 1, 80, 28) of the first ``count`` frames."""
    times = [Fraction(i, FPS) for i in range(count)]
    return torch.from_numpy(audio.mel_windows(voice.arrays["mel"], times).astype(np.float16))


@torch.no_grad()
def judge(generator: Generator, clip: PackedClip, truth: Byte, mels: torch.Tensor) -> tuple[float, ...]:
    """The figures of `COLUMNS`: difference from the ground truth, and similarity of lip motion and detail."""
    subject = Subject(clip, "pair")
    frames, right = torch.arange(len(truth)), torch.from_numpy(truth).permute(0, 3, 1, 2).contiguous()
    hidden = subject.masks(frames)
    drawn = generated(generator, subject, torch.cat([mels, clip.mels[len(truth) :]]))(frames)
    pasted = torch.where(hidden > 0, drawn, right)
    found, known = (subject.find_landmarks(judged_size(images), frames) for images in (pasted, right))
    opening, wanted = mouth_opening(found), mouth_opening(known)
    lips = box_masks(lip_boxes(clip.landmarks[: len(truth)]), right.shape[-1])[:, 0].numpy()
    fine, true = (float((detail(images) * lips).sum()) for images in (pasted, right))
    return (
        float(metrics.psnr(drawn, right, hidden).mean()), float(metrics.lmd(found, known).mean()),
        float(np.corrcoef(opening, wanted)[0, 1]), float(opening.std() / wanted.std()), fine / true,
    )  # fmt: skip


def detail(images: torch.Tensor) -> Float:
    """(n, S, S) absolute Laplacian of images (n, 3, S, S), averaged over channels."""
    pictures = images.permute(0, 2, 3, 1).numpy().astype(np.float32)
    return np.stack([np.abs(cv2.Laplacian(picture, cv2.CV_32F)).mean(-1) for picture in pictures])


def main() -> None:
    """Print a Markdown table of means over all pairs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", nargs="+")
    parser.add_argument("--split", default="test")
    parser.add_argument("--pairs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--lively", action="store_true", help="with the emphasis of a dub, not as learnt")
    given = parser.parse_args()
    networks = {name: checkpoint.load_generator(name) for name in given.weights}
    found: dict[str, list[tuple[float, ...]]] = {name: [] for name in networks}
    for pair in pairs(given.data, given.split, given.pairs, given.seed, given.size):
        for name, network in networks.items():
            network.emphasis = network.lively if given.lively else 1.0
            found[name].append(judge(network, *pair))
    print(f"| weights | {' | '.join(COLUMNS)} |\n|{'---|' * (len(COLUMNS) + 1)}")
    for name, rows in found.items():
        print(f"| {name} | {' | '.join(f'{value:.2f}' for value in np.mean(rows, 0))} |")


if __name__ == "__main__":
    main()

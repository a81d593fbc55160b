"""Measure what opens the mouths that a trained generator draws, and store it in its weights (`Generator.opens`).

    python tools/measure_opening.py data runs/gan/weights.safetensors -o opened/generator.safetensors

``data`` is a prepared folder, preferably what the generator was trained on. Frames of a clip of each person are redrawn
with their own sound. What is stored is the mean audio feature of the fifth of the frames in which the drawn mouth is
open widest, less that of the fifth in which it is least open, both relative to the same clip. Critics beside the
weights are copied along, so write to another folder. Takes some minutes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from sidgan import checkpoint
from sidgan.data.dataset import PackedClip, PackedSet, read_manifest
from sidgan.data.transfer import Stretch
from sidgan.evaluation.subject import Subject, beginning, generated, judged_size
from sidgan.geometry import mouth_opening
from sidgan.nn import Generator
from sidgan.types import Float

FRAMES, STEP = 120, 2  #: of each clip, the first frames, and every which of them
END = 0.2  #: share of the frames at either end of the range of openings


@torch.no_grad()
def heard_and_opened(generator: Generator, clip: PackedClip) -> tuple[Tensor, Float]:
    """Audio features (n, 512) of some frames of a clip, less their mean, and the openings drawn there, normalised."""
    clip = beginning(clip, FRAMES)
    subject, frames = Subject(clip, "pair"), torch.arange(0, len(clip), STEP)
    drawn = generated(generator, subject, clip.mels)(frames)
    opening = mouth_opening(subject.find_landmarks(judged_size(drawn), frames))
    heard = generator.heard(clip.mels[frames].float())
    return heard - heard.mean(0), (opening - opening.mean()) / (opening.std() + 1e-6)


def main() -> None:
    """Write the weights with what was measured."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("weights")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--split", default="train")
    parser.add_argument("--version", type=int, help="number of the weights, stored with them")
    given = parser.parse_args()
    generator = checkpoint.load_generator(given.weights)
    person = {r["name"]: Stretch(given.data, r, r["name"], 0, 0).person for r in read_manifest(given.data)}
    chosen = {person[clip.name]: clip for clip in PackedSet(given.data, [given.split]).clips}  # one of each person
    heard, opened = zip(*(heard_and_opened(generator, clip) for clip in chosen.values()), strict=True)
    features, openings = torch.cat(heard), np.concatenate(opened)
    closed, wide = openings <= np.quantile(openings, END), openings >= np.quantile(openings, 1 - END)
    generator.opens.copy_(features[wide].mean(0) - features[closed].mean(0))
    meta = checkpoint.read_meta(checkpoint.file_of(given.weights))["meta"]
    meta |= {"version": given.version} if given.version else {}
    critics = checkpoint.load_critics(given.weights)
    checkpoint.save(given.out, generator, meta, half=True)
    if critics is not None:
        about = checkpoint.read_meta(checkpoint.critics_file(checkpoint.file_of(given.weights)))["meta"]
        checkpoint.save_critics(given.out, critics, about, half=True)
    print(f"{given.out}: {len(chosen)} people, {len(openings)} frames, length {float(generator.opens.norm()):.2f}")


if __name__ == "__main__":
    main()

"""Filmed speech on drawn faces: any number of people, their heads held in any way, in sync with real voices.

What the drawn lips do is read off the donor's landmarks; the tongue, which they do not show, is left to chance::

    gap between the lips, in eye distances  ->  opening, and press where there is none
    width of the mouth, of its usual one    ->  spread and bared teeth, or round
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from sidgan import faces, geometry
from sidgan.config import FPS
from sidgan.data.carry import SHUT, Motion
from sidgan.synth import Mouth, Person, Portrait, pose
from sidgan.types import Byte, FaceTrack, Float

FINER = 2.5  #: sides of a drawn picture, in sides of the crop: its head is larger than the crop's
HEADS = (0.56, 0.68)  #: height of a head, in sides of the picture
ACROSS, DOWN = (0.47, 0.53), (0.44, 0.50)  #: where the middle of the head lies, in sides of the picture
MOTIONS = (0.5, 3.0)  #: of a head; at 1 within about 12 degrees of yaw
OPENINGS = (0.9, 1.25)  #: a drawn mouth opens so many times as far
SPREAD, ROUND = 0.12, 0.18  #: by these shares a mouth is wider, or narrower, when it is fully so
JITTER = 0.8  #: frames, smoothing of what landmarks tremble by
CLOSED = 0.05  #: share of the frames whose lips may count as closed
WIDEST = 1.2  #: opening of a `Mouth`


@dataclass(frozen=True)
class Drawn:
    """N frames of the drawn person ``seed``: crops ``images`` (N, S, S, 3) uint8, and the ``track`` they are cut by.

    The landmarks are found, as in footage: those known to be true lie a pixel of 128 from where they are found.
    """

    seed: int
    images: Byte
    track: FaceTrack


def drawn(voice: Motion, size: int, rng: np.random.Generator) -> Drawn:
    """A new person who says what ``voice`` does, in crops of ``size`` px."""
    return _filmed([voice], size, rng)[0]


def drawn_twice(own: Motion, other: Motion, size: int, rng: np.random.Generator) -> tuple[Drawn, Byte]:
    """A new person who says what ``own`` does, and how she looks if she says what ``other`` does meanwhile.

    That is the truth of a dub, which footage never has.

    Args:
        own: of N frames.
        other: of M frames, no more than N.
        size: side of the crops, px.

    Returns:
        As `drawn`; crops (M, S, S, 3) uint8 of the same places, with the same movements of the head.
    """
    made, (_, truth) = _filmed([own, other], size, rng)
    return made, truth


def _filmed(voices: Sequence[Motion], size: int, rng: np.random.Generator) -> tuple[Drawn, list[Byte]]:
    """A new person who says what the first voice does, and crops of the same places for each of the voices."""
    side = round(FINER * size)
    seed = int(rng.integers(2**31))
    middle = (side * float(rng.uniform(*ACROSS)), side * float(rng.uniform(*DOWN)))
    portrait = Portrait(Person.random(seed), (side, side), side * float(rng.uniform(*HEADS)), middle)
    habits = [rng, *(copy.deepcopy(rng) for _ in voices[1:])]  # the same for each of them
    spoken = [_mouths(voice, portrait, habit) for voice, habit in zip(voices, habits, strict=True)]
    poses = pose(seed, np.arange(len(spoken[0])) / FPS, float(rng.uniform(*MOTIONS)))
    films = [[portrait.render(*moment) for moment in zip(mouths, poses, strict=False)] for mouths in spoken]
    found = []
    for picture, mouth, held in zip(films[0], spoken[0], poses, strict=True):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        found.append(faces.landmarks(grey, faces.box_of(portrait.landmarks(mouth, held))))
    track = faces.smooth(0, np.stack(found), np.ones(len(found)))
    crops = [
        np.stack([_crop(picture, matrix, size) for picture, matrix in zip(film, track.matrices, strict=False)])
        for film in films
    ]
    return Drawn(seed, crops[0], track), crops


def _crop(picture: Byte, matrix: Float, size: int) -> Byte:
    how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    crop = cv2.warpAffine(picture, geometry.crop_matrix(matrix, size), (size, size), flags=how,
                          borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
    return np.asarray(crop)


def _mouths(voice: Motion, portrait: Portrait, rng: np.random.Generator) -> list[Mouth]:
    gap = gaussian_filter1d(voice.opening * voice.width, JITTER, mode="nearest")
    shut = min(SHUT * voice.width, float(np.quantile(gap, CLOSED)))
    gap = np.maximum(gap - shut, 0) * rng.uniform(*OPENINGS)
    lips = voice.local[:, geometry.MOUTH]
    width = gaussian_filter1d(np.abs(lips[:, 6] - lips[:, 0]), JITTER, mode="nearest") / voice.width - 1
    steps = np.linspace(0, WIDEST, 49)
    opening = np.interp(gap, [portrait.opening(Mouth(opening=step)) for step in steps], steps)
    spread, rounded = np.clip(width / SPREAD, 0, 1), np.clip(-width / ROUND, 0, 1)
    teeth = np.clip(0.35 + rng.normal(0, 0.12) + 0.3 * (spread - rounded), 0, 0.9)
    rhythm, reach = rng.uniform(0, 2 * np.pi), rng.uniform(0, 0.2)
    tongue = 0.25 + reach * np.sin(0.7 * np.arange(len(gap)) + rhythm)
    press = np.clip(1 - opening / 0.05, 0, 1) * rng.uniform(0, 0.8)
    columns = (opening, spread, rounded, teeth, tongue, press)
    return [Mouth(*map(float, row)) for row in zip(*columns, strict=True)]

"""Synthetic faces that speak as filmed people do: any number of people in many head poses, in sync with real voices.

The donor's landmarks control the synthetic lips; the tongue, which landmarks do not show, moves at random::

    gap between the lips, in eye distances      ->  opening; press where the lips are closed
    width of the mouth, relative to its usual   ->  spread and bared teeth, or round
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy.ndimage import gaussian_filter1d

from sidgan import faces, geometry
from sidgan.carry import SHUT, Motion
from sidgan.config import FPS
from sidgan.synth import Mouth, Person, Portrait, pose
from sidgan.types import Byte, FaceTrack, Float

OVERSAMPLING = 2.5  #: side of a rendered picture in sides of the crop; its head is larger than the crop's
HEAD_HEIGHTS = (0.56, 0.68)  #: range of head heights, relative to the picture's side
CENTRES_X, CENTRES_Y = (0.47, 0.53), (0.44, 0.50)  #: ranges of the head's centre, relative to the picture's side
MOTION_AMOUNTS = (0.5, 3.0)  #: range of head motion; at 1, yaw stays within about 12 degrees
OPENING_FACTORS = (0.9, 1.25)  #: range of the factor from the donor's to the synthetic lip gap
SPREAD, ROUND = 0.12, 0.18  #: relative increase and decrease of the mouth's width at full spread and full round
JITTER = 0.8  #: sigma in frames of the Gaussian that smooths landmark jitter
CLOSED = 0.05  #: quantile of the lip gap below which lips always count as closed
WIDEST = 1.2  #: largest `Mouth` opening that is used


@dataclass(frozen=True)
class Drawn:
    """N frames of the synthetic person ``seed``: crops ``images`` (N, S, S, 3) uint8, and the ``track`` they follow.

    Landmarks are detected, as in footage, because true ones differ from detected ones by about 1 px in 128.
    """

    seed: int
    images: Byte
    track: FaceTrack


def drawn(voice: Motion, size: int, rng: np.random.Generator) -> Drawn:
    """A random synthetic person whose mouth moves as ``voice`` does, in crops of ``size`` px."""
    return _rendered([voice], size, rng)[0]


def drawn_twice(own: Motion, other: Motion, size: int, rng: np.random.Generator) -> tuple[Drawn, Byte]:
    """A random synthetic person rendered twice, speaking as ``own`` and as ``other``, otherwise identical.

    The second rendering is the ground truth of dubbing the first, which footage never has.

    Args:
        own: N frames.
        other: M frames, at most N.
        size: side of the crops, px.

    Returns:
        As `drawn`; crops (M, S, S, 3) uint8 cut at the same places, with the same head motion.
    """
    made, (_, truth) = _rendered([own, other], size, rng)
    return made, truth


def _rendered(voices: Sequence[Motion], size: int, rng: np.random.Generator) -> tuple[Drawn, list[Byte]]:
    """A random person who speaks as the first voice does, and the same person's crops for each of the voices."""
    side = round(OVERSAMPLING * size)
    seed = int(rng.integers(2**31))
    middle = (side * float(rng.uniform(*CENTRES_X)), side * float(rng.uniform(*CENTRES_Y)))
    portrait = Portrait(Person.random(seed), (side, side), side * float(rng.uniform(*HEAD_HEIGHTS)), middle)
    rngs = [rng, *(copy.deepcopy(rng) for _ in voices[1:])]  # the same random numbers for each voice
    by_voice = [_mouths(voice, portrait, generator) for voice, generator in zip(voices, rngs, strict=True)]
    poses = pose(seed, np.arange(len(by_voice[0])) / FPS, float(rng.uniform(*MOTION_AMOUNTS)))
    films = [[portrait.render(*moment) for moment in zip(mouths, poses, strict=False)] for mouths in by_voice]
    detected = []
    for picture, mouth, head in zip(films[0], by_voice[0], poses, strict=True):
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        detected.append(faces.landmarks(grey, faces.box_of(portrait.landmarks(mouth, head))))
    track = faces.smooth(0, np.stack(detected), np.ones(len(detected)))
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
    """The `Mouth` of each frame whose lip gap and width follow the donor's."""
    gap = gaussian_filter1d(voice.opening * voice.width, JITTER, mode="nearest")
    shut = min(SHUT * voice.width, float(np.quantile(gap, CLOSED)))
    gap = np.maximum(gap - shut, 0) * rng.uniform(*OPENING_FACTORS)
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

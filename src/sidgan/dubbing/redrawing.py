"""Redraw one face crop with the network, and prepare it for blending into its frame."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from sidgan import geometry
from sidgan.blend import mouth_alpha
from sidgan.blend.detail import LARGEST, detailed, resized
from sidgan.blend.focus import softened, softness
from sidgan.blend.light import gain, light_on, lit
from sidgan.blend.steady import Steady
from sidgan.dubbing.analysis.covering import clear
from sidgan.dubbing.review.looks import around
from sidgan.engine import Engine
from sidgan.faces import box_of, landmarks
from sidgan.geometry import OUTER_LIPS
from sidgan.nn import Features
from sidgan.people import Likeness, TrackedFace
from sidgan.types import Byte, Float, Frame


@dataclass(frozen=True)
class Job:
    """One face to be redrawn.

    Attributes:
        person, row: the face track, and the frame's row in it.
        crop: (S, S, 3) uint8 RGB.
        mel: (1, 80, 28), log-mel window of the voice around the frame.
        weight: opacity of the redrawn mouth, in (0, 1].
    """

    person: TrackedFace
    row: int
    crop: Byte
    mel: Float
    weight: float


@dataclass(frozen=True)
class Finished:
    """A redrawn face ready to be pasted into its frame, at its size T there in px (at most `LARGEST`).

    Attributes:
        image: (T, T, 3) in [0, 255].
        alpha: (T, T) in [0, 1], its opacity.
        luma: (T, T) in [0, 255], of the source.
        points: (68, 2) unit landmarks of the drawn face.
    """

    image: Float
    alpha: Float
    luma: Float
    points: Float


def redraw(engine: Engine, jobs: Sequence[Job], likeness: Likeness, reference: Features) -> Byte:
    """Draw N faces of one person with the network: (N, S, S, 3) uint8 RGB, each in the light and focus of its frame.

    Args:
        jobs: N faces of one person, at least one.
        likeness: the person's references.
        reference: the features of these, from ``engine``.
    """
    person, rows = jobs[0].person, [job.row for job in jobs]
    masks = np.stack([geometry.mask_image(person.boxes[row], engine.size) for row in rows])
    gains = [gain(light_on(job.crop, person.points[job.row]), likeness.light) for job in jobs]
    crops = np.stack([lit(job.crop, by) for job, by in zip(jobs, gains, strict=True)])
    mels = np.stack([job.mel for job in jobs])
    drawn = engine.run(crops, masks, mels, reference, geometry.placement(person.points[rows], likeness.points))
    drawn = np.stack([lit(face, 1 / by) for face, by in zip(drawn, gains, strict=True)])
    return in_focus(jobs, drawn, likeness.clear)


def in_focus(jobs: Sequence[Job], drawn: Byte, clear: Float) -> Byte:
    """N drawn faces (N, S, S, 3), each as soft as it was filmed; ``clear`` is the `clarity` of their references."""
    soft = [softness(job.crop, job.person.points[job.row], clear, job.person.speeds[job.row]) for job in jobs]
    return np.stack([softened(face, job.person.boxes[job.row], blur)
                     for face, job, blur in zip(drawn, jobs, soft, strict=True)])  # fmt: skip


def found_again(image: Byte, points: Float) -> Float:
    """Detect the unit landmarks (68, 2) of a redrawn face (S, S, 3), near the landmarks of the filmed one."""
    size = len(image)
    return (landmarks(image, box_of(points * size - 0.5)) + 0.5) / size


def finished(frame: Frame, job: Job, drawn: Byte, steady: Steady) -> Finished:
    """Match a drawn face (S, S, 3) to its frame: tone, temporal smoothing, lip contours, fine detail, and its mask."""
    person, row = job.person, job.row
    old, box, size = person.points[row], person.boxes[row], len(drawn)
    new = found_again(drawn, old)
    mouths = old[OUTER_LIPS], new[OUTER_LIPS]
    tone = person.tone(drawn, job.crop, box, old, frame.index)
    reach = person.border(tone, job.crop, box, old, new, frame.index)
    clearer = person.contours(tone, job.crop, *mouths, frame.index)
    image = steady(person, frame.index, job.crop, tone, mouths) + cv2.merge([clearer] * 3)
    side = max(size, min(round(float(person.sides[row])), LARGEST))
    image = resized(image, side)
    alpha = job.weight * resized(mouth_alpha(size, box, old, new, reach), side, cv2.INTER_LINEAR)
    if row in person.covers:
        alpha = alpha * clear(person.covers[row], side)
    luma = geometry.crop_luma(frame, person.track.matrices[row], side)
    return Finished(detailed(luma, image, alpha * ~around(mouths, side)), alpha, luma, new)

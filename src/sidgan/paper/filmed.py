"""Faces in whole videos, for figures: track the face, choose moments with open and closed mouths, cut crops.

The face is tracked in the true video only. Its face square is used for every method's video, so that all crops of a row
show the same place.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import takewhile
from pathlib import Path

import cv2
import numpy as np
import torch

from sidgan import faces, geometry, media, metrics
from sidgan.data.dataset import box_masks
from sidgan.errors import InputError
from sidgan.metrics.lips import LMD_SIZE
from sidgan.types import Byte, Clip, FaceTrack, Float

SIZE = 512  #: side of a face crop, px
LONGEST = 20  #: the start of a video that is tracked by default, s
RATE = 0.002  #: relative difference of two frame rates that is rounding in the container


@dataclass(frozen=True)
class Filmed:
    """The most prominent face of a video.

    Attributes:
        clip: the video. track: the face. times: timestamps of all frames that were decoded, s.
        opening: (N,) mouth opening in the N frames of ``track``, in eye distances.
    """

    clip: Clip
    track: FaceTrack
    times: list[Fraction]
    opening: Float

    def moments(self, count: int) -> list[int]:
        """One frame of each of ``count`` equal parts of the track: with the mouth widest and most closed by turns."""
        parts = np.array_split(np.arange(len(self.track)), min(count, len(self.track)))
        return [self.track.first + int(part[(np.argmin if i % 2 else np.argmax)(self.opening[part])])
                for i, part in enumerate(parts)]  # fmt: skip

    def landmarks(self, frame: int) -> Float:
        """Landmarks (68, 2) of a frame in unit coordinates of its face square."""
        row = frame - self.track.first
        return geometry.to_unit(self.track.matrices[row : row + 1], self.track.landmarks[row : row + 1])[0]


def follow(video: Path, seconds: float = LONGEST) -> Filmed:
    """Track the most prominent face in the first ``seconds`` of a video.

    Raises:
        InputError: the video cannot be read, or shows no face.
    """
    clip = media.probe(video)
    tracks, times = faces.track_faces(takewhile(lambda f: f.time < seconds, media.read_frames(clip)))
    if not tracks:
        raise InputError(f"{video} shows no face in its first {seconds:.0f} s; give a video of a talking face")
    return Filmed(clip, tracks[0], times, geometry.mouth_opening(tracks[0].landmarks))


def crops(video: Path, of: Filmed, frames: Sequence[int]) -> list[Byte]:
    """Face crops (512, 512, 3) of these frames of a video, cut at the face square of ``of``.

    Raises:
        InputError: the video differs from that of ``of`` in size or frame rate, or is shorter.
    """
    clip = media.probe(video)
    if (clip.width, clip.height) != (of.clip.width, of.clip.height):
        raise InputError(f"{video} has {clip.width}x{clip.height} px, not {of.clip.width}x{of.clip.height} like "
                         f"{of.clip.path}; give videos of the same frames")  # fmt: skip
    if abs(float(clip.frame_rate / of.clip.frame_rate) - 1) > RATE:
        rates = f"{float(clip.frame_rate):.2f} fps, not {float(of.clip.frame_rate):.2f}"
        raise InputError(f"{video} has {rates} like {of.clip.path}; give videos of the same frames")
    found = dict[int, Byte]()
    for frame in takewhile(lambda f: f.index <= max(frames), media.read_frames(clip)):
        if frame.index in frames:
            found[frame.index] = geometry.crop_face(frame, of.track.matrices[frame.index - of.track.first], SIZE).image
    if len(found) < len(set(frames)):
        raise InputError(f"{video} ends before frame {max(frames)}; give a video as long as {of.clip.path}")
    return [found[index] for index in frames]


@dataclass(frozen=True)
class Likeness:
    """A drawn crop compared with the true one: PSNR in the mouth box, dB; distance of the lip landmarks, px at 256."""

    psnr: float
    lmd: float


def likeness(drawn: Byte, truth: Byte, landmarks: Float) -> Likeness:
    """Compare two crops (512, 512, 3) of one frame.

    Args:
        drawn, truth: the crops.
        landmarks: (68, 2) of the true face, in unit coordinates of the face square.
    """
    images = [torch.from_numpy(np.ascontiguousarray(crop)).permute(2, 0, 1)[None] for crop in (drawn, truth)]
    mask = box_masks(torch.from_numpy(geometry.mask_boxes(landmarks[None])), SIZE)
    small = [cv2.resize(crop, (LMD_SIZE, LMD_SIZE), interpolation=cv2.INTER_AREA) for crop in (drawn, truth)]
    box = faces.box_of(landmarks * LMD_SIZE - 0.5)
    points = [faces.landmarks(np.asarray(picture), box)[None] for picture in small]
    return Likeness(float(metrics.psnr(images[0], images[1], mask)[0]), float(metrics.lmd(points[0], points[1])[0]))


def mouth_of(crop: Byte, landmarks: Float) -> Byte:
    """The mouth region (S/4, S/2) of a crop (S, S, 3) around the true lips, enlarged to (S/2, S, 3)."""
    size = crop.shape[0]
    centre = landmarks[geometry.MOUTH].mean(0) * size
    x0 = int(np.clip(centre[0] - size / 4, 0, size / 2))
    y0 = int(np.clip(centre[1] - size / 8, 0, 3 * size / 4))
    part = crop[y0 : y0 + size // 4, x0 : x0 + size // 2]
    return np.asarray(cv2.resize(part, (size, size // 2), interpolation=cv2.INTER_CUBIC))

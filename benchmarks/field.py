"""The way other systems dub, reimplemented from their public descriptions with our components, for comparison.

::

    decode all ─▶ BGR pictures in memory ─▶ encode at 25 fps ─▶ decode all ─▶ detect in every whole picture ─▶ smooth
    boxes ─▶ crop all ─▶ network, batch by batch ─▶ for each: warp to the whole frame, soften the mask there, blend
    whole frames as floats ─▶ all in memory ─▶ encode ─▶ decode ─▶ encode again beside the voice

Weights, precision, batch, detector, landmarks, encoder and preset are ours, so only the design is compared. Where
systems differ, the cheaper variant is used: frames stay in memory instead of PNG files, detection runs at 360 lines
and stops at the first scale with a face, and the mask comes from landmarks instead of a face parsing network. Steps run
one after another, without overlap.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from timing import Spent, spent

from sidgan import audio, geometry, media
from sidgan.blend import mouth_alpha
from sidgan.engine import Engine
from sidgan.faces import search

RATE = Fraction(25)  #: frames per second to which all videos are converted
NEIGHBOURS = 5  #: frames whose boxes are averaged
SOFTENED = 10  #: the side of the mask's blur kernel is that of the face divided by this


def pictures(path: Path) -> list[np.ndarray]:
    """Every frame, (H, W, 3) uint8 BGR."""
    return [cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR) for _, rgb in media.read_rgb(path)]


def encoded(path: Path, images: list[np.ndarray], voice: Path | None = None) -> None:
    """Write BGR frames as H.264 at 25 fps, with a voice if there is one."""
    sound = None if voice is None else media.read_audio(voice)
    media.write_clip(path, (cv2.cvtColor(i, cv2.COLOR_BGR2RGB) for i in images), RATE, sound, crf=16, preset="medium")


def smoothed(values: np.ndarray) -> np.ndarray:
    """Running mean over `NEIGHBOURS` rows."""
    return np.stack([values[max(0, i - 2) : i + 3].mean(0) for i in range(len(values))])


def dub(video: Path, voice: Path, out: Path, engine: Engine) -> Spent:
    """Dub a video in which every frame shows a face; the time that the network took."""
    first, second = out.with_stem("first"), out.with_stem("second")
    encoded(first, pictures(video))
    frames = pictures(first)
    points = np.stack([_face(frame) for frame in frames])
    units = geometry.square_matrix(smoothed(geometry.face_square(points)))
    where = geometry.to_unit(units, points)
    boxes, size = geometry.mask_boxes(where), engine.size
    crops = np.stack([_crop(frame, geometry.crop_matrix(unit, size), size)
                      for frame, unit in zip(frames, units, strict=True)])  # fmt: skip
    masks = np.stack([geometry.mask_image(box, size) for box in boxes])
    sound = media.read_audio(voice)
    mels = audio.mel_windows(audio.log_mel(sound), [i / RATE for i in range(len(frames))])
    shown = list(range(engine.references))
    placed = geometry.placement(where, where[shown])

    def draw() -> np.ndarray:
        return engine.run(crops, masks, mels, engine.encode_reference(crops[shown]), placed)

    network, drawn = spent(draw)
    results = []
    for frame, face, unit, box, old in zip(frames, drawn, units, boxes, where, strict=True):
        results.append(_blended(frame, face, geometry.crop_matrix(unit, size), mouth_alpha(size, box, old, old)))
    encoded(second, results)
    encoded(out, pictures(second), voice)
    return network


def _face(frame: np.ndarray) -> np.ndarray:
    """(68, 2) landmarks of the largest face."""
    found = search(cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY))
    return max(found, key=lambda face: face.box[2] - face.box[0]).landmarks


def _crop(frame: np.ndarray, matrix: np.ndarray, size: int) -> np.ndarray:
    """(S, S, 3) uint8 RGB."""
    cut = cv2.warpAffine(frame, matrix, (size, size), flags=cv2.INTER_CUBIC | cv2.WARP_INVERSE_MAP)
    return cv2.cvtColor(cut, cv2.COLOR_BGR2RGB)


def _blended(frame: np.ndarray, face: np.ndarray, matrix: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Blend a face into a whole frame; every operation works on the whole frame."""
    size = frame.shape[1], frame.shape[0]
    placed = cv2.warpAffine(cv2.cvtColor(face, cv2.COLOR_RGB2BGR).astype(np.float32), matrix, size,
                            flags=cv2.INTER_CUBIC)  # fmt: skip
    weight = cv2.warpAffine(alpha, matrix, size)
    side = int(matrix[0, 0] * len(face)) // SOFTENED | 1
    weight = cv2.GaussianBlur(weight, (side, side), 0)[..., None]
    return np.clip(placed * weight + frame.astype(np.float32) * (1 - weight) + 0.5, 0, 255).astype(np.uint8)

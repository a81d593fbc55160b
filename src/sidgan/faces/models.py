"""dlib's face models, which come with the installation: 68 landmarks, and an embedding of a person's identity."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import dlib
import numpy as np

from sidgan.errors import SidganError
from sidgan.types import Byte, Float

Box = tuple[float, float, float, float]  #: left, top, right, bottom in px
Landmarker = Callable[[Byte, Box], Float]  #: a function such as `landmarks`


def model_file(name: str) -> Path:
    """Path of a dlib model inside the ``face_recognition_models`` distribution, which must not be imported."""
    spec = importlib.util.find_spec("face_recognition_models")
    if spec is None or not spec.submodule_search_locations:
        raise SidganError("face models are missing; run: pip install face_recognition_models")
    return Path(spec.submodule_search_locations[0]) / "models" / f"{name}.dat"


@lru_cache(maxsize=1)
def _predictor() -> Any:
    return dlib.shape_predictor(str(model_file("shape_predictor_68_face_landmarks")))


@lru_cache(maxsize=1)
def _embedder() -> Any:
    return dlib.face_recognition_model_v1(str(model_file("dlib_face_recognition_resnet_model_v1")))


def landmarks(image: Byte, box: Box) -> Float:
    """Landmarks (68, 2) px of the face in ``box`` of a grey or RGB uint8 image, in iBUG order."""
    shape = _predictor()(image, dlib.rectangle(*(round(v) for v in box)))
    return np.array([(p.x, p.y) for p in shape.parts()], np.float32)


def embed(image: Byte, points: Float) -> Float:
    """Identity embedding (128,) of the face with these landmarks (68, 2) px in an RGB uint8 image.

    Embeddings of different people have a Euclidean distance of 0.6 or more.
    """
    rect = dlib.rectangle(*(round(v) for v in box_of(points)))
    shape = dlib.full_object_detection(rect, [dlib.point(round(float(x)), round(float(y))) for x, y in points])
    return np.array(_embedder().compute_face_descriptor(image, shape), np.float32)


def box_of(points: Float) -> Box:
    """The box that the landmark model expects around a face with these landmarks, from the mean shape of a face."""
    low, high = points.min(0), points.max(0)
    centre = (low + high) / 2
    side = float((high - low).max()) * 1.12
    x, y = float(centre[0]), float(centre[1]) - 0.02 * side
    return x - side / 2, y - side / 2, x + side / 2, y + side / 2

"""Cache adapted weights on disk, so that a resumed dub does not adapt again."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from sidgan import checkpoint, provenance
from sidgan.adaptation.run import Adapted, AdaptReport, adapt_faces
from sidgan.dubbing.analysis import Find
from sidgan.engine import choose_device
from sidgan.errors import CheckpointError
from sidgan.files import write_text, writing
from sidgan.types import Show
from sidgan.version import __version__

FACES = "faces.json"  #: written last, so a folder that has it is complete


def adapt_faces_once(folder: Path, video: Path, *, model: Path | str, minutes: float, faces: str, device: str,
                     tolerant: bool, progress: Show, find: Find | None = None) -> list[Adapted]:  # fmt: skip
    """`adapt_faces`, or its cached result for the same video, model and settings, identical to the last bit.

    Args:
        folder: of the cache.
        find: see `adapt_faces`.

    Raises:
        InputError: as `adapt_faces`.
        OutputError: the result cannot be written.
    """
    weights = checkpoint.file_of(model)
    critics = checkpoint.critics_file(weights)
    settings = {
        "version": __version__, "torch": torch.__version__, "video": provenance.digest_of(video), "minutes": minutes,
        "model": provenance.digest_of(weights), "faces": faces, "tolerant": tolerant,
        "critics": provenance.digest_of(critics) if critics.is_file() else None, "device": str(choose_device(device)),
    }  # fmt: skip
    place = folder / hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    found = _read(place)
    if found is None:
        found = adapt_faces(video, model=model, minutes=minutes, faces=faces, device=device, tolerant=tolerant,
                            progress=progress, find=find)  # fmt: skip
        _write(place, found)
    return found


def _write(folder: Path, results: Sequence[Adapted]) -> None:
    with writing(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for i, result in enumerate(results):
        checkpoint.save(folder / f"{i}.safetensors", result.generator)
    records: list[dict[str, Any]] = [{"tracks": one.tracks, "report": one.report.to_dict()} for one in results]
    write_text(folder / FACES, json.dumps(records))


def _read(folder: Path) -> list[Adapted] | None:
    with suppress(OSError, ValueError, TypeError, KeyError, CheckpointError):
        return [
            Adapted(tuple(one["tracks"]), checkpoint.load_generator(folder / f"{i}.safetensors"),
                    AdaptReport(**one["report"]))
            for i, one in enumerate(json.loads((folder / FACES).read_text(encoding="utf-8")))
        ]  # fmt: skip
    return None

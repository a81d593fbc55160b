"""Whether an output is there already, complete, of the same files and settings: lists of dubs do not make it again.

Its mark tells. A mark holds the digests of video, voices and weights, and one of everything else that a user chooses.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sidgan import media, provenance
from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.settings import Settings
from sidgan.dubbing.weights import Weights
from sidgan.errors import InputError, MarkError
from sidgan.provenance.credentials import Credentials
from sidgan.version import __version__

SHORT = 1  #: seconds; an output whose pictures end this much earlier than it states was cut off while it was copied


def settings_digest(settings: Settings, files: Mapping[str, Any], sign: Credentials | None) -> str:
    """SHA-256 of what a user chooses, beside video, voices and weights. Engine and device do not count.

    Args:
        settings: those that fit the video (`Settings.fitting`).
        files: see `Inputs.digests`.
        sign: what signs the output.
    """
    others = {name: files[name] for name in ("speakers", "face", "background")}
    chosen = settings.noted() | others | {"sign": sign and sign.digest}
    return hashlib.sha256(json.dumps(chosen, sort_keys=True).encode()).hexdigest()


def is_made(
    video: Path, audio: Path | None, out: Path, model: Path | str, settings: Settings, sign: Credentials | None = None
) -> bool:
    """Whether ``out`` is what `sidgan.dub` would make of these files and settings with this version.

    Raises:
        SidganError: an input file or the weights cannot be read.
    """
    try:
        mark = provenance.read(out)
        if mark is None or mark.sidgan != __version__ or not mark.settings:
            return False
        if media.shown_for(out) + SHORT < media.probe(out).duration:
            return False
    except (InputError, MarkError):
        return False
    settings = settings.fitting(media.probe(video, tolerant=settings.on_damage == "pass"))
    if mark.adapted and "adapt" not in settings.noted():  # networks of single faces that these settings do not make
        return False
    files = Inputs(video, audio, settings.speakers, out, settings.background).digests(settings.face)
    made = (mark.weights, mark.source, [mark.voice, *mark.voices], mark.signed, mark.settings)
    wanted = (Weights.of(model).digest, files["video"], files["voice"], sign is not None)
    return made == (*wanted, settings_digest(settings, files, sign))

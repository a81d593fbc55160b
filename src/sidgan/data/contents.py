"""What the folders of a training hold, in a few numbers: kept with a run and in the card of its weights."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from sidgan.data.shards import INDEX, held, is_shards, read_index
from sidgan.data.survey import survey
from sidgan.files import digest


def contents(folder: Path) -> dict[str, Any]:
    """Describe a prepared folder or a folder of shards; no clip is read.

    Returns:
        ``folder``: its name, without the path, which is private. ``sha256``: digest of the manifest, or of the index of
        the shards. ``size``: side of the smallest crops in px, ``None`` without clips. ``splits``: for each split, the
        numbers of clips, frames and, in a prepared folder, people (``None`` where some are unknown).

    Raises:
        DataError: the folder holds neither, or its manifest or index cannot be read.
    """
    size: int | None
    if is_shards(folder):
        listing, size, splits = folder / INDEX, read_index(folder)[0], held(folder)
    else:
        found = survey(folder)
        listing, splits = folder / "manifest.jsonl", found.splits()
        size = min((record["size"] for record in found.kept if "size" in record), default=None)
    return {"folder": folder.resolve().name, "sha256": digest(listing), "size": size, "splits": splits}


def speech_contents(folder: Path) -> dict[str, Any]:
    """Describe a folder of labelled recordings; none is read.

    Returns:
        ``folder``: its name. ``sha256``: digest of the names and sizes of the recordings. ``recordings``, ``voices``:
        how many there are.
    """
    files = sorted(folder.glob("*/*.npz"))
    lines = [f"{file.relative_to(folder).as_posix()} {file.stat().st_size}\n" for file in files]
    return {"folder": folder.resolve().name, "sha256": hashlib.sha256("".join(lines).encode()).hexdigest(),
            "recordings": len(files), "voices": len({file.parent for file in files})}  # fmt: skip

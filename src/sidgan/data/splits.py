"""Which frames of which clip may be trained on. Fixed before training, in a TOML file, and binding.

    never_train = ["test/*"]                 # judged only
    [unseen]                                 # people no training run may see; one list a group
    hd = ["train/mead_M030_*"]
    [heldout]                                # seen people, unseen speech
    clips = ["grid/s1/*"]                    # every 10th of them, in sorted order
    every = 10
    tails = ["train/long_talk"]              # the last share of their frames, after a gap
    tail_share = 0.15
    tail_gap_s = 1.0

Names are paths below the prepared folder, without ending; ``*`` matches any text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from sidgan.data.listing import ClipSource, rank
from sidgan.errors import ConfigError

FPS = 25
SHARE = 20  #: without an official split, about one person in so many is held out, and as many are for tests
ASIDE = "aside"  #: clips of people who are on another side of the split: neither trained on nor judged
Ranges = dict[str, tuple[int, int]]  #: split name -> first and one-past-last frame


class Splits:
    """Assigns the frames of every clip to ``train``, ``heldout``, ``unseen_<group>`` or ``test``."""

    def __init__(self, rules: Mapping[str, Any], names: Sequence[str]) -> None:
        heldout = rules.get("heldout", {})
        self._never = rules.get("never_train", [])
        self._unseen: Mapping[str, list[str]] = rules.get("unseen", {})
        self._tails = heldout.get("tails", [])
        self._share = float(heldout.get("tail_share", 0.15))
        self._gap = round(FPS * float(heldout.get("tail_gap_s", 1.0)))
        candidates = [name for name in sorted(names) if _matches(name, heldout.get("clips", []))]
        self._heldout = set(candidates[:: int(heldout.get("every", 10))])

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> Splits:
        """Read the rules from a TOML file.

        Raises:
            ConfigError: no such file, or not TOML.
        """
        try:
            return cls(tomllib.loads(path.read_text(encoding="utf-8")), names)
        except OSError as error:
            raise ConfigError(f"cannot read the split file {path}: {error.strerror}") from None
        except tomllib.TOMLDecodeError as error:
            raise ConfigError(f"{path}: not valid TOML ({error})") from None

    @classmethod
    def default(cls, names: Sequence[str]) -> Splits:
        """Without rules: every 20th clip is held out. People may be on both sides; say so when you report figures."""
        return cls({"heldout": {"clips": ["*"], "every": 20}} if len(names) >= 20 else {}, names)

    def ranges(self, name: str, frames: int) -> Ranges:
        """Frame ranges of one clip, by split."""
        if _matches(name, self._never):
            return {"test": (0, frames)}
        for group, patterns in self._unseen.items():
            if _matches(name, patterns):
                return {f"unseen_{group}": (0, frames)}
        if name in self._heldout:
            return {"heldout": (0, frames)}
        if _matches(name, self._tails):
            start = frames - round(self._share * frames)
            return {"train": (0, max(0, start - self._gap)), "heldout": (start, frames)}
        return {"train": (0, frames)}


def by_identity(clips: Sequence[ClipSource]) -> list[ClipSource]:
    """The clips with `ClipSource.split` set so that no person is on two sides.

    The data set's own ``test`` and ``heldout`` marks stand, and what else is there of their people is put ``aside``.
    Where it marks no clip as one or the other, about a twentieth of the other people is drawn for it, with seed 0 and
    from each name alone: the choice is the same on every computer, and more data moves nobody to another side. Clips
    without a known person count as one each.
    """
    marked: dict[str, str] = {}
    for side in ("test", "heldout"):
        marked |= {clip.person: side for clip in clips if clip.split == side and clip.person not in marked}
    open_sides = {n: side for n, side in enumerate(("heldout", "test")) if side not in {c.split for c in clips}}

    def side_of(clip: ClipSource) -> str:
        side = marked.get(clip.person)
        if side is not None:
            return side if clip.split == side else ASIDE
        return open_sides.get(int(rank(clip.person), 16) % SHARE, "train")

    return [replace(clip, split=side_of(clip)) for clip in clips]


def _matches(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

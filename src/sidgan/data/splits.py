"""Which frames of which clip belong to which split. The rules, in a TOML file, are applied before training.

    never_train = ["test/*"]                 # for evaluation only
    [unseen]                                 # people who are never trained on; one list for each group
    hd = ["train/mead_M030_*"]
    [heldout]                                # seen people, unseen speech
    clips = ["grid/s1/*"]                    # every 10th of them, in sorted order
    every = 10
    tails = ["train/long_talk"]              # the last share of their frames, after a gap
    tail_share = 0.15
    tail_gap_s = 1.0
    [same_person]                            # an error if a group is both trained on and unseen
    groups = [["train/a", "test/a_again"]]

Names are the manifest's: paths below the data set's folder, without suffix; ``*`` matches any text. A piece of a cut
clip has its own name, ``NAME_p000``, and also matches patterns for the whole clip. Unknown keys are errors, because an
ignored rule would let its clips be trained on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from sidgan.config import FPS
from sidgan.data.listing import ClipSource, rank
from sidgan.errors import ConfigError
from sidgan.portable import spelt
from sidgan.settings import from_dict, require

SHARE = 20  #: one video in 20 of a plain folder is held out; of a data set without an official split, about one
#: person in 20 is held out and one in 20 is for testing
ASIDE = "aside"  #: split of other clips of held-out and test people: used neither for training nor for evaluation
Ranges = dict[str, tuple[int, int]]  #: split name -> first and one-past-last frame


Patterns = tuple[str, ...]


@dataclass(frozen=True)
class HeldOut:
    """Seen people, unseen speech: every n-th of ``clips``, and the last share of the frames of ``tails``."""

    clips: Patterns = ()
    every: int = 10
    tails: Patterns = ()
    tail_share: float = 0.15
    tail_gap_s: float = 1.0

    def __post_init__(self) -> None:
        require(self.every >= 1, f"heldout.every must be 1 or more, not {self.every}")
        require(0 < self.tail_share < 1, f"heldout.tail_share must be between 0 and 1, not {self.tail_share}")
        require(self.tail_gap_s >= 0, f"heldout.tail_gap_s must be 0 or more, not {self.tail_gap_s}")


@dataclass(frozen=True)
class SamePerson:
    """Groups of clips of the same person, who must not be both trained on and unseen."""

    groups: tuple[Patterns, ...] = ()


@dataclass(frozen=True)
class Rules:
    """The contents of a split file, see the module's docstring."""

    never_train: Patterns = ()
    unseen: Mapping[str, Patterns] = field(default_factory=dict)
    heldout: HeldOut = field(default_factory=HeldOut)
    same_person: SamePerson = field(default_factory=SamePerson)


class Splits:
    """Assigns the frames of every clip to ``train``, ``heldout``, ``unseen_<group>`` or ``test``.

    Args:
        rules: the split file's contents.
        names: of all clips.
        wholes: by the name of a piece, the name of the clip it was cut from.

    Attributes:
        idle: patterns that match no clip.

    Raises:
        ConfigError: a group of ``same_person`` would be both trained on and unseen.
    """

    def __init__(self, rules: Rules, names: Sequence[str], wholes: Mapping[str, str] | None = None) -> None:
        self._rules, self._wholes = rules, wholes or {}
        held = rules.heldout
        candidates = [name for name in sorted(names) if self._matches(name, held.clips)]
        self._heldout = set(candidates[:: held.every])
        given = (*rules.never_train, *(p for group in rules.unseen.values() for p in group), *held.clips, *held.tails)
        self.idle = [p for p in dict.fromkeys(given) if not any(self._matches(name, [p]) for name in names)]
        for group in rules.same_person.groups:
            sides = {self._seen(name): name for name in names if self._matches(name, group)}
            require(len(sides) < 2, f"{sides.get(True)} is for training and {sides.get(False)} is not, but both "
                                    "show one person; put them on the same side")  # fmt: skip

    @classmethod
    def read(cls, path: Path, names: Sequence[str], wholes: Mapping[str, str] | None = None) -> Splits:
        """Read the rules from a TOML file.

        Raises:
            ConfigError: the file is missing, not TOML, or contains an unknown key or a wrong type or value.
        """
        try:
            return cls(from_dict(Rules, tomllib.loads(path.read_text(encoding="utf-8"))), names, wholes)
        except OSError as error:
            raise ConfigError(f"cannot read the split file {path}: {error.strerror}") from None
        except ValueError as error:
            raise ConfigError(f"{path}: not valid TOML ({error})") from None
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from None

    @classmethod
    def default(cls, names: Sequence[str], wholes: Mapping[str, str] | None = None) -> Splits:
        """Splits without rules: of 20 videos or more, every 20th is held out with all its pieces.

        One person may be in both splits; say so when you report results.
        """
        splits = cls(Rules(), names, wholes)
        videos = sorted({splits._whole(name) for name in names})
        held = set(videos[::SHARE]) if len(videos) >= SHARE else set()
        splits._heldout = {name for name in names if splits._whole(name) in held}
        return splits

    def ranges(self, name: str, frames: int) -> Ranges:
        """Frame ranges of a clip with this many frames, by split."""
        rules, held = self._rules, self._rules.heldout
        if self._matches(name, rules.never_train):
            return {"test": (0, frames)}
        for group, patterns in rules.unseen.items():
            if self._matches(name, patterns):
                return {f"unseen_{group}": (0, frames)}
        if name in self._heldout:
            return {"heldout": (0, frames)}
        if self._matches(name, held.tails):
            start = frames - round(held.tail_share * frames)
            return {"train": (0, max(0, start - round(FPS * held.tail_gap_s))), "heldout": (start, frames)}
        return {"train": (0, frames)}

    def _seen(self, name: str) -> bool:
        """Whether the clip's person is trained on, as it is in the splits ``train`` and ``heldout``."""
        return self.ranges(name, 1).keys() <= {"train", "heldout"}

    def _whole(self, name: str) -> str:
        return self._wholes.get(name, name)

    def _matches(self, name: str, patterns: Sequence[str]) -> bool:
        names = {spelt(name), spelt(self._whole(name))}
        # Only * is a wildcard. Downloaders write the other special characters into names: "Who? [id]".
        plain = [spelt(p).replace("[", "[[]").replace("?", "[?]") for p in patterns]
        return any(fnmatchcase(n, p) for n in names for p in plain)


def by_identity(clips: Sequence[ClipSource]) -> list[ClipSource]:
    """The clips with `ClipSource.split` set so that no person is in two splits, apart from `ASIDE`.

    The data set's own ``test`` and ``heldout`` clips stay there, and all other clips of their people become `ASIDE`.
    If the data set has no ``test`` or no ``heldout`` clips, about a twentieth of the other people is chosen for it, by
    a hash of the person's name alone: the choice is the same on every machine, and more data moves nobody to another
    split. Each clip without a known person counts as a person.
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

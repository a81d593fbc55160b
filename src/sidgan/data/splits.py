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
    [same_person]                            # never on both sides: trained on, and not
    groups = [["train/a", "test/a_again"]]

Names are paths below the prepared folder, without ending; ``*`` matches any text. A piece of a clip that was cut has
its own name, ``NAME_p000``, and answers to that of the clip as well. What cannot be understood is an
error: a rule that is passed over is a clip that is trained on.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path

from sidgan.config import FPS, from_dict, require
from sidgan.data.listing import ClipSource, rank
from sidgan.errors import ConfigError
from sidgan.portable import spelt

SHARE = 20  #: of a plain folder one video in so many is held out; of a data set without an official split about one
#: person in so many, and as many are for tests
ASIDE = "aside"  #: clips of people who are on another side of the split: neither trained on nor judged
Ranges = dict[str, tuple[int, int]]  #: split name -> first and one-past-last frame


Patterns = tuple[str, ...]


@dataclass(frozen=True)
class HeldOut:
    """Seen people, unseen speech: every n-th of some clips, and the last share of others' frames, after a gap in s."""

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
    """Clips of one person each, who must not be trained on in one and unseen in another."""

    groups: tuple[Patterns, ...] = ()


@dataclass(frozen=True)
class Rules:
    """What a split file may say; see the module."""

    never_train: Patterns = ()
    unseen: Mapping[str, Patterns] = field(default_factory=dict)
    heldout: HeldOut = field(default_factory=HeldOut)
    same_person: SamePerson = field(default_factory=SamePerson)


class Splits:
    """Assigns the frames of every clip to ``train``, ``heldout``, ``unseen_<group>`` or ``test``.

    Args:
        rules: what a split file says.
        names: of all clips.
        wholes: of pieces, the name of the clip that they were cut from.

    Attributes:
        idle: patterns that no clip matches: of other folders, or mistaken.

    Raises:
        ConfigError: one person would be trained on and unseen.
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
            ConfigError: no such file, not TOML, or something in it that is no rule.
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
        """Without rules: of 20 videos or more every 20th is held out, with all its pieces.

        People may be on both sides; say so when you report figures.
        """
        splits = cls(Rules(), names, wholes)
        videos = sorted({splits._whole(name) for name in names})
        held = set(videos[::SHARE]) if len(videos) >= SHARE else set()
        splits._heldout = {name for name in names if splits._whole(name) in held}
        return splits

    def ranges(self, name: str, frames: int) -> Ranges:
        """Frame ranges of one clip, by split."""
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
        """Whether the clip shows one of the people who are trained on."""
        return self.ranges(name, 1).keys() <= {"train", "heldout"}

    def _whole(self, name: str) -> str:
        return self._wholes.get(name, name)

    def _matches(self, name: str, patterns: Sequence[str]) -> bool:
        names = {spelt(name), spelt(self._whole(name))}
        # Brackets are part of names, as of those that downloaders write: "Title [id]".
        return any(fnmatchcase(n, spelt(p).replace("[", "[[]")) for n in names for p in patterns)


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

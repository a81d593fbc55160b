"""From a video to weights for its faces, each kept only where it is better."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sidgan import checkpoint
from sidgan.adaptation.judging import Judge, Look, silenced, split
from sidgan.adaptation.material import Material, read_material
from sidgan.adaptation.settings import AdaptConfig
from sidgan.adaptation.tuning import tune
from sidgan.arguments import checked
from sidgan.config import FPS, require
from sidgan.errors import InputError, counted
from sidgan.files import check_target, require_apart, require_ending
from sidgan.nn import Generator
from sidgan.nn.baselines import Critics
from sidgan.train.growth import trunk_of, with_trunk
from sidgan.types import Float, Show

MIN_FRAMES = 50  #: two seconds: with less there is nothing to learn from
LONGEST = 3000  #: seconds that are read for one face; a mouth repeats itself long before
LEAST = 0.5  #: of an equal share of the time, that each face gets however short it is on screen


@dataclass(frozen=True)
class AdaptReport:
    """What adaptation did for one face.

    Attributes:
        face: its number among all faces of the video, 1 is the most prominent.
        place: where and when it is seen, in words.
        sound: ``own``, ``shifted by n frames`` (moved to fit the picture), ``silent`` or ``not its own``; with the last
            two only the appearance is adapted, not what the mouth does.
        evidence: that sound and picture belong together, in robust standard deviations; 10 is beyond doubt.
        frames: trained on. held_back: frames that judged.
        steps, minutes: how long.
        before, after: mouth PSNR in dB on the held-back stretch; without a sound that belongs to it, beside the lips.
        gap_before, gap_after: how much worse a wrong sound does there, dB: does the mouth listen? ``None`` without one.
        lmd_before, lmd_after: mean distance of the lip landmarks there, px at 256 px; ``None`` likewise.
        answer: how much a sound moves in the drawn mouth, of what it moved before.
        best_at: share of the run after which the weights were best.
        kept: whether the adapted weights are used.
        refusal: why not, if not.
        bytes: size of the file written, ``None`` where none was.
        note: what else there is to know, if anything.
    """

    face: int
    place: str
    sound: str
    evidence: float
    frames: int
    held_back: int
    steps: int
    minutes: float
    before: float
    after: float
    gap_before: float | None
    gap_after: float | None
    lmd_before: float | None
    lmd_after: float | None
    answer: float
    best_at: float
    kept: bool
    refusal: str | None
    bytes: int | None = None
    note: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        return asdict(self)

    def line(self) -> str:
        """One line for people."""
        what = "mouth PSNR" if self.gap_after is not None else "PSNR around the lips"
        sound = "" if self.sound == "own" else f"; sound {self.sound}"
        deaf = "" if self.gap_after is not None else "; only the appearance was adapted"
        verdict = "kept" if self.kept else f"{self.refusal}, so the model is left unchanged"
        size = "" if self.bytes is None else f"; {self.bytes / 1e6:.1f} MB"
        note = "" if self.note is None else f"; {self.note}"
        return (f"on held-out frames, {what} {self.before:.1f} -> {self.after:.1f} dB (higher is closer to the "
                f"original) after {counted(self.steps, 'step')} in {self.minutes:.1f} min: {verdict}"
                f"{sound}{deaf}{size}{note}")  # fmt: skip


@dataclass(frozen=True)
class Adapted:
    """The weights for one face: ``tracks`` are the places of its tracks among the video's, as `sidgan.dub` takes them.

    ``generator`` is in eval mode on the CPU: the adapted one where it is better, else the one it began from.
    """

    tracks: tuple[int, ...]
    generator: Generator
    report: AdaptReport


@checked
def adapt(
    video: Path | str,
    *,
    model: Path | str = "bundled",
    minutes: float = 5.0,
    out: Path | str | None = None,
    face: int = 1,
    device: str = "auto",
    seed: int = 0,
    progress: Show = lambda share, text: None,
    config: AdaptConfig | None = None,
) -> tuple[Generator, AdaptReport]:
    """Fine-tune a generator on one face of a video for ``minutes``.

    Args:
        video: a talking face, best with its own sound; without one only the appearance is adapted.
        model: weights to start from.
        minutes: time for training; preparation comes on top.
        out: where to keep what changed for later dubs of this person (``.safetensors``). The file is used like any
            weights file, as long as ``model`` stays where it is or beside it.
        face: which of the faces, 1 is the most prominent.
        progress: called with the share done and a line of text.
        config: for experiments.

    Returns:
        The better of the adapted and the original generator, in eval mode on the CPU, and the report.

    Raises:
        InputError: no face, no such face, or less than two seconds of it.
        OutputError: ``out`` cannot be written, is called something else, or is the model or the video.
    """
    video = Path(video)
    if out is not None:
        out = Path(out)
        _check_out(out, model, video)
    base, rivals, note = _adaptable(model, minutes)
    found = read_material(video, base.config.base_size, "all", progress, LONGEST)
    material = next((m for m in found if m.number == face), None)
    if material is None:
        there = "; ".join(f"{m.number}: {m.place}" for m in found)
        raise InputError(f"there is no face {face} in {video}; there are {there}")
    _enough(material, video)
    how = config or AdaptConfig()
    result = _adapt_one(base, material, minutes, how, device=device, seed=seed, progress=progress, rivals=rivals,
                        note=note)  # fmt: skip
    report = result.report
    if out is not None:
        checkpoint.save_changes(out, result.generator, model, {"adapted_to": video.name, **report.to_dict()})
        report = replace(report, bytes=out.stat().st_size)
    return result.generator, report


def _check_out(out: Path, model: Path | str, video: Path) -> None:
    """Raise an `OutputError` where changes to a model cannot be kept in ``out``, before minutes are spent."""
    require_ending(out, ".safetensors")
    check_target(out)
    require_apart(out, [checkpoint.base_file(model)], "the model to start from, which its changes need")
    require_apart(out, [video], "the video itself")


def adapt_faces(
    video: Path,
    *,
    model: Path | str = "bundled",
    minutes: float = 5.0,
    faces: str = "largest",
    tolerant: bool = False,
    device: str = "auto",
    seed: int = 0,
    progress: Show = lambda share, text: None,
    config: AdaptConfig | None = None,
) -> list[Adapted]:
    """Fine-tune weights of its own for each face that a dub of a video would redraw.

    The time is shared by frames to be redrawn, but nobody gets less than half of an equal share. Faces seen for less
    than two seconds are left to the model.

    Args:
        minutes: time for training in total; preparation comes on top.
        faces: as for `sidgan.dub`.
        tolerant: pass over what is damaged in the video.

    The other arguments are those of `adapt`.

    Raises:
        InputError: no face, or none for two seconds.
    """
    base, rivals, note = _adaptable(model, minutes)
    require(faces in ("largest", "all"), f"faces must be 'largest' or 'all', not {faces!r}")
    found = read_material(Path(video), base.config.base_size, faces, progress, tolerant=tolerant)
    known = [m for m in found if len(m) >= MIN_FRAMES]
    if not known:
        _enough(found[0], video)
    shares = shared([m.frames for m in known])
    how, done, results = config or AdaptConfig(), 0.0, []
    for material, share in zip(known, shares, strict=True):

        def told(part: float, text: str, begun: float = done, share: float = share) -> None:
            progress(begun + share * part, text)

        results.append(_adapt_one(base, material, share * minutes, how, device=device, seed=seed, progress=told,
                                  rivals=rivals, note=note))  # fmt: skip
        done += share
    return results


def networks(results: Sequence[Adapted]) -> Mapping[int, Generator]:
    """The kept weights by track, as `sidgan.dub` takes them for ``own``."""
    return {track: result.generator for result in results if result.report.kept for track in result.tracks}


def shared(frames: Sequence[int]) -> list[float]:
    """Shares of the time, by frames; the least is at least about half of an equal share. They sum to 1."""
    equal = LEAST / len(frames)
    shares = [max(count / sum(frames), equal) for count in frames]
    return [share / sum(shares) for share in shares]


def _adaptable(model: Path | str, minutes: float) -> tuple[Generator, Critics | None, str | None]:
    """What adaptation begins with: a generator, its critics if they are kept, and a line where others' are."""
    require(0 < minutes < math.inf, f"minutes of adaptation must be more than 0, not {minutes:g}")
    base = checkpoint.load_generator(model)
    require(base.config.kind == "sidgan", f"{model} is a {base.config.kind} generator; only sidgan's can be adapted")
    told: list[str] = []
    rivals = checkpoint.load_critics(model, told.append)
    return base, rivals, "; ".join(told) or None


def _enough(material: Material, video: Path) -> None:
    if len(material) < MIN_FRAMES:
        raise InputError(
            f"cannot adapt to {Path(video).name}: face {material.number} is seen for only {len(material) / FPS:.1f} s, "
            f"but {MIN_FRAMES / FPS:.0f} s are needed; dub without --adapt"
        )


@dataclass(frozen=True)
class _Seen:
    """Weights that were looked at: after which share of the run, how they did, and why they may not be used, if so."""

    share: float
    look: Look
    refusal: str | None
    generator: Generator


class _Best:
    """Picks among the weights of a run: the best that may be used, or else the last ones, for why they may not."""

    def __init__(self, judge: Judge, base: Generator) -> None:
        self._judge = judge
        self.before = judge.look(base)
        self._seen: _Seen | None = None

    def look(self, share: float, generator: Generator) -> None:
        """Judge the next weights."""
        found = self._judge.look(generator)
        new, best = _Seen(share, found, self._judge.refusal(found, self.before), generator), self._seen
        if best is None or best.refusal is not None or (new.refusal is None and found.quality > best.look.quality):
            self._seen = new

    @property
    def seen(self) -> _Seen:
        """What was picked; there is something as soon as one was looked at."""
        assert self._seen is not None
        return self._seen


def _adapt_one(
    base: Generator, material: Material, minutes: float, config: AdaptConfig, *, device: str, seed: int,
    progress: Show, rivals: Critics | None = None, note: str | None = None,
) -> Adapted:  # fmt: skip
    # What lies above a trunk corrects it for anybody: a person is learnt at the trunk's size, in less time.
    whole, base = base, trunk_of(base)
    hears, shown = material.sound.teaches, base.config.references
    train, held, every = split(material, shown)
    if not hears:  # a sound that belongs to no mouth would teach that sounds mean nothing; silence teaches nothing
        train, held = [silenced(clip) for clip in train], silenced(held)
    best = _Best(Judge(held, hears, every, shown), base)

    def told(share: float, done: int, total: int) -> None:
        progress(share, f"adapting face {material.number}: step {done} of about {total}")

    steps, spent = tune(base, train, minutes, config, hears=hears, device=device, seed=seed, look=best.look,
                        progress=told, rivals=rivals)  # fmt: skip
    seen = best.seen
    report = AdaptReport(
        face=material.number, place=material.place, sound=material.sound.verdict, evidence=material.sound.evidence,
        frames=sum(len(clip) for clip in train), held_back=len(held) - shown, steps=steps, minutes=round(spent, 2),
        best_at=seen.share, kept=seen.refusal is None, refusal=seen.refusal, note=note,
        **_figures(best.before, seen.look, hears),
    )  # fmt: skip
    return Adapted(material.tracks, with_trunk(whole, seen.generator) if report.kept else whole, report)


def _figures(before: Look, after: Look, hears: bool) -> dict[str, Any]:
    """How a face was drawn before and after, rounded, by the names that `AdaptReport` has for it."""

    def heard(values: Float) -> float | None:
        return round(float(values.mean()), 2) if hears else None

    answer = float(after.answer.mean() / max(before.answer.mean(), 1e-9))
    return {
        "before": round(before.quality, 2), "after": round(after.quality, 2), "answer": round(answer, 2),
        "gap_before": heard(before.gap), "gap_after": heard(after.gap),
        "lmd_before": heard(before.lmd), "lmd_after": heard(after.lmd),
    }  # fmt: skip

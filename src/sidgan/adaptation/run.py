"""Adapt a generator to the faces of a video; adapted weights are kept only if they are better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from sidgan import checkpoint
from sidgan.adaptation.judging import Judge, Scores, silenced, split
from sidgan.adaptation.material import Material, read_material
from sidgan.adaptation.settings import AdaptConfig
from sidgan.adaptation.tuning import tune
from sidgan.arguments import checked
from sidgan.config import FPS
from sidgan.dubbing.analysis import Find
from sidgan.engine import choose_device
from sidgan.errors import InputError, counted
from sidgan.files import check_target, require_apart, require_ending
from sidgan.nn import Generator
from sidgan.nn.baselines import Critics
from sidgan.settings import require, require_minutes
from sidgan.train.growth import trunk_of, with_trunk
from sidgan.types import Float, Show

MIN_FRAMES = 50  #: two seconds; less is not enough to learn from
MAX_SECONDS = 3000  #: of video read by `adapt`; more adds nothing new
MIN_SHARE = 0.5  #: least time for a face, relative to an equal share, however short it is on screen


@dataclass(frozen=True)
class AdaptReport:
    """What adaptation did for one face.

    Attributes:
        face: rank among all faces of the video, 1 is the most prominent.
        place: where and when it is seen, in words.
        sound: ``own``, ``shifted by n frames`` (shifted to match the picture), ``silent`` or ``not its own``; with the
            last two only the appearance is adapted, not the motion of the mouth.
        evidence: for sound and picture belonging together, in robust standard deviations; 10 is beyond doubt.
        frames: number of training frames.
        held_back: number of held-out frames that were evaluated.
        steps, minutes: length of the training.
        before, after: mouth PSNR in dB on held-out frames; without the lips if the sound does not belong to the face.
        gap_before, gap_after: loss of PSNR with a wrong sound, dB: does the mouth follow the sound? ``None`` if the
            sound does not belong to the face.
        lmd_before, lmd_after: mean distance of the lip landmarks, px at 256 px; ``None`` likewise.
        answer: response of the drawn mouth to sound, relative to that before.
        best_at: share of the run after which the weights were best.
        kept: whether the adapted weights are used.
        refusal: why they are not; ``None`` if they are.
        bytes: size of the file written, ``None`` if there is none.
        note: a remark, such as on missing critics, or ``None``.
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
        """A one-line summary for users."""
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
    """The weights for one face: ``tracks`` are indices of its tracks in the video, as `sidgan.dub` takes them.

    ``generator``, in eval mode on the CPU, is the adapted one if it is better, else the original one.
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
        minutes: time for training, without preparation and evaluation.
        out: file for the changed weights (``.safetensors``), for later dubs of this person. It is used like any
            weights file, as long as ``model`` stays where it is or beside it.
        face: number of the face, 1 is the most prominent.
        progress: called with the share done and a line of text.
        config: further settings, for experiments.

    Returns:
        The better of the adapted and the original generator, in eval mode on the CPU, and the report.

    Raises:
        InputError: no face, no such face, or less than two seconds of it.
        OutputError: ``out`` cannot be written, does not end with ``.safetensors``, or is the model or the video.
    """
    video = Path(video)
    if out is not None:
        out = Path(out)
        _check_out(out, model, video)
    how = config or AdaptConfig()
    base, rivals, note = _load_base(model, minutes, how, device)
    found = read_material(video, base.config.base_size, "all", progress, MAX_SECONDS)
    material = next((m for m in found if m.number == face), None)
    if material is None:
        there = "; ".join(f"{m.number}: {m.place}" for m in found)
        raise InputError(f"there is no face {face} in {video}; there are {there}")
    _require_enough(material, video)
    result = _adapt_one(base, material, minutes, how, device=device, seed=seed, progress=progress, rivals=rivals,
                        note=note)  # fmt: skip
    report = result.report
    if out is not None:
        checkpoint.save_changes(out, result.generator, model, {"adapted_to": video.name, **report.to_dict()})
        report = replace(report, bytes=out.stat().st_size)
    return result.generator, report


def _check_out(out: Path, model: Path | str, video: Path) -> None:
    """Raise an `OutputError` if ``out`` cannot be written or would replace an input, before the slow work."""
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
    progress: Show = lambda share, text: None,
    config: AdaptConfig | None = None,
    find: Find | None = None,
) -> list[Adapted]:
    """Fine-tune separate weights for each face that a dub of a video would redraw.

    Time is divided by the number of frames to be redrawn, with at least about half of an equal share for each face.
    Faces seen for less than two seconds are not adapted.

    Args:
        minutes: total time for training, without preparation and evaluation.
        faces: as for `sidgan.dub`.
        tolerant: skip damaged parts of the video.
        find: see `sidgan.dubbing.Dubber.dub`, which may be given the same one.

    The other arguments are those of `adapt`.

    Raises:
        InputError: no face is seen for two seconds or more.
    """
    how = config or AdaptConfig()
    base, rivals, note = _load_base(model, minutes, how, device)
    require(faces in ("largest", "all"), f"faces must be 'largest' or 'all', not {faces!r}")
    found = read_material(Path(video), base.config.base_size, faces, progress, tolerant=tolerant, find=find)
    known = [m for m in found if len(m) >= MIN_FRAMES]
    if not known:
        _require_enough(found[0], video)
    shares = time_shares([m.frames for m in known])
    done, results = 0.0, []
    for material, share in zip(known, shares, strict=True):

        def report_progress(part: float, text: str, begun: float = done, share: float = share) -> None:
            progress(begun + share * part, text)

        results.append(_adapt_one(base, material, share * minutes, how, device=device, seed=0,
                                  progress=report_progress, rivals=rivals, note=note))  # fmt: skip
        done += share
    return results


def networks(results: Sequence[Adapted]) -> Mapping[int, Generator]:
    """The kept weights by track index, as `sidgan.dub` takes them for ``own``."""
    return {track: result.generator for result in results if result.report.kept for track in result.tracks}


def time_shares(frames: Sequence[int]) -> list[float]:
    """Shares of the time in proportion to ``frames``, each at least about half of an equal share; they sum to 1."""
    equal = MIN_SHARE / len(frames)
    shares = [max(count / sum(frames), equal) for count in frames]
    return [share / sum(shares) for share in shares]


def _load_base(
    model: Path | str, minutes: float, config: AdaptConfig, device: str
) -> tuple[Generator, Critics | None, str | None]:
    """Load the generator, its critics if there are any, and a note if the critics do not belong to it."""
    require_minutes(minutes)
    choose_device(device)  # refuses one that is not there before the video is read
    base = checkpoint.load_generator(model)
    require(base.config.kind == "sidgan", f"{model} is a {base.config.kind} generator; only sidgan's can be adapted")
    config.training(base.config, hears=True, seed=0)  # refuses impossible settings before the video is read
    messages: list[str] = []
    rivals = checkpoint.load_critics(model, messages.append)
    return base, rivals, "; ".join(messages) or None


def _require_enough(material: Material, video: Path) -> None:
    if len(material) < MIN_FRAMES:
        raise InputError(
            f"cannot adapt to {Path(video).name}: face {material.number} is seen for only {len(material) / FPS:.1f} s, "
            f"but {MIN_FRAMES / FPS:.0f} s are needed; dub without adapting"
        )


@dataclass(frozen=True)
class _Candidate:
    """Weights that were evaluated after a share of the run: their scores, and why they must not be used, if so."""

    share: float
    scores: Scores
    refusal: str | None
    generator: Generator


class _Best:
    """Picks the best usable weights of a run; if none are usable, the last ones, for their refusal."""

    def __init__(self, judge: Judge, base: Generator) -> None:
        self._judge = judge
        self.before = judge.score(base)
        self._chosen: _Candidate | None = None

    def add(self, share: float, generator: Generator) -> None:
        """Evaluate the next weights."""
        found = self._judge.score(generator)
        new, best = _Candidate(share, found, self._judge.refusal(found, self.before), generator), self._chosen
        if best is None or best.refusal is not None or (new.refusal is None and found.quality > best.scores.quality):
            self._chosen = new

    @property
    def chosen(self) -> _Candidate:
        """The best weights so far; needs at least one `add`."""
        assert self._chosen is not None
        return self._chosen


def _adapt_one(
    base: Generator, material: Material, minutes: float, config: AdaptConfig, *, device: str, seed: int,
    progress: Show, rivals: Critics | None = None, note: str | None = None,
) -> Adapted:  # fmt: skip
    # Layers above a trunk refine it for any person, so only the trunk is adapted, which takes less time.
    whole, base = base, trunk_of(base)
    hears, shown = material.sound.teaches, base.config.references
    train, held, every = split(material, shown)
    if not hears:  # unrelated sound would teach the network to ignore sound; silence does not
        train, held = [silenced(clip) for clip in train], silenced(held)
    best = _Best(Judge(held, hears, every, shown), base)

    steps, spent = tune(base, train, minutes, config, hears=hears, device=device, seed=seed, look=best.add,
                        progress=lambda done: progress(done, f"adapting face {material.number}"),
                        rivals=rivals)  # fmt: skip
    chosen = best.chosen
    report = AdaptReport(
        face=material.number, place=material.place, sound=material.sound.verdict, evidence=material.sound.evidence,
        frames=sum(len(clip) for clip in train), held_back=len(held) - shown, steps=steps, minutes=round(spent, 2),
        best_at=chosen.share, kept=chosen.refusal is None, refusal=chosen.refusal, note=note,
        **_figures(best.before, chosen.scores, hears),
    )  # fmt: skip
    return Adapted(material.tracks, with_trunk(whole, chosen.generator) if report.kept else whole, report)


def _figures(before: Scores, after: Scores, hears: bool) -> dict[str, Any]:
    """The rounded scores before and after, as fields of `AdaptReport`."""

    def heard(values: Float) -> float | None:
        return round(float(values.mean()), 2) if hears else None

    answer = float(after.answer.mean() / max(before.answer.mean(), 1e-9))
    return {
        "before": round(before.quality, 2), "after": round(after.quality, 2), "answer": round(answer, 2),
        "gap_before": heard(before.gap), "gap_after": heard(after.gap),
        "lmd_before": heard(before.lmd), "lmd_after": heard(after.lmd),
    }  # fmt: skip

"""Anybody's videos beside the true ones of the same names: what any tool made is judged as this project's results are.

The face is followed in the true video. Both are cut with the same matrices and compared frame by frame, at the ticks of
a 25-fps clock over the longest stretch in which the face was seen. The mouth region is the box that would be hidden,
from the true landmarks. Nothing is aligned: a video that is longer, faster, of another size or some frames late is
named and left out, for every alignment would be a guess that flatters.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import partial
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sidgan import audio, checkpoint, faces, geometry, media, metrics
from sidgan.config import FPS, require
from sidgan.data.dataset import PackedClip
from sidgan.data.packing import longest_seen, ticks
from sidgan.data.sources import folder as videos_below
from sidgan.engine import choose_device
from sidgan.errors import InputError
from sidgan.evaluation import protocol
from sidgan.evaluation.cuts import Cuts
from sidgan.evaluation.folder import Excluded, Outcome, judge_all, summarise
from sidgan.evaluation.judging import judge
from sidgan.evaluation.networks import NetworkFiles, Networks
from sidgan.evaluation.prepared import weights_file
from sidgan.evaluation.results import COMPOSITE, EvalResult
from sidgan.evaluation.subject import Mask, Subject
from sidgan.files import digest
from sidgan.metrics.lag_crops import MIN_BOXES
from sidgan.nn import SyncNet
from sidgan.types import Clip, FaceTrack, Float, Frame

VIDEOS = "videos"  #: the name of their only table
MIN_FRAMES = 5  #: at 25 fps; a sync window
REACH = 5  #: frames by which two videos are shifted against each other
SHIFTED = 0.7  #: share of the difference that must be left at another shift, before pictures count as late


@dataclass(frozen=True)
class VideoSettings:
    """How videos are judged: crop side in px, mouth region, first frame, identity; see `sidgan.evaluation.evaluate`."""

    size: int = 512
    mask: Mask = "query"
    score_reference: bool = False
    id_every: int = 5
    max_frames: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        require(self.size >= 64 and self.size % 2 == 0, f"size must be even and at least 64 px, not {self.size}")
        require(self.mask in ("query", "lower"), f"mask must be query or lower, not '{self.mask}'")
        require(self.id_every >= 0, f"id_every must be 0 or more, not {self.id_every}")
        enough = self.max_frames is None or self.max_frames >= MIN_FRAMES
        require(enough, f"max_frames must be at least {MIN_FRAMES}, not {self.max_frames}")


def evaluate_videos(
    out: Path | str,
    videos: Path | str,
    truth: Path | str,
    *,
    expert: Path | str = "bundled",
    networks: NetworkFiles | Callable[[], NetworkFiles] | None = None,
    settings: VideoSettings | None = None,
    workers: int = 1,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, EvalResult]:
    """Judge a folder of videos beside the true ones, into a result folder that can be gone on with.

    Args:
        out: result folder, see `sidgan.evaluation.folder`; made if it is not there.
        videos: what a tool made, in any container and codec; their sound judges synchronisation.
        truth: true videos of the same names (paths below the folder, without ending).
        expert: weights file of a sync expert, or ``bundled``.
        networks: those behind FID and LSE, or what fetches them, called when videos are found; by default none.
        settings: how.
        workers: processes.
        progress: called with the clips done and the number of all.

    Returns:
        A result with rows ``truth`` and ``result``, under the name ``videos``.

    Raises:
        InputError: a folder is missing, or holds no videos.
        ConfigError: impossible settings, or ``out`` holds figures of other ones.
        DataError: no pair can be judged.
    """
    out, videos, truth = Path(out), Path(videos), Path(truth)
    how = settings or VideoSettings()
    judge_file = weights_file(expert, "syncnet")
    jobs = pairs(videos, truth)
    names = {"list": VIDEOS, "notes": [], "count": len(jobs), "names": protocol.text_digest(j.name for j in jobs)}
    lent = networks() if callable(networks) else networks or NetworkFiles()
    described = protocol.describe(
        VIDEOS, asdict(how), names, lent.describe(), model=None, expert=digest(judge_file)
    )
    protocol.settle(out, described)
    records = judge_all(out, jobs, partial(_tools, judge_file, lent, how), workers=workers, progress=progress)
    return summarise(out, records, asdict(how))


@dataclass(frozen=True)
class Tools:
    """What judges, in one process."""

    expert: SyncNet
    networks: Networks
    how: VideoSettings


def _tools(expert: Path, networks: NetworkFiles, how: VideoSettings) -> Tools:
    device = choose_device(how.device)
    return Tools(checkpoint.load_syncnet(expert).to(device).eval(), networks.load(device), how)


def pairs(videos: Path, truth: Path) -> list[Pair]:
    """One for each name on either side, sorted.

    Raises:
        InputError: a folder is missing, or holds no videos, or two names would share a file.
    """
    mine, true = ({clip.name: str(clip.path) for clip in videos_below(root).clips} for root in (videos, truth))
    jobs, seen = [], dict[str, str]()
    for name in sorted({*mine, *true}):
        stem = name.replace("/", "__")
        if stem in seen:
            raise InputError(f"{seen[stem]} and {name} have the same name; rename one of them")
        seen[stem] = name
        jobs.append(Pair(stem, name, mine.get(name), true.get(name)))
    return jobs


@dataclass(frozen=True)
class Pair:
    """A result and the true video of its name, see `folder.Job`; one of them may be missing."""

    stem: str
    name: str
    result: str | None
    truth: str | None
    split: str = VIDEOS

    def digest(self) -> str:
        """Of both files."""
        files = (self.result, self.truth)
        return protocol.text_digest("" if path is None else digest(Path(path)) for path in files)

    @torch.no_grad()
    def run(self, tools: Tools) -> Outcome:
        """Judge the true video and the result.

        Raises:
            Excluded: they cannot be compared.
            InputError: one of them cannot be read.
        """
        if self.result is None or self.truth is None:
            raise Excluded("no result of this name" if self.result is None else "no true video of this name")
        truth, result = media.probe(Path(self.truth)), media.probe(Path(self.result))
        same_kind(truth, result)
        track, times = _followed(truth)
        wanted = ticks(times, track)
        pick = wanted[: tools.how.max_frames]
        if len(pick) < MIN_FRAMES:
            raise Excluded(f"face seen too briefly ({len(pick)} frames)")
        with tempfile.TemporaryDirectory(prefix="sidgan-") as folder:
            lag = tools.networks.judge is not None and len(pick) >= MIN_BOXES
            both = _cut(truth, result, pick, track, tools.how.size, Path(folder), lag=lag)
            found = self._judge(tools, track, times, pick, *both)
            del both
        begin, end = longest_seen(track)
        found.facts["skipped"] |= {why: count for why, count in (
            ("no face, or not in the longest stretch with it", len(times) - (end - begin)),
            ("between the ticks of 25 fps", end - begin - len(set(wanted))),
            ("beyond max_frames", len(wanted) - len(pick)),
        ) if count}  # fmt: skip
        found.facts["frames"] = len(times)
        return found

    def _judge(
        self, tools: Tools, track: FaceTrack, times: list[Fraction], pick: list[int], true: Cuts, mine: Cuts
    ) -> Outcome:
        rows = np.array(pick) - track.first
        unit = geometry.to_unit(track.matrices[rows], track.landmarks[rows])
        start = times[pick[0]]
        sounds = {"truth": _sound(str(self.truth), start), "result": _sound(str(self.result), start)}
        mels = {row: _mels(sound, len(pick)) for row, sound in sounds.items()}
        clip = PackedClip(self.name, true.crops, mels["result"], torch.from_numpy(geometry.mask_boxes(unit)), unit)
        how = tools.how
        subject = Subject(clip, "first", how.id_every, mask=how.mask, score_reference=how.score_reference, confirm=True)
        cuts = {"truth": true, "result": mine}
        verdicts = [
            verdict
            for row, sound in sounds.items()
            for verdict in judge(
                subject, row, cuts[row].crops.__getitem__, mels[row], systems=(COMPOSITE,), samples=sound,
                expert=None if sound is None else tools.expert, whole=True, networks=tools.networks,
                faces=cuts[row].faces,
            )
        ]  # fmt: skip
        frames = subject.frames.numpy()
        missing = int(np.isnan(verdicts[-1].series["open"]).sum())
        facts: dict[str, Any] = {
            "judged": len(frames), "skipped": {} if how.score_reference else {"reference": 1},
            "no_face_in_result": missing, "sound": sounds["result"] is not None,
        }  # fmt: skip
        if tools.networks.judge is not None:
            facts["lag_faces"] = "pipeline"
        pose = dict(zip(("yaw", "pitch", "roll"), track.pose[rows][frames].T, strict=True))
        side = track.matrices[rows][frames, 0, 0]
        return Outcome(verdicts, facts, {"frame": np.array(pick)[frames], **pose, "side": side})


def same_kind(truth: Clip, result: Clip) -> None:
    """Raise `Excluded` where frames of two videos cannot be the same moments and places."""
    if (truth.width, truth.height) != (result.width, result.height):
        raise Excluded(f"another size ({result.width}x{result.height}, not {truth.width}x{truth.height})")
    if abs(float(result.frame_rate / truth.frame_rate) - 1) > 2e-3:
        raise Excluded(f"another rate ({float(result.frame_rate):.3f} fps, not {float(truth.frame_rate):.3f})")


def not_shifted(result: Float, truth: Float) -> None:
    """Raise `Excluded` where a result's pictures are some frames early or late: outside the mouth, another shift fits.

    The difference of most frames decides, so that a few that are broken do not.

    Args:
        result: (N, ...) what does not move with the face and shows no mouth, see `sidgan.evaluation.cuts`.
        truth: (N, ...) of the same frames.
    """
    count = len(result)
    shifts = [s for s in range(-REACH, REACH + 1) if abs(s) < count // 2]
    errors = []
    for s in shifts:
        apart = np.abs(result[max(0, s) : count + min(0, s)] - truth[max(0, -s) : count + min(0, -s)])
        errors.append(float(np.median(apart.reshape(len(apart), -1).mean(1))))
    best = int(np.argmin(errors))
    if shifts[best] and errors[best] < SHIFTED * errors[shifts.index(0)]:
        raise Excluded(f"pictures are shifted ({shifts[best]:+d} frames)")


def _followed(clip: Clip) -> tuple[FaceTrack, list[Fraction]]:
    """The most prominent face, and the seconds at which frames are shown; raises `Excluded` where there is no face."""
    tracks, times = faces.track_faces(media.read_frames(clip))
    if not tracks:
        raise Excluded("no face in the true video")
    return tracks[0], times


def _cut(
    truth: Clip, result: Clip, pick: list[int], track: FaceTrack, size: int, folder: Path, *, lag: bool
) -> tuple[Cuts, Cuts]:
    """Cut the picked frames of both.

    Raises:
        Excluded: their frames are not the same moments.
    """
    squares = None
    if lag:
        squares = metrics.pipeline_squares(np.array([faces.box_of(track.landmarks[i - track.first]) for i in pick]))
    held = [Cuts(folder / name, track, len(pick), size, squares) for name in ("true", "mine")]
    wanted = Counter(pick)
    for index, (true, mine) in enumerate(_both(truth, result)):
        if true is None or mine is None:
            continue
        if abs(mine.time - true.time) > 0.5 / truth.frame_rate:
            raise Excluded(f"other times (frame {index} at {float(mine.time):.3f} s, not {float(true.time):.3f})")
        for _ in range(wanted[index]):
            for cuts, frame in zip(held, (true, mine), strict=True):
                cuts.add(frame, index)
    not_shifted(np.stack(held[1].brows), np.stack(held[0].brows))
    return held[0], held[1]


def _both(truth: Clip, result: Clip) -> Iterator[tuple[Frame | None, Frame | None]]:
    """Frames side by side; raises `Excluded` at the end where one has more of them."""
    counts = [0, 0]
    for true, mine in zip_longest(media.read_frames(truth), media.read_frames(result)):
        counts[0] += true is not None
        counts[1] += mine is not None
        yield true, mine
    if counts[0] != counts[1]:
        raise Excluded(f"another length ({counts[1]} frames, not {counts[0]})")


def _sound(path: str, start: Fraction) -> Float | None:
    """Samples from ``start`` seconds on; ``None`` where the file has no sound, or none that long."""
    if media.probe(Path(path)).audio_rate is None:
        return None
    samples = media.read_audio(Path(path))[round(start * audio.SAMPLE_RATE) :]
    return samples if len(samples) else None


def _mels(samples: Float | None, count: int) -> Tensor:
    mel = audio.log_mel(np.zeros(audio.SAMPLE_RATE, np.float32) if samples is None else samples)
    windows = audio.mel_windows(mel, [Fraction(i, FPS) for i in range(count)])
    return torch.from_numpy(windows.astype(np.float16))

"""Evaluation of videos from any tool against the true videos of the same names, with the metrics for our own results.

The face is tracked in the true video. Both videos are cropped with the same matrices and compared frame by frame, on a
25 fps clock over the longest segment in which the face was found. The mouth region is the box that would be hidden,
derived from the true landmarks. Nothing is aligned: a video of another length, frame rate or size, or some frames late,
is excluded and named, since every alignment would be a guess that flatters the result.
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

from sidgan import audio, checkpoint, faces, geometry, media, metrics, provenance
from sidgan.config import FPS
from sidgan.data.dataset import PackedClip
from sidgan.data.packing import MAX_SIZE, longest_seen, ticks
from sidgan.data.sources import folder as videos_below
from sidgan.engine import choose_device, require_device
from sidgan.errors import InputError
from sidgan.evaluation import protocol
from sidgan.evaluation.cuts import Cuts
from sidgan.evaluation.folder import Excluded, Outcome, judge_all, summarise
from sidgan.evaluation.judging import judge
from sidgan.evaluation.networks import NetworkFiles, Networks
from sidgan.evaluation.results import COMPOSITE, EvalResult
from sidgan.evaluation.subject import Mask, Subject
from sidgan.files import digest
from sidgan.metrics.lag_crops import MIN_BOXES
from sidgan.nn import SyncNet
from sidgan.settings import require
from sidgan.types import Clip, FaceTrack, Float, Frame

VIDEOS = "videos"  #: name of the mode, and of its only split
MIN_FRAMES = 5  #: at 25 fps; the length of a sync window
MAX_SHIFT = 5  #: frames; the largest shift that is tested for
SHIFTED = 0.7  #: a video counts as shifted if another shift leaves less than this share of the difference


@dataclass(frozen=True)
class VideoSettings:
    """Settings of `evaluate_videos`: ``size`` is the side of the crops in px; others as in `evaluate`."""

    size: int = 512
    mask: Mask = "query"
    score_reference: bool = False
    id_every: int = 5
    max_frames: int | None = None
    device: str = "cpu"

    def __post_init__(self) -> None:
        fits = 64 <= self.size <= MAX_SIZE and self.size % 2 == 0
        require(fits, f"size must be even and from 64 to {MAX_SIZE} px, not {self.size}")
        require(self.mask in ("query", "lower"), f"mask must be query or lower, not '{self.mask}'")
        require(self.id_every >= 0, f"id_every must be 0 or more, not {self.id_every}")
        enough = self.max_frames is None or self.max_frames >= MIN_FRAMES
        require(enough, f"max_frames must be at least {MIN_FRAMES}, not {self.max_frames}")
        require_device(self.device)


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
    """Evaluate a folder of videos against the true ones, into a result folder; a run that was stopped can be resumed.

    Args:
        out: result folder, see `sidgan.evaluation.folder`; created if it does not exist.
        videos: folder of the videos to judge, in any container and codec; synchronisation is judged with their sound.
        truth: folder of the true videos, which have the same names (relative paths without suffix).
        expert: weights file of a sync expert, or ``bundled``.
        networks: networks behind FID and LSE, or a function that fetches them once videos are found; by default none.
        settings: settings; by default on the CPU.
        workers: number of processes.
        progress: called with the number of clips done and of all clips.

    Returns:
        The split ``videos`` -> result with the rows ``truth`` and ``result``.

    Raises:
        InputError: a folder does not exist, or holds no videos.
        ConfigError: the settings are invalid, or ``out`` holds figures of other settings.
        DataError: no pair can be judged.
    """
    out, videos, truth = Path(out), Path(videos), Path(truth)
    settings = settings or VideoSettings()
    expert_file = checkpoint.file_of_kind(expert, "syncnet")
    jobs = pairs(videos, truth)
    names = {"list": VIDEOS, "notes": [], "count": len(jobs), "names": protocol.text_digest(j.name for j in jobs)}
    network_files = networks() if callable(networks) else networks or NetworkFiles()
    described = protocol.describe(
        VIDEOS, asdict(settings), names, network_files.describe(), model=None, expert=digest(expert_file)
    )
    protocol.write_or_check(out, described)
    tools = partial(_tools, expert_file, network_files, settings)
    records = judge_all(out, jobs, tools, workers=workers, progress=progress)
    return summarise(out, records, asdict(settings))


@dataclass(frozen=True)
class Tools:
    """Networks and settings of one process."""

    expert: SyncNet
    networks: Networks
    settings: VideoSettings


def _tools(expert: Path, networks: NetworkFiles, settings: VideoSettings) -> Tools:
    device = choose_device(settings.device)
    return Tools(checkpoint.load_syncnet(expert).to(device).eval(), networks.load(device), settings)


def pairs(videos: Path, truth: Path) -> list[Pair]:
    """One pair per name that occurs in either folder, sorted.

    Raises:
        InputError: a folder does not exist, or holds no videos, or two names would share a file in the result folder.
    """
    results, truths = ({clip.name: str(clip.path) for clip in videos_below(root).clips} for root in (videos, truth))
    jobs, seen = [], dict[str, str]()
    for name in sorted({*results, *truths}):
        stem = name.replace("/", "__")
        if stem in seen:
            raise InputError(f"{seen[stem]} and {name} have the same name; rename one of them")
        seen[stem] = name
        jobs.append(Pair(stem, name, results.get(name), truths.get(name)))
    return jobs


@dataclass(frozen=True)
class Pair:
    """A video to judge and the true video of the same name, see `folder.Job`; one of them may be missing."""

    stem: str
    name: str
    result: str | None
    truth: str | None
    split: str = VIDEOS

    def digest(self) -> str:
        """Digest of both files."""
        files = (self.result, self.truth)
        return protocol.text_digest("" if path is None else digest(Path(path)) for path in files)

    @torch.no_grad()
    def run(self, tools: Tools) -> Outcome:
        """Judge both videos.

        Raises:
            Excluded: they cannot be compared.
            InputError: one of them cannot be read.
        """
        if self.result is None or self.truth is None:
            raise Excluded("no result of this name" if self.result is None else "no true video of this name")
        truth, result = media.probe(Path(self.truth)), media.probe(Path(self.result))
        check_format(truth, result)
        track, times = _tracked(truth)
        on_clock = ticks(times, track)
        picked = on_clock[: tools.settings.max_frames]
        if len(picked) < MIN_FRAMES:
            raise Excluded(f"face seen too briefly ({len(picked)} frames)")
        with tempfile.TemporaryDirectory(prefix="sidgan-") as folder:
            lag = tools.networks.lag_expert is not None and len(picked) >= MIN_BOXES
            cuts = _cut(truth, result, picked, track, tools.settings.size, Path(folder), lag=lag)
            outcome = self._judge(tools, track, times, picked, *cuts)
            del cuts  # closes the files before their folder is deleted
        begin, end = longest_seen(track)
        outcome.facts["skipped"] |= {why: count for why, count in (
            ("no face, or not in the longest stretch with it", len(times) - (end - begin)),
            ("between the ticks of 25 fps", end - begin - len(set(on_clock))),
            ("beyond max_frames", len(on_clock) - len(picked)),
        ) if count}  # fmt: skip
        outcome.facts["frames"] = len(times)
        return outcome

    def _judge(
        self, tools: Tools, track: FaceTrack, times: list[Fraction], picked: list[int], truth: Cuts, result: Cuts
    ) -> Outcome:
        in_track = np.array(picked) - track.first
        unit = geometry.to_unit(track.matrices[in_track], track.landmarks[in_track])
        start = times[picked[0]]
        sounds = {"truth": _sound(str(self.truth), start), "result": _sound(str(self.result), start)}
        mels = {row: _mels(sound, len(picked)) for row, sound in sounds.items()}
        clip = PackedClip(self.name, truth.crops, mels["result"], torch.from_numpy(geometry.mask_boxes(unit)), unit)
        settings = tools.settings
        subject = Subject(clip, "first", settings.id_every, mask=settings.mask,
                          score_reference=settings.score_reference, confirm=True)  # fmt: skip
        cuts = {"truth": truth, "result": result}
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
            "judged": len(frames), "skipped": {} if settings.score_reference else {"reference": 1},
            "no_face_in_result": missing, "sound": sounds["result"] is not None,
            "altered_truth": provenance.altered(Path(str(self.truth))),
        }  # fmt: skip
        if tools.networks.lag_expert is not None:
            facts["lag_faces"] = "pipeline"
        pose = dict(zip(("yaw", "pitch", "roll"), track.pose[in_track][frames].T, strict=True))
        side = track.matrices[in_track][frames, 0, 0]
        return Outcome(verdicts, facts, {"frame": np.array(picked)[frames], **pose, "side": side})


def check_format(truth: Clip, result: Clip) -> None:
    """Raise `Excluded` if two videos differ in frame size or frame rate."""
    if (truth.width, truth.height) != (result.width, result.height):
        raise Excluded(f"another size ({result.width}x{result.height}, not {truth.width}x{truth.height})")
    if abs(float(result.frame_rate / truth.frame_rate) - 1) > 2e-3:
        raise Excluded(f"another rate ({float(result.frame_rate):.3f} fps, not {float(truth.frame_rate):.3f})")


def check_shift(result: Float, truth: Float) -> None:
    """Raise `Excluded` if a video is some frames early or late: if it fits much better when shifted.

    The median over frames decides, so that a few broken frames have no influence.

    Args:
        result: (N, ...) crops at a fixed place that do not show the mouth, see ``brows`` of `sidgan.evaluation.cuts`.
        truth: (N, ...) the same crops of the true video.
    """
    count = len(result)
    shifts = [s for s in range(-MAX_SHIFT, MAX_SHIFT + 1) if abs(s) < count // 2]
    errors = []
    for s in shifts:
        difference = np.abs(result[max(0, s) : count + min(0, s)] - truth[max(0, -s) : count + min(0, -s)])
        errors.append(float(np.median(difference.reshape(len(difference), -1).mean(1))))
    best = int(np.argmin(errors))
    if shifts[best] and errors[best] < SHIFTED * errors[shifts.index(0)]:
        raise Excluded(f"pictures are shifted ({shifts[best]:+d} frames)")


def _tracked(clip: Clip) -> tuple[FaceTrack, list[Fraction]]:
    """The track of the most prominent face, and the timestamps of all frames in s; raises `Excluded` without a face."""
    tracks, times = faces.track_faces(media.read_frames(clip))
    if not tracks:
        raise Excluded("no face in the true video")
    return tracks[0], times


def _cut(
    truth: Clip, result: Clip, picked: list[int], track: FaceTrack, size: int, folder: Path, *, lag: bool
) -> tuple[Cuts, Cuts]:
    """Crop the picked frames of both videos.

    Raises:
        Excluded: the timestamps or numbers of frames differ, or one video is shifted.
    """
    squares = None
    if lag:
        squares = metrics.pipeline_squares(np.array([faces.box_of(track.landmarks[i - track.first]) for i in picked]))
    true_cuts, cuts = (Cuts(folder / name, track, len(picked), size, squares) for name in ("truth", "result"))
    repeats = Counter(picked)  # at low frame rates, a frame is shown at several ticks of the clock
    for index, (true_frame, frame) in enumerate(_both(truth, result)):
        if true_frame is None or frame is None:
            continue
        time, true_time = frame.time, true_frame.time
        if abs(time - true_time) > 0.5 / truth.frame_rate:
            raise Excluded(f"other times (frame {index} at {float(time):.3f} s, not {float(true_time):.3f})")
        for _ in range(repeats[index]):
            true_cuts.add(true_frame, index)
            cuts.add(frame, index)
    check_shift(np.stack(cuts.brows), np.stack(true_cuts.brows))
    return true_cuts, cuts


def _both(truth: Clip, result: Clip) -> Iterator[tuple[Frame | None, Frame | None]]:
    """Pairs of frames, ``None`` after the end of the shorter video; raises `Excluded` at the end if lengths differ."""
    counts = [0, 0]
    for true_frame, frame in zip_longest(media.read_frames(truth), media.read_frames(result)):
        counts[0] += true_frame is not None
        counts[1] += frame is not None
        yield true_frame, frame
    if counts[0] != counts[1]:
        raise Excluded(f"another length ({counts[1]} frames, not {counts[0]})")


def _sound(path: str, start: Fraction) -> Float | None:
    """Samples at 16 kHz from ``start`` s on; ``None`` if the file has no sound, or it ends before."""
    if media.probe(Path(path)).audio_rate is None:
        return None
    samples = media.read_audio(Path(path))[round(start * audio.SAMPLE_RATE) :]
    return samples if len(samples) else None


def _mels(samples: Float | None, count: int) -> Tensor:
    """Mel windows (count, 1, 80, 28) float16 at 25 fps; of silence if there is no sound."""
    mel = audio.log_mel(np.zeros(audio.SAMPLE_RATE, np.float32) if samples is None else samples)
    windows = audio.mel_windows(mel, [Fraction(i, FPS) for i in range(count)])
    return torch.from_numpy(windows.astype(np.float16))

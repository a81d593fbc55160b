"""Soak tests, too long for the test suite: memory over half an hour, hundreds of kills, hundreds of damaged files.

    python tools/soak.py [--scale 0.05] [--seconds 1800] [--kills 100] [--files 500] [--seed 0]

``--scale`` (or the environment variable SOAK) shortens all three. Each part prints its results; the last line is one
JSON object, and the exit code is 1 if a part failed. Videos are synthetic, and a very small network draws the mouths,
as what is tested does not depend on its size. Memory is set up as by the command.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import cv2
import numpy as np
import torch

from sidgan import dubbing, media
from sidgan.config import GeneratorConfig
from sidgan.dubbing import journal, segments, work_folder
from sidgan.errors import SidganError
from sidgan.nn import Generator
from sidgan.portable import keep_memory
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Frame

RATE = Fraction(25)
PATIENCE = 300  #: seconds of processor time after which a dub counts as hung
FLAT = 1.05  #: factor by which memory may grow after the first quarter


def network() -> Generator:
    """The smallest possible generator, with fixed random weights."""
    torch.manual_seed(0)
    return Generator(GeneratorConfig(size=64, base=2, cmax=4, rgb_levels=(64,), audio_levels=(16,), audio_width=1))


def talk(path: Path, seconds: float, size: tuple[int, int], scale: int = 1, codec: str = "x264") -> Path:
    """Write a clip with sound of a person who says hello; ``size`` is (height, width) in px before enlarging."""
    scene = Scene(Person(3), LINES["hello"], seconds=seconds, rate=RATE, size=size)
    images = (cv2.resize(shot.image, None, fx=scale, fy=scale) for shot in scene)
    plain = path.with_name(f"plain_{path.stem}.mp4")
    media.write_clip(plain, images, RATE, scene.audio(16_000), crf=16)
    clip = media.probe(plain)
    with media.Writer(path, clip, audio=plain, encoding=media.Encoding(codec)) as writer:
        for frame in media.read_frames(clip):
            writer.write(frame)
    return path


def resident() -> float:
    """Resident memory of this process, MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / (1 << 20)


def long_job(folder: Path, seconds: float) -> dict[str, Any]:
    """Loop a 1080p video of 4 s for the length of a long voice; memory must not grow."""
    video = talk(folder / "hd.mp4", 4.0, (360, 640), 3)
    line = Scene(Person(3), LINES["morning"], seconds=4.0).audio(16_000)
    media.write_wav(folder / "long.wav", np.tile(line, int(seconds // 4) + 1)[: int(seconds * 16_000)], 16_000)
    seen: list[float] = []

    def look(before: Frame, after: Frame) -> None:
        if before.index % 25 == 0:
            seen.append(resident())

    begun = time.perf_counter()
    report = dubbing.dub(
        video, folder / "long.wav", folder / "long.mp4", generator=network(), device="cpu", length="loop", on_frame=look
    )
    seen.append(resident())  # after joining and checking
    quarter = len(seen) // 4
    early, late = max(seen[: quarter + 1]), max(seen[quarter + 1 :])
    return {
        "seconds": seconds, "frames": report.frames, "wall": round(time.perf_counter() - begun),
        "stages": report.seconds, "early_mib": round(early), "late_mib": round(late),
        "eighths_mib": [round(float(max(part))) for part in np.array_split(seen, 8)],
        "peak_mib": report.memory, "ok": late <= FLAT * early,
    }  # fmt: skip


def apart(work: Callable[[], object], patience: float) -> tuple[str, str]:
    """Run ``work`` in a child process: how it ended (``done``, ``refused``, ``crashed``, ``hung``), and its error.

    A process that uses more than ``patience`` seconds of processor time, or ten times that of wall time, is hung.
    """
    sys.stdout.flush()
    reader, writer = os.pipe()
    gc.collect()  # closing a decoder in the child would wait for threads that do not exist there
    child = os.fork()
    if not child:
        signal.setitimer(signal.ITIMER_PROF, patience)  # SIGPROF terminates the process
        signal.alarm(int(10 * patience))
        code, words = 0, ""
        try:
            work()
        except SidganError as error:
            code, words = 2, str(error)
        except BaseException:
            code, words = 70, traceback.format_exc()
        os.write(writer, words.encode()[-30_000:])
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        words = pipe.read().decode(errors="replace")
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        ended = "hung" if os.WTERMSIG(status) in (signal.SIGPROF, signal.SIGALRM) else "crashed"
        return ended, f"signal {os.WTERMSIG(status)}"
    return {0: "done", 2: "refused"}.get(os.WEXITSTATUS(status), "crashed"), words


@mock.patch.object(segments, "LENGTH", 25)  # frames; short segments, so that kills happen between several of them
@mock.patch.object(journal, "LENGTH", 25)
def kills(folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Kill dubs at random times and resume them; the output must have the same bytes as without kills."""
    video, generator = talk(folder / "killed.mp4", 6.0, (192, 192)), network()

    def job() -> None:
        dubbing.dub(video, video, folder / "out.mp4", generator=generator, device="cpu")

    begun = time.perf_counter()
    job()
    usual, expected, out = time.perf_counter() - begun, (folder / "out.mp4").read_bytes(), folder / "out.mp4"
    out.unlink()
    done = finished = wrong = 0
    while done < count:
        gc.collect()
        child = os.fork()
        if not child:
            job()
            os._exit(0)
        time.sleep(chance.uniform(0, 0.5 * usual))
        os.kill(child, signal.SIGKILL)
        if os.WIFSIGNALED(os.waitpid(child, 0)[1]):
            done += 1
        if out.exists() and not work_folder(out).exists():
            finished += 1
            wrong += out.read_bytes() != expected
            out.unlink()
    job()
    wrong += out.read_bytes() != expected or work_folder(out).exists()
    return {"kills": done, "outputs": finished + 1, "wrong": int(wrong), "ok": not wrong}


def damaged(data: bytes, chance: random.Random) -> tuple[str, bytes]:
    """The kind of damage, and the damaged data."""
    how, mine = chance.choice(["flips", "cut", "hole", "header", "shuffle"]), bytearray(data)
    where = chance.randrange(len(mine))
    if how == "flips":
        for _ in range(chance.choice([1, 10, 100, 1000])):
            mine[chance.randrange(len(mine))] ^= 1 << chance.randrange(8)
    elif how == "cut":
        del mine[where:]
    elif how == "hole":
        size = min(chance.choice([100, 5000]), len(mine) - where)
        mine[where : where + size] = bytes(size)
    elif how == "header":
        size = min(chance.choice([4, 16, 64, 512]), len(mine))
        mine[:size] = chance.randbytes(size)
    else:
        other = chance.randrange(len(mine))
        mine[where : where + 2000], mine[other : other + 2000] = mine[other : other + 2000], mine[where : where + 2000]
    return how, bytes(mine)


def damage(folder: Path, count: int, chance: random.Random) -> dict[str, Any]:
    """Damage videos and voices; each must be dubbed, or refused with a one-line error and without partial output."""
    sources = [talk(folder / f"small{i}{suffix}", 1.0, (192, 192), codec=codec) for i, (suffix, codec) in enumerate(
        [(".mp4", "x264"), (".mkv", "x265"), (".mov", "mpeg4"), (".mkv", "ffv1"), (".mkv", "libvpx-vp9")]
    )]  # fmt: skip
    media.write_wav(folder / "voice.wav", media.read_audio(sources[0]), 16_000)
    good, generator, found, bad = sources[0], network(), Counter[str](), list[str]()
    for source in sources:  # undamaged, all of them must be dubbed
        dubbing.dub(source, good, folder / "whole.mp4", generator=generator, device="cpu")
    for number in range(count):
        source = chance.choice([*sources, folder / "voice.wav"])
        how, data = damaged(source.read_bytes(), chance)
        file, out = folder / f"damaged{source.suffix}", folder / "result.mp4"
        file.write_bytes(data)
        voice = source.suffix == ".wav" or chance.random() < 0.2
        passed = chance.random() < 0.5

        def job(file: Path = file, out: Path = out, voice: bool = voice, passed: bool = passed) -> None:
            dubbing.dub(
                good if voice else file, file if voice else good, out, generator=generator, device="cpu",
                on_damage="pass" if passed else "stop",
            )  # fmt: skip

        ended, words = apart(job, PATIENCE)
        found[ended] += 1
        half = ended != "done" and out.exists()
        if ended in ("crashed", "hung") or half or words.strip().count("\n"):
            bad.append(f"file {number} ({source.name}, {how}, voice {voice}, pass {passed}): {ended} {words}")
            (folder.parent / f"soak_{number}{source.suffix}").write_bytes(data)
            print(bad[-1], flush=True)
        out.unlink(missing_ok=True)
        shutil.rmtree(work_folder(out), ignore_errors=True)
    return {"files": count, **found, "bad": len(bad), "ok": not bad}


def main() -> int:
    """Run the parts whose amount is at least 1, and print the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scale", type=float, default=float(os.environ.get("SOAK", "1")))
    parser.add_argument("--seconds", type=float, default=1800.0)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--files", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)  # child processes are forked, and threads do not survive a fork
    cv2.setNumThreads(1)
    keep_memory()
    chance, told = random.Random(args.seed), dict[str, Any]()
    with tempfile.TemporaryDirectory() as name:
        for part, amount in (("damage", args.files), ("kills", args.kills), ("memory", args.seconds)):
            folder = Path(name) / part
            folder.mkdir()
            wanted = amount * args.scale
            if wanted >= 1:
                told[part] = (
                    damage(folder, int(wanted), chance) if part == "damage" else
                    kills(folder, int(wanted), chance) if part == "kills" else long_job(folder, wanted)
                )  # fmt: skip
                print(part, told[part], flush=True)
    print(json.dumps(told))
    return 0 if all(one["ok"] for one in told.values()) else 1


if __name__ == "__main__":
    sys.exit(main())

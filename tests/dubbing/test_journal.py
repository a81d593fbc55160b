"""A dub that was stopped, killed or failed goes on where it was, and ends with the bytes it would have had."""

from __future__ import annotations

import dataclasses
import gc
import inspect
import json
import os
import random
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import av
import numpy as np
import pytest
from marked import films, network
from marked import sidgan as command

from sidgan import adaptation, dubbing, media, portable
from sidgan.adaptation import kept
from sidgan.adaptation.material import read_material
from sidgan.blend.tone import LOOK_BACK, ToneMatch
from sidgan.dubbing import journal, passes, segments, work_folder
from sidgan.dubbing.analysis import first_pass
from sidgan.dubbing.drawing import Done
from sidgan.dubbing.journal import Journal, Record
from sidgan.dubbing.report import Clock, Spent
from sidgan.dubbing.review import proof
from sidgan.dubbing.review.looks import Sample
from sidgan.errors import InputError, OutputError, SidganError
from sidgan.jobs import Job
from sidgan.types import Frame

FRAMES = 32
LOOK = Sample(24, 0.96, 0.1, (3.0, 4.5, 64.25), 0.5, 0.25, 1.0)
SHORT = 8  # frames of a segment in these tests


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LENGTH", SHORT)
    monkeypatch.setattr(journal, "LENGTH", SHORT)


pytestmark = pytest.mark.usefixtures("one_thread", "known_faces")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films(tmp_path_factory.mktemp("journal"))


def dub(folder: Path, out: Path, **how: Any) -> dubbing.DubReport:
    network_of_it = how.pop("generator", None) or network(0)
    video, voice = how.pop("video", folder / "film.mp4"), how.pop("voice", folder / "voice.wav")
    return dubbing.dub(video, voice, out, generator=network_of_it, device="cpu", **how)


@pytest.fixture(scope="module")
def straight(folder: Path) -> tuple[bytes, dubbing.DubReport]:
    """The output of a run that nothing happens to."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(segments, "LENGTH", SHORT)
        patch.setattr(journal, "LENGTH", SHORT)
        report = dub(folder, folder / "straight.mp4")
    return (folder / "straight.mp4").read_bytes(), report


def same_work(one: dubbing.DubReport, other: dubbing.DubReport) -> bool:
    facts = ("frames", "dubbed", "passed", "damaged", "face_side", "model", "engine", "looks", "seam",
             "jitter", "sharpness")  # fmt: skip
    return all(getattr(one, name) == getattr(other, name) for name in facts)


def stop_at(index: int, error: BaseException) -> Callable[[Frame, Frame], None]:
    def look(before: Frame, after: Frame) -> None:
        if before.index == index:
            raise error

    return look


# ----------------------------------------------------------------------------------------------------- what is drawn


@pytest.mark.parametrize(("length", "voice"), [("cut", "voice.wav"), ("pingpong", "long.wav")])
def test_where_it_is_cut_makes_no_difference_to_a_sample(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: Any, voice: str
) -> None:
    media.write_wav(folder / "long.wav", np.tile(media.read_audio(folder / "voice.wav"), 2)[:28_000], 16_000)
    seen: list[list[int]] = []
    for size, alone in ((1000, False), (SHORT, False), (11, True)):
        monkeypatch.setattr(segments, "LENGTH", size)
        digests: list[int] = []
        if alone:  # every segment by somebody who knows of no other
            batches = passes.Drawing.batches

            def fresh(
                self: Any, *given: Any, batches: Any = batches, **how: Any
            ) -> Iterator[list[tuple[Frame, Frame]]]:
                self._next = -1
                yield from batches(self, *given, **how)

            monkeypatch.setattr(passes.Drawing, "batches", fresh)
        report = dub(
            folder, tmp_path / "out.mp4", length=length, voice=folder / voice,
            on_frame=lambda before, after, digests=digests: digests.append(media.digest(after)),
        )  # fmt: skip
        assert len(digests) == report.frames
        seen.append(digests)
    assert seen[0] == seen[1] == seen[2]


def test_tone_remembers_so_many_frames_and_no_more() -> None:
    rng = np.random.default_rng(0)
    box, old = np.array([0.25, 0.5, 0.75, 0.95]), rng.uniform(0.1, 0.9, (68, 2))
    pictures = rng.integers(40, 200, (LOOK_BACK + 9, 2, 64, 64, 3)).astype(np.uint8)
    long, short = ToneMatch(), ToneMatch()
    for place, (drawn, source) in enumerate(pictures):
        whole = long(drawn, source, box, old, place)
        if place > 8:
            part = short(drawn, source, box, old, place)
    assert np.array_equal(whole, part)
    late = ToneMatch()
    late(*pictures[-1], box, old, len(pictures) - 1)
    after = len(pictures)
    assert not np.array_equal(late(*pictures[0], box, old, after), long(*pictures[0], box, old, after))


# ------------------------------------------------------------------------------------------------------------ stopped


def killed(work: Callable[[], object], moment: int) -> bool:
    """Do it in a process that kills itself when it writes, syncs or names something for the ``moment``-th time."""
    gc.collect()  # a decoder that is closed in the child waits for threads that are not there
    child = os.fork()
    if child:
        return os.WIFSIGNALED(os.waitpid(child, 0)[1])
    left = moment

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **how: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*args, **how)

        return wrapper

    for owner, name in (
        (os, "fsync"), (os, "replace"), (os, "write"), (media.SegmentWriter, "write"), (media.SegmentWriter, "_put"),
        (media.Writer, "join"), (proof, "wrong_pictures"), (Journal, "remove"), (media.Writer, "__exit__"),
    ):  # fmt: skip
        setattr(owner, name, counted(getattr(owner, name)))
    try:
        work()
    finally:
        os._exit(0)


def test_killed_at_any_moment_it_ends_with_the_same_bytes(
    folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path
) -> None:
    out, chance, done = tmp_path / "out.mp4", random.Random(2), [0]
    while killed(lambda: dub(folder, out), chance.randint(1, 50)):
        assert not out.exists() or out.read_bytes() == straight[0]
        done.append(len(list(work_folder(out).rglob("*.segment"))))
        assert done[-1] >= done[-2]
        assert len(done) < 30
    assert len(done) > 4
    report = dub(folder, out)
    assert out.read_bytes() == straight[0]
    assert same_work(report, straight[1])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4"]


def test_killed_at_the_very_end(folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    gc.collect()
    pid = os.fork()
    if not pid:
        Journal.remove = lambda self: os.kill(os.getpid(), signal.SIGKILL)  # type: ignore[method-assign]
        try:
            dub(folder, out)
        finally:
            os._exit(0)
    os.waitpid(pid, 0)
    assert out.read_bytes() == straight[0]
    assert dub(folder, out).resumed == FRAMES
    assert out.read_bytes() == straight[0]
    assert not work_folder(out).exists()


def test_several_processes_draw_the_same_bytes(
    folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere, peaks, add = list[float](), dict[str, float](), Clock.add

    def noted(self: Clock, spent: Spent) -> None:
        elsewhere.append(spent.cpu)
        peaks[spent.process] = spent.memory
        add(self, spent)

    monkeypatch.setattr(Clock, "add", noted)
    with pytest.raises(KeyboardInterrupt):
        dub(folder, tmp_path / "out.mp4", on_frame=stop_at(SHORT + 2, KeyboardInterrupt()))
    told: list[tuple[str, int, int]] = []
    report = dub(folder, tmp_path / "out.mp4", workers=2, progress=lambda *step: told.append(step))
    assert (tmp_path / "out.mp4").read_bytes() == straight[0]
    assert same_work(report, straight[1])
    assert report.resumed == SHORT
    assert [done for stage, done, _ in told if stage == "draw"] == [2 * SHORT, 3 * SHORT, 4 * SHORT]
    assert {"network", "blend", "write"} <= set(report.seconds)
    assert len(elsewhere) == 3
    assert min(elsewhere) > 0
    assert report.cpu > sum(elsewhere), "the processor time of all processes"
    assert 1 <= len(peaks) <= 2
    assert min(peaks.values()) > 100
    assert report.memory > sum(peaks.values()) + 100, "the memory of all processes"


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(
    folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, again = tmp_path / "out.mp4", list[str]()
    with monkeypatch.context() as patch:
        patch.setattr(Job, "run", lambda *_: dub(folder, out, on_frame=stop_at(20, KeyboardInterrupt())))
        code, said = command("dub", folder / "film.mp4", folder / "voice.wav", "-o", out)
    assert (code, said.count("\n")) == (130, 1)
    assert f"run the same command again to resume {out}" in said
    assert [path.name for path in tmp_path.iterdir()] == [".out.mp4.sidgan"]
    with monkeypatch.context() as patch:
        patch.setattr(passes, "analyse", None)  # it is not done again
        report = dub(folder, out, tell=again.append)
    assert again == [f"resuming: {2 * SHORT} frames are done already"]
    assert report.resumed == 2 * SHORT
    assert out.read_bytes() == straight[0]


# -------------------------------------------------------------------------------------------------------- not mixed


def test_other_settings_begin_anew_and_nothing_is_mixed(
    folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path
) -> None:
    change: dict[str, Any] = {"crf": 40, "own": {0: network(2)}}
    dub(folder, tmp_path / "fresh.mp4", **change)
    out, told = tmp_path / "out.mp4", list[str]()
    for how in ({}, change):
        with pytest.raises(KeyboardInterrupt):
            dub(folder, out, on_frame=stop_at(20, KeyboardInterrupt()), tell=told.append, **how)
    (line,) = told
    assert line.startswith("starting again: the unfinished run for out.mp4 had other settings: ")
    assert line.endswith(" adapted, encoding")
    assert dub(folder, out, **change).resumed == 2 * SHORT
    assert out.read_bytes() == (tmp_path / "fresh.mp4").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fresh.mp4", "out.mp4"]


def test_every_setting_that_decides_bytes_is_noted(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    noted: list[dict[str, Any]] = []

    def note(self: Journal, settings: dict[str, Any], tell: Any) -> None:
        noted.append(json.loads(json.dumps(settings)))
        raise KeyboardInterrupt

    monkeypatch.setattr(Journal, "open", note)
    changes: dict[str, Any] = {
        "faces": "all", "face": 1, "speakers": {1: folder / "voice.wav"}, "silence": "keep", "length": "hold",
        "background": folder / "voice.wav", "crf": 20, "encoder": "x265", "lossless": True, "steady": 0.0,
        "emphasis": 1.5, "on_damage": "pass",
        "own": {0: network(2)}, "generator": network(3),
    }  # fmt: skip
    for how in ({}, *({name: value} for name, value in changes.items())):
        with pytest.raises(KeyboardInterrupt):
            dub(folder, tmp_path / "out.mp4", **how)
    assert all(noted[0] != other for other in noted[1:])
    inputs, unimportant = {"video", "audio", "out", "model"}, {"progress", "on_frame", "sign", "workers", "ray", "tell"}
    surroundings = {"device", "engine"}
    assert set(inspect.signature(dubbing.dub).parameters) == inputs | unimportant | surroundings | set(changes)


def test_what_two_runs_differ_in_is_named_and_each_keeps_its_own(tmp_path: Path) -> None:
    def opened(settings: dict[str, Any]) -> tuple[Path, list[str]]:
        told: list[str] = []
        with Journal(tmp_path / "out.mp4") as work:
            work.open(settings, told.append)
            work.analysis.touch()
            return work.folder, told

    first = {"faces": "largest", "threads": 1, "video": "a" * 64, "adapted": {}}
    one, told = opened(first)
    assert told == []
    assert opened(first) == (one, [])
    changes = {"faces (largest then, all now)": {"faces": "all"}, "threads (1 then, 2 now)": {"threads": 2},
               "video": {"video": "b" * 64}, "adapted": {"adapted": {"0": "c"}}}  # fmt: skip
    for word, change in changes.items():
        other, told = opened(first | change)
        assert other != one
        assert told == [f"starting again: the unfinished run for out.mp4 had other settings: {word}"]
        shutil.rmtree(other)


def test_a_damaged_journal_is_work_to_be_done_again(
    folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"

    def stopped() -> Path:
        with pytest.raises(KeyboardInterrupt):
            dub(folder, out, on_frame=stop_at(FRAMES - 1, KeyboardInterrupt()))
        (path,) = work_folder(out).glob("*/journal.jsonl")
        return path

    path = stopped()
    path.write_bytes(path.read_bytes()[:-20])  # half a line
    assert dub(folder, out).resumed == 2 * SHORT
    assert out.read_bytes() == straight[0]
    path = stopped()
    part = path.parent / "00001.segment"
    part.write_bytes(part.read_bytes()[:-30] + bytes(30))
    (path.parent / "analysis.npz").write_bytes(b"nothing")
    assert dub(folder, out).resumed == 2 * SHORT
    assert out.read_bytes() == straight[0]
    path = stopped()
    path.write_text("x\n[]\n{}\n")
    assert dub(folder, out).resumed == 0
    assert out.read_bytes() == straight[0]


def test_two_runs_do_not_write_the_same_output(tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    with Journal(out), pytest.raises(OutputError, match="another run is writing"):
        Journal(out).__enter__()
    assert not list(tmp_path.iterdir())


def test_a_run_that_ends_leaves_the_next_one_its_lock(tmp_path: Path) -> None:
    out, settings = tmp_path / "out.mp4", {"crf": 16}
    with Journal(out) as first:
        first.open(settings)
        first.remove()
        second = Journal(out).__enter__()  # the same command again, while the first one tidies up
        second.open(settings)
    with pytest.raises(OutputError, match="another run is writing"):
        Journal(out).__enter__()
    assert second.folder.is_dir()
    second.__exit__(None, None, None)
    assert not list(tmp_path.iterdir())


def test_a_lock_that_is_removed_while_it_is_taken_is_no_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, hold = tmp_path / "out.mp4", portable.hold

    def late(lock: IO[str]) -> None:  # the run that had it ends between the file's opening and its locking
        monkeypatch.setattr(portable, "hold", hold)
        shutil.rmtree(work_folder(out))
        hold(lock)

    monkeypatch.setattr(portable, "hold", late)
    with Journal(out), pytest.raises(OutputError, match="another run is writing"):
        Journal(out).__enter__()
    assert not list(tmp_path.iterdir())


def test_records_come_back_as_they_were_and_stretches_are_whole() -> None:
    record = Record(3, 24, 32, 5, ((24, 25, "no face"),), (64.25, 65.5), (LOOK,), (1, 2), "torch fp32")
    assert Record.read(json.dumps(asdict(record))) == record
    for wrong in ("", "{}", "[1]", '{"segment": 1', "7"):
        assert Record.read(wrong) is None
    done = Done()
    for first, last, why in ((0, 0, "a"), (1, 3, "a"), (4, 4, "b"), (6, 6, "b")):
        done.leave(first, last, why)
    assert done.passed == [(0, 3, "a"), (4, 4, "b"), (6, 6, "b")]


# ------------------------------------------------------------------------------------------------------- what can fail


def test_after_a_full_disk_it_goes_on(
    folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, put = tmp_path / "out.mp4", media.SegmentWriter._put

    def full(self: media.SegmentWriter, data: bytes) -> None:
        class Full:
            def write(self, data: bytes) -> None:
                raise OSError(28, "No space left on device")

        if "00002" in str(self._path):
            self._file.close()
            self._file = Full()  # type: ignore[assignment]
        put(self, data)

    with monkeypatch.context() as patch:
        patch.setattr(media.SegmentWriter, "_put", full)
        with pytest.raises(OutputError, match="no space left on device; free space") as caught:
            dub(folder, out)
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [".out.mp4.sidgan"]
    assert not list(tmp_path.rglob("*.part"))
    with monkeypatch.context() as patch:  # and when the pictures are joined
        patch.setattr(media.Writer, "join", lambda *_, **__: (_ for _ in ()).throw(OutputError("no space left")))
        with pytest.raises(OutputError, match="no space left"):
            dub(folder, out)
    assert dub(folder, out).resumed == FRAMES
    assert out.read_bytes() == straight[0]


def test_a_video_that_vanishes_is_one_line_and_loses_nothing(
    folder: Path, straight: tuple[bytes, dubbing.DubReport], tmp_path: Path
) -> None:
    video, out = tmp_path / "film.mp4", tmp_path / "out.mp4"
    data = (folder / "film.mp4").read_bytes()
    video.write_bytes(data)

    def gone(before: Frame, after: Frame) -> None:
        if before.index == 20:
            video.unlink()

    with pytest.raises(InputError, match="no such file") as caught:
        dub(folder, out, video=video, on_frame=gone)
    assert "\n" not in str(caught.value)
    assert not out.exists()
    video.write_bytes(data)
    assert dub(folder, out, video=video).resumed == FRAMES, "what is open can be read to its end, and was"
    assert out.read_bytes() == straight[0]


def test_what_is_cut_off_or_damaged_stops_or_is_passed_over(folder: Path, tmp_path: Path) -> None:
    with av.open(str(folder / "film.mp4")) as file:
        places = [(packet.pos, packet.size) for packet in file.demux(video=0) if packet.size]
    data = bytearray((folder / "film.mp4").read_bytes())
    for place, size in places[8:11]:
        data[place : place + size] = bytes(size)
    (tmp_path / "hole.mp4").write_bytes(bytes(data))
    whole = (folder / "film.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 5])
    for name, says in (("hole.mp4", "damaged near"), ("cut.mp4", "ends at|damaged near")):
        out = tmp_path / f"out_{name}"
        with pytest.raises(InputError, match=says) as caught:
            dub(folder, out, video=tmp_path / name)
        assert "\n" not in str(caught.value)
        assert not out.exists()
        assert not work_folder(out).exists()
        report = dub(folder, out, video=tmp_path / name, on_damage="pass")
        assert 0 < report.frames < FRAMES
        dubbing.write_page(report.to_dict(), tmp_path / name, {}, out, tmp_path / "page.html")
        dubbing.strip(tmp_path / name, out, tmp_path / "strip.png")
        assert read_material(tmp_path / name, 64, tolerant=True)
        (span, *_) = report.damaged
        assert 0 < span[0] < span[1] < 1.2
        frames = list(media.read_frames(media.probe(out)))
        if name == "hole.mp4":  # what comes after is at its time, and the last good picture stands until then
            assert frames[-1].time + frames[-1].duration == pytest.approx(FRAMES * 1001 / 30_000, abs=0.01)
            before = next(frame for frame in frames if abs(float(frame.time) - span[0]) < 0.002)
            assert float(before.time + before.duration) == pytest.approx(span[1], abs=0.002)


def test_analysis_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    clip = media.probe(folder / "film.mp4")
    seen = first_pass.analyse(clip, "all", lambda *_: None)
    person = seen.people[0]
    person.bridged[3], seen.trust[person].confidence[5] = True, 0.1
    person.doubts = seen.trust[person].refusals()
    assert 5 in person.doubts
    seen = dataclasses.replace(seen, cuts=(7, 9), notes=("who speaks is not clear",))
    seen.save(tmp_path / "a.npz")
    back = first_pass.Analysis.load(tmp_path / "a.npz")
    for name in ("times", "end", "glances", "damaged", "cuts", "notes"):
        assert getattr(back, name) == getattr(seen, name)
    mine, theirs = (
        {i: [one.people.index(p) for p in may] for i, may in one.by_frame.items()} for one in (seen, back)
    )
    assert mine == theirs
    assert [back.people.index(p) for p in back.usable] == [seen.people.index(p) for p in seen.usable]
    assert [back.numbers[p] for p in back.people] == [seen.numbers[p] for p in seen.people]
    for one, other in zip(back.people, seen.people, strict=True):
        assert one.doubts == other.doubts
        assert np.array_equal(one.bridged, other.bridged)
        assert np.array_equal(back.trust[one].confidence, seen.trust[other].confidence)
        assert [one.refusal(i) for i in one.track.frames] == [other.refusal(i) for i in other.track.frames]
        assert one.track.first == other.track.first
        for name in first_pass.KEPT:
            mine, theirs = getattr(one.track, name), getattr(other.track, name)
            assert mine.dtype == theirs.dtype
            assert np.array_equal(mine, theirs)


def test_a_file_that_decodes_otherwise_when_entered_is_read_from_its_beginning(folder: Path) -> None:
    clip = media.probe(folder / "film.mp4")
    frames = [(f.time, media.glance(f)) for f in media.read_frames(clip)]
    times, glances = [t for t, _ in frames], [g for _, g in frames]
    for known in (glances, [g + 1 for g in glances], glances[:28] + [g + 1 for g in glances[28:]]):
        played = list(media.Player(clip, times, known).play(25))
        assert [frame.index for frame in played] == list(range(25, FRAMES))
        assert [media.glance(frame) for frame in played] == glances[25:]


# ---------------------------------------------------------------------------------------------------------- adaptation


def test_adaptation_is_kept_for_the_run_that_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "film.mp4").write_bytes(b"a film")
    times = 0
    report = adaptation.AdaptReport(
        face=1, place="left", sound="own", evidence=9.0, frames=10, held_back=5, steps=3, minutes=0.1, before=20.0,
        after=21.0, gap_before=1.0, gap_after=None, lmd_before=1.0, lmd_after=1.0, answer=1.0, best_at=0.5, kept=True,
        refusal=None,
    )  # fmt: skip

    def slow(video: Path, **how: Any) -> list[adaptation.Adapted]:
        nonlocal times
        times += 1
        return [adaptation.Adapted((0, 2), network(7), report)]

    monkeypatch.setattr(kept, "adapt_faces", slow)

    def adapted(minutes: float) -> adaptation.Adapted:
        (one,) = adaptation.adapt_faces_once(
            tmp_path / "kept", tmp_path / "film.mp4", model="bundled", minutes=minutes, faces="all", device="cpu",
            tolerant=False, progress=lambda *_: None,
        )  # fmt: skip
        return one

    first, again = adapted(1.0), adapted(1.0)
    assert times == 1
    assert (again.tracks, again.report) == (first.tracks, first.report)
    for name, tensor in first.generator.state_dict().items():
        assert np.array_equal(tensor.numpy(), again.generator.state_dict()[name].numpy())
    adapted(2.0)
    next((tmp_path / "kept").glob("*/0.safetensors")).write_bytes(b"")
    adapted(1.0), adapted(2.0)
    assert times == 3
    (tmp_path / "film.mp4").write_bytes(b"another film")
    adapted(1.0)
    assert times == 4


def test_impossible_settings_are_one_line_and_segments_are_never_short(folder: Path, tmp_path: Path) -> None:
    for setting, says in (({"workers": 0}, "workers must be"), ({"on_damage": "hope"}, "on_damage must be")):
        with pytest.raises(SidganError, match=says):
            dub(folder, tmp_path / "out.mp4", **setting)  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())
    assert [len(segments.parts(n)) for n in (1, 11, 12, 13, 100)] == [1, 1, 2, 2, 12]

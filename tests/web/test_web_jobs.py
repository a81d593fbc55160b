"""Jobs of the service: whose turn it is, what becomes of them when workers die, and that what they make is right."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service is not installed: pip install 'sidgan[serve]'")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

import cv2
import httpx2 as httpx
import numpy as np
from at_service import ROOM, events, given, order, refused, served
from fastapi.testclient import TestClient
from marked import network
from separating import none_at_all, put_on_path
from typer.testing import CliRunner

from sidgan import checkpoint, cli, dubbing, media, provenance
from sidgan.dubbing import journal, segments
from sidgan.dubbing.analysis import first_pass, rehearsal
from sidgan.engine import Engine
from sidgan.errors import ConfigError, InputError
from sidgan.jobs import Job
from sidgan.media.sound import pcm, pcm_file
from sidgan.portable import hold
from sidgan.synth import LINES, Person, Scene
from sidgan.web import app as apps
from sidgan.web import queue as queues
from sidgan.web import tasks
from sidgan.web import worker as workers
from sidgan.web.app import create_app
from sidgan.web.limits import RefusedError
from sidgan.web.queue import Badge, Queue, Work
from sidgan.web.schema import WholeDub
from sidgan.web.settings import Means, Service, hashed
from sidgan.web.store import Store, new_id
from sidgan.web.supervisor import Supervisor
from sidgan.web.uploads import MAX_NAME
from sidgan.web.worker import Dropped, Pulse, work

SHORT = 8  # frames of a segment in these tests


pytestmark = pytest.mark.usefixtures("one_thread", "known_faces")


@pytest.fixture(autouse=True)
def short_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LENGTH", SHORT)
    monkeypatch.setattr(journal, "LENGTH", SHORT)


@pytest.fixture
def queue(tmp_path: Path) -> Queue:
    return Queue(Store(tmp_path))


def added(queue: Queue, owner: str, kind: str = "dub", priority: int = 0) -> Work:
    """A job for a video that is there in name only."""
    video = queue.store.add_file(new_id(), owner, "video", "film.mp4", ".mp4", 1, {}, 3600)
    return queue.add(owner, kind, {"video": video.id}, priority, ROOM)


# ----------------------------------------------------------------------------------------------------- whose turn it is


def test_results_leave_some_of_the_disk_free(queue: Queue) -> None:
    job = added(queue, "anna")
    assert queue.cancel(job.id, "anna")
    full = replace(ROOM, spare=1 << 60)
    with pytest.raises(RefusedError, match="no room for more results"):
        queue.add("anna", "dub", job.spec, 0, full)
    with pytest.raises(RefusedError, match="no room for more results"):
        queue.retry(job.id, "anna", full)


def test_what_people_wait_for_comes_first_and_nobody_takes_it_all(queue: Queue) -> None:
    first, second, third = (added(queue, "anna") for _ in range(3))
    favourite = added(queue, "anna", priority=1)
    bens, look = added(queue, "ben", priority=-1), added(queue, "ben", "look")
    badge = Badge(queue.store)
    turns = [queue.claim(badge.name) for _ in range(7)]
    assert turns.pop() is None
    got = [work.id for work in turns if work is not None]
    # Ben's look is urgent; then anna has none at work, and her favourite is next; then both have one, and of the dubs
    # that wait, those with a higher priority come first; then she has two.
    assert got == [look.id, favourite.id, first.id, bens.id, second.id, third.id]
    badge.drop()


def test_a_job_of_a_dead_worker_waits_again_and_fails_after_three(queue: Queue) -> None:
    job = added(queue, "anna")
    for _ in range(queues.ATTEMPTS):
        badge = Badge(queue.store)
        claimed = queue.claim(badge.name)
        assert claimed is not None
        assert queue.beat(claimed, 0.5, "draw")
        other = Badge(queue.store)
        assert queue.claim(other.name) is None  # its lock is held
        badge._file.close()  # as the system does when a process is killed
        other.drop()
    with queue.store.transaction() as db:  # it was ordered long ago
        db.execute("update job set expires = 0")
    assert queue.claim(Badge(queue.store).name) is None
    queue.store.forget()  # it may be tried again for as long as a result is kept
    ended = queue.get(job.id, "anna")
    assert ended is not None
    assert ended.state == "failed"
    assert "3 workers" in str(ended.error)
    assert queue.retry(job.id, "anna", ROOM)
    again = queue.claim(Badge(queue.store).name)
    assert again is not None
    assert again.id == job.id


def test_a_worker_elsewhere_is_dead_when_its_lease_is_over(queue: Queue, monkeypatch: pytest.MonkeyPatch) -> None:
    job = added(queue, "anna")
    assert queue.claim("another-machine-77-abc") is not None
    assert queue.claim("here") is None
    monkeypatch.setattr(queues, "LEASE", -1.0)
    with queue.store.transaction() as db:
        db.execute("update job set lease = 0 where id = ?", (job.id,))
    taken = queue.claim("here")
    assert taken is not None
    assert taken.attempts == 2


def test_a_cancelled_job_is_dropped_and_what_is_late_changes_nothing(queue: Queue) -> None:
    job = added(queue, "anna")
    claimed = queue.claim("here")
    assert claimed is not None
    with queue.store.transaction() as db:  # it was ordered long ago
        db.execute("update job set expires = 0")
    assert queue.cancel(job.id, "anna")
    assert not queue.cancel(job.id, "anna")
    queue.store.forget()  # it may be tried again for as long as a result is kept
    assert not queue.beat(claimed, 0.9, "draw")
    queue.finish(claimed, {"files": []}, None, [])
    told = queue.get(job.id, "anna")
    assert told is not None
    assert told.state == "cancelled"


@pytest.mark.parametrize("ends", [True, False])
def test_a_heart_beats_on_after_an_error_of_the_database_until_the_lease_is_over(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, ends: bool
) -> None:
    added(queue, "anna")
    claimed, beat, tries = queue.claim("here"), queue.beat, list[float]()
    assert claimed is not None

    def failing(*given: Any) -> bool:
        tries.append(time.monotonic())
        if len(tries) < 4 or not ends:
            raise sqlite3.OperationalError("disk I/O error")
        return beat(*given)

    monkeypatch.setattr(queue, "beat", failing)
    monkeypatch.setattr(workers, "BEAT", 0.01)
    monkeypatch.setattr(workers, "LEASE", 60.0 if ends else 0.2)
    pulse = Pulse(queue, claimed)
    pulse.show(0.5, "draw")
    began = time.monotonic()
    with pulse.running():
        while len(tries) < 6 if ends else not pulse._dropped.is_set():
            assert time.monotonic() - began < 10
            time.sleep(0.01)
    if ends:
        told = queue.get(claimed.id, "anna")
        assert told is not None
        assert (told.share, told.stage) == (0.5, "draw")
        pulse.show(0.6, "draw")  # it is wanted
    else:
        assert tries[-1] - began >= 0.2
        with pytest.raises(Dropped):
            pulse.show(0.6, "draw")


def test_a_worker_ends_when_the_process_that_started_it_is_gone(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    monkeypatch.setattr(os, "getppid", lambda: parent.pid)  # as Windows says for ever
    turns = 0

    def claim(worker: str) -> None:
        nonlocal turns
        turns += 1
        if turns == 2:
            parent.communicate(b"\n")
        assert turns < 3

    monkeypatch.setattr(queue, "claim", claim)
    monkeypatch.setattr(workers, "IDLE", 0.0)
    work(queue, Means(), print, parent=parent.pid)
    assert turns == 2
    work(queue, Means(), print, parent=parent.pid)  # gone before it began
    assert turns == 2


def test_a_worker_waits_for_a_database_that_cannot_be_used_now(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, said, tries = added(queue, "anna", "look"), list[str](), list[str]()

    def failing(name: str) -> Callable[..., Any]:
        does = getattr(queue, name)

        def call(*given: Any) -> Any:
            tries.append(name)
            if tries.count(name) in (1, 2):
                raise sqlite3.OperationalError("database or disk is full")
            return does(*given)

        return call

    for name in ("claim", "finish"):
        monkeypatch.setattr(queue, name, failing(name))
    monkeypatch.setattr(workers, "PAUSE", 0.0)
    monkeypatch.setitem(tasks.KINDS, "look", lambda task: {"files": []})
    work(queue, Means(), said.append, once=True)
    told = queue.get(job.id, "anna")
    assert told is not None
    assert (told.state, told.attempts) == ("done", 1)
    line = "the service's database cannot be used now (database or disk is full); trying again until it can"
    assert said == [line, line, f"look {job.id} done"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_what_expires_is_removed_even_if_the_log_is_on_a_full_disk(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries = list[bool]()

    def forget(store: Store) -> None:
        tries.append(True)
        raise OSError(errno.ENOSPC, "no space left on device")

    async def clean() -> None:
        cleaning = asyncio.create_task(apps._clean(queue.store))
        while len(tries) < 3:
            await asyncio.sleep(0.01)
            assert not cleaning.done()
        cleaning.cancel()

    monkeypatch.setattr(Store, "forget", forget)
    monkeypatch.setattr(apps, "CLEANING", 0.0)
    with open("/dev/full", "w") as log:
        monkeypatch.setattr(sys, "stderr", log)
        asyncio.run(clean())
        monkeypatch.undo()
        with suppress(OSError):
            log.close()


def test_a_worker_that_cannot_be_started_now_is_started_later(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tries = list[bool]()

    def start(command: object, env: object) -> SimpleNamespace:
        tries.append(True)
        if len(tries) == 1:
            raise OSError(errno.ENOMEM, "cannot allocate memory")
        return SimpleNamespace(poll=lambda: 0, returncode=0)

    keeper = Supervisor(Service(folder=queue.store.folder))
    monkeypatch.setattr(keeper._stop, "wait", lambda seconds: False)
    monkeypatch.setattr(subprocess, "Popen", start)
    assert keeper._keep(once=True) == 0
    assert len(tries) == 2
    assert "cannot be started now" in capsys.readouterr().err


def test_a_job_that_is_retried_waits_for_the_worker_that_has_not_noticed_yet(
    queue: Queue, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = added(queue, "anna", "look")
    slow = queue.claim("slow")
    assert slow is not None
    folder, seen = queue.folder(job.id), list[bool]()
    folder.mkdir()
    lock = (folder / ".lock").open("w")
    hold(lock)  # as the slow worker does
    assert queue.cancel(job.id, "anna")
    assert queue.retry(job.id, "anna", ROOM)
    monkeypatch.setitem(tasks.KINDS, "look", lambda task: seen.append(lock.closed) or {"files": []})

    def notice() -> None:
        while not (now := queue.get(job.id, "anna")) or now.state == "waiting":
            time.sleep(0.01)
        time.sleep(0.3)
        lock.close()

    noticing = threading.Thread(target=notice)
    noticing.start()
    work(queue, Means(), print, once=True)
    noticing.join()
    assert seen == [True]
    told = queue.get(job.id, "anna")
    assert told is not None
    assert told.state == "done"


def test_files_and_jobs_are_forgotten_in_time_but_not_while_they_are_used(queue: Queue) -> None:
    store, job = queue.store, added(queue, "anna")
    used = job.spec["video"]
    idle = store.add_file(new_id(), "anna", "voice", "v.wav", ".wav", 1, {}, -1)
    with store.transaction() as db:
        db.execute("update file set expires = 0")
        db.execute("update job set expires = 0")
    left = store.folder / "files" / new_id()
    left.mkdir()
    os.utime(left, (1, 1))
    fresh = store.folder / "files" / new_id()
    fresh.mkdir()
    coming = store.folder / "files" / new_id()  # for more than an hour already
    coming.mkdir()
    (coming / "part").write_bytes(b"some of it")
    os.utime(coming, (1, 1))
    store.forget()
    assert (coming / "part").exists()
    os.utime(coming / "part", (1, 1))
    store.forget()
    assert not coming.exists()
    assert [file.id for file in store.files("anna")] == [used]
    assert queue.get(job.id, "anna") is not None
    assert not left.exists()
    assert fresh.exists()
    assert store.file(idle.id, "anna") is None
    Queue(store, -1.0).cancel(job.id, "anna")
    store.forget()
    assert queue.jobs("anna") == []
    assert store.files("anna") == []
    with pytest.raises(RefusedError, match="removed meanwhile"):
        queue.add("anna", "look", {"video": used}, 0, ROOM)


# ------------------------------------------------------------------------------------------------------ what they make


def test_a_small_dub_from_upload_to_download(tmp_path: Path, material: Path, means: Means) -> None:
    said: list[str] = []
    with served(tmp_path) as client:
        video, voice = given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")
        look = client.post("/api/jobs", json={"kind": "look", "video": video}).json()["id"]
        part = [{"person": 1, "voice": voice}]
        moment = client.post("/api/jobs", json={**order(video, voice), "kind": "frame", "at": 0.2, "cast": part}).json()
        some = client.post("/api/jobs", json={**order(video, voice), "kind": "preview", "at": 0.3}).json()["id"]
        dub = client.post("/api/jobs", json=order(video, voice, cast=part)).json()["id"]
        nobody = client.post("/api/jobs", json=order(video, voice, cast=[{"person": 7, "voice": voice}])).json()["id"]
        work(Queue(Store(tmp_path)), means, said.append, once=True)

        people = client.get(f"/api/jobs/{look}").json()
        assert [one["number"] for one in people["result"]["people"]] == [1]
        assert client.get(people["urls"]["person-1.jpg"]).content[:2] == b"\xff\xd8"
        pictures = client.get(f"/api/jobs/{moment['id']}").json()
        assert pictures["state"] == "done", pictures["error"]
        before, after = (cv2.imdecode(np.frombuffer(client.get(pictures["urls"][name]).content, np.uint8), 1)
                         for name in ("before.jpg", "after.jpg"))  # fmt: skip
        assert before.shape == after.shape == (192, 192, 3)
        assert np.abs(before.astype(int) - after).max() > 40
        seconds = client.get(f"/api/jobs/{some}").json()
        assert seconds["result"]["frames"] == 23  # of 32 at 29.97 a second, from 0.3 s on
        (tmp_path / "after.mp4").write_bytes(client.get(seconds["urls"]["after.mp4"]).content)
        assert provenance.read(tmp_path / "after.mp4") is not None

        stream = events(client.get(f"/api/jobs/{dub}/events").text)
        assert stream[-1]["state"] == "done"
        film = client.get(stream[-1]["urls"]["dubbed.mp4"] + "?download=..%2Fmine.mp4")
        assert ".._mine.mp4" in film.headers["content-disposition"]
        head = client.head(stream[-1]["urls"]["dubbed.mp4"])
        assert (head.status_code, int(head.headers["content-length"]), head.content) == (200, len(film.content), b"")
        longest = client.get(stream[-1]["urls"]["report.html"] + f"?download={'ä' * MAX_NAME}-report.html")
        assert longest.headers["content-disposition"].endswith("-report.html")
        dubbing.dub(material / "film.mp4", material / "voice.wav", tmp_path / "direct.mp4", device="cpu",
                    model=means.model, speakers={1: material / "voice.wav"})  # fmt: skip
        assert film.content == (tmp_path / "direct.mp4").read_bytes()
        report = client.get(stream[-1]["urls"]["report.html"])
        assert "sandbox" in report.headers["content-security-policy"]
        assert "This video is altered" in report.text
        assert "film-dubbed.mp4" in report.text
        assert "<td>film.mp4, SHA-256" in report.text
        assert str(tmp_path) not in report.text

        failed = client.get(f"/api/jobs/{nobody}").json()
        assert failed["state"] == "failed"
        assert failed["error"].startswith("there is no person 7 in film.mp4")
        assert sum(line.endswith("done") for line in said) == 4
        assert client.get(f"/api/jobs/{dub}/files/sound.wav").status_code == 404


def test_a_preview_is_drawn_as_its_dub_and_faces_and_references_are_found_once(
    tmp_path: Path, material: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(*given: object, **how: object) -> None:
        raise AssertionError("this was found before")

    def encode(self: Engine, images: np.ndarray, opening: float = 0.0) -> Any:
        encoded.append((images, opening))
        return real(self, images, opening)

    real, encoded, shown = Engine.encode_reference, list[tuple[np.ndarray, float]](), list[tuple[np.ndarray, float]]()
    monkeypatch.setattr(Engine, "encode_reference", encode)
    checkpoint.save(material / "three.safetensors", network(0, warp_levels=(64,)))
    means = Means(model=str(material / "three.safetensors"), device="cpu")
    scene = Scene(Person(3), LINES["morning"], seconds=3.2, size=(192, 192))
    media.write_clip(material / "long.mp4", (shot.image for shot in scene), 25, scene.audio(16_000), crf=10)
    with served(tmp_path) as client:
        video, voice = given(client, "video", material / "long.mp4"), given(client, "voice", material / "voice.wav")
        part = order(video, voice, cast=[{"person": 1, "voice": voice}])

        def made(**job: object) -> dict[str, Path]:
            """The videos of a job that is done."""
            id = client.post("/api/jobs", json=job).json()["id"]
            work(Queue(Store(tmp_path)), means, print, once=True)
            told = client.get(f"/api/jobs/{id}").json()
            assert told["state"] == "done", told["error"]
            shown.extend(encoded[-1:])
            return {name: tmp_path / "jobs" / id / name for name in told["result"]["files"]}

        made(kind="look", video=video)
        with monkeypatch.context() as patch:
            patch.setattr(first_pass, "survey", again)
            patch.setattr(tasks, "survey", again)
            first = made(**part | {"kind": "preview", "at": 0.4})
            patch.setattr(rehearsal, "Rehearsal", again)
            second = made(**part | {"kind": "preview", "at": 0.4})
        made(**part)
    assert first["after.mp4"].read_bytes() == second["after.mp4"].read_bytes()
    assert len([*media.read_rgb(first["after.mp4"])]) == len([*media.read_rgb(first["before.mp4"])]) == 70
    (pictures, opening), *others = shown
    assert len(others) == 2
    assert all(np.array_equal(pictures, one) and opening == other for one, other in others)


def test_references_are_tried_anew_where_faces_are_found_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SimpleNamespace(file_folder=lambda id: tmp_path, path=lambda file: tmp_path / "film.mp4")
    task = tasks.Task(SimpleNamespace(store=store), tmp_path, {"video": "a"}, {"a": None}, Means(), print, print)  # type: ignore[arg-type, dict-item]
    monkeypatch.setattr(media, "probe", lambda path: None)
    monkeypatch.setattr(tasks, "survey", lambda clip, progress: (None, ()))
    monkeypatch.setattr(tasks, "undecided", lambda seen: SimpleNamespace(save=lambda file: file.touch()))
    tried = tmp_path / tasks.TRIED.format("model-torch-1")
    tried.touch()
    (tmp_path / tasks.FACES).write_bytes(b"of an earlier version")
    tasks._surveyed(task)
    assert not tried.exists()


def test_a_moment_without_anybody_who_speaks_is_told(tmp_path: Path, material: Path, means: Means) -> None:
    with served(tmp_path) as client:
        video, voice = given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")
        id = client.post("/api/jobs", json={**order(video, voice), "kind": "frame", "at": 0.5}).json()["id"]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(tasks, "FRAME_LENGTH", 0.08)  # only the empty room
            work(Queue(Store(tmp_path)), means, print, once=True)
        failed = client.get(f"/api/jobs/{id}").json()
    assert failed["error"] == "nobody who has a voice is visible at this moment; choose another moment"


@pytest.mark.parametrize(("problem", "why"), [
    (InputError("film.mp4 cannot be read"), "film.mp4 cannot be read"), (ValueError("odd"), "ValueError: odd"),
])  # fmt: skip
def test_a_dub_counts_where_its_report_cannot_be_made(
    queue: Queue, monkeypatch: pytest.MonkeyPatch, problem: Exception, why: str
) -> None:
    def drawn(self: Job, show: object, tell: object) -> tuple[Any, list[object]]:
        self.out.write_bytes(b"a film")
        return SimpleNamespace(notes=(), to_dict=lambda: {"frames": 3, "dubbed": 2}), []

    def no_page(*given: object) -> None:
        raise problem

    monkeypatch.setattr(Job, "run", drawn)
    monkeypatch.setattr(dubbing, "write_page", no_page)
    files = [queue.store.add_file(new_id(), "anna", kind, f"{kind}.mp4", ".mp4", 1, {}, 3600).id
             for kind in ("video", "voice")]  # fmt: skip
    wish = WholeDub.model_validate(order(*files)).model_dump(exclude={"kind", "priority", "consent"})
    job = queue.add("anna", "dub", wish, 0, ROOM)
    work(queue, Means(), print, once=True)
    told = queue.get(job.id, "anna")
    assert told is not None
    assert (told.state, told.result and told.result["files"]) == ("done", ["dubbed.mp4"]), told.error
    assert told.notes == [f"the dub is complete, but the report about it could not be made ({why})"]


def test_a_voice_is_as_loud_as_the_film_and_music_stays_under_it(tmp_path: Path, material: Path, means: Means) -> None:
    soft, tone = material / "soft.wav", material / "music.wav"
    media.write_wav(soft, 0.1 * media.read_audio(material / "voice.wav"), 16_000)
    media.write_wav(tone, 0.05 * np.sin(2 * np.pi * 440 * np.arange(48_000) / 48_000).astype(np.float32), 48_000)
    frames = [picture for _, picture in media.read_rgb(material / "film.mp4")]
    media.write_clip(material / "heard.mp4", frames, media.probe(material / "film.mp4").frame_rate,
                     audio=media.read_audio(material / "voice.wav"))  # fmt: skip
    with served(tmp_path) as client:
        video, voice, music = (given(client, kind, file) for kind, file in
                               (("video", material / "heard.mp4"), ("voice", soft), ("voice", tone)))  # fmt: skip
        jobs = [client.post("/api/jobs", json=order(video, voice, match_loudness=True, background=under)).json()["id"]
                for under in (None, music)]  # fmt: skip
        work(Queue(Store(tmp_path)), means, print, once=True)
        told = [client.get(f"/api/jobs/{job}").json() for job in jobs]
        assert [job["state"] for job in told] == ["done", "done"], told
        for job, name in zip(told, ("matched.mp4", "under.mp4"), strict=True):
            (tmp_path / name).write_bytes(client.get(job["urls"]["dubbed.mp4"]).content)
    wanted, before, after = (media.loudness(file) for file in (material / "heard.mp4", soft, tmp_path / "matched.mp4"))
    assert wanted is not None
    assert before is not None
    assert after is not None
    assert before < wanted - 15
    assert abs(after - wanted) < 1
    powers = [np.abs(np.fft.rfft(media.read_audio(tmp_path / name)[:14_400], 16_000))[440]
              for name in ("matched.mp4", "under.mp4")]  # fmt: skip
    assert powers[1] > 3 * powers[0]


@pytest.mark.parametrize("kind", ["dub", "preview"])
@pytest.mark.parametrize("match", [False, True])
def test_channels_of_a_voice_that_are_mixed_are_told_by_its_users_name(
    tmp_path: Path, material: Path, means: Means, match: bool, kind: str
) -> None:
    voice = media.read_audio(material / "voice.wav")
    with pcm_file(material / "four.wav", 4, 16_000) as file:
        file.writeframes(pcm(np.tile(voice, (4, 1))))
    frames = [picture for _, picture in media.read_rgb(material / "film.mp4")]
    media.write_clip(material / "heard.mp4", frames, media.probe(material / "film.mp4").frame_rate, audio=voice)
    with served(tmp_path) as client:
        files = (given(client, kind, material / name) for kind, name in (("video", "heard.mp4"), ("voice", "four.wav")))
        at = {} if kind == "dub" else {"at": 0.2}
        job = client.post("/api/jobs", json={**order(*files, match_loudness=match), "kind": kind, **at}).json()["id"]
        work(Queue(Store(tmp_path)), means, print, once=True)
        told = client.get(f"/api/jobs/{job}").json()
        page = client.get(told["urls"]["report.html"]).text if kind == "dub" else ""
    lines = [note for note in told["notes"] if "channels" in note]
    assert [line.split(";")[0] for line in lines] == ["the 4 channels of four.wav are mixed to 2"]
    assert kind != "dub" or f"<p>{lines[0]}</p>" in page
    assert str(tmp_path) not in page


def test_the_films_own_sound_without_its_speech_is_separated_once(
    tmp_path: Path, material: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tool := tmp_path / "tool").mkdir()
    calls, noise = put_on_path(tool, monkeypatch), 0.4 * np.random.default_rng(3).uniform(-1, 1, 17_000)
    frames = [picture for _, picture in media.read_rgb(material / "film.mp4")]
    media.write_clip(material / "noisy.mp4", frames, media.probe(material / "film.mp4").frame_rate,
                     audio=noise.astype(np.float32))  # fmt: skip
    with served(tmp_path / "kept") as client:
        assert client.get("/api/me").json()["separates"]
        video, voice = given(client, "video", material / "noisy.mp4"), given(client, "voice", material / "voice.wav")
        short = {**order(video, voice, background="original"), "at": 0.3}
        jobs = [{**short, "kind": "preview"}, {**short, "kind": "frame"}, order(video, voice, background="original"),
                {**short, "kind": "preview"}]  # fmt: skip
        for job, lines in zip(jobs, (1, 1, 2, 2), strict=True):  # some seconds alone, nothing, all, and what is kept
            id = client.post("/api/jobs", json=job).json()["id"]
            work(Queue(Store(tmp_path / "kept")), means, print, once=True)
            told = client.get(f"/api/jobs/{id}").json()
            assert told["state"] == "done", told["error"]
            assert len(calls.read_text().splitlines()) == lines
            if job["kind"] != "frame":
                name = "dubbed.mp4" if job["kind"] == "dub" else "after.mp4"
                (tmp_path / name).write_bytes(client.get(told["urls"][name]).content)
                heard, own = media.read_audio(tmp_path / name), media.read_audio(material / "noisy.mp4")
                first = 0 if job["kind"] == "dub" else round(told["result"]["at"] * 16_000)
                rest = slice(15_500, 16_400)  # after the voice
                shifted = slice(rest.start - first, rest.stop - first)
                lags = [np.corrcoef(own[rest], heard[shifted.start + lag : shifted.stop + lag])[0, 1]
                        for lag in range(-300, 301)]  # fmt: skip
                assert max(lags) > 0.7
        none_at_all(monkeypatch)
        refused(client.post("/api/jobs", json=jobs[2]), 422, "cannot separate sound")
        refused(client.post("/api/jobs", json={**jobs[2], "length": "keep"}), 422, "cannot go with length keep")
        silent = given(client, "video", material / "film.mp4")
        refused(client.post("/api/jobs", json=order(silent, voice, background="original")), 422, "no sound of its own")
        assert not client.get("/api/me").json()["separates"]


def test_a_worker_that_is_killed_leaves_what_the_next_one_finishes_with_the_same_bytes(
    tmp_path: Path, material: Path, means: Means
) -> None:
    with served(tmp_path) as client:
        video, voice = given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")
        job = client.post("/api/jobs", json=order(video, voice)).json()["id"]
    folder = tmp_path / "jobs" / job
    child = os.fork()
    if not child:
        work(Queue(Store(tmp_path)), means, print, once=True)
        os._exit(0)
    for _ in range(6000):
        if any(file.read_text().count("\n") > 1 for file in folder.glob(".dubbed.mp4.sidgan/*/journal.jsonl")):
            break  # a segment is complete
        time.sleep(0.01)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert not (folder / "dubbed.mp4").exists()
    with served(tmp_path) as client:  # a new server, which knows it all
        client.cookies.update(_cookie(client, job))
        assert client.get(f"/api/jobs/{job}").json()["state"] == "running"
        work(Queue(Store(tmp_path)), means, print, once=True)
        told = client.get(f"/api/jobs/{job}").json()
        assert told["state"] == "done"
        assert told["attempts"] == 2
        assert told["result"]["resumed"] >= SHORT
        assert any("resuming" in note for note in told["notes"])
    dubbing.dub(material / "film.mp4", material / "voice.wav", tmp_path / "straight.mp4", device="cpu",
                model=means.model)  # fmt: skip
    assert (folder / "dubbed.mp4").read_bytes() == (tmp_path / "straight.mp4").read_bytes()


def _cookie(client: TestClient, job: str) -> dict[str, str]:
    """A session for the owner of a job, as their browser still has it."""
    store, access = Store(client.kept), client.app._app.state.access
    with store.reading() as db:
        owner = db.execute("select owner from job where id = ?", (job,)).fetchone()[0]
    store.add_session(hashed("kept by the browser"), owner, time.time() + 60)
    return {access.cookie: "kept by the browser"}


def test_a_worker_stops_what_is_cancelled_and_gives_back_what_it_must_leave(
    tmp_path: Path, material: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    show, on_draw = Pulse.show, list[Callable[[Pulse], None]]()

    def watched(self: Pulse, share: float, stage: str) -> None:
        if stage == "draw" and on_draw:
            on_draw[0](self)
        show(self, share, stage)

    monkeypatch.setattr(Pulse, "show", watched)
    monkeypatch.setattr("sidgan.web.worker.BEAT", 0.02)
    with served(tmp_path) as client:
        video, voice = given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")
        job = client.post("/api/jobs", json=order(video, voice)).json()["id"]

        def cancel(pulse: Pulse) -> None:
            client.post(f"/api/jobs/{job}/cancel")
            pulse._dropped.wait(5)

        on_draw[:] = [cancel]
        work(Queue(Store(tmp_path)), means, print, once=True)
        assert client.get(f"/api/jobs/{job}").json()["state"] == "cancelled"
        assert not (tmp_path / "jobs" / job / "dubbed.mp4").exists()
        assert client.post(f"/api/jobs/{job}/retry").json()["state"] == "waiting"
        on_draw[:] = [lambda pulse: os.kill(os.getpid(), signal.SIGTERM)]
        work(Queue(Store(tmp_path)), means, print)
        told = client.get(f"/api/jobs/{job}").json()
        assert (told["state"], told["attempts"]) == ("waiting", 0)
        on_draw.clear()
        work(Queue(Store(tmp_path)), means, print, once=True)
        assert client.get(f"/api/jobs/{job}").json()["state"] == "done"


# --------------------------------------------------------------------------------------------------------- many at once


def test_fifty_at_once_lose_nothing_and_take_little_memory(tmp_path: Path, material: Path) -> None:
    """Uploads of half a MB each and orders from fifty users, who all listen, while a worker does the jobs."""
    app = create_app(Service(folder=tmp_path, limits=replace(ROOM, keep=1), workers=0))
    film, size, stop = (material / "film.mp4").read_bytes(), 1 << 19, threading.Event()
    said = media.read_audio(material / "voice.wav")
    media.write_wav(tmp_path / "long.wav", np.pad(said, (0, size // 2)), 16_000)  # the silence belongs to the sound:
    head = (tmp_path / "long.wav").read_bytes()[:-size]  # FFmpeg looks long at what stands behind one
    queue = Queue(Store(tmp_path))

    def do() -> None:
        badge = Badge(queue.store)
        while not stop.is_set():
            claimed = queue.claim(badge.name)
            if claimed is None:
                time.sleep(0.2)
            else:
                queue.finish(claimed, {"files": [], "job": claimed.id}, None, [])
        badge.drop()

    async def user(number: int) -> str:
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=120) as client:

            async def sound() -> Any:
                yield head
                for _ in range(size // 65_536):
                    yield bytes(65_536)
                    await asyncio.sleep(0)

            video = await client.post("/api/files?kind=video", content=film)
            voice = await client.post("/api/files?kind=voice", content=sound())
            assert (video.status_code, voice.status_code) == (201, 201), (video.text, voice.text)
            job = await client.post("/api/jobs", json=order(video.json()["id"], voice.json()["id"]))
            told = events((await client.get(f"/api/jobs/{job.json()['id']}/events")).text)
            assert told[-1]["state"] == "done"
            assert told[-1]["result"]["job"] == job.json()["id"]
            assert [one["id"] for one in (await client.get("/api/jobs")).json()] == [job.json()["id"]]
            return str(job.json()["id"])

    async def everybody() -> list[str]:
        return await asyncio.gather(*(user(number) for number in range(50)))

    worker = threading.Thread(target=do)
    worker.start()
    tracemalloc.start()
    try:
        jobs = asyncio.run(everybody())
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
        stop.set()
        worker.join()
        app._app.state.parts.uploads._prober.close()
    assert len(set(jobs)) == 50
    assert peak < 20e6, f"{peak / 1e6:.0f} MB"


def test_a_client_that_leaves_frees_its_stream(tmp_path: Path, material: Path) -> None:
    with served(tmp_path, replace(ROOM, streams=1)) as client:
        video = given(client, "video", material / "film.mp4")
        job = client.post("/api/jobs", json={"kind": "look", "video": video}).json()["id"]
        parts = client.app._app.state.parts
        assert parts.streams.take(_owner(tmp_path, job))
        assert client.get(f"/api/jobs/{job}/events").status_code == 429
        parts.streams.leave(_owner(tmp_path, job))
        parts.closing.set()  # the server is to end: the stream does
        assert len(events(client.get(f"/api/jobs/{job}/events").text)) == 1
        assert parts.streams.take(_owner(tmp_path, job))


def test_a_worker_is_for_a_folder_in_which_a_service_has_been(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun = list[Path]()
    monkeypatch.setattr(Supervisor, "run", lambda keeper, *, once: begun.append(keeper._service.folder) or 0)
    command, folder = ["serve-worker", "--once", "--folder"], tmp_path / "srv"
    result = CliRunner().invoke(cli.app, [*command, str(folder)])
    assert isinstance(result.exception, ConfigError)
    assert f"{folder} is not the folder of a service; check the name, or start the service first: sidgan serve" in str(
        result.exception
    )
    assert not begun
    assert not folder.exists()
    with served(folder):
        assert CliRunner().invoke(cli.app, [*command, str(folder)]).exit_code == 0
    assert begun == [folder]


def _owner(folder: Path, job: str) -> str:
    with Store(folder).reading() as db:
        return str(db.execute("select owner from job where id = ?", (job,)).fetchone()[0])



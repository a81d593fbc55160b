"""Workers that do not share the service's folder: the same bytes, nothing lost by a kill, and nobody else gets in."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from email.message import Message
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("fastapi", reason="the service is not installed: pip install 'sidgan[serve]'")
pytest.importorskip("httpx2", reason="httpx2 is not installed")
pytest.importorskip("redis", reason="the queue engine's package is not installed: pip install 'sidgan[queue]'")
pytest.importorskip("fakeredis", reason="fakeredis is not installed")

import fakeredis
import httpx2 as httpx
import uvicorn
from at_service import ROOM, given, order, refused, served
from marked import sidgan as command

from sidgan import dubbing, media
from sidgan.dubbing import journal, segments
from sidgan.errors import ConfigError, OutputError
from sidgan.synth import Mouth, Person, Portrait, Pose
from sidgan.web import away as aways
from sidgan.web import handout, remote, terms
from sidgan.web.app import create_app
from sidgan.web.away import Away, away
from sidgan.web.courier import Courier, UnreachableError
from sidgan.web.handout import EngineError, Handout
from sidgan.web.limits import Limits
from sidgan.web.queue import Queue, Work
from sidgan.web.settings import Means, Service, hashed, read_secret
from sidgan.web.store import Store
from sidgan.web.supervisor import Supervisor
from sidgan.web.terms import Terms
from sidgan.web.worker import Pulse, work

SECRET, TOKEN = "what-workers-say-0001", "anna-has-a-secret-0001"
WORKER, ANNA = {"authorization": f"Bearer {SECRET}"}, {"authorization": f"Bearer {TOKEN}"}
SHORT = 8  # frames of a segment in these tests

pytestmark = pytest.mark.usefixtures("one_thread", "known_faces")


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short segments; workers that say often that they live."""
    for module, name, value in (
        (segments, "LENGTH", SHORT), (journal, "LENGTH", SHORT), (aways, "EVERY", 0.1), (aways, "WAIT", 1),
        (aways, "SPARE", 0), (handout, "TICK", 0.05),
    ):  # fmt: skip
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr("sidgan.web.worker.BEAT", 0.1)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextmanager
def pretended() -> Iterator[str]:
    """The address of what speaks like Redis, in a thread."""
    server = fakeredis.TcpFakeServer(("127.0.0.1", port := free_port()))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"redis://127.0.0.1:{port}/0"
    server.shutdown()
    server.server_close()
    thread.join()


@contextmanager
def real() -> Iterator[str]:
    """The address of a Redis that keeps nothing."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        pytest.skip("no redis-server on this machine; the same is tested with what speaks like it")
    server = subprocess.Popen([found, "--port", str(port := free_port()), "--bind", "127.0.0.1", "--save", ""],
                              stdout=subprocess.DEVNULL)  # fmt: skip
    try:
        address = f"redis://127.0.0.1:{port}/0"
        for _ in range(100):
            with suppress(EngineError):
                Handout(address).check()
                break
            time.sleep(0.05)
        yield address
    finally:
        server.terminate()
        server.wait(10)


#: The real one where there is one.
REDIS = real if shutil.which("redis-server") or shutil.which("valkey-server") else pretended


@pytest.fixture
def engine() -> Iterator[str]:
    with pretended() as address:
        yield address


@contextmanager
def serving(
    folder: Path, engine: str, means: Means, limits: Limits = ROOM, port: int | None = None, **how: Any
) -> Iterator[Any]:
    """A service without workers of its own, behind a real port; somebody who uses it."""
    port = port or free_port()
    service = Service(folder=folder, port=port, limits=limits, workers=0, model=means.model, queue=engine,
                      worker_secret=hashed(SECRET), **how)  # fmt: skip
    server = uvicorn.Server(uvicorn.Config(create_app(service), port=port, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        with httpx.Client(base_url=service.address, timeout=300) as client:
            client.kept = folder
            yield client
    finally:
        server.should_exit = True
        thread.join()


def sent(client: Any, material: Path) -> tuple[str, str]:
    """Numbers of a video and a voice."""
    return given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")


def ordered(client: Any, **job: Any) -> str:
    """The number of a job that waits."""
    answer = client.post("/api/jobs", json=job)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def elsewhere(folder: Path, engine: str, client: Any, means: Means, said: list[str] | None = None) -> None:
    """A worker with a folder of its own, until all jobs are over, or it was stopped."""
    said, store = [] if said is None else said, Store(client.kept)
    with away(folder, engine, str(client.base_url), SECRET, means, said.append) as jobs:
        while True:
            work(jobs, means, said.append, once=True)
            with store.reading() as db:
                left = db.execute("select 1 from job where state in ('waiting', 'running')").fetchone()
            if left is None or "stopped" in said:
                return


def result(client: Any, job: str, name: str) -> bytes:
    told = client.get(f"/api/jobs/{job}").json()
    assert told["state"] == "done", told["error"]
    return bytes(client.get(told["urls"][name]).content)


# ---------------------------------------------------------------------------------------------------------- the same


@pytest.mark.parametrize("kind", [pretended, real])
def test_the_engine_gives_a_number_to_one_worker_and_forgets_what_is_not_next_any_more(kind: Any) -> None:
    with kind() as address:
        here, there = Handout(address), Handout(address)
        here.check()
        got: list[str | None] = []
        thread = threading.Thread(target=lambda: got.append(there.next("next", 10)))
        thread.start()
        time.sleep(0.1)
        here.offer("next", "first")
        thread.join()
        assert got == ["first"]  # it waited at the engine until then
        here.offer("next", "second")
        here.offer("next", "second")
        here.offer("next", "urgent")
        assert there.next("next", 1) == "urgent"
        here.offer("next", "cancelled")
        here.offer("next", None)
        assert there.next("next", 1) is None


def test_all_kinds_of_jobs_are_done_elsewhere_and_a_dub_has_the_same_bytes(
    tmp_path: Path, material: Path, means: Means
) -> None:
    with REDIS() as engine, serving(tmp_path / "service", engine, means) as client:
        video, voice = sent(client, material)
        part = [{"person": 1, "voice": voice}]
        media.write_png(tmp_path / "me.png", Portrait(Person(5), (220, 220), face_px=150).render(Mouth(0.1), Pose()))
        photo = given(client, "video", tmp_path / "me.png")
        orders: list[dict[str, Any]] = [
            {"kind": "look", "video": video},
            {**order(video, voice), "kind": "frame", "at": 0.2, "cast": part},
            {**order(video, voice), "kind": "preview", "at": 0.3},
            order(video, voice, cast=part), order(photo, voice),
        ]  # fmt: skip
        far = [ordered(client, **one) for one in orders]
        elsewhere(tmp_path / "worker", engine, client, means)
        told = [client.get(f"/api/jobs/{job}").json() for job in far]
        assert [[*job["urls"]] for job in told] == [
            ["person-1.jpg"], ["before.jpg", "after.jpg"], ["before.mp4", "after.mp4"],
            *[["dubbed.mp4", "report.html"]] * 2,
        ]  # fmt: skip
        moment, whole, speaking = (ordered(client, **orders[index]) for index in (1, 3, 4))
        work(Queue(Store(tmp_path / "service")), means, print, once=True)
        for job, near, name in ((far[1], moment, "after.jpg"), (far[3], whole, "dubbed.mp4"),
                                (far[4], speaking, "dubbed.mp4")):  # fmt: skip
            assert result(client, job, name) == result(client, near, name), name
        assert result(client, far[0], "person-1.jpg")[:2] == b"\xff\xd8"
        assert len(result(client, far[2], "after.mp4")) > 1000
        report = result(client, far[3], "report.html")
        assert b"film-dubbed.mp4" in report
        assert str(tmp_path).encode() not in report
        assert [*(tmp_path / "service" / "jobs" / far[3]).glob(".*")] == []
    assert [*(tmp_path / "worker" / "jobs").iterdir()] == []  # nothing is kept that is of no more use


def waiting(go: int, folder: Path, means: Means) -> None:
    """What the child of a fork does: wait for addresses, then do jobs until it is killed."""
    at = json.loads(os.read(go, 1000))
    with away(folder, at["engine"], at["server"], SECRET, means, print) as jobs:
        work(jobs, means, print)
    os._exit(0)


def test_a_killed_worker_leaves_its_job_to_another_one_and_the_bytes_are_the_same(
    tmp_path: Path, material: Path, means: Means, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard, go = os.pipe()
    child = os.fork()  # before there are threads
    if not child:
        waiting(heard, tmp_path / "first", means)
    with pretended() as engine, serving(tmp_path / "service", engine, means) as client:
        video, voice = sent(client, material)
        job = ordered(client, **order(video, voice))
        os.write(go, json.dumps({"engine": engine, "server": str(client.base_url)}).encode())
        journals = tmp_path / "first" / "jobs" / job
        for _ in range(10_000):
            if any(file.read_text().count("\n") > 1 for file in journals.glob(".dubbed.mp4.sidgan/*/journal.jsonl")):
                break  # a segment is complete
            time.sleep(0.01)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        assert client.get(f"/api/jobs/{job}").json()["state"] == "running"
        with Store(tmp_path / "service").transaction() as db:  # a minute goes by
            db.execute("update job set lease = ?", (time.time() - 1,))
        elsewhere(tmp_path / "second", engine, client, means)
        told = client.get(f"/api/jobs/{job}").json()
        assert (told["state"], told["attempts"]) == ("done", 2), told["error"]
        assert told["result"]["resumed"] == 0  # it began anew
        assert journals.exists()
        with away(tmp_path / "first", engine, str(client.base_url), SECRET, means, print):
            assert not journals.exists()  # the first is back, and removes what is of no more use
        dubbed = result(client, job, "dubbed.mp4")
    dubbing.dub(material / "film.mp4", material / "voice.wav", tmp_path / "straight.mp4", device="cpu",
                model=means.model)  # fmt: skip
    assert dubbed == (tmp_path / "straight.mp4").read_bytes()


def test_a_worker_that_is_stopped_gives_its_job_back_and_goes_on_where_it_was(
    tmp_path: Path, material: Path, means: Means, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    show, said = Pulse.show, list[str]()

    def stop(self: Pulse, share: float, stage: str) -> None:
        if stage == "draw" and share > 0.7:
            monkeypatch.setattr(Pulse, "show", show)
            os.kill(os.getpid(), signal.SIGTERM)
        show(self, share, stage)

    with serving(tmp_path / "service", engine, means) as client:
        video, voice = sent(client, material)
        job = ordered(client, **order(video, voice))
        monkeypatch.setattr(Pulse, "show", stop)
        elsewhere(tmp_path / "worker", engine, client, means, said)
        assert said == ["stopped"]
        told = client.get(f"/api/jobs/{job}").json()
        assert (told["state"], told["attempts"]) == ("waiting", 0)
        elsewhere(tmp_path / "worker", engine, client, means)
        told = client.get(f"/api/jobs/{job}").json()
        assert (told["state"], told["attempts"]) == ("done", 1), told["error"]
        assert told["result"]["resumed"] >= SHORT


def test_a_worker_waits_for_a_server_that_is_away(
    tmp_path: Path, material: Path, means: Means, engine: str
) -> None:
    said, port = list[str](), free_port()
    queue = Queue(Store(tmp_path / "service"))
    video = queue.store.add_file("0" * 32, "anna", "video", "film.mp4", ".mp4", 1, {}, 3600)
    job = queue.add("anna", "look", {"video": video.id}, 0, ROOM)
    taken = queue.take(job.id, "remote:here")
    assert taken is not None
    way = Courier(f"http://127.0.0.1:{port}", SECRET, said.append)
    jobs = Away(Store(tmp_path / "worker"), Handout(engine), way, Terms.of(means.model, means.engine), said.append)
    with pytest.raises(ConfigError, match="does not answer"):
        jobs.greet()
    assert jobs.beat(taken, 0.5, "draw")  # as far as is known
    jobs.release(taken)  # not for long: who stops a worker waits for it to end
    assert queue.held(job.id, "remote:here") is not None
    over = threading.Event()

    def late() -> None:
        time.sleep(0.3)
        with serving(tmp_path / "service", engine, means, port=port):
            over.wait(60)

    thread = threading.Thread(target=late)
    thread.start()
    try:
        jobs.finish(taken, None, "nobody is seen", ["a note"])
    finally:
        over.set()
        thread.join()
    ended = queue.get(job.id, "anna")
    assert ended is not None
    assert (ended.state, ended.error, ended.notes) == ("failed", "nobody is seen", ["a note"])
    assert len(said) == 1
    assert said[0].endswith("trying again until it does")


def test_a_job_that_is_cancelled_is_dropped_elsewhere_and_what_is_removed_is_removed_there(
    tmp_path: Path, material: Path, means: Means, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "service", engine, means) as client:
        video, voice = sent(client, material)
        job, said, fetch = ordered(client, **order(video, voice)), list[str](), Away.fetch

        def cancel(self: Away, work: Any, show: Any) -> None:
            fetch(self, work, show)
            client.post(f"/api/jobs/{job}/cancel")
            while True:
                time.sleep(0.05)
                show(0.5, "fetch")

        monkeypatch.setattr(Away, "fetch", cancel)
        elsewhere(tmp_path / "worker", engine, client, means, said)
        assert said == [f"dub {job} is no longer wanted: it was cancelled or given to another worker"]
        kept = {tmp_path / "worker" / "files" / video, tmp_path / "worker" / "files" / voice}
        assert all(folder.is_dir() for folder in kept)
        with away(tmp_path / "worker", engine, str(client.base_url), SECRET, means, print):
            assert all(folder.is_dir() for folder in kept)
        for id in (video, voice):
            assert client.delete(f"/api/files/{id}").status_code == 204
        with away(tmp_path / "worker", engine, str(client.base_url), SECRET, means, print):
            assert [*(tmp_path / "worker" / "files").iterdir()] == []


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.fixture
def held(tmp_path: Path, material: Path, means: Means, engine: str) -> Iterator[tuple[Any, str, str]]:
    """Somebody who uses a service; a look that a worker has taken; what it is called."""
    limits = replace(ROOM, upload=2_000_000)
    with serving(tmp_path / "service", engine, means, limits, tokens={hashed(TOKEN): "anna"}) as client:
        client.headers.update(ANNA)
        video, _ = sent(client, material)
        job = ordered(client, kind="look", video=video)
        told = client.post(f"/api/worker/jobs/{job}/take", json={"name": "here"}, headers=WORKER).json()
        yield client, job, told["worker"]


def finished(client: Any, job: str, worker: str, files: Any, **more: Any) -> Any:
    given = {"worker": worker, "result": {"files": files}, "error": None, "notes": [], "digests": {}, **more}
    return client.post(f"/api/worker/jobs/{job}/finish", json=given, headers=WORKER)


def test_what_a_worker_sends_is_taken_under_known_names_and_sizes_only(
    held: tuple[Any, str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client, job, worker = held
    folder, name = tmp_path / "service" / "jobs" / job, "person-1.jpg"

    def put(name: str, data: bytes = b"picture", at: int = 0, by: str = worker) -> Any:
        return client.put(f"/api/worker/jobs/{job}/results/{name}", params={"worker": by, "at": at}, content=data,
                          headers=WORKER)  # fmt: skip

    for odd in ("person-0.jpg", f"{name}%0a", f"..%2F{name}", f"%2e%2e%5c{name}", "dubbed.mp4", "person-1.html"):
        assert put(odd).status_code in (404, 422), odd
    refused(put(name, at=8 * 2_000_000), 413, "larger than 16 MB")
    refused(put(name, bytes(terms.PIECE + 1)), 413, "at most 4096 KiB")
    refused(put(name, at=5), 422, "lacks a piece")
    refused(put(name, by="remote:another"), 409, "no longer belongs to this worker")
    refused(finished(client, job, worker, [name]), 422, "did not arrive")
    assert put(name).status_code == 204
    assert put(name, b"ture", 3).status_code == 204  # a piece that comes twice counts once
    for names in (["../../service.sqlite"], [name, 3], name, None):
        refused(finished(client, job, worker, names), 422, "no results of these names")
    refused(finished(client, job, worker, [name], digests={name: "0" * 64}), 422, "did not arrive")
    with monkeypatch.context() as patch:
        patch.setattr(remote.shutil, "disk_usage", lambda path: type("Usage", (), {"free": -1}))
        refused(put(name), 507, "no room")
    assert client.get(f"/api/jobs/{job}").json()["state"] == "running"
    assert [file.name for file in folder.iterdir() if not file.name.startswith(".")] == []
    told = finished(client, job, worker, [name], digests={name: hashed("picture")})
    assert told.status_code == 204, told.text
    assert result(client, job, name) == b"picture"
    refused(finished(client, job, worker, []), 409, "no longer belongs to this worker")  # what is late changes nothing


def test_users_are_no_workers_and_workers_no_users(held: tuple[Any, str, str]) -> None:
    client, job, worker = held
    by = {"worker": worker}
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("POST", "hello", {"json": {"version": "", "weights": "", "engine": "", "kept": []}}),
        ("POST", f"jobs/{job}/take", {"json": {"name": "other"}}),
        ("GET", f"jobs/{job}/files/{job}", {"params": by}),
        ("POST", f"jobs/{job}/beat", {"json": {**by, "share": 0.5, "stage": ""}}),
        ("PUT", f"jobs/{job}/results/person-1.jpg", {"params": {**by, "at": 0}, "content": b"x"}),
        ("POST", f"jobs/{job}/finish", {"json": {**by, "result": None, "error": "x", "notes": [], "digests": {}}}),
        ("POST", f"jobs/{job}/release", {"json": by}),
    ]  # fmt: skip
    assert len(remote.router.routes) == len(calls)
    for method, path, how in calls:
        refused(client.request(method, f"/api/worker/{path}", **how), 401, "not the secret")
    assert client.get(f"/api/jobs/{job}").json()["state"] == "running"
    for path in ("jobs", "files", f"jobs/{job}"):
        refused(client.get(f"/api/{path}", headers=WORKER), 401, "unknown token")
    assert client.post("/api/session", json={"token": SECRET}).status_code == 401
    assert "/api/worker" not in client.get("/api/openapi.json").text
    guesses = [client.post(f"/api/worker/jobs/{job}/release", headers={"authorization": f"Bearer {n}"}, json=by)
               for n in range(9)]  # fmt: skip
    assert guesses[-1].status_code == 429  # whoever guesses has to wait,
    assert client.post(f"/api/worker/jobs/{job}/release", headers=WORKER, json=by).status_code == 204  # nobody else


def test_a_worker_reads_no_files_but_those_of_its_job(held: tuple[Any, str, str]) -> None:
    client, job, worker = held
    video = client.get(f"/api/jobs/{job}").json()["spec"]["video"]
    other = next(file["id"] for file in client.get("/api/files").json() if file["kind"] == "voice")

    def got(file: str, by: str, **head: str) -> Any:
        return client.get(f"/api/worker/jobs/{job}/files/{file}", params={"worker": by}, headers={**WORKER, **head})

    assert got(video, worker).content[1000:] == got(video, worker, range="bytes=1000-").content
    refused(got(other, worker), 404, "no such file")
    refused(got(video, "remote:other"), 409, "no longer belongs to this worker")
    assert client.post(f"/api/jobs/{job}/cancel").status_code == 200
    refused(got(video, worker), 409, "no longer belongs to this worker")


def test_a_transfer_that_broke_off_is_gone_on_with(
    held: tuple[Any, str, str], tmp_path: Path, material: Path
) -> None:
    client, job, worker = held
    video, film = client.get(f"/api/jobs/{job}").json()["spec"]["video"], (material / "film.mp4").read_bytes()
    out, shares = tmp_path / "part", list[float]()
    out.write_bytes(bytes(1000))
    way = Courier(str(client.base_url), SECRET, print)
    way.fetch(f"jobs/{job}/files/{video}", worker, out, len(film), shares.append)
    assert out.read_bytes() == bytes(1000) + film[1000:]
    assert shares[-1] == 1
    picture = tmp_path / "person-1.jpg"
    picture.write_bytes(os.urandom(2 * terms.PIECE + 5))
    digest = way.send(f"jobs/{job}/results", worker, picture, shares.append)
    assert finished(client, job, worker, [picture.name], digests={picture.name: digest}).status_code == 204
    assert result(client, job, picture.name) == picture.read_bytes()


def test_who_does_not_fit_is_told_so_in_one_line(
    tmp_path: Path, material: Path, means: Means, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret, wrong, users = (tmp_path / name for name in ("secret", "wrong", "users"))
    secret.write_text(f"{SECRET}\n")
    wrong.write_text("another-secret-000002\n")
    users.write_text(f"anna {SECRET}\n")
    renamed = shutil.copy(material / "model.safetensors", tmp_path / "renamed.safetensors")
    service, worker = tmp_path / "service", tmp_path / "worker"
    with serving(service, engine, means) as client:
        fits = {"queue": engine, "server": client.base_url, "worker-secret": secret, "folder": worker,
                "model": means.model, "parent": os.getppid()}  # without a process that watches

        def told(**other: object) -> str:
            options = fits | {name.replace("_", "-"): value for name, value in other.items()}
            given = [part for name, value in options.items() if value is not None for part in (f"--{name}", value)]
            code, said = command("serve-worker", "--once", *given)
            assert code == 2, said
            assert "\n" not in said.strip()
            return said

        assert "not the secret of the service's workers" in told(worker_secret=wrong)
        assert "has the weights generator-" in told(model="bundled")
        assert "under the same name" in told(model=renamed)  # which every video tells
        assert "has --engine auto, and the service torch" in told(engine="auto")
        assert "give all three of" in told(server=None)
        nobody = told(queue="redis://anna:password@127.0.0.1:1/0")
        assert "redis://127.0.0.1:1/0 does not answer" in nobody
        assert "password" not in nobody
        assert "is not the address of a Redis server" in told(queue="amqp://host")
        assert "http://127.0.0.1:1 does not answer" in told(server="http://127.0.0.1:1")
        assert "is not an address" in told(server="dub.example.org")
        assert "is the folder of a service" in told(folder=service)
        with away(worker, engine, str(client.base_url), SECRET, means, print):
            assert "is used by another worker" in told()
        with monkeypatch.context() as patch:
            patch.setattr(aways, "SPARE", 1 << 60)
            assert "free space or choose another --folder" in told()
        with monkeypatch.context() as patch:
            patch.setattr(remote, "separator", lambda: ["demucs"])
            patch.setattr("sidgan.media.separator", lambda: None)
            assert "this worker has no separation tool" in told()
        with monkeypatch.context() as patch:
            patch.setattr(terms, "__version__", "0.0.1")
            assert "this worker is sidgan 0.0.1, and the service" in told()
    for options, says in (
        (["--queue", "redis://127.0.0.1:1/0", "--worker-secret", secret], "127.0.0.1:1/0 does not answer"),
        (["--queue", engine], "--queue and --worker-secret together"),
        (["--queue", engine, "--worker-secret", secret, "--tokens", users], "change one"),
    ):  # fmt: skip
        code, said = command("serve", "--folder", service, "--port", free_port(), *options)
        assert code == 2
        assert says in said
    wrong.write_text("short")
    with pytest.raises(ConfigError, match="at least 16 ASCII characters"):
        read_secret(wrong)


def test_a_service_without_such_workers_has_no_door_for_them(tmp_path: Path) -> None:
    with served(tmp_path) as client:
        answer = client.post("/api/worker/hello", headers=WORKER, json={})
    error = urllib.error.HTTPError("", answer.status_code, "", Message(), io.BytesIO(answer.content))
    refusal = Courier("http://localhost", SECRET, print)._refusal(error)
    assert "started with --queue and --worker-secret" in str(refusal)
    said = list[str]()
    Courier("http://dub.example.org", SECRET, said.append)
    Courier("https://dub.example.org", SECRET, said.append)
    assert len(said) == 1
    assert "does not use https" in said[0]


def test_a_worker_without_room_gives_the_job_back(
    tmp_path: Path, material: Path, means: Means, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(tmp_path / "service", engine, means) as client:
        video, voice = sent(client, material)
        job, require, sizes = ordered(client, **order(video, voice)), Away._require_room, list[int]()

        def full(self: Away, size: int) -> None:
            sizes.append(size)
            if size:
                monkeypatch.setattr(aways, "SPARE", 1 << 60)
            require(self, size)

        monkeypatch.setattr(Away, "_require_room", full)
        with pytest.raises(OutputError, match="free space"):
            elsewhere(tmp_path / "worker", engine, client, means)
        assert sizes == [0, sum((material / name).stat().st_size for name in ("film.mp4", "voice.wav"))]
        told = client.get(f"/api/jobs/{job}").json()
        assert (told["state"], told["attempts"]) == ("waiting", 0)


def test_a_job_elsewhere_that_takes_too_much_memory_fails_once(
    tmp_path: Path, material: Path, means: Means, engine: str, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder, secret = tmp_path / "worker", tmp_path / "secret"
    with serving(tmp_path / "service", engine, means) as client:
        video, _ = sent(client, material)
        at, job = str(client.base_url), ordered(client, kind="look", video=video)
        keeper = Supervisor(Service(folder=folder, memory=120_000_000, queue=engine, worker_secret=hashed(SECRET)), at,
                            secret)  # fmt: skip
        assert not folder.exists()  # it is the worker's own, and not made a service's
        with away(folder, engine, at, SECRET, means, print) as jobs:
            while jobs.claim("here") is None:
                pass
            keeper._command = [sys.executable, "-c", "import time; held = b'x' * (200 << 20); time.sleep(60)"]
            with keeper:
                for _ in range(400):
                    if (folder / aways.DISMISSED).exists():
                        break
                    time.sleep(0.05)
        assert client.get(f"/api/jobs/{job}").json()["state"] == "running"
        greet, turns = Away.greet, iter([UnreachableError("it does not answer"), None])

        def late(self: Away) -> None:
            problem = next(turns)
            if problem is not None:
                raise problem
            greet(self)

        monkeypatch.setattr(Away, "greet", late)
        with away(folder, engine, at, SECRET, means, print):  # as one that is started again: it waits
            told = client.get(f"/api/jobs/{job}").json()
            assert (told["state"], told["attempts"]) == ("failed", 1)
            assert told["error"].startswith("it took more than 120 MB of memory")
        assert f"sidgan: {job} failed: it took more" in capfd.readouterr().err


def test_the_engine_is_named_to_workers_elsewhere_only_and_in_no_list_of_processes(
    tmp_path: Path, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIDGAN_QUEUE, which a server is started with, is no matter of the workers beside it."""
    monkeypatch.setenv("SIDGAN_QUEUE", engine)
    out = tmp_path / "told"
    near = Supervisor(Service(folder=tmp_path / "service"))
    far = Supervisor(Service(folder=tmp_path / "worker", queue=engine, worker_secret=hashed(SECRET)), "http://localhost",
                     tmp_path / "secret")  # fmt: skip
    assert engine not in far._command
    assert far._command[-4:] == ["--server", "http://localhost", "--worker-secret", str(tmp_path / "secret")]
    for keeper, heard, ended in ((near, "nothing", 0), (far, engine, 2)):
        keeper._command = [sys.executable, "-c", "import os, sys; open(sys.argv[1], 'w').write("
                           f"os.environ.get('SIDGAN_QUEUE', 'nothing')); sys.exit({ended})", str(out)]  # fmt: skip
        assert keeper._keep(once=True) == ended
        assert out.read_text() == heard


def test_a_heart_elsewhere_beats_on_whatever_the_server_answers(
    tmp_path: Path, means: Means, engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(io.BytesIO):
        def read(self, *given: Any) -> bytes:
            raise TimeoutError

    way = Courier("http://localhost", SECRET, print)
    jobs = Away(Store(tmp_path), Handout(engine), way, Terms("", "", "", separates=False), print)
    taken = replace(queued(Queue(jobs.store)), worker="remote:here")
    answers: list[tuple[int, Any]] = [
        (500, b'{"error": {"code": "internal", "message": "it failed"}}'), (503, b""), (409, Broken()), (200, b"[]"),
        (200, b"hello"), (401, b'{"error": {"code": "wrong_secret", "message": "no"}}'),
    ]  # fmt: skip

    def answer(request: Any, timeout: float) -> Any:
        status, body = answers[0]
        data = io.BytesIO(body) if isinstance(body, bytes) else body
        if status == 200:
            return data
        raise urllib.error.HTTPError("", status, "", Message(), data)

    monkeypatch.setattr(aways, "EVERY", -1.0)
    monkeypatch.setattr(way._opener, "open", answer)
    while len(answers) > 1:
        assert jobs.beat(taken, 0.5, "draw"), answers[0]
        answers.pop(0)
    assert not jobs.beat(taken, 0.5, "draw")  # not welcome any more


def queued(queue: Queue) -> Work:
    """A job for a video that is there in name only."""
    video = queue.store.add_file("0" * 32, "anna", "video", "film.mp4", ".mp4", 1, {}, 3600)
    return queue.add("anna", "look", {"video": video.id}, 0, ROOM)


def test_a_server_whose_file_is_held_says_that_it_is_busy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def held(*given: object) -> None:
        raise sqlite3.OperationalError("database is locked")

    with served(tmp_path) as client:
        monkeypatch.setattr(Queue, "jobs", held)
        refused(client.get("/api/jobs"), 503, "busy")


def test_a_server_that_starts_again_gives_workers_elsewhere_time_to_say_that_they_live(tmp_path: Path) -> None:
    queue = Queue(Store(tmp_path))
    video = queue.store.add_file("0" * 32, "anna", "video", "film.mp4", ".mp4", 1, {}, 3600)
    jobs = [queue.add("anna", "dub", {"video": video.id}, 0, ROOM).id for _ in range(2)]
    assert queue.next() == jobs[0]
    for job, worker in zip(jobs, ("remote:there", "another-machine-1"), strict=True):
        assert queue.take(job, worker) is not None
    assert queue.take(jobs[0], "remote:too-late") is None
    with queue.store.transaction() as db:
        db.execute("update job set lease = 0")
    queue.renew()
    assert queue.next() == jobs[1]
    assert queue.held(jobs[0], "remote:there") is not None
    assert queue.held(jobs[1], "another-machine-1") is not None  # late, but nobody else has begun it
    with queue.store.transaction() as db:
        db.execute("update job set lease = 0")
    assert queue.next() == jobs[0]
    assert queue.take(jobs[0], "remote:other") is not None
    assert queue.held(jobs[0], "remote:there") is None

"""The service refuses what harms it or others, keeps users apart, and says so in one line."""

from __future__ import annotations

import asyncio
import io
import os
import re
import shutil
import socket
import subprocess
import sys
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service is not installed: pip install 'sidgan[serve]'")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

import av
import httpx2 as httpx
from at_service import ROOM, events, given, order, other, refused, send, served
from fastapi.testclient import TestClient
from marked import films
from marked import sidgan as command

from sidgan import media
from sidgan.errors import ConfigError, InputError
from sidgan.settings import to_dict
from sidgan.web import log
from sidgan.web import prober as probers
from sidgan.web.app import create_app
from sidgan.web.limits import Pace, RefusedError, Seats
from sidgan.web.settings import Service, hashed, read_tokens

SECRETS = {hashed("anna-has-a-secret-0001"): "anna", hashed("ben-has-another-000002"): "ben"}
ANNA = {"authorization": "Bearer anna-has-a-secret-0001"}
BEN = {"authorization": "Bearer ben-has-another-000002"}


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films(tmp_path_factory.mktemp("web"))


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    with served(tmp_path_factory.mktemp("service")) as one:
        yield one


# ---------------------------------------------------------------------------------------------------- uploads that harm


def bomb() -> bytes:
    """A zip of 50 MB of nothing."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("film.mp4", bytes(50_000_000))
    return held.getvalue()


def huge(folder: Path) -> bytes:
    """A film whose header says that it is 16000 x 16000 px; FFV1 knows its size from there alone."""
    with av.open(str(folder / "small.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width = stream.height = 320
        for _ in range(2):
            out.mux(stream.encode(av.VideoFrame(320, 320, "yuv420p")))
        out.mux(stream.encode(None))
    data = (folder / "small.mkv").read_bytes()
    for element in (b"\xb0", b"\xba"):
        assert data.count(element + b"\x82\x01\x40") == 1
        data = data.replace(element + b"\x82\x01\x40", element + b"\x82\x3e\x80")
    return data


HARMFUL = {
    "a zip": lambda material: bomb(),
    "text": lambda material: b"Dear Sir or Madam, this is no film." * 100,
    "a playlist": lambda material: f"#EXTM3U\n#EXTINF:1,\n{material / 'film.mp4'}\n#EXT-X-ENDLIST\n".encode(),
    "a list of files": lambda material: f"ffconcat version 1.0\nfile '{material / 'film.mp4'}'\n".encode(),
    "noise": lambda material: np.random.default_rng(0).bytes(50_000),
    "half a header": lambda material: (material / "film.mp4").read_bytes()[:40],
}


@pytest.mark.parametrize("what", HARMFUL)
def test_what_is_no_video_is_refused(client: TestClient, material: Path, what: str) -> None:
    before = client.get("/api/files").json()
    refused(send(client, "video", HARMFUL[what](material), "talk.mp4"), 422, "talk.mp4")
    assert client.get("/api/files").json() == before
    kept = client.kept / "files"  # nothing of it stays on the disk
    assert {path.name for path in kept.iterdir()} == {file["id"] for file in before}


def test_huge_pictures_are_refused_before_one_is_decoded(client: TestClient, tmp_path: Path) -> None:
    refused(send(client, "video", huge(tmp_path), "big.mkv"), 422, "big.mkv is 16000 x 16000 px, which is too large")


def test_pictures_long_films_and_many_frames_have_limits(tmp_path: Path, material: Path) -> None:
    small = replace(ROOM, pixels=100 * 100)
    with served(tmp_path / "a", small) as client:
        refused(send(client, "video", (material / "film.mp4").read_bytes(), "film.mp4"), 422, "192 x 192 px")
    with served(tmp_path / "b", replace(ROOM, seconds=0.7)) as client:
        refused(send(client, "video", (material / "film.mp4").read_bytes(), "f.mp4"), 422, "lasts 1 s")
        refused(send(client, "voice", (material / "voice.wav").read_bytes(), "v.wav"), 422, "lasts 1 s; only 1 s")
    with served(tmp_path / "c", replace(ROOM, seconds=2, rate=10)) as client:
        refused(send(client, "video", (material / "film.mp4").read_bytes(), "f.mp4"), 422, "the allowed 20 frames")
    with served(tmp_path / "d", replace(ROOM, seconds=60, rate=10)) as client:
        refused(send(client, "video", (material / "film.mp4").read_bytes(), "f.mp4"), 422, "only 10 per second")


def test_a_sound_that_is_longer_than_its_film_is_counted(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "long.mp4"), "w") as out:
        film, sound = out.add_stream("mpeg4", rate=25), out.add_stream("aac", rate=16_000)
        film.width = film.height = 64
        sound.layout = "mono"
        for _ in range(25):
            out.mux(film.encode(av.VideoFrame(64, 64, "yuv420p")))
        for first in range(0, 12 * 16_000, 1024):
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 16_000, first
            out.mux(sound.encode(silence))
        for stream in (film, sound):
            out.mux(stream.encode(None))
    with served(tmp_path / "a", replace(ROOM, seconds=10)) as client:
        for kind in ("video", "voice"):
            refused(send(client, kind, (tmp_path / "long.mp4").read_bytes(), "f.mp4"), 422, "lasts 12 s; only 10 s")
    with served(tmp_path / "b") as client:
        lengths = [send(client, kind, (tmp_path / "long.mp4").read_bytes()).json()["seconds"]
                   for kind in ("video", "voice")]  # fmt: skip
        assert lengths == pytest.approx([1, 12], abs=0.2)


def test_a_film_of_stills_that_claims_to_be_short_is_counted(tmp_path: Path) -> None:
    """A bomb of pictures: an hour of black takes little room, and its header may say anything."""
    black = [np.zeros((64, 64, 3), np.uint8)] * 400
    media.write_clip(tmp_path / "long.mp4", black, Fraction(25), crf=40, preset="ultrafast")
    data = bytearray((tmp_path / "long.mp4").read_bytes())
    for name, offset in ((b"mvhd", 20), (b"tkhd", 24), (b"mdhd", 20)):
        at = data.index(name) + offset
        data[at : at + 4] = (1).to_bytes(4, "big")
    with served(tmp_path / "s", replace(ROOM, seconds=10)) as client:
        refused(send(client, "video", bytes(data), "f.mp4"), 422, "allowed")


def test_an_endless_stream_is_cut_off(tmp_path: Path) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1 << 16
            yield bytes(1 << 16)

    with served(tmp_path, replace(ROOM, upload=1 << 20)) as client:
        generator = endless()
        stated = client.post("/api/files?kind=video", content=b"x", headers={"content-length": str(1 << 40)})
        refused(stated, 413, "larger than the allowed 1 MB")

        async def chunks() -> Any:
            for chunk in generator:
                yield chunk

        answer = _streamed(client, chunks())
        refused(answer, 413, "larger than the allowed 1 MB")
        assert sent <= (1 << 20) + (1 << 17)
        assert not list((tmp_path / "files").iterdir())


def test_who_stops_sending_is_let_go(tmp_path: Path) -> None:
    async def stuck() -> Any:
        yield b"x"
        await asyncio.sleep(60)
        yield b"y"

    with served(tmp_path, replace(ROOM, silence=0.2)) as client:
        refused(_streamed(client, stuck()), 408, "no data arrived")
        assert not list((tmp_path / "files").iterdir())


def _streamed(client: TestClient, chunks: Any) -> Any:
    """An upload that comes piece by piece; the client for tests sends all at once."""
    async def go() -> Any:
        messages = chunks.__aiter__()

        async def receive() -> dict[str, Any]:
            try:
                return {"type": "http.request", "body": await anext(messages), "more_body": True}
            except StopAsyncIteration:
                return {"type": "http.request", "body": b"", "more_body": False}

        out: dict[str, Any] = {"body": b""}

        async def answer(message: Any) -> None:
            if message["type"] == "http.response.start":
                out["status"] = message["status"]
            else:
                out["body"] += message.get("body", b"")

        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": "POST", "scheme": "http",
            "path": "/api/files", "raw_path": b"/api/files", "query_string": b"kind=video", "root_path": "",
            "headers": [(b"host", b"localhost"), (b"transfer-encoding", b"chunked")], "client": ("here", 1),
            "server": ("localhost", 80), "state": {},
        }  # fmt: skip
        await client.app(scope, receive, answer)
        return httpx.Response(out["status"], content=out["body"])

    return asyncio.run(go())


@pytest.mark.parametrize(
    "name", ["../../../etc/passwd", "..\\..\\boot.ini", "/etc/shadow", "a\x00b", "\u202efdp.exe", "x" * 400, "", "CON"]
)
def test_a_name_is_never_a_path(client: TestClient, material: Path, name: str) -> None:
    answer = send(client, "voice", (material / "voice.wav").read_bytes(), name)
    assert answer.status_code == 201
    told = answer.json()
    assert not set(told["name"]) & set("/\\\0\u202e")
    assert 0 < len(told["name"]) <= 120
    assert sorted(path.name for path in (client.kept / "files" / told["id"]).iterdir()) == ["original.wav"]
    client.delete(f"/api/files/{told['id']}")


@pytest.mark.parametrize("path", [
    "/api/jobs/../../service.sqlite", "/api/jobs/%2e%2e%2fservice.sqlite/files/x", "/static/../app.py",
    "/static/%2e%2e%2fapp.py", "/api/files/..%2f..%2fx/content", "/api/files/" + "0" * 32 + "/content",
])  # fmt: skip
def test_paths_lead_nowhere(client: TestClient, path: str) -> None:
    assert client.get(path).status_code in (404, 422)


# ---------------------------------------------------------------------------------------------------------- whose it is


def test_nobody_sees_what_is_anothers(client: TestClient, material: Path) -> None:
    video, voice = given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")
    job = client.post("/api/jobs", json=order(video, voice)).json()["id"]
    thief = other(client)
    for path in (f"/api/files/{video}", f"/api/files/{video}/content", f"/api/jobs/{job}", f"/api/jobs/{job}/events",
                 f"/api/jobs/{job}/files/dubbed.mp4"):  # fmt: skip
        assert thief.get(path).status_code == 404
    assert thief.get("/api/files").json() == thief.get("/api/jobs").json() == []
    assert thief.post("/api/demo?kind=voice").status_code == 201  # now somebody, with a session of their own
    mine = thief.get("/api/files").json()[0]["id"]
    refused(thief.post("/api/jobs", json=order(video, mine)), 404, "no such file")
    for method, path in (("POST", "cancel"), ("POST", "retry"), ("DELETE", "")):
        assert thief.request(method, f"/api/jobs/{job}/{path}".rstrip("/")).status_code == 404
    assert thief.delete(f"/api/files/{voice}").status_code == 404
    assert client.get(f"/api/jobs/{job}").json()["state"] == "waiting"
    refused(client.delete(f"/api/files/{voice}"), 409, "unfinished job")
    assert client.post(f"/api/jobs/{job}/cancel").json()["state"] == "cancelled"
    assert client.get(f"/api/files/{video}/content", headers={"range": "bytes=4-7"}).content == b"ftyp"
    stream = client.get(f"/api/jobs/{job}/events")
    assert stream.headers["x-accel-buffering"] == "no"  # so that proxies pass each event on at once
    assert events(stream.text)[-1]["state"] == "cancelled"
    assert client.delete(f"/api/jobs/{job}").status_code == 204


def test_tokens_let_in_whom_they_belong_to(tmp_path: Path, material: Path) -> None:
    with served(tmp_path, tokens=SECRETS, hosts=("localhost",)) as client:
        refused(client.get("/api/jobs"), 401, "give a token")
        refused(client.get("/api/jobs", headers={"authorization": "Bearer guess"}), 401, "unknown token")
        assert client.get("/").status_code == 200  # the page asks for the token
        file = client.post("/api/demo?kind=voice", headers=ANNA).json()["id"]
        assert client.get(f"/api/files/{file}", headers=ANNA).status_code == 200
        assert client.get(f"/api/files/{file}", headers=BEN).status_code == 404
        login = client.post("/api/session", json={"token": "anna-has-a-secret-0001"})
        assert "httponly" in login.headers["set-cookie"].lower()
        assert "samesite=strict" in login.headers["set-cookie"].lower()
        assert client.get("/api/me").json()["name"] == "anna"
        assert client.get(f"/api/files/{file}").status_code == 200
        assert b"secret" not in (tmp_path / "service.sqlite").read_bytes()
        client.delete("/api/session")
        refused(client.get("/api/files"), 401, "give a token")
        guesses = [client.post("/api/session", json={"token": f"guess {i}"}).status_code for i in range(12)]
        assert guesses[0] == 401
        assert guesses[-1] == 429
        assert client.get("/api/files", headers=ANNA).status_code == 200  # who came from there before need not wait


def test_after_many_wrong_tokens_a_right_one_has_to_wait_too(tmp_path: Path) -> None:
    with served(tmp_path, tokens=SECRETS) as client:
        for number in range(10):
            refused(client.post("/api/session", json={"token": f"guess {number}"}), 401, "unknown token")
        refused(client.post("/api/session", json={"token": "anna-has-a-secret-0001"}), 429, "wait")
        refused(client.get("/api/files", headers=ANNA), 429, "wait")
    with served(tmp_path, tokens=SECRETS) as client:  # right ones are not counted
        assert {client.get("/api/files", headers=ANNA).status_code for _ in range(12)} == {200}


def test_sessions_end_with_the_tokens_that_they_were_begun_with(tmp_path: Path) -> None:
    with served(tmp_path) as client:  # before there were tokens
        assert client.post("/api/demo?kind=voice").status_code == 201
        visitor = dict(client.cookies)
    with served(tmp_path, tokens=SECRETS) as client:
        client.cookies.update(visitor)
        refused(client.get("/api/files"), 401, "give a token")
        client.cookies.clear()
        assert client.post("/api/session", json={"token": "anna-has-a-secret-0001"}).status_code == 204
        assert client.get("/api/me").json()["name"] == "anna"
        annas = dict(client.cookies)
    for tokens in ({hashed("ben-has-another-000002"): "ben"}, {hashed("anna-has-a-new-one-001"): "anna"}):
        with served(tmp_path, tokens=tokens) as client:
            client.cookies.update(annas)
            assert not client.get("/api/me").json()["known"]
            refused(client.post("/api/demo?kind=voice"), 401, "give a token")
    with served(tmp_path, tokens=SECRETS) as client:  # whose token is still there goes on
        client.cookies.update(annas)
        assert client.get("/api/files").status_code == 200


def test_the_page_brings_a_session_of_its_own(client: TestClient) -> None:
    visitor = other(client)
    cookie = visitor.get("/").headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "set-cookie" not in visitor.get("/").headers
    assert visitor.head("/").status_code == visitor.head("/static/app.js").status_code == 200
    assert visitor.get("/api/me").json()["known"]


def test_two_services_of_one_machine_share_a_browser(tmp_path: Path) -> None:
    """A browser sends cookies to all ports of a host."""
    with served(tmp_path / "a") as one, served(tmp_path / "b") as two:
        two.cookies.jar = one.cookies.jar
        for client in (one, two, one, two):
            client.get("/")
            client.post("/api/demo?kind=voice")
        assert [len(client.get("/api/files").json()) for client in (one, two)] == [2, 2]


def test_other_machines_need_tokens(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="give --tokens"):
        Service(folder=tmp_path, host="0.0.0.0")
    assert command("serve", "--host", "0.0.0.0", "--folder", tmp_path / "no")[0] == 2
    assert not (tmp_path / "no").exists()
    file = tmp_path / "tokens.txt"
    for encoding in ("utf-8", "utf-8-sig"):  # some editors put a mark before the text
        file.write_text("anna anna-has-a-secret-0001\n# who\n\nben  ben-has-another-000002\n", encoding=encoding)
        assert read_tokens(file) == SECRETS
    for text, says in (("anna short", "at least 16"), ("anna " + "ä" * 16, "ASCII"), ("anna " + "x" * 501, "ASCII"),
                       ("", "no token"), ("a " + "x" * 16 + "\nb " + "x" * 16, "twice")):
        file.write_text(text, encoding="utf-8")
        with pytest.raises(ConfigError, match=says):
            read_tokens(file)
    with pytest.raises(InputError, match="cannot be read"):
        read_tokens(tmp_path / "none.txt")


def test_pages_of_others_cannot_use_it(client: TestClient) -> None:
    for origin in ("http://evil.example", "null", "http://localhost:81"):
        refused(client.post("/api/demo?kind=voice", headers={"origin": origin}), 403, "another site")
    assert client.post("/api/demo?kind=voice", headers={"origin": "http://localhost"}).status_code == 201
    for odd in ("[x", "[::1", "localhost]"):
        refused(client.get("/api/me", headers={"host": odd}), 421, "not known by that name")
        refused(client.post("/api/demo?kind=voice", headers={"origin": f"http://{odd}"}), 403, "another site")
    refused(client.get("/api/me", headers={"host": "evil.example"}), 421, "not known by that name")
    for path in ("/", "/static/app.js", "/api/me", "/api/files/x", "/nothing"):
        headers = client.get(path).headers
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "no-referrer"


def test_the_page_loads_nothing_from_elsewhere(client: TestClient) -> None:
    texts = [client.get("/").text]
    for name in ("app.css", "app.js", "api.js", "player.js", "recorder.js", "words.js", "icon.svg"):
        answer = client.get(f"/static/{name}")
        assert answer.status_code == 200
        texts.append(answer.text.replace('xmlns="http://www.w3.org/2000/svg"', ""))
        for part in re.findall(r'from "\./([^"]+)"', answer.text):
            assert client.get(f"/static/{part}").status_code == 200, f"{name} needs {part}"
    for text in texts:
        assert "http://" not in text
        assert "https://" not in text
        assert "<script>" not in text
        assert "style=" not in text


# -------------------------------------------------------------------------------------------------------------- limits


def test_jobs_files_and_requests_have_limits(tmp_path: Path, material: Path) -> None:
    few = replace(ROOM, jobs=2, files=2, burst=30, requests=0.01)
    with served(tmp_path, few) as client:
        video, voice = given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")
        refused(send(client, "voice", b"x"), 409, "which is the limit")
        for _ in range(2):
            assert client.post("/api/jobs", json=order(video, voice)).status_code == 201
        refused(client.post("/api/jobs", json=order(video, voice)), 429, "2 unfinished jobs")
        job = client.get("/api/jobs").json()[0]["id"]
        assert client.post(f"/api/jobs/{job}/cancel").status_code == 200
        another = client.post("/api/jobs", json=order(video, voice)).json()["id"]
        refused(client.post(f"/api/jobs/{job}/retry"), 429, "you have 2 unfinished jobs of 2 allowed")
        assert client.get(f"/api/jobs/{job}").json()["state"] == "cancelled"
        client.post(f"/api/jobs/{another}/cancel")
        assert client.post(f"/api/jobs/{job}/retry").json()["state"] == "waiting"
        refused(client.post(f"/api/jobs/{job}/retry"), 409, "neither failed nor was cancelled")
        answers = [client.get("/api/me") for _ in range(40)]
        refused(answers[-1], 429, "too many requests")
        assert int(answers[-1].headers["retry-after"]) > 0
    with served(tmp_path / "all", replace(ROOM, all_jobs=1)) as client:
        for status in (201, 503):
            video = given(client, "video", material / "film.mp4")
            answer = client.post("/api/jobs", json={"kind": "look", "video": video})
            assert answer.status_code == status
        refused(answer, 503, "all users together have 1 unfinished jobs of 1 allowed")
    with served(tmp_path / "full", replace(ROOM, spare=1 << 60)) as client:
        refused(send(client, "voice", b"x"), 507, "no room")


def test_a_file_counts_once_against_the_free_disk(
    tmp_path: Path, material: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    voice = (material / "voice.wav").read_bytes()

    def usage(folder: Path) -> SimpleNamespace:
        """Of a disk that has room for one and a half of it."""
        kept = sum(file.stat().st_size for file in (folder / "files").glob("*/*"))
        return SimpleNamespace(free=len(voice) * 3 // 2 - kept)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    with served(tmp_path) as client:
        assert send(client, "voice", voice).status_code == 201
        refused(send(client, "voice", voice), 507, "no room")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_disk_that_is_full_before_a_file_has_arrived_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = Path.open

    def on_a_full_disk(path: Path, *how: Any, **named: Any) -> Any:
        return opened(Path("/dev/full") if path.name == "part" else path, *how, **named)

    monkeypatch.setattr(Path, "open", on_a_full_disk)
    with served(tmp_path) as client:
        refused(send(client, "voice", bytes(100_000)), 507, "no room")
        refused(client.post("/api/demo?kind=voice"), 507, "no room")
        assert not list((tmp_path / "files").iterdir())


def test_a_pace_lets_a_burst_through_and_then_its_rate() -> None:
    pace = Pace(1e-3, 3)
    assert [pace.wait("a") > 0 for _ in range(5)] == [False, False, False, True, True]
    assert pace.wait("b") == 0
    for i in range(30_000):
        pace.wait(f"someone {i}")
    assert len(pace._left) <= 10_000


def test_seats_are_counted_for_each_and_for_all() -> None:
    seats = Seats(2, 3)
    assert [seats.take(who) for who in "aaabbc"] == [True, True, False, True, False, False]
    seats.leave("a")
    assert seats.take("c")


@pytest.mark.parametrize(("change", "says"), [
    ({"consent": False}, "consent must be true"), ({"consent": None}, "consent must be true"),
    ({"cast": []}, "cast is empty"), ({"emphasis": 9}, "emphasis"), ({"length": "stretch"}, "length"),
    ({"video": "../../etc/passwd"}, "video"), ({"adapt": 59}, "adaptation"),
    ({"colour": "red"}, "colour is not known here"), ({"kind": "wipe"}, "kind"), ({"kind": "frame"}, "at is missing"),
])  # fmt: skip
def test_orders_that_cannot_be_meant(client: TestClient, material: Path, change: dict[str, Any], says: str) -> None:
    video, voice = (client.post(f"/api/demo?kind={kind}").json()["id"] for kind in ("video", "voice"))
    refused(client.post("/api/jobs", json={**order(video, voice), **change}), 422, says)
    for id in (video, voice):
        client.delete(f"/api/files/{id}")


def test_faces_are_learnt_only_where_that_is_installed(client: TestClient, monkeypatch: pytest.MonkeyPatch) -> None:
    video, voice = (client.post(f"/api/demo?kind={kind}").json()["id"] for kind in ("video", "voice"))
    assert client.get("/api/me").json()["limits"]["adapt"] > 0
    monkeypatch.setattr("sidgan.web.api.find_spec", lambda name: None)
    assert client.get("/api/me").json()["limits"]["adapt"] == 0  # the page does not offer it then
    refused(client.post("/api/jobs", json={**order(video, voice), "adapt": 1}), 422, "it needs the extra train")


def test_an_order_that_is_no_json_is_told(client: TestClient) -> None:
    broken = client.post("/api/jobs", content=b"{'kind'", headers={"content-type": "application/json"})
    refused(broken, 422, "what was sent is not JSON")


def test_without_consent_given_nothing_is_drawn(client: TestClient) -> None:
    video, voice = (client.post(f"/api/demo?kind={kind}").json()["id"] for kind in ("video", "voice"))
    for kind in ("frame", "preview", "dub"):
        wish = {**order(video, voice), "kind": kind, **({} if kind == "dub" else {"at": 1.0})}
        del wish["consent"]
        refused(client.post("/api/jobs", json=wish), 422, "consent must be true")
    wish["cast"] = [{"person": 1, "voice": voice}, {"person": 1, "voice": voice}]
    refused(client.post("/api/jobs", json={**wish, "consent": True}), 422, "one voice")


@pytest.mark.parametrize("kind", ["frame", "preview"])
def test_a_moment_after_the_end_of_a_video_is_refused_at_once(client: TestClient, material: Path, kind: str) -> None:
    video, voice = given(client, "video", material / "film.mp4"), given(client, "voice", material / "voice.wav")
    ends = client.get(f"/api/files/{video}").json()["seconds"]
    wish = {**order(video, voice), "kind": kind}
    for at in (ends, 1e6):
        told = client.post("/api/jobs", json={**wish, "at": at})
        refused(told, 422, f"film.mp4 ends at {ends:.1f} s; choose an earlier moment")
    for at in (0, ends - 0.01):
        assert client.post("/api/jobs", json={**wish, "at": at}).status_code == 201


def test_a_voice_may_be_a_video_and_a_video_needs_pictures(client: TestClient, material: Path) -> None:
    refused(send(client, "voice", (material / "film.mp4").read_bytes(), "film.mp4"), 422, "film.mp4 has no sound")
    refused(send(client, "video", (material / "voice.wav").read_bytes(), "v.wav"), 422, "v.wav has no picture")
    refused(send(client, "voice", b"", "v.wav"), 422, "empty")
    demo, silent = client.post("/api/demo?kind=video").json()["id"], given(client, "video", material / "film.mp4")
    assert client.post("/api/jobs", json=order(silent, demo)).status_code == 201  # the demo's sound
    refused(client.post("/api/jobs", json=order(demo, silent)), 422, "has no sound")
    refused(client.post("/api/jobs", json=order(silent, demo, match_loudness=True)), 422, "no sound to match")
    refused(client.post("/api/jobs", content=b"x" * 70_000), 413, "KiB")


def test_a_length_that_a_transfer_encoding_makes_void_lets_nothing_large_through(client: TestClient) -> None:
    both = {"transfer-encoding": "chunked", "content-length": "10", "content-type": "application/json"}
    for path in ("/api/session", "/api/jobs", "/api/worker/hello"):
        refused(client.post(path, content=b"x" * 70_000, headers=both), 413, "Content-Length")


def test_the_api_describes_itself(client: TestClient) -> None:
    told = client.get("/api/openapi.json").json()
    assert set(told["paths"]["/api/jobs"]) == {"get", "post"}
    assert to_dict(ROOM)["jobs"] == client.get("/api/me").json()["limits"]["jobs"]


def test_the_api_says_how_it_knows_its_users(client: TestClient, tmp_path: Path) -> None:
    told = client.get("/api/openapi.json").json()
    token, session = (told["components"]["securitySchemes"][name] for name in ("token", "session"))
    assert (token["type"], token["scheme"]) == ("http", "bearer")
    assert client.post("/api/demo?kind=voice").status_code == 201
    assert (session["in"], session["name"]) == ("cookie", *client.cookies), "the one that it has just set"
    assert told["security"] == [{"token": []}, {"session": []}, {}], "it needs neither"
    with served(tmp_path, tokens=SECRETS) as closed:
        told = closed.get("/api/openapi.json").json()
        assert told["security"] == [{"token": []}, {"session": []}]
        free = {f"{verb} {path}" for path, verbs in told["paths"].items() for verb, about in verbs.items()
                if about.get("security") == [{}]}  # fmt: skip
        assert free == {"get /api/me", "post /api/session"}
        assert closed.get("/api/me").status_code == 200
        assert closed.get("/api/files").status_code == 401


@pytest.mark.parametrize(("asked", "status"), [("bytes=0-3", 206), ("bytes=99999999-", 416), ("lines=1-2", 400),
                                               ("bytes=x", 400), ("nonsense", 400)])  # fmt: skip
def test_an_odd_range_is_refused_like_all_else(client: TestClient, material: Path, asked: str, status: int) -> None:
    file = material / "voice.wav"
    where = f"/api/files/{given(client, 'voice', file)}/content"
    answer = client.get(where, headers={"range": asked})
    if status == 206:
        assert (answer.status_code, answer.content) == (206, file.read_bytes()[:4])
        return
    refused(answer, status, "no such range")
    told = {416: f"bytes */{file.stat().st_size}"}
    assert answer.headers.get("content-range") == told.get(status)


def test_a_request_that_does_not_arrive_is_dropped(tmp_path: Path) -> None:
    with served(tmp_path, replace(ROOM, silence=0.2)) as client:
        begin = {"type": "http.request", "body": b'{"kind"', "more_body": True}
        for path in ("/api/jobs", "/api/session"):
            for arrived in ([], [begin]):
                status, headers = asyncio.run(asyncio.wait_for(_stalled(client.app, path, list(arrived)), 20))
                assert (status, headers["connection"]) == (408, "close")


async def _stalled(app: Any, path: str, arrived: list[dict[str, Any]]) -> tuple[int, dict[str, str]]:
    """Status and headers of the answer to a request of whose body nothing more arrives."""
    started: dict[str, Any] = {}

    async def receive() -> dict[str, Any]:
        return arrived.pop() if arrived else await asyncio.Future()

    async def send(message: dict[str, Any]) -> None:
        started.update(message if message["type"] == "http.response.start" else {})

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json"), (b"content-length", b"90")]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "query_string": b"",
             "headers": headers, "scheme": "http", "http_version": "1.1", "root_path": ""}  # fmt: skip
    await app(scope, receive, send)
    return started["status"], {name.decode(): value.decode() for name, value in started["headers"]}


def test_no_proxy_of_the_prober_survives(tmp_path: Path) -> None:
    """Processes that look at files end with the service."""
    with served(tmp_path) as client:
        send(client, "voice", b"x")
        prober = client.app._app.state.parts.uploads._prober
        children = [child for child in prober._idle.queue if child is not None]
        assert children
    assert all(child.poll() is not None for child in children)


def test_a_service_that_is_started_again_looks_at_files(tmp_path: Path, material: Path) -> None:
    with served(tmp_path) as client:
        app = client.app
    with TestClient(app, base_url="http://localhost") as again:
        given(again, "voice", material / "voice.wav")


def test_a_file_that_ends_its_process_is_refused_and_the_next_is_not(tmp_path: Path, material: Path) -> None:
    with served(tmp_path) as client:
        given(client, "voice", material / "voice.wav")
        prober = client.app._app.state.parts.uploads._prober
        for child in list(prober._idle.queue):
            if child is not None:
                child.kill()
                child.wait()
        given(client, "voice", material / "voice.wav")
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(subprocess.Popen, "poll", lambda self: None)  # it dies after it was looked at
            for child in list(prober._idle.queue):
                if child is not None:
                    child.kill()
                    child.wait()
            refused(send(client, "voice", b"x", "a.wav"), 422, "takes too much time or memory")


class Stuck:
    """In place of a process that looks at files: it says nothing until it is over, and then nothing more."""

    started: list[Stuck]
    over: threading.Event

    def __init__(self, *given: Any, **how: Any) -> None:
        self.stdin, self.stdout = io.StringIO(), self
        self.started.append(self)

    def readline(self) -> str:
        self.over.wait(30)
        return ""

    def nothing(self) -> None:
        """It cannot be ended."""

    poll = kill = wait = nothing


def test_files_that_take_long_to_look_at_hold_up_nobody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads for requests."""
    Stuck.started, Stuck.over = [], threading.Event()
    monkeypatch.setattr(subprocess, "Popen", Stuck)
    app = create_app(Service(folder=tmp_path, limits=replace(ROOM, uploads=60), workers=0))

    async def go() -> list[int]:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://localhost") as client:
            await client.get("/")
            coming = [asyncio.create_task(client.post("/api/demo?kind=voice") if number % 4 == 0 else
                                          client.post("/api/files?kind=voice", content=b"x"))
                      for number in range(56)]  # fmt: skip
            try:
                while len(list((tmp_path / "files").glob("*/part"))) < len(coming) or len(Stuck.started) < 2:
                    await asyncio.wait_for(client.get("/api/files"), 5)
                for _ in range(5):
                    await asyncio.sleep(0.05)
                    await asyncio.wait_for(client.get("/api/files"), 5)
                assert len(Stuck.started) == 2
            finally:
                Stuck.over.set()
            return [answer.status_code for answer in await asyncio.gather(*coming)]

    assert set(asyncio.run(go())) == {422}
    assert list((tmp_path / "files").iterdir()) == []


def test_a_process_that_looks_too_long_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    start, started = subprocess.Popen, list[Any]()

    def endless(command: Any, **how: Any) -> Any:
        started.append(start([sys.executable, "-c", "import time; input(); time.sleep(8); print('{}')"], **how))
        return started[-1]

    monkeypatch.setattr(subprocess, "Popen", endless)
    monkeypatch.setattr(probers, "SECONDS", 0.2)
    prober = probers.Prober()
    with pytest.raises(RefusedError, match=r"a\.wav takes too much time or memory"):
        asyncio.run(prober.look(tmp_path / "part", "voice", "a.wav", ROOM))
    assert started[0].poll() is not None
    prober.close()


def test_a_port_in_use_is_told(tmp_path: Path) -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        code, said = command("serve", "--folder", tmp_path / "s", "--port", held.getsockname()[1], "--workers", 0)
    assert code == 2
    assert "port" in said


def printed(names: str, code: str, **environment: str) -> str:
    """What JavaScript prints that uses these functions of the page's ``words.js``."""
    words = Path(media.__file__).parents[1] / "web" / "static" / "words.js"
    begin = f"""import {{ readFileSync }} from "node:fs";
        const text = encodeURIComponent(readFileSync(process.argv[1], "utf8"));
        const {{ {names} }} = await import("data:text/javascript," + text);"""
    return subprocess.run(["node", "--input-type=module", "-e", begin + code, words], capture_output=True, text=True,
                          check=True, env={**os.environ, **environment}).stdout  # fmt: skip


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_the_page_tells_times_that_exist() -> None:
    told = printed("seconds", """console.log([4, 7.25, 59.94, 59.96, 119.6, 125].map(seconds).join(" | "));""")
    assert told == "4 s | 7.3 s | 59.9 s | 1:00 min | 2:00 min | 2:05 min\n"


@pytest.mark.skipif(shutil.which("node") is None, reason="no node")
def test_the_page_tells_the_day_of_what_is_not_of_today() -> None:
    told = printed("moment", """console.log(moment(Date.now() / 1000), "|", moment(1e9));""",
                   TZ="Europe/Berlin", LC_ALL="en_US.UTF-8")  # fmt: skip
    today, before = told.split("|")
    assert re.fullmatch(r"\d+:\d\d\s[AP]M\s", today), told
    assert "9/9/01" in before


def test_no_request_forges_lines_of_the_log_or_drives_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    log.say("GET /é\x1b[2J\nsidgan: all is well")
    assert capsys.readouterr().err == "sidgan: GET /é\\x1b[2J\\nsidgan: all is well\n"

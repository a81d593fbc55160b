"""Server and worker are killed in the middle of a dub, and start again: the result has the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from http.cookiejar import CookieJar
from pathlib import Path
from typing import Any

import numpy as np
from service import RATE, free_port
from small import save_networks

from sidgan import dubbing, media
from sidgan.synth import LINES, Person, Scene

FRAMES = 600  # two segments and more


class Client:
    """A program that uses the API, with nothing but what Python brings."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()))

    def ask(self, path: str, data: bytes | None = None, method: str | None = None, kind: str = "") -> bytes:
        request = urllib.request.Request(f"{self.address}/api/{path}", data, {"content-type": kind}, method=method)
        with self._opener.open(request, timeout=30) as answer:
            return bytes(answer.read())

    def json(self, path: str, **values: Any) -> Any:
        data = json.dumps(values).encode() if values else None
        return json.loads(self.ask(path, data, kind="application/json"))


def started(folder: Path, port: int, model: Path) -> subprocess.Popen[bytes]:
    """A service in a group of its own, its worker with it."""
    return subprocess.Popen(
        [sys.executable, "-m", "sidgan", "serve", "--folder", str(folder), "--port", str(port), "--device", "cpu",
         "--model", str(model)], start_new_session=True,
    )  # fmt: skip


def answering(client: Client, server: subprocess.Popen[bytes]) -> None:
    for _ in range(600):
        try:
            client.json("me")
            return
        except OSError:
            assert server.poll() is None
            time.sleep(0.2)
    raise AssertionError("the service does not answer")


def test_a_killed_service_goes_on_where_it_was(tmp_path: Path) -> None:
    some = [shot.image for shot in Scene(Person(3), LINES["hello"], seconds=1.0, rate=RATE, size=(192, 192))]
    frames = ([*some, *some[::-1]] * FRAMES)[:FRAMES]
    media.write_clip(tmp_path / "talk.mp4", frames, RATE)
    sound = Scene(Person(3), LINES["morning"], seconds=1.5).audio(16_000)
    media.write_wav(tmp_path / "voice.wav", np.tile(sound, 20), 16_000)
    model, _ = save_networks(tmp_path, 64)
    client = Client(f"http://127.0.0.1:{(port := free_port())}")
    server = started(tmp_path / "kept", port, model)
    try:
        answering(client, server)
        video, voice = (json.loads(client.ask(f"files?kind={kind}", (tmp_path / name).read_bytes()))["id"]
                        for kind, name in (("video", "talk.mp4"), ("voice", "voice.wav")))  # fmt: skip
        job = client.json("jobs", kind="dub", video=video, cast=[{"person": 1, "voice": voice}], consent=True)["id"]
        work = tmp_path / "kept" / "jobs" / job
        for _ in range(6000):
            if any(file.read_text().count("\n") > 1 for file in work.glob(".dubbed.mp4.sidgan/*/journal.jsonl")):
                break
            time.sleep(0.1)
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        assert not (work / "dubbed.mp4").exists()
        server = started(tmp_path / "kept", port, model)
        answering(client, server)
        for _ in range(6000):
            told = client.json(f"jobs/{job}")
            if told["state"] not in ("waiting", "running"):
                break
            time.sleep(0.1)
        assert told["state"] == "done", told
        assert told["result"]["resumed"] > 0
        result = client.ask(f"jobs/{job}/files/dubbed.mp4")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
    dubbing.dub(tmp_path / "talk.mp4", tmp_path / "voice.wav", tmp_path / "straight.mp4", device="cpu",
                model=model, speakers={1: tmp_path / "voice.wav"})  # fmt: skip
    assert result == (tmp_path / "straight.mp4").read_bytes()

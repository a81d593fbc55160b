"""A service with its worker, and a browser to use it with: what people do, done by a program."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from service import RATE, free_port

from sidgan import media
from sidgan.synth import LINES, Person, Scene

playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed; run make e2e")
SIZE, SECONDS = (384, 384), 1.6
FLAGS = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]


@pytest.fixture(scope="session")
def material(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """talk.mp4, somebody drawn who speaks; german.wav, a voice of the same length."""
    folder = tmp_path_factory.mktemp("material")
    scene = Scene(Person(3), LINES["hello"], seconds=SECONDS, rate=RATE, size=SIZE)
    media.write_clip(folder / "talk.mp4", (shot.image for shot in scene), RATE, audio=scene.audio(16_000))
    other = Scene(Person(3), LINES["morning"], seconds=SECONDS)
    media.write_wav(folder / "german.wav", 0.3 * other.audio(16_000), 16_000)
    return folder


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a service with the bundled model."""
    folder, port = tmp_path_factory.mktemp("service"), free_port()
    address, log = f"http://127.0.0.1:{port}", folder / "log.txt"
    with log.open("w") as out:
        server = subprocess.Popen(
            [sys.executable, "-m", "sidgan", "serve", "--folder", str(folder / "kept"), "--port", str(port)],
            stdout=out, stderr=out,
        )  # fmt: skip
    try:
        for _ in range(300):
            try:
                urllib.request.urlopen(f"{address}/api/me", timeout=5).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.2)
        yield address
    finally:
        server.terminate()
        server.wait(30)
    print(log.read_text())


@pytest.fixture(scope="session")
def browser() -> Iterator[playwright.Browser]:
    """A Chromium without a window."""
    with playwright.sync_playwright() as tools:
        own = Path(tools.chromium.executable_path)
        there = map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))
        found = os.environ.get("CHROMIUM") or (own if own.exists() else next(filter(None, there), None))
        if found is None or not Path(found).exists():
            pytest.fail(f"no browser{f' at {found}' if found else ''}: run .venv/bin/playwright install chromium, or "
                        "set CHROMIUM to the file of a Chromium or Chrome", pytrace=False)  # fmt: skip
        opened = tools.chromium.launch(executable_path=str(found), args=FLAGS)
        yield opened
        opened.close()


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where screenshots are put, to be looked at."""
    folder = Path("build") / "e2e"
    folder.mkdir(parents=True, exist_ok=True)
    return folder

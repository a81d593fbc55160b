"""What the tests of the service share: an application without workers, clients that are somebody, small material."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient

from sidgan.web.app import create_app
from sidgan.web.limits import Limits
from sidgan.web.settings import Service

ROOM = Limits(spare=0, requests=10_000, burst=10_000)


@contextmanager
def served(folder: Path, limits: Limits = ROOM, **how: Any) -> Iterator[TestClient]:
    """A service whose jobs nobody does, and somebody who uses it."""
    service = Service(folder=folder, limits=limits, workers=0, **how)
    with TestClient(create_app(service), base_url="http://localhost") as client:
        client.kept = folder
        yield client


def other(client: TestClient) -> TestClient:
    """Somebody else, at the same service."""
    return TestClient(client.app, base_url="http://localhost")


def send(client: TestClient, kind: str, data: Any, name: str = "") -> Any:
    """The answer to an upload."""
    return client.post("/api/files", params={"kind": kind, "name": name}, content=data)


def given(client: TestClient, kind: str, file: Path) -> str:
    """The number of an uploaded file."""
    answer = send(client, kind, file.read_bytes(), file.name)
    assert answer.status_code == 201, answer.text
    return str(answer.json()["id"])


def refused(answer: Any, status: int, says: str) -> None:
    """It was refused in one line, which names no path of the service."""
    assert answer.status_code == status, answer.text
    message = answer.json()["error"]["message"]
    assert says in message
    assert "\n" not in message
    assert "/part" not in message
    assert "original." not in message


def order(video: str, voice: str, **more: Any) -> dict[str, Any]:
    """A dub of the most prominent face."""
    return {"kind": "dub", "video": video, "cast": [{"voice": voice}], "consent": True, **more}


def events(text: str) -> list[dict[str, Any]]:
    """The jobs in a stream of events."""
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]

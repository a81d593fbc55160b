"""The service takes a photo in place of a video."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the service is not installed: pip install 'sidgan[serve]'")
pytest.importorskip("httpx2", reason="httpx2 is not installed")

from at_service import ROOM, given, order, refused, send, served
from fastapi.testclient import TestClient
from made_files import black_png

from sidgan import media
from sidgan.synth import Mouth, Person, Portrait, Pose
from sidgan.types import Byte
from sidgan.web.queue import Queue
from sidgan.web.store import Store
from sidgan.web.worker import Means, work

pytestmark = pytest.mark.usefixtures("one_thread", "known_faces")
TYPES = {"jpg": "image/jpeg", "png": "image/png", "webp": "image/webp", "avif": "image/avif", "tiff": "image/tiff",
         "bmp": "image/bmp"}  # fmt: skip


@pytest.fixture(scope="module")
def photo() -> Byte:
    """(241, 221, 3) BGR: somebody who smiles."""
    smile = Mouth(opening=0.3, spread=0.8, teeth=0.7)
    return np.ascontiguousarray(Portrait(Person(5), (241, 221), face_px=150).render(smile, Pose())[..., ::-1])


def encoded(picture: Byte, kind: str) -> bytes:
    return cv2.imencode(f".{kind}", picture)[1].tobytes()


def sent(client: TestClient, picture: Byte, name: str) -> Any:
    answer = send(client, "video", encoded(picture, name.rpartition(".")[2]), name)
    assert answer.status_code == 201, answer.text
    return answer.json()


@pytest.mark.parametrize("kind", TYPES)
def test_a_photo_is_taken_by_its_content_and_served_as_it_came(photo: Byte, tmp_path: Path, kind: str) -> None:
    with served(tmp_path) as client:
        data = encoded(photo, kind)
        file = send(client, "video", data, "me.mp4").json()
        facts = {name: file[name] for name in ("kind", "name", "still", "seconds", "sound", "width", "height", "rate")}
        assert facts == {"kind": "video", "name": "me.mp4", "still": True, "seconds": 0, "sound": False, "width": 220,
                         "height": 240, "rate": 25}  # fmt: skip
        answer = client.get(file["url"])
        assert answer.content == data
        assert answer.headers["content-type"] == TYPES[kind]
        assert answer.headers["content-disposition"] == f'inline; filename="photo.{kind}"'


def test_animated_pictures_are_videos_or_refused(photo: Byte, tmp_path: Path) -> None:
    moves = cv2.Animation()
    moves.frames, moves.durations = [photo, photo[:, ::-1]], [100, 100]
    for kind in ("png", "webp"):
        cv2.imwriteanimation(str(tmp_path / f"moves.{kind}"), moves)
    with served(tmp_path / "kept") as client:
        facts = send(client, "video", (tmp_path / "moves.png").read_bytes(), "moves.png").json()
        assert (facts["still"], facts["seconds"]) == (False, pytest.approx(0.2))
        refused(send(client, "video", (tmp_path / "moves.webp").read_bytes(), "m.webp"), 422, "animated or damaged")


def test_photos_of_phones_are_larger_than_frames_may_be_but_not_without_limit(photo: Byte, tmp_path: Path) -> None:
    with served(tmp_path) as client:
        large = send(client, "video", encoded(cv2.resize(photo, (4000, 3000)), "jpg"), "large.jpg").json()
        assert (large["width"], large["height"]) == (2000, 1500)
        refused(send(client, "video", black_png(9000, 9000), "huge.png"), 422,
                "huge.png is 9000 x 9000 px, which is too large; give at most 64.0 million px")  # fmt: skip
        refused(send(client, "video", black_png(40_000, 40_000), "bomb.png"), 422, "bomb.png is too large a picture")
        refused(send(client, "video", encoded(photo[:40, :40], "png"), "icon.png"), 422, "give one of 64 px")
    with served(tmp_path / "small", replace(ROOM, pixels=100 * 100)) as client:
        refused(send(client, "video", encoded(photo, "jpg"), "a.jpg"), 422, "a.jpg is 220 x 240 px")


def test_pictures_that_cannot_be_read_are_refused(photo: Byte, tmp_path: Path) -> None:
    avif = encoded(photo, "avif")
    heic = avif[:40].replace(b"avif", b"heic") + avif[40:]
    with served(tmp_path) as client:
        refused(send(client, "video", heic, "phone.heic"), 422, "phone.heic is not a picture that can be read")
        refused(send(client, "video", encoded(photo, "png")[:60], "cut.png"), 422, "cut.png")
        refused(send(client, "video", b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a.svg"), 422, "a.svg")
        refused(send(client, "voice", encoded(photo, "jpg"), "a.jpg"), 422, "a.jpg has no sound")
        assert client.get("/api/files").json() == []


def test_what_makes_no_sense_with_a_photo_is_refused_before_it_waits(
    photo: Byte, tmp_path: Path, material: Path
) -> None:
    with served(tmp_path) as client:
        video, voice = sent(client, photo, "me.jpg")["id"], given(client, "voice", material / "voice.wav")
        refused(client.post("/api/jobs", json=order(video, voice, adapt=1)), 422, "me.jpg is a photo, which shows too")
        refused(client.post("/api/jobs", json=order(video, voice, match_loudness=True)), 422, "me.jpg has no sound")
        refused(client.post("/api/jobs", json=order(video, voice, background="original")), 422, "no sound of its own")
        late = {**order(video, voice), "kind": "preview", "at": 1.2}
        refused(client.post("/api/jobs", json=late), 422, "the voice ends at 1.0 s; choose an earlier moment")


@pytest.mark.parametrize("length", ["cut", "loop", "keep"])
def test_a_photo_speaks_from_upload_to_download(
    photo: Byte, tmp_path: Path, material: Path, means: Means, length: str
) -> None:
    seen = np.full((*photo.shape[:2], 1), 255, np.uint8)
    seen[:20] = 0
    with served(tmp_path) as client:
        video = sent(client, np.dstack([photo, seen]), "me.png")["id"]
        voice = given(client, "voice", material / "voice.wav")
        look = client.post("/api/jobs", json={"kind": "look", "video": video}).json()["id"]
        some = {**order(video, voice, cast=[{"person": 1, "voice": voice}]), "at": 0.5}
        short = [client.post("/api/jobs", json={**some, "kind": kind}).json()["id"] for kind in ("frame", "preview")]
        dub = client.post("/api/jobs", json=order(video, voice, length=length)).json()["id"]
        work(Queue(Store(tmp_path)), means, print, once=True)
        people, image, part, whole = (client.get(f"/api/jobs/{job}").json() for job in (look, *short, dub))
        assert [job["error"] for job in (people, image, part, whole)] == [None] * 4
        assert [one["number"] for one in people["result"]["people"]] == [1]
        for name in ("before.jpg", "after.jpg"):
            assert cv2.imdecode(np.frombuffer(client.get(image["urls"][name]).content, np.uint8), 1).shape[0] == 240
        for job, name in ((part, "before.mp4"), (part, "after.mp4"), (whole, "dubbed.mp4")):
            (tmp_path / name).write_bytes(client.get(job["urls"][name]).content)
        page = client.get(whole["urls"]["report.html"]).text
    note = "not copied from me.png: transparency"
    assert [line for line in whole["notes"] if "transparency" in line] == [note]
    assert note in page
    assert not [line for line in whole["notes"] if "--length" in line]
    before, after, made = ([rgb.astype(int) for _, rgb in media.read_rgb(tmp_path / name)]
                           for name in ("before.mp4", "after.mp4", "dubbed.mp4"))  # fmt: skip
    frames = math.ceil(25 * media.sound_span(material / "voice.wav").end)
    assert whole["result"]["frames"] == len(made) == frames
    assert part["result"]["frames"] == len(before) == len(after) == frames - 13
    assert np.abs(before[3] - before[-1]).mean() < 1, "as it was"
    assert max(np.abs(one - other).mean() for one, other in zip(after, made[13:], strict=True)) < 1.5, "as in the dub"
    assert max(np.abs(one - after[0])[120:].mean() for one in after) > np.abs(before[3] - before[-1])[120:].mean()


def test_where_nobody_is_on_a_photo_one_is_asked_for(tmp_path: Path, means: Means) -> None:
    with served(tmp_path) as client:
        video = sent(client, np.full((240, 320, 3), 200, np.uint8), "wall.jpg")["id"]
        look = client.post("/api/jobs", json={"kind": "look", "video": video}).json()["id"]
        work(Queue(Store(tmp_path)), means, print, once=True)
        error = client.get(f"/api/jobs/{look}").json()["error"]
    assert error == "no face found in wall.jpg; give a photo with a face that is seen from the front"

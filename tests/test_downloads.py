"""Downloads, against a server on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from sidgan import downloads
from sidgan.downloads import KNOWN, Download, fetch
from sidgan.errors import DownloadError, OutputError

BODY = b"weights" * 100_000


class Handler(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/none":
            self.send_error(404)
            return
        if self.path == "/noise":
            self.wfile.write(b"this is no answer\r\n\r\n")
            return
        self.send_response(200)
        if self.path == "/chunks":  # ends in the middle of one
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"ffff\r\nweights")
            return
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(BODY[: len(BODY) // 2] if self.path == "/half" else BODY)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Download]:
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path / "cache"))
    Handler.asked.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sha256 = hashlib.sha256(BODY).hexdigest()
    yield Download("w.pth", f"http://127.0.0.1:{server.server_port}/good", sha256, 1, "none", "tests")
    server.shutdown()
    server.server_close()


def elsewhere(download: Download, path: str) -> Download:
    return replace(download, url=download.url.replace("/good", path))


def test_a_file_is_downloaded_once_and_checked(published: Download, tmp_path: Path) -> None:
    seen = []
    path = fetch(published, lambda done, total: seen.append((done, total)))
    assert path == tmp_path / "cache" / "w.pth"
    assert path.read_bytes() == BODY
    assert seen[-1] == (len(BODY), len(BODY))
    assert fetch(published) == path
    assert Handler.asked == ["/good"]
    assert [p.name for p in path.parent.iterdir()] == ["w.pth"]


def test_the_first_digits_of_a_digest_are_enough(published: Download) -> None:
    assert fetch(replace(published, sha256=published.sha256[:8])).is_file()


@pytest.mark.parametrize(("path", "says"), [
    ("/none", "Not Found"), ("/half", "ended|IncompleteRead|bytes"), ("/chunks", "IncompleteRead"),
    ("/noise", "this is no answer"),
])  # fmt: skip
def test_what_does_not_arrive_leaves_nothing(published: Download, tmp_path: Path, path: str, says: str) -> None:
    with pytest.raises(DownloadError, match=says) as caught:
        fetch(elsewhere(published, path))
    assert "\n" not in str(caught.value)
    assert list((tmp_path / "cache").iterdir()) == []


def test_another_file_is_refused_wherever_it_comes_from(published: Download) -> None:
    with pytest.raises(DownloadError, match="not the published"):
        fetch(replace(published, sha256="0" * 64))
    path = downloads.folder() / "w.pth"
    assert not path.exists()
    path.write_bytes(b"put there by hand, but wrong")
    with pytest.raises(DownloadError, match="remove it"):
        fetch(published)
    assert Handler.asked == ["/good"]


def test_a_cache_that_cannot_be_written_is_one_line(published: Download, tmp_path: Path) -> None:
    (tmp_path / "cache").write_bytes(b"no folder")
    with pytest.raises(OutputError, match="cannot be written") as caught:
        fetch(published)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_a_full_disk_is_one_line_and_leaves_nothing(published: Download, tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / ".w.pth.part").symlink_to("/dev/full")
    with pytest.raises(OutputError, match="no space left"):
        fetch(published)
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_a_network_it_says_where_to_put_the_file(published: Download, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"put it into {tmp_path / 'cache'}"):
        fetch(replace(published, url="http://127.0.0.1:9/w.pth"))


@pytest.mark.parametrize("known", KNOWN, ids=lambda download: download.file)
def test_each_known_file_arrives_and_is_listed(
    known: Download, published: Download, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    near = replace(known, url=published.url, sha256=published.sha256[: len(known.sha256)])
    monkeypatch.setattr(downloads, "KNOWN", (near,))
    path = tmp_path / "cache" / known.file
    (before,) = downloads.survey()
    assert before.state == "absent"
    assert f"save it as {path}" in "\n".join(before.lines())
    assert Handler.asked == []  # looking downloads nothing
    fetch(near)
    (there,) = downloads.survey()
    assert (there.state, there.path) == ("present", path)
    path.write_bytes(b"something else")
    (other,) = downloads.survey()
    assert other.state == "wrong"
    assert "remove" in other.lines()[-1]
    values = json.loads(json.dumps(other.to_dict()))
    assert (values["url"], values["sha256"], values["state"]) == (near.url, near.sha256, "wrong")
    assert {"file", "megabytes", "licence", "purpose", "stated_by", "path"} <= values.keys()


def test_a_digest_of_first_digits_says_so() -> None:
    for download in KNOWN:
        text = "\n".join(downloads.Presence(download, Path("x"), "absent").lines())
        assert ("only the first digits" in text) == (len(download.sha256) < 64)
        for fact in (download.file, download.url, download.sha256, download.licence, download.purpose):
            assert fact in text


def test_known_files_say_what_they_are() -> None:
    for download in KNOWN:
        assert download.url.endswith(download.file)
        assert len(download.sha256) >= 8
        assert download.megabytes
        assert download.licence
        assert download.purpose

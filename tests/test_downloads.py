"""Downloads, against a server on this machine."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

from sidgan import downloads
from sidgan.downloads import KNOWN, Download, fetch
from sidgan.errors import DownloadError

BODY = b"weights" * 100_000


class Handler(BaseHTTPRequestHandler):
    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        if self.path == "/none":
            self.send_error(404)
            return
        self.send_response(200)
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


@pytest.mark.parametrize(("path", "says"), [("/none", "Not Found"), ("/half", "ended|IncompleteRead|bytes")])
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


def test_without_a_network_it_says_where_to_put_the_file(published: Download, tmp_path: Path) -> None:
    with pytest.raises(DownloadError, match=f"put it into {tmp_path / 'cache'}"):
        fetch(replace(published, url="http://127.0.0.1:9/w.pth"))


def test_known_files_say_what_they_are() -> None:
    for download in KNOWN:
        assert download.url.endswith(download.file)
        assert len(download.sha256) >= 8
        assert download.megabytes
        assert download.licence
        assert download.purpose

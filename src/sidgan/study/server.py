"""The rating page, served on this computer only; it loads nothing from anywhere else.

::

    GET  /  /page.js  /page.css      the page
    GET  /clips/NAME.mp4             a clip, by its random file name; supports range requests
    POST /api/join   {"name"}        -> all clips for this viewer, in order, with the scores given so far
    POST /api/rate   {"name", "page", "question", "score"}

Which file name belongs to which method never leaves the server.
"""

from __future__ import annotations

import json
import re
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from pathlib import Path
from typing import Any

from sidgan.errors import OutputError, SidganError
from sidgan.paper.published import QUESTIONS
from sidgan.study.answers import Answers, Rating
from sidgan.study.build import Study, read
from sidgan.study.order import clip_order, method_order

HOST = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost")  #: accepted Host headers; others are refused, against DNS rebinding
MAX_BODY = 4096  #: bytes of a request
BLOCK = 1 << 16  #: bytes of a clip that are sent at a time
MIME_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
PAGES = {"/": "page.html", "/page.js": "page.js", "/page.css": "page.css"}
SECURITY_POLICY = (
    "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)
RANGE = re.compile(r"bytes=(\d*)-(\d*)")


def pages(study: Study, viewer: int) -> list[tuple[int, int]]:
    """Everything that a viewer is shown, in order: numbers of clip and method."""
    return [(clip, method) for clip in clip_order(len(study.clips), viewer, study.seed)
            for method in method_order(len(study.methods), viewer, clip, study.seed)]  # fmt: skip


class StudyApi:
    """The requests of the page, answered as JSON values; independent of HTTP.

    Args:
        folder: the study's folder.

    Raises:
        InputError: see `sidgan.study.build.read` and `Answers`.
    """

    def __init__(self, folder: Path) -> None:
        self.study = read(folder)
        self._answers = Answers(folder, self.study)
        self.clips = {token: folder / "clips" / f"{token}.mp4" for row in self.study.tokens for token in row}

    def join(self, name: str) -> dict[str, Any]:
        """All pages of a viewer, new or returning, with the scores given so far."""
        viewer = self._answers.viewer(name)
        given: dict[tuple[int, int], dict[str, int]] = {}
        for rating in self._answers.of(viewer):
            given.setdefault((rating.clip, rating.method), {})[rating.question] = rating.score
        shown = [{"clip": self.study.tokens[clip][method], "scores": given.get((clip, method), {})}
                 for clip, method in pages(self.study, viewer)]  # fmt: skip
        return {"questions": list(QUESTIONS), "versions": len(self.study.methods), "pages": shown}

    def rate(self, name: str, page: int, question: str, score: int) -> dict[str, Any]:
        """Save one answer.

        Raises:
            SidganError: there is no such page, question or score.
        """
        viewer = self._answers.viewer(name)
        shown = pages(self.study, viewer)
        if page not in range(len(shown)):
            raise SidganError(f"there is no page {page}; load the page again")
        self._answers.rate(Rating(viewer, *shown[page], question, score))
        return {"kept": True}


class Refused(Exception):  # noqa: N818  a response, not an error
    """A request is refused with an HTTP status and one line."""

    def __init__(self, status: HTTPStatus, line: str) -> None:
        super().__init__(line)
        self.status, self.line = status, line


def make_server(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server for a study's page, not yet running.

    Args:
        folder: the study's folder.
        port: TCP port; 0 takes a free one.

    Raises:
        InputError: there is no study in the folder.
        OutputError: the port is taken.
    """
    study_api = StudyApi(folder)

    class Handler(_Handler):
        api = study_api

    try:
        return ThreadingHTTPServer((HOST, port), Handler)
    except OSError as error:
        raise OutputError(f"port {port} cannot be used ({error.strerror}); choose another with --port") from None


class _Handler(BaseHTTPRequestHandler):
    api: StudyApi
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "sidgan", ""

    def do_GET(self) -> None:
        """Send a file of the page, or a clip."""
        self._answer(self._get)

    def do_POST(self) -> None:
        """Answer an API request of the page."""
        self._answer(self._post)

    def log_message(self, format: str, *args: Any) -> None:
        """Log nothing, for the viewers' privacy."""

    def _answer(self, method: Any) -> None:
        try:
            if self.headers.get("Host", "").partition(":")[0] not in HOSTS:
                raise Refused(HTTPStatus.FORBIDDEN, "open the page at the address that sidgan study serve printed")
            method()
        except Refused as refused:
            self.close_connection = True  # its body may not have been read
            self._send(refused.status, json.dumps({"error": refused.line}).encode(), "application/json")
        except (ConnectionError, TimeoutError):
            self.close_connection = True  # browsers often close a connection before a clip is complete

    def _get(self) -> None:
        path = self.path.partition("?")[0]
        if path in PAGES:
            name = PAGES[path]
            body = (resources.files("sidgan.study") / name).read_bytes()
            self._send(HTTPStatus.OK, body, f"{MIME_TYPES[Path(name).suffix]}; charset=utf-8")
            return
        clip = self.api.clips.get(path.removeprefix("/clips/").removesuffix(".mp4"))
        if clip is None or not path.startswith("/clips/"):
            raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
        self._clip(clip)

    def _post(self) -> None:
        origin = self.headers.get("Origin")
        if origin is not None and origin != f"http://{self.headers['Host']}":
            raise Refused(HTTPStatus.FORBIDDEN, "only the page itself may send ratings")
        if self.headers.get("Content-Type", "").partition(";")[0] != "application/json":
            raise Refused(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send JSON")
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > MAX_BODY:
            raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"send at most {MAX_BODY} bytes")
        try:
            values = json.loads(self.rfile.read(int(length)))
            if self.path == "/api/join":
                answer = self.api.join(_text(values["name"]))
            elif self.path == "/api/rate":
                answer = self.api.rate(_text(values["name"]), _integer(values["page"]), _text(values["question"]),
                                       _integer(values["score"]))  # fmt: skip
            else:
                raise Refused(HTTPStatus.NOT_FOUND, "there is nothing here")
        except (ValueError, KeyError, TypeError):
            raise Refused(HTTPStatus.BAD_REQUEST, "this is not what the page sends; load it again") from None
        except SidganError as error:
            raise Refused(HTTPStatus.BAD_REQUEST, str(error)) from None
        self._send(HTTPStatus.OK, json.dumps(answer).encode(), "application/json")

    def _clip(self, path: Path) -> None:
        size = path.stat().st_size
        first, last, status = 0, size - 1, HTTPStatus.OK
        requested = RANGE.fullmatch(self.headers.get("Range", ""))
        if requested is not None and any(requested.groups()):
            begin, end = requested.groups()
            first = int(begin) if begin else max(0, size - int(end))
            last = min(last, int(end)) if begin and end else last
            status = HTTPStatus.PARTIAL_CONTENT
            if first > last:
                raise Refused(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, "the clip is not that long")
        self.send_response(status)
        self.send_header("Content-Type", "video/mp4")
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(last - first + 1))
        if status == HTTPStatus.PARTIAL_CONTENT:
            self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.end_headers()
        with path.open("rb") as file:
            file.seek(first)
            left = last - first + 1
            while left > 0 and (block := file.read(min(BLOCK, left))):
                self.wfile.write(block)
                left -= len(block)

    def _send(self, status: HTTPStatus, body: bytes, mime_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", mime_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Security-Policy", SECURITY_POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _integer(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError
    return value

"""The server: the application, behind uvicorn."""

from __future__ import annotations

from collections.abc import Callable
from threading import Event
from types import FrameType

import uvicorn

from sidgan.web.app import create_app
from sidgan.web.settings import Service

PATIENCE = 5  #: seconds that requests may take to end when the server does


class Server(uvicorn.Server):
    """Tells the application when it is to end, so that endless streams do."""

    def __init__(self, config: uvicorn.Config, closing: Event) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called with the signal."""
        self._closing.set()
        super().handle_exit(sig, frame)


def run(service: Service, ready: Callable[[], None]) -> None:
    """Serve until a signal says stop.

    Args:
        ready: called before the first request can come.

    Raises:
        OutputError: the folder of the service cannot be used.
    """
    closing = Event()
    config = uvicorn.Config(
        create_app(service, closing), host=service.host, port=service.port, log_level="warning", server_header=False,
        timeout_graceful_shutdown=PATIENCE,
    )  # fmt: skip
    ready()
    Server(config, closing).run()

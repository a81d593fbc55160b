"""The HTTP server: runs the application with uvicorn."""

from __future__ import annotations

import socket
from collections.abc import Callable
from threading import Event
from types import FrameType

import uvicorn

from sidgan.errors import ConfigError
from sidgan.web.app import create_app
from sidgan.web.settings import Service

SHUTDOWN = 5  #: seconds that open requests get to finish when the server stops


class Server(uvicorn.Server):
    """Tells the application when it is to stop, so that event streams end."""

    def __init__(self, config: uvicorn.Config, closing: Event) -> None:
        super().__init__(config)
        self._closing = closing

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Handle a signal that stops the server."""
        self._closing.set()
        super().handle_exit(sig, frame)


def run(service: Service, ready: Callable[[], None]) -> None:
    """Serve until a signal stops the server.

    Args:
        service: the settings.
        ready: called when the port is open, before the first request is answered.

    Raises:
        OutputError: the folder of the service cannot be used.
        ConfigError: host and port cannot be used.
    """
    try:
        family = socket.getaddrinfo(service.host, service.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((service.host, service.port), family=family, backlog=1024)
    except OSError as error:
        raise ConfigError(f"{service.host}, port {service.port} cannot be used ({error.strerror or error}); "
                          "choose another --port") from error  # fmt: skip
    closing = Event()
    config = uvicorn.Config(
        create_app(service, closing), log_level="warning", server_header=False,
        timeout_graceful_shutdown=SHUTDOWN,
    )  # fmt: skip
    ready()
    with listening:
        Server(config, closing).run([listening])

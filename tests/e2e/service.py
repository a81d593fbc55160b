"""What the tests of running services share."""

from __future__ import annotations

import socket
from fractions import Fraction

RATE = Fraction(25)


def free_port() -> int:
    """A port that nobody listens at."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])

"""The log of servers and workers: lines on standard error."""

import sys
from contextlib import suppress


def say(line: str) -> None:
    """Print a line. If the log's disk is full, or nobody reads it any more, what wanted to print it goes on."""
    with suppress(OSError):
        print(f"sidgan: {line}", file=sys.stderr, flush=True)

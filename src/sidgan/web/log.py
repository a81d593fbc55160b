"""The log of servers and workers: lines on standard error."""

import sys
from contextlib import suppress


def say(line: str) -> None:
    """Print a line, with control characters escaped: some of it may come from a request.

    If the log's disk is full, or nobody reads it any more, what wanted to print it goes on.
    """
    plain = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in line)
    with suppress(OSError):
        print(f"sidgan: {plain}", file=sys.stderr, flush=True)

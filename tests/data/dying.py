"""What a worker process does that the system kills; imports nothing, to be there at once."""

import os


def end_at_once(job: object) -> None:
    """End this process without a word."""
    os._exit(9)

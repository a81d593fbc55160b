"""Process-wide settings for dubbing, made before torch is imported: by commands, never by importing the library."""

import os

from sidgan.portable import keep_memory


def ready_for_dubs() -> None:
    """Let waiting threads sleep, and keep freed memory for the next batch; both affect the whole process."""
    sleep_between_batches()
    keep_memory()


def sleep_between_batches() -> None:
    """Let OpenMP threads that wait for the next batch sleep. After torch has been imported this has no effect.

    By default they busy-wait, in order to start slightly earlier. In a dub the cores have other work to do meanwhile;
    beside other programs, a dub with busy-waiting took 3.7 times as long, and 4.4 times the processor time. On an idle
    computer both take the same time; training, which does little else, is a tenth faster with busy-waiting. A value of
    ``OMP_WAIT_POLICY`` in the environment takes precedence.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

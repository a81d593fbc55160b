"""How a process that dubs is set up before the libraries below are: what commands do, and no library on its own."""

import os

from sidgan.portable import keep_memory


def ready_for_dubs() -> None:
    """Let threads sleep while they wait, and keep memory for the next batch; both are the whole process's."""
    sleep_between_batches()
    keep_memory()


def sleep_between_batches() -> None:
    """Have threads that wait for the next batch sleep. After torch has been imported this does nothing.

    By default they run in circles, so as to begin a little earlier. In a dub the processor has other things to do
    meanwhile, and where other programs work as well, a dub took 3.7 times as long for it, and 4.4 times the processor
    time. On an idle computer both take the same; training, which does little else, is a tenth faster without this.
    ``OMP_WAIT_POLICY`` in the environment is left as it is.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

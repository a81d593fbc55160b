"""How a process that dubs is set up: threads that wait leave the processor to others, freed memory is kept."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

ASK = """
import os, sys
from sidgan import cli
try: cli.app({args}, standalone_mode=False)
except Exception as error: print(type(error).__name__, file=sys.stderr)
print(os.environ.get("OMP_WAIT_POLICY"))
"""


FAULTS = """
import resource, sys
import numpy as np
from sidgan import portable
if "keep" in sys.argv: portable.keep_memory()
def layers():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(10):
        maps = [np.ones(16 << 20, np.uint8) for _ in range(3)]
        del maps
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
layers()
print(layers())
"""


def policy(args: list[str], **given: str) -> str:
    """What the policy is after a command, in a process of its own."""
    code = ASK.format(args=args)
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"} | given
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split("\n")[-2]


def test_a_dubs_threads_sleep() -> None:
    assert policy(["dub", "no.mp4", "no.wav", "-o", "x.mp4"]) == "PASSIVE"


def test_what_the_user_says_stays() -> None:
    assert policy(["dub", "no.mp4", "no.wav", "-o", "x.mp4"], OMP_WAIT_POLICY="ACTIVE") == "ACTIVE"


def test_it_is_said_before_the_library_is_there_to_hear_it() -> None:
    code = ("import sys; from sidgan import cli, threads; threads.ready_for_dubs(); "
            "assert 'torch' not in sys.modules")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)


def test_training_is_left_alone() -> None:
    assert policy(["train", "gan", "no", "--steps", "1"]) == "None"


@pytest.mark.skipif(sys.platform != "linux" or not hasattr(ctypes.CDLL(None), "mallopt"), reason="of glibc alone")
def test_memory_of_one_layer_serves_the_next() -> None:
    def faults(*args: str) -> int:
        done = subprocess.run([sys.executable, "-c", FAULTS, *args], capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert faults("keep") < 100 < faults()

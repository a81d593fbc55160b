"""Threads that wait for the next batch leave the processor to others."""

from __future__ import annotations

import os
import subprocess
import sys

ASK = """
import os, sys
from sidgan import cli
try: cli.app({args}, standalone_mode=False)
except Exception as error: print(type(error).__name__, file=sys.stderr)
print(os.environ.get("OMP_WAIT_POLICY"))
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
    code = ("import sys; from sidgan import cli, threads; threads.sleep_between_batches(); "
            "assert 'torch' not in sys.modules")  # fmt: skip
    subprocess.run([sys.executable, "-c", code], check=True)


def test_training_is_left_alone() -> None:
    assert policy(["train", "gan", "no", "--steps", "1"]) == "None"

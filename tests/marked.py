"""What the tests of marks and of signatures share: small films, a network that draws fast, other tools' copies."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from typer.testing import CliRunner

from sidgan import media
from sidgan.cli import app
from sidgan.config import GeneratorConfig
from sidgan.errors import SidganError
from sidgan.nn import Generator
from sidgan.synth import LINES, Person, Scene

SIZE = (192, 192)
RATE = Fraction(30_000, 1001)  # no frame but the first is shown at a whole millisecond
HEX = "0123456789abcdef" * 4


def films(folder: Path) -> Path:
    """film.mp4: a face, an empty room, the face again; voice.wav, which ends before the film does; room, text.mp4."""
    face = [shot.image for shot in Scene(Person(3), LINES["hello"], seconds=0.5, rate=RATE, size=SIZE)][:14]
    room = [np.full((*SIZE, 3), 235, np.uint8)] * 4
    media.write_clip(folder / "film.mp4", face + room + face, RATE, crf=12)
    media.write_clip(folder / "room.mp4", room, RATE)
    voice = Scene(Person(3), LINES["morning"], seconds=1.0).audio(16_000)
    media.write_wav(folder / "voice.wav", voice[: round(28.5 / float(RATE) * 16_000)], 16_000)
    (folder / "text.mp4").write_text("this is not a film")
    return folder


def network(seed: int, **more: Any) -> Generator:
    """A generator as small as it gets, always the same."""
    torch.manual_seed(seed)
    small = {"size": 64, "base": 2, "cmax": 4, "rgb_levels": (64,), "audio_levels": (16,), "audio_width": 1}
    return Generator(GeneratorConfig(**small | more))


def missing(names: Iterable[str]) -> list[str]:
    """Which of ``file.py::test`` are not there, in the folder of tests or one within."""
    return [name for name in names if name.partition("::")[2] not in tests_in(name.partition("::")[0])]


@cache
def tests_in(name: str) -> frozenset[str]:
    """Names of the functions in a file of tests; of none where it is not there."""
    found = list(Path(__file__).parent.rglob(name))
    body = ast.parse(found[0].read_text()).body if found else []
    return frozenset(node.name for node in body if isinstance(node, ast.FunctionDef))


def sidgan(*arguments: object) -> tuple[int, str]:
    """Exit code of a command, and what it said."""
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    if isinstance(result.exception, SidganError):  # `main` prints it and leaves with its code
        return result.exception.exit_code, str(result.exception)
    return result.exit_code, result.output


def copied(path: Path, out: Path, comment: str | None = None) -> Path:
    """The streams and metadata of a file in another one, as other tools copy them."""
    with av.open(str(path)) as source, av.open(str(out), "w") as target:
        target.metadata.update(source.metadata | ({} if comment is None else {"comment": comment}))
        streams = {stream.index: target.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                target.mux(packet)
    return out

"""What a caller from Python gives by mistake is named, before anything is looked at."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import sidgan
from sidgan.dubbing.settings import Settings
from sidgan.errors import ConfigError, InputError

FILES = ("v.mp4", "a.wav", "o.mp4")


@pytest.mark.parametrize(
    ("call", "given", "change", "said"),
    [
        (sidgan.dub, (3, "a.wav", "o.mp4"), {}, "video cannot be 3; give a path or text"),
        (sidgan.dub, (b"v.mp4", "a.wav", "o.mp4"), {}, "video cannot be b'v.mp4'"),
        (sidgan.dub, ("v.mp4", "a.wav", None), {}, "out cannot be None"),
        (sidgan.dub, FILES, {"crf": "x"}, "crf cannot be 'x'; give a whole number"),
        (sidgan.dub, FILES, {"steady": True}, "steady cannot be True; give a number"),
        (sidgan.dub, FILES, {"lossless": "no"}, "lossless cannot be 'no'; give True or False"),
        (sidgan.dub, FILES, {"speakers": ["a.wav"]}, r"speakers cannot be \['a.wav'\]; give a mapping, such as"),
        (sidgan.dub, FILES, {"speakers": {1: 3}}, "speakers cannot be {1: 3}; give a mapping, such as"),
        (sidgan.dub, FILES, {"face": ["a.png"]}, "face cannot be .*; give a whole number, text, a path or None"),
        (sidgan.dub, FILES, {"faces": 3}, "faces cannot be 3; give text"),
        (sidgan.dub, FILES, {"progress": 3}, "progress cannot be 3; give a function or None"),
        (sidgan.dub, FILES, {"sign": "key.pem"}, "sign cannot be 'key.pem'; give a Credentials or None"),
        (sidgan.Dubber, (), {"crf": "x"}, "crf cannot be 'x'"),
        (sidgan.Dubber, ("bundled", {"crf": 3}), {}, "settings cannot be {'crf': 3}; give a Settings or None"),
        (sidgan.Dubber.stream, (None, None, []), {}, "frames cannot be None; give an iterable"),
        (sidgan.Dubber.stream, (None, [], None), {}, "audio cannot be None; give an iterable"),
        (sidgan.Dubber.stream, (None, [], []), {"rate": "25"}, "rate cannot be '25'; give a Fraction or a number"),
        (sidgan.Dubber.stream, (None, [], []), {"audio_rate": 8e3}, "audio_rate cannot be 8000.0; give a whole number"),
        (sidgan.adapt, ("v.mp4",), {"minutes": "5"}, "minutes cannot be '5'; give a number"),
        (sidgan.prepare, (3, "out"), {}, "folder cannot be 3"),
        (sidgan.evaluate, ("bundled", "data"), {}, "generator cannot be 'bundled'; give a Generator"),
        (sidgan.load_generator, (3,), {}, "path cannot be 3"),
        (sidgan.load_syncnet, (None,), {}, "path cannot be None"),
        (sidgan.verify, ("v.mp4",), {"trust": 4}, "trust cannot be 4; give a path, text or None"),
        (sidgan.Credentials, (3, "key.pem"), {}, "certificate cannot be 3"),
    ],
)  # fmt: skip
def test_an_argument_of_the_wrong_type_is_named(
    call: Any, given: tuple[Any, ...], change: dict[str, Any], said: str
) -> None:
    with pytest.raises(InputError, match=f"^{said}") as caught:
        call(*given, **change)
    assert "\n" not in str(caught.value)


def test_every_function_that_is_offered_looks_at_its_arguments() -> None:
    offered = [getattr(sidgan, name) for name in sidgan.__all__ if name not in ("__version__", "DubReport")]
    doors = [one.__init__ if inspect.isclass(one) else one for one in offered]
    assert [door for door in doors if not hasattr(inspect.unwrap(door, stop=_checked), "__wrapped__")] == []


def _checked(function: Any) -> bool:
    return bool(function.__code__.co_filename.endswith("arguments.py"))


@pytest.mark.parametrize("audio", [None, "a.wav", Path("a.wav")])
def test_what_fits_passes(audio: Any) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        sidgan.dub(Path("v.mp4"), audio, "o.mp4", crf=np.int64(18), steady=np.float32(0.2), emphasis=1, face="2")
    assert Settings(face="photo.png", speakers={}).face == Path("photo.png")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="speakers go by the numbers"):
        sidgan.dub(*FILES, speakers={"1": "a.wav"})  # type: ignore[dict-item]
    with pytest.raises(TypeError, match=r"dub\(\) got an unexpected keyword argument 'crv'"):
        sidgan.dub(*FILES, crv=3)  # type: ignore[call-arg]

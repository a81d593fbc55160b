"""The settings of a dub are said once; what takes them one by one agrees with that."""

from __future__ import annotations

import inspect
import json
import typing
from collections.abc import Callable
from dataclasses import MISSING, fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from marked import network

import sidgan
from sidgan import cli, dubbing, evaluation, jobs
from sidgan.dubbing.segments import engine_of, engines
from sidgan.dubbing.settings import Settings
from sidgan.errors import ConfigError, InputError, SidganError

DEFAULTS = {one.name: one.default for one in fields(Settings) if one.default is not MISSING}  # all but speakers


def choices(hint: Any) -> tuple[Any, ...]:
    """What a ``Literal`` allows, alone or inside ``Annotated``."""
    inner = hint.__origin__ if hasattr(hint, "__metadata__") else hint
    return typing.get_args(inner) if typing.get_origin(inner) is typing.Literal else ()


def test_the_call_and_the_command_take_every_setting_with_the_same_default() -> None:
    hints = typing.get_type_hints(Settings)
    call, command = inspect.signature(dubbing.dub).parameters, inspect.signature(cli.dub).parameters
    for name, default in DEFAULTS.items():
        assert call[name].default == default
        assert command[name].default == default
    assert {"speakers"} == set(hints) - set(DEFAULTS) <= set(call)
    for taken in (typing.get_type_hints(dubbing.dub), typing.get_type_hints(cli.dub, include_extras=True)):
        told = {name: choices(taken[name]) for name in DEFAULTS if choices(hints[name])}
        assert told == {name: choices(hints[name]) for name in told}
        assert set(told) == {"faces", "silence", "length", "on_damage"}


def test_two_ways_to_say_who_is_redrawn_are_not_both_taken() -> None:
    for two in ({"face": 1}, {"speakers": {1: Path("a.wav")}}):
        with pytest.raises(ConfigError, match="chooses who is redrawn"):
            Settings(faces="all", **two)


def test_people_have_numbers_not_names_of_numbers() -> None:
    with pytest.raises(ConfigError, match="speakers go by the numbers of people"):
        Settings(speakers={"1": Path("anna.wav")})  # type: ignore[dict-item]


def test_files_that_two_jobs_would_make_are_refused(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("video,voice,out\na,b,c.mp4\na,b,d.mp4\n")
    like = jobs.Job(Path(), Path(), Path(), strip=tmp_path / "one.png")
    with pytest.raises(InputError, match=r"more than one job for .*one\.png"):
        jobs.read(tmp_path / "jobs.csv", like)
    (tmp_path / "jobs.csv").write_text("video;voice;out\na;b;c\n")
    with pytest.raises(ConfigError, match="save it with commas"):
        jobs.read(tmp_path / "jobs.csv", jobs.Job(Path(), Path(), Path()))


def test_the_call_takes_files_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Settings] = []
    monkeypatch.setattr(dubbing.dubber.Dubber, "__init__", lambda self, model, settings, **_: seen.append(settings))
    monkeypatch.setattr(dubbing.dubber.Dubber, "dub", lambda self, *_, **__: None)
    dubbing.dub("a.mp4", "b.wav", "c.mp4", face="anna.jpg", background="music.wav")
    dubbing.dub("a.mp4", "b.wav", "c.mp4", face="2", background="original")
    dubbing.dub("a.mp4", None, "c.mp4", speakers={1: "d.wav"})
    assert [one.face for one in seen] == [Path("anna.jpg"), 2, None]
    assert [one.background for one in seen] == [Path("music.wav"), "original", None]
    assert seen[2].speakers == {1: Path("d.wav")}


def test_a_dubber_takes_what_the_call_takes() -> None:
    assert [Settings(face=given).face for given in ("2", "anna.jpg")] == [2, Path("anna.jpg")]  # type: ignore[arg-type]
    assert Settings(background="music.wav").background == Path("music.wav")  # type: ignore[arg-type]
    assert Settings(background="original").background == "original"


def test_numbers_may_be_those_of_numpy() -> None:
    given: dict[str, Any] = {"crf": np.int64(20), "steady": np.float32(0.5), "emphasis": Fraction(1, 2)}
    settings = Settings(**given)
    json.dumps(settings.noted())
    assert settings == Settings(crf=20, steady=0.5, emphasis=0.5)
    person: Any = np.int64(2)
    assert repr(Settings(face=person).face) == "2"
    assert [repr(number) for number in Settings(speakers={person: Path("a.wav")}).speakers] == ["2"]


def test_what_the_package_offers_takes_files_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    calls: dict[str, Callable[[], object]] = {
        "gone.mp4": lambda: sidgan.verify("gone.mp4", source="other.mp4"),
        "a.mp4": lambda: dubbing.faces("a.mp4", sheet="people.png"),
        "b.mp4": lambda: sidgan.adapt("b.mp4", out="me.safetensors"),
        "raw": lambda: sidgan.prepare("raw", "data", splits="splits.toml"),
        "data": lambda: evaluation.evaluate_to("judged", "bundled", ["data"]),
        "made": lambda: evaluation.evaluate_videos("judged", "made", "true"),
        "cert.pem": lambda: sidgan.Credentials("cert.pem", "key.pem"),
    }
    for name, call in calls.items():
        with pytest.raises(SidganError, match=name):
            call()


def test_a_list_of_jobs_has_a_column_for_every_setting(tmp_path: Path) -> None:
    texts = {"faces": "all", "face": "2", "silence": "keep", "length": "hold", "device": "cpu", "engine": "onnx",
             "encoder": "x265", "crf": "3", "lossless": "yes", "steady": "0.25", "emphasis": "2",
             "on_damage": "pass", "background": "original"}  # fmt: skip
    rows = [f"a,b,{left}.mp4," + ",".join("" if name == left else text for name, text in texts.items())
            for left in ("face", "faces")]  # fmt: skip
    (tmp_path / "jobs.csv").write_text("\n".join([f"video,voice,out,{','.join(texts)}", *rows]))
    everybody, job = jobs.read(tmp_path / "jobs.csv", jobs.Job(Path(), Path(), Path()))
    assert set(texts) == set(DEFAULTS)
    assert (job.face, job.crf, job.lossless, job.steady, job.emphasis) == (2, 3, True, 0.25, 2.0)
    assert (everybody.faces, everybody.face) == ("all", None)
    assert all(getattr(job, name) != default for name, default in DEFAULTS.items() if name != "faces")
    (tmp_path / "jobs.csv").write_text("video,voice,out,face,speakers,background\n"
                                       "a,b,c.mp4,anna.png,,m.wav\na,b,d.mp4,,2=b.wav;3=c.wav,\n")
    photo, two = jobs.read(tmp_path / "jobs.csv", jobs.Job(Path(), Path(), Path()))
    assert (photo.face, two.speakers) == (Path("anna.png"), {2: Path("b.wav"), 3: Path("c.wav")})
    assert (photo.background, two.background) == (Path("m.wav"), None)


def test_a_wrong_value_is_told_with_its_own_column(tmp_path: Path) -> None:
    (tmp_path / "jobs.csv").write_text("video,voice,out,faces,crf\na,b,c,smallest,20\n")
    with pytest.raises(ConfigError, match=r"line 2: 'faces' must be one of largest, all, speaking, not 'smallest'$"):
        jobs.read(tmp_path / "jobs.csv", jobs.Job(Path(), Path(), Path()))


def test_impossible_settings_are_one_line() -> None:
    wrong: dict[str, Any] = {"faces": "smallest", "silence": "loud", "length": "half", "on_damage": "hope", "crf": 52,
                             "steady": -1, "emphasis": 4}  # fmt: skip
    for name, value in wrong.items():
        with pytest.raises(ConfigError, match=rf"^{name} must be .*, not .?{value}"):
            Settings(**{name: value})
    with pytest.raises(ConfigError, match="not both"):
        Settings(face=1, speakers={1: Path("a.wav")})
    with pytest.raises(ConfigError, match="cannot go with length keep"):
        Settings(background="original", length="keep")


def test_a_given_network_stays_as_it_is() -> None:
    mine = network(0)
    mine.emphasis = 1.0
    dubber = dubbing.Dubber(generator=mine, device="cpu", emphasis=2.0)
    assert mine.emphasis == 1.0
    painted, *others = engines({0: mine, 1: mine}, dubber.settings, 2).values()
    assert others == [painted]
    for engine, emphasis in ((dubber.engine, 2.0), (painted, 2.0), (engine_of(mine, Settings(device="cpu"), 2), 1.0)):
        run: Any = engine._generator
        assert run.emphasis == emphasis
        assert next(run.parameters()) is next(mine.parameters())  # the weights are there once


def test_a_dub_draws_as_lively_as_suits_the_weights() -> None:
    mine = network(0)
    mine.lively = 1.5
    for emphasis, expected in ((1.0, 1.5), (2.0, 3.0)):
        run: Any = engine_of(mine, Settings(device="cpu", emphasis=emphasis), 2)._generator
        assert run.emphasis == expected
    assert mine.emphasis == 1.0


def test_what_made_the_engine_cannot_change_with_a_dub(tmp_path: Path) -> None:
    dubber = dubbing.Dubber(generator=network(0), device="cpu")
    with pytest.raises(ConfigError, match="emphasis cannot change"):
        dubber.dub(tmp_path / "a.mp4", tmp_path / "a.wav", tmp_path / "b.mp4", emphasis=2.0)
    with pytest.raises(TypeError, match="crv"):
        dubber.dub(tmp_path / "a.mp4", tmp_path / "a.wav", tmp_path / "b.mp4", crv=2)

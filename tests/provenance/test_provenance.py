"""The mark in every output: it names what was redrawn, with what and from what, survives copying, can be checked."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from marked import HEX, RATE, copied, films, network, sidgan
from small import save_networks

from sidgan import checkpoint, dubbing, media, provenance
from sidgan.errors import MarkError, SidganError
from sidgan.provenance import MAX_SPANS, SENTENCE, Mark, Stretches, credentials, verify
from sidgan.provenance.mark import mark_of

pytestmark = pytest.mark.usefixtures("known_faces")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films(tmp_path_factory.mktemp("marked"))


@pytest.fixture(scope="module")
def made(folder: Path) -> dict[str, dubbing.DubReport]:
    """The film dubbed to each container."""
    dubber = dubbing.Dubber(generator=network(0), device="cpu")
    return {
        suffix: dubber.dub(folder / "film.mp4", folder / "voice.wav", folder / f"out{suffix}")
        for suffix in (".mp4", ".mov", ".mkv")
    }


def file_digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


def within(stretches: Stretches, times: list[Fraction]) -> list[bool]:
    return [any(first <= float(time) < last for first, last in stretches.spans) for time in times]


# ------------------------------------------------------------------------------------------------------- what is said


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_every_container_tells_what_was_redrawn_and_from_what(
    suffix: str, folder: Path, made: dict[str, dubbing.DubReport]
) -> None:
    out, report = folder / f"out{suffix}", made[suffix]
    mark = provenance.read(out)
    assert mark is not None
    assert mark.weights == checkpoint.digest(network(0).state_dict())
    assert (mark.source, mark.voice) == (file_digest(folder / "film.mp4"), file_digest(folder / "voice.wav"))
    passed = {i for first, last, _ in report.passed for i in range(first, last + 1)}
    assert {reason for _, _, reason in report.passed} == {"no face", "voice is over"}
    assert len(mark.edited.spans) == 2
    for file in (folder / "film.mp4", out):
        times = [frame.time for frame in media.read_frames(media.probe(file))]
        if suffix == ".mkv":  # it rounds times to milliseconds: look at the middle of each picture's time
            times = [time + 1 / RATE / 2 for time in times]
        assert within(mark.edited, times) == [i not in passed for i in range(report.frames)]
    assert verify(out, source=folder / "film.mp4", voice=folder / "voice.wav").holds
    assert media.metadata(out)["comment"].startswith(SENTENCE)


def test_the_mark_survives_when_other_tools_copy_the_streams(folder: Path, made: Any, tmp_path: Path) -> None:
    file = folder / "out.mp4"
    for hop, suffix in enumerate((".mkv", ".mov", ".mp4")):
        file = copied(file, tmp_path / f"copy{hop}{suffix}")
        assert provenance.read(file) == provenance.read(folder / "out.mp4")


def test_the_last_frame_lasts_to_the_end(folder: Path, tmp_path: Path) -> None:
    media.write_wav(tmp_path / "long.wav", np.full(32_000, 0.1, np.float32), 16_000)
    dubbing.dub(folder / "film.mp4", tmp_path / "long.wav", tmp_path / "out.mp4", generator=network(0), device="cpu")
    mark = provenance.read(tmp_path / "out.mp4")
    assert mark is not None
    assert mark.edited.spans[-1][1] == pytest.approx(float(32 / RATE), abs=0.001)


def test_weights_files_and_adapted_networks_are_told_apart(folder: Path, tmp_path: Path) -> None:
    model, _ = save_networks(tmp_path, 64)
    own = network(1)
    report = dubbing.dub(
        folder / "film.mp4", folder / "voice.wav", tmp_path / "own.mp4", model=model, own={0: own}, device="cpu"
    )  # fmt: skip
    mark = provenance.read(tmp_path / "own.mp4")
    assert mark is not None
    assert (mark.model, mark.weights) == ("model", file_digest(model))
    assert mark.adapted == (checkpoint.digest(own.state_dict()),)
    assert report.model == f"model-{mark.weights[:12]}, adapted"
    assert f"adapted   SHA-256 {mark.adapted[0]}" in sidgan("verify", tmp_path / "own.mp4")[1]


def test_kept_changes_name_the_file_they_are_in(folder: Path, tmp_path: Path) -> None:
    model, _ = save_networks(tmp_path, 64)
    changed = checkpoint.load_generator(model)
    with torch.no_grad():
        next(changed.parameters()).add_(0.1)
    checkpoint.save_changes(tmp_path / "me.safetensors", changed, model)
    dubber = dubbing.Dubber(tmp_path / "me.safetensors", device="cpu")
    dubber.dub(folder / "film.mp4", folder / "voice.wav", tmp_path / "out.mp4")
    mark = provenance.read(tmp_path / "out.mp4")
    assert mark is not None
    assert (mark.model, mark.weights) == ("me", file_digest(tmp_path / "me.safetensors"))
    assert mark.adapted == ()


def test_the_same_input_gives_the_same_bytes(folder: Path, made: Any, tmp_path: Path) -> None:
    dubbing.dub(
        folder / "film.mp4", folder / "voice.wav", tmp_path / "again.mp4", generator=network(0), device="cpu"
    )  # fmt: skip
    assert file_digest(tmp_path / "again.mp4") == file_digest(folder / "out.mp4")


def test_what_the_source_says_of_itself_is_passed_on(folder: Path, made: Any, tmp_path: Path) -> None:
    first = provenance.read(folder / "out.mp4")
    assert first is not None
    media.write_wav(tmp_path / "short.wav", np.full(3200, 0.1, np.float32), 16_000)  # 0.2 s
    dubber = dubbing.Dubber(generator=network(0), device="cpu")
    dubber.dub(folder / "out.mp4", tmp_path / "short.wav", tmp_path / "twice.mp4")
    twice = provenance.read(tmp_path / "twice.mp4")
    assert twice is not None
    assert twice.earlier == first.edited
    assert twice.edited.spans[-1][1] < 0.25
    assert "in the source already" in sidgan("verify", tmp_path / "twice.mp4")[1]
    assert provenance.earlier(folder / "film.mp4", 1.0) == Stretches()
    broken = copied(folder / "out.mp4", tmp_path / "broken.mp4", f"{SENTENCE} {{")
    assert provenance.earlier(broken, 1.0).spans == ((0.0, 1.0),)


def test_an_output_without_its_mark_is_not_kept(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for comment in ({}, {"comment": SENTENCE}):
        monkeypatch.setattr(media, "metadata", lambda path, comment=comment: comment)
        with pytest.raises(SidganError, match="without its mark"):
            dubbing.dub(
                folder / "film.mp4", folder / "voice.wav", tmp_path / "out.mp4", generator=network(0), device="cpu"
            )  # fmt: skip
    assert not list(tmp_path.iterdir())


def test_the_demo_is_marked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = media.read_frames
    monkeypatch.setattr(media, "read_frames", lambda clip: islice(read(clip), 16))  # enough for the first picture
    assert sidgan("demo", tmp_path)[0] == 0
    assets = Path(provenance.__file__).parents[1] / "assets"
    code, said = sidgan(
        "verify", tmp_path / "dubbed.mp4", "--source", assets / "demo.mp4", "--voice", assets / "demo_voice.m4a"
    )
    assert code == 0
    assert file_digest(checkpoint.bundled("generator")) in said


# ----------------------------------------------------------------------------------------------------- stretches


@pytest.mark.parametrize("rate", [Fraction(25), RATE, Fraction(60_000, 1001), Fraction(144)])
def test_rounded_stretches_keep_every_frame_on_its_side(rate: Fraction) -> None:
    times = [i / rate for i in range(1000)]
    redrawn = list(np.random.default_rng(0).random(1000) < 0.95)
    chosen = [(time, time + 1 / rate) for time, take in zip(times, redrawn, strict=True) if take]
    stretches = Stretches.of(chosen)
    assert stretches.left_out == 0
    assert within(stretches, times) == redrawn
    assert Stretches.of(stretches.spans) == stretches


def test_of_many_stretches_none_is_left_out() -> None:
    pauses = [Fraction(1, 2)] * (MAX_SPANS + 6)
    pauses[3:80:11] = [Fraction(1, 50)] * 7  # as many as there are stretches too many: these are not told
    begins = [100_000 + k + sum(pauses[:k]) for k in range(len(pauses) + 1)]
    edited = Stretches.of([(begin, begin + 1) for begin in begins])
    assert (len(edited.spans), edited.left_out) == (MAX_SPANS, 0)
    assert within(edited, begins) == [True] * len(begins)
    assert within(edited, [begin + 1 for begin in begins[:-1]]) == [pause < Fraction(1, 2) for pause in pauses]
    assert Stretches.of(edited.spans) == edited
    assert Stretches.of([]) == Stretches()
    mark = Mark(model="m", weights=HEX, source=HEX, voice=HEX, edited=edited, earlier=edited)
    assert len(mark.tags()["comment"]) < 6000
    assert str(edited).endswith(f"and {MAX_SPANS - provenance.SHOWN} more")
    older = Stretches(edited.spans, left_out=7)
    assert str(older).endswith(f"and {MAX_SPANS + 7 - provenance.SHOWN} more")


# -------------------------------------------------------------------------------------------------------------- verify


def test_a_changed_source_and_another_voice_are_noticed(folder: Path, made: Any, tmp_path: Path) -> None:
    changed = bytearray((folder / "film.mp4").read_bytes())
    changed[-1] ^= 1
    (tmp_path / "film.mp4").write_bytes(changed)
    out = folder / "out.mp4"
    assert sidgan("verify", out, "--source", folder / "film.mp4")[0] == 0
    code, said = sidgan("verify", out, "--source", tmp_path / "film.mp4", "--voice", folder / "voice.wav")
    assert code == 1
    assert f"{tmp_path / 'film.mp4'} is NOT the file" in said
    assert f"{folder / 'voice.wav'} is the file" in said
    assert sidgan("verify", out, "--voice", folder / "film.mp4")[0] == 1


def test_the_verdict_as_json(folder: Path, made: Any) -> None:
    code, said = sidgan("verify", folder / "out.mkv", "--voice", folder / "voice.wav", "--json")
    told = json.loads(said)
    assert code == 0
    assert told["holds"] is told["marked"] is True
    assert [check["what"] for check in told["checks"]] == ["voice", "signature"]
    mark = provenance.read(folder / "out.mkv")
    assert mark is not None
    assert told["mark"] == json.loads(json.dumps(mark.to_dict()))
    assert (mark.sidgan, mark.signed) == ("0.1.0", False)


def test_a_video_of_somebody_else_is_not_marked(folder: Path) -> None:
    code, said = sidgan("verify", folder / "film.mp4", "--source", folder / "film.mp4", "--json")
    told = json.loads(said)
    assert code == 1
    assert not told["marked"]
    assert told["mark"] is None
    assert "not marked as altered" in sidgan("verify", folder / "film.mp4")[1]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["text.mp4"], "text.mp4"),
        (["missing.mp4"], "no such file"),
        (["voice.wav"], "sound without pictures"),
        (["room.mp4", "--source", "missing.mp4"], "missing.mp4 cannot be read"),
        (["room.mp4", "--voice", "."], "cannot be read"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    code, said = sidgan("verify", *arguments)
    assert code == 2
    assert text in said
    assert "\n" not in said


GOOD: dict[str, Any] = {
    "sidgan": "9.9", "model": "m", "weights": HEX, "source": HEX, "voice": HEX, "adapted": [], "signed": False,
    "edited": {"spans": [[0, 1.5]], "left_out": 0}, "earlier": {"spans": [], "left_out": 0},
}  # fmt: skip


@pytest.mark.parametrize(
    "record",
    [
        "", "{", "[1]", "null", "[" * 50_000,
        json.dumps(GOOD | {"weights": "12"}), json.dumps(GOOD | {"model": 3}),
        json.dumps(GOOD | {"edited": {"spans": [[2, 1]], "left_out": 0}}),
        json.dumps(GOOD | {"edited": {"spans": [[0, float("inf")]], "left_out": 0}}),
        json.dumps(GOOD | {"edited": {"spans": [[0]], "left_out": 0}}),
        json.dumps(GOOD | {"adapted": 5}),
        json.dumps(GOOD)[:-40],
    ],
)  # fmt: skip
def test_a_damaged_record_is_told(record: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media, "metadata", lambda path: {"comment": f"{SENTENCE} {record}"})
    with pytest.raises(MarkError):
        provenance.read(folder / "room.mp4")
    verdict = verify(folder / "room.mp4", source=folder / "film.mp4")
    assert verdict.marked
    assert not verdict.holds
    assert any("the rest of the mark is damaged" in line for line in verdict.lines())


def test_records_of_later_versions_are_read_and_cannot_write_on_the_screen(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    later = GOOD | {"model": "\x1b[2Jred\nFILE is fine", "new": {"key": 1}}
    comment = f"Shot in May. {SENTENCE} {json.dumps(later)} Thanks for watching."
    monkeypatch.setattr(media, "metadata", lambda path: {"comment": comment})
    mark = provenance.read(folder / "room.mp4")
    assert mark is not None
    assert mark.edited.spans == ((0.0, 1.5),)
    lines = verify(folder / "room.mp4").lines()
    assert all(line.isprintable() for line in lines)
    assert any("red?FILE is fine" in line for line in lines)


def test_one_option_alone_cannot_sign(folder: Path, tmp_path: Path) -> None:
    code, said = sidgan(
        "dub", folder / "film.mp4", folder / "voice.wav", "-o", tmp_path / "out.mp4", "--sign", "cert.pem"
    )
    assert (code, "--sign and --key together" in said) == (2, True)


def test_without_the_library_a_signature_is_not_checked_but_told(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "available", lambda: False)
    mark = dataclasses.replace(mark_of(GOOD), signed=True)
    monkeypatch.setattr(media, "metadata", lambda path: mark.tags())
    verdict = verify(folder / "room.mp4")
    assert verdict.holds
    assert "not checked; run: pip install 'sidgan[c2pa]'" in verdict.lines()[-1]
    with pytest.raises(SidganError, match="c2pa-python"):
        verify(folder / "room.mp4", trust=tmp_path / "ca.pem")
    with pytest.raises(SidganError, match="c2pa-python"):
        credentials.Credentials(tmp_path / "cert.pem", tmp_path / "key.pem")

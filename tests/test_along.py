"""What belongs to pictures beside their samples and comes along into a dub: timecode."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import av
import pytest
from marked import network
from marked import sidgan as command
from test_media import drawing, speech

from sidgan import dubbing, media
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Clip

HOW = media.Encoding(preset="ultrafast")
HOUR = "01:00:00:00"


def numbered(out: Path, code: str, rate: Fraction = Fraction(25), *, whole: bool = False) -> Path:
    """Twelve pictures with a timecode: one of the pictures, or one of the whole file."""
    with av.open(str(out), "w") as file:
        codec, plain = ("libx264", {"preset": "ultrafast"}) if out.suffix != ".avi" else ("mpeg4", {})
        pictures = file.add_stream(codec, rate=rate, options=plain)
        (file if whole else pictures).metadata["timecode"] = code
        pictures.width, pictures.height, pictures.pix_fmt = 96, 96, "yuv420p"
        for index in range(12):
            picture = av.VideoFrame.from_ndarray(drawing(index, 96, 96), format="rgb24")
            picture.pts, picture.time_base = index, 1 / rate
            file.mux(pictures.encode(picture))
        file.mux(pictures.encode(None))
    return out


def joined(clip: Clip, out: Path, cuts: tuple[int, ...] = (0, 5, 12), how: media.Encoding = HOW) -> list[str]:
    """Write what a dub that redraws nothing is, from segments; what is left behind."""
    frames, parts = media.read_frames(clip), []
    for first, stop in pairwise(cuts):
        parts.append(out.with_suffix(f".{first}"))
        with media.SegmentWriter(parts[-1], clip, how, out.suffix) as writer:
            for _ in range(first, stop):
                writer.write(next(frames))
    with media.Writer(out, clip, encoding=how, named=True) as writer:
        writer.join([media.Segment(part) for part in parts])
    return writer.left()


def code_of(path: Path) -> str | None:
    """As FFmpeg tells it of the pictures."""
    with av.open(str(path)) as file:
        return {name.lower(): text for name, text in file.streams.video[0].metadata.items()}.get("timecode")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize(
    ("name", "whole"), [("a.mov", False), ("a.mp4", True), ("a.mkv", False), ("a.mkv", True), ("a.avi", True)]
)
def test_timecode_comes_along_from_wherever_a_container_keeps_it(
    name: str, whole: bool, suffix: str, tmp_path: Path
) -> None:
    clip, out = media.probe(numbered(tmp_path / name, "09:58:00:13", whole=whole)), tmp_path / f"out{suffix}"
    assert clip.timecode == "09:58:00:13"
    assert clip.besides == ()
    assert joined(clip, out) == []
    assert code_of(out) == "09:58:00:13"
    assert media.shown_times(out) == media.shown_times(clip.path)
    assert joined(media.probe(out), again := tmp_path / f"again{suffix}") == []
    assert code_of(again) == code_of(out)
    first = out.read_bytes()
    joined(clip, out)
    assert out.read_bytes() == first


@pytest.mark.parametrize(
    ("code", "rate", "held"),
    [
        ("01:00:00;12", Fraction(30_000, 1001), True),
        ("01:00:00;59", Fraction(60_000, 1001), True),
        ("01:00:00:12", Fraction(24_000, 1001), True),
        ("01:00:00:119", Fraction(120), True),
        ("01:00:00;12", Fraction(25), False),  # numbers are dropped at 29.97 and 59.94 alone
        ("01:00:00:29", Fraction(25), False),  # there is no such number; FFmpeg would make 01:00:01:04 of it
        ("01:00:00:12", Fraction(300), False),  # FFmpeg would not write the file at all
    ],
)
def test_timecode_that_mp4_cannot_hold_is_left_out_and_told(
    code: str, rate: Fraction, held: bool, tmp_path: Path
) -> None:
    clip = media.probe(numbered(tmp_path / "a.mkv", code, rate))
    assert clip.timecode == code
    assert joined(clip, tmp_path / "b.mkv") == []
    assert code_of(tmp_path / "b.mkv") == code
    left = joined(clip, tmp_path / "b.mp4")
    assert code_of(tmp_path / "b.mp4") == (code if held else None)
    assert [line.split(",")[0] for line in left] == ([] if held else [f"timecode {code}"])
    assert held or left[0].endswith("choose an .mkv output")


def test_timecode_that_cannot_be_understood_is_told_and_not_taken_over(tmp_path: Path) -> None:
    odd = media.probe(numbered(tmp_path / "odd.mkv", "ten o'clock"))
    cut = numbered(tmp_path / "cut.mov", HOUR, Fraction(25))
    data, place = bytearray(cut.read_bytes()), 0
    for _ in range(2):  # the pictures and their timecode begin with what was the sixth of them
        place = data.index(b"elst", place) + 16
        begins = int.from_bytes(data[place : place + 4], "big")
        data[place : place + 4] = (begins + 5 * 512).to_bytes(4, "big")
    cut.write_bytes(data)
    assert len(list(media.read_frames(media.probe(cut)))) == 7
    for clip in (odd, media.probe(cut)):
        assert clip.besides == ("timecode",)
        assert joined(clip, tmp_path / "out.mkv", (0, 7)) == []
        assert code_of(tmp_path / "out.mkv") is None


def test_an_excerpt_has_no_timecode_since_it_begins_elsewhere(tmp_path: Path) -> None:
    video = numbered(tmp_path / "a.mp4", HOUR)
    media.write_excerpt(tmp_path / "part.mp4", video, 0.2, 0.4)
    assert code_of(tmp_path / "part.mp4") is None


@pytest.mark.usefixtures("one_thread")
def test_a_dub_and_a_dub_of_it_have_the_timecode_and_are_proved(tmp_path: Path) -> None:
    scene = Scene(Person(3), LINES["hello"], seconds=0.5, rate=Fraction(25), size=(256, 320))
    media.write_clip(tmp_path / "film.mp4", [shot.image for shot in scene][:12], Fraction(25), speech(0.4), crf=12)
    with av.open(str(tmp_path / "film.mp4")) as given, av.open(str(tmp_path / "coded.mov"), "w") as file:
        copy = file.add_stream_from_template(given.streams.video[0])
        copy.metadata["timecode"] = HOUR
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                file.mux(packet)
    video = tmp_path / "coded.mov"
    for out in (tmp_path / "first.mp4", tmp_path / "second.mov"):
        report = dubbing.dub(video, tmp_path / "film.mp4", out, generator=network(0), device="cpu")
        assert report.notes == ()
        assert report.dubbed > 0
        assert code_of(out) == HOUR
        code, said = command("verify", out)
        assert code == 0, said
        video = out

"""What belongs to pictures beside their samples and comes along into a dub: timecode and closed captions."""

from __future__ import annotations

import gc
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path

import av
import pytest
from av.sidedata.sidedata import Type
from made_files import drawing, make_video, speech
from marked import network
from marked import sidgan as command

from sidgan import dubbing, media
from sidgan.dubbing import segments
from sidgan.synth import LINES, Person, Scene
from sidgan.timeline import Length
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
            for frame in islice(frames, stop - first):
                writer.write(media.editable(frame) if frame.index % 2 else frame)
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
        ("01:00:00;12", Fraction(25), False),  # numbers are dropped at multiples of 29.97 alone
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
    clip = media.probe(numbered(tmp_path / "a.mp4", HOUR))
    with media.Writer(tmp_path / "part.mp4", clip) as writer:  # as for excerpts, without `named`
        for frame in islice(media.read_frames(clip), 5, 10):
            writer.write(frame)
    assert code_of(tmp_path / "part.mp4") is None


def captioned(source: Path, target: Path) -> Path:
    """A copy with closed captions in every picture, other ones in each."""
    with av.open(str(source)) as given, av.open(str(target), "w") as out:
        copy = out.add_stream_from_template(given.streams.video[0])
        for count, old in enumerate(packet for packet in given.demux(video=0) if packet.dts is not None):
            said = b"\xb5\x00\x31GA94\x03\x41\xff\xfc" + bytes([65 + count, 66]) + b"\xff"
            unit = bytes([6, 4, len(said)]) + said + b"\x80"
            new = av.Packet(len(unit).to_bytes(4, "big") + unit + bytes(old))
            new.pts, new.dts, new.duration, new.time_base = old.pts, old.dts, old.duration, old.time_base
            new.is_keyframe, new.stream = old.is_keyframe, copy
            out.mux(new)
    return target


def captions(path: Path) -> list[bytes | None]:
    """Those of each picture, in the order in which they are shown."""
    with av.open(str(path)) as file:
        given = (frame.side_data for frame in file.decode(video=0))
        return [bytes(beside[Type.A53_CC]) if Type.A53_CC in beside else None for beside in given]


@pytest.mark.parametrize(
    ("encoder", "suffix"), [("x264", ".mp4"), ("x264", ".mkv"), ("x264", ".mov"), ("x265", ".mp4"), ("x265", ".mkv")]
)
def test_captions_come_along_with_every_picture_edited_or_not(encoder: str, suffix: str, tmp_path: Path) -> None:
    video = captioned(numbered(tmp_path / "a.mp4", HOUR), tmp_path / "said.mp4")
    said, clip, out = captions(video), media.probe(video), tmp_path / f"out{suffix}"
    assert len({*said}) == 12
    assert None not in said
    assert clip.besides == ()
    assert joined(clip, out, how=media.Encoding(encoder, preset="medium")) == []
    assert captions(out) == said
    with media.Writer(out, clip, encoding=HOW) as writer:
        for frame in media.read_frames(clip):
            writer.write(media.editable(media.editable(frame)))
    assert captions(out) == said


def test_captions_come_along_where_pictures_are_converted(tmp_path: Path) -> None:
    grey = make_video(tmp_path / "a.mp4", range(12), Fraction(1, 25), pixels="gray")
    clip, out = media.probe(captioned(grey, tmp_path / "said.mp4")), tmp_path / "out.mkv"
    assert joined(clip, out) == []
    assert captions(out) == captions(clip.path)


def test_captions_that_get_lost_are_told(tmp_path: Path) -> None:
    plain = make_video(tmp_path / "a.mp4", range(12), Fraction(1, 25))
    clip, out = media.probe(captioned(plain, tmp_path / "said.mp4")), tmp_path / "out.mkv"
    assert joined(clip, out, how=media.Encoding("ffv1")) == ["closed captions, which ffv1 does not write; choose x264"]
    assert captions(out) == [None] * 12


def test_a_picture_without_its_captions_leaves_the_first_one_its_own(tmp_path: Path) -> None:
    video = captioned(numbered(tmp_path / "a.mp4", HOUR), tmp_path / "said.mp4")
    clip = media.probe(video)
    with (
        media.Writer(tmp_path / "one.mkv", clip, encoding=HOW) as one,
        media.Writer(tmp_path / "other.mkv", clip, encoding=HOW) as other,
    ):
        for frame in media.read_frames(clip):
            again = media.without_captions(frame)
            assert all((a == b).all() for a, b in zip(frame.planes, again.planes, strict=True))
            one.write(again if frame.index % 2 else media.editable(again))
            other.write(frame)
    assert captions(tmp_path / "one.mkv") == [None] * 12
    assert captions(tmp_path / "other.mkv") == captions(video)


def test_pictures_that_are_shown_again_are_let_go_of(tmp_path: Path) -> None:
    # Pictures in cycles wait for Python to look for cycles: a looped film in full HD held hundreds of them.
    plain = numbered(tmp_path / "a.mp4", HOUR)
    for video in (plain, captioned(plain, tmp_path / "said.mp4")):
        clip = media.probe(video)
        gc.collect()
        gc.disable()
        try:
            before = sum(isinstance(one, av.VideoFrame) for one in gc.get_objects())
            for frame in media.read_frames(clip):
                media.without_captions(frame)
            del frame
            assert sum(isinstance(one, av.VideoFrame) for one in gc.get_objects()) == before, video.name
        finally:
            gc.enable()


# ---------------------------------------------------------------------------------------------------------- whole dubs


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve pictures of a face."""
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    scene = Scene(Person(3), LINES["hello"], seconds=0.5, rate=Fraction(25), size=(256, 320))
    media.write_clip(path, [shot.image for shot in scene][:12], Fraction(25), speech(0.4), crf=12)
    return path


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("length", ["cut", "hold", "loop", "pingpong"])
def test_captions_are_shown_once_in_a_dub(
    film: Path, length: Length, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(segments, "LENGTH", 4)
    video, out = captioned(film, tmp_path / "said.mp4"), tmp_path / "out.mp4"
    media.write_wav(tmp_path / "voice.wav", speech(1.3), 16_000)
    report = dubbing.dub(video, tmp_path / "voice.wav", out, length=length, generator=network(0), device="cpu")
    assert report.dubbed > 6
    assert not [note for note in report.notes if "captions" in note]
    assert captions(out)[:12] == captions(video)
    assert {*captions(out)[12:]} == ({None} if length != "cut" else set())
    assert report.frames == (12 if length == "cut" else 33)


@pytest.mark.usefixtures("one_thread")
def test_a_dub_and_a_dub_of_it_have_both_and_are_proved(film: Path, tmp_path: Path) -> None:
    said = captioned(film, tmp_path / "said.mp4")
    with av.open(str(said)) as given, av.open(str(tmp_path / "coded.mov"), "w") as file:
        copy = file.add_stream_from_template(given.streams.video[0])
        copy.metadata["timecode"] = HOUR
        for packet in given.demux(video=0):
            if packet.dts is not None:
                packet.stream = copy
                file.mux(packet)
    video = tmp_path / "coded.mov"
    for out in (tmp_path / "first.mp4", tmp_path / "second.mov"):
        report = dubbing.dub(video, film, out, generator=network(0), device="cpu")
        assert report.notes == ()
        assert report.dubbed > 0
        assert code_of(out) == HOUR
        assert captions(out) == captions(said)
        code, told = command("verify", out)
        assert code == 0, told
        video = out

"""Subtitles of a video are in its dub: the same words at the same pictures, whatever clock the file is on."""

from __future__ import annotations

import contextlib
import io
import random
import shutil
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple, cast

import av
import numpy as np
import pytest
from av.container import InputContainer
from av.packet import Packet
from av.stream import Disposition
from made_files import QUICK, drawing, speech
from marked import RATE, SIZE, network
from marked import sidgan as command

from sidgan import dubbing, media
from sidgan.dubbing import journal, segments, work_folder
from sidgan.errors import SidganError
from sidgan.media.pgs import DisplaySets
from sidgan.media.source import first_picture, opened
from sidgan.media.subtitles import Subtitles
from sidgan.synth import LINES, Person, Scene
from sidgan.types import Clip

SECOND = Fraction(1)
HOW = media.Encoding(preset="ultrafast")
MUXERS = {".mkv": "matroska", ".mp4": "mp4", ".mov": "mov"}
HEAD = bytes([0x16, 0, 11]) + bytes(11)  # of a display set: nothing is shown
END = bytes([0x80, 0, 0])
TITLES = ["One", "Zwei"]


class Track(NamedTuple):
    """Subtitles: FFmpeg's name of their kind, and begin and end in seconds of the film, and data of each."""

    kind: str
    said: Sequence[tuple[float, float | None, bytes]]
    language: str = "ger"
    title: str = ""
    disposition: Disposition = Disposition(0)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of pictures and sound."""
    path = tmp_path_factory.mktemp("subtitles") / "film.mp4"
    media.write_clip(path, map(drawing, range(50)), Fraction(25), speech(2.0), **QUICK)
    return path


def text(words: str) -> bytes:
    """Words as mov_text has them."""
    data = words.encode()
    return len(data).to_bytes(2, "big") + data


def subtitled(
    film: Path, out: Path, *tracks: Track, late: Fraction = Fraction(0), font: bytes = b"", named: bool = False
) -> Path:
    """``film`` with subtitles, first shown at ``late`` seconds; if ``named``, with two chapters and a timecode."""
    raw = {"fflags": "-autobsf"}  # damage goes into the file as it is
    with av.open(str(film)) as source, av.open(str(out), "w", MUXERS[out.suffix], container_options=raw) as file:
        streams = {stream.index: file.add_stream_from_template(stream) for stream in source.streams}
        if named:
            streams[0].metadata["timecode"] = "01:00:00:00"
            file.set_chapters([{"id": i, "start": i, "end": i + 1, "time_base": SECOND, "metadata": {"title": title}}
                               for i, title in enumerate(TITLES)])  # fmt: skip
        packets: list[Packet[Any]] = []
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                packet.stream = streams[packet.stream.index]
                packet.pts, packet.dts = (t + round(late / packet.time_base) for t in (packet.pts, packet.dts))
                packets.append(packet)
        for track in tracks:
            stream = file.add_mux_stream(track.kind, time_base=Fraction(1, 1000))
            stream.metadata.update({"language": track.language, "title": track.title})
            stream.disposition = track.disposition
            for begin, end, data in track.said:
                packets.append(Packet(data))
                packets[-1].stream, packets[-1].time_base = stream, Fraction(1, 1000)
                packets[-1].pts = packets[-1].dts = round(1000 * (begin + late))
                packets[-1].duration = 0 if end is None else round(1000 * (end - begin))
        if font:
            file.add_attachment("a.ttf", "application/x-truetype-font", font)
        for packet in sorted(packets, key=lambda p: (p.dts or 0) * p.time_base):
            file.mux(packet)
    return out


def dubbed(video: Path, out: Path, end: Fraction = 2 * SECOND, again: int = 0) -> list[str]:
    """Write what a dub that redraws nothing is, its last frame shown ``again`` so often; what is left behind."""
    clip = media.probe(video)
    part = segment(clip, out, again)
    with media.Writer(out, clip, audio=video, encoding=HOW, named=True) as writer:
        writer.join([part], subtitles=end)
    return writer.left()


def segment(clip: Clip, out: Path, again: int = 0) -> media.Segment:
    """The pictures of a clip, encoded."""
    path = out.with_suffix(".segment")
    with media.SegmentWriter(path, clip, HOW, out.suffix) as writer:
        for frame in media.read_frames(clip):
            writer.write(frame)
        for k in range(1, 1 + again):
            writer.write(replace(frame, time=frame.time + k * frame.duration))
    return media.Segment(path)


def shown(path: Path, track: int = 0) -> list[tuple[float, float, bytes]]:
    """Begin and end, from the first picture on, and data of subtitles; what mov_text has between them is left out."""
    start = first_picture(path) or Fraction(0)
    with av.open(str(path)) as file:
        return [
            (float(p.pts * p.time_base - start), float((p.pts + (p.duration or 0)) * p.time_base - start), bytes(p))
            for p in file.demux(file.streams.subtitles[track]) if p.pts is not None and p.size > 2
        ]  # fmt: skip


HELLO = (Track("subrip", [(0.4, 1.0, b"Hello <i>there</i>"), (1.2, 1.6, "Grüße".encode())], "eng", "English",
               Disposition.default),
         Track("subrip", [(0.5, 0.9, b"[door]")], "ita", "Signs", Disposition.forced))  # fmt: skip
TOLD = (Track("mov_text", [(0.4, 1.0, text("Hello")), (1.2, 1.6, text("Grüße"))], "eng", "English"),
        Track("mov_text", [(0.5, 0.9, text("[door]"))], "ita", "Signs", Disposition.forced))  # fmt: skip


def test_subtitles_move_with_pictures_that_are_put_at_0(film: Path, tmp_path: Path) -> None:
    video, out = subtitled(film, tmp_path / "in.mkv", *HELLO, late=7 * SECOND), tmp_path / "out.mkv"
    clip = media.probe(video)
    clip = replace(clip, origin=clip.start)  # as of a recording of television, whose clock begins anywhere
    with media.Writer(out, clip, encoding=HOW) as writer:
        writer.join([segment(clip, out)], subtitles=Fraction(3, 2))
    assert first_picture(out) == 0
    assert shown(out) == [(0.4, 1.0, HELLO[0].said[0][2]), (1.2, 1.5, HELLO[0].said[1][2])]
    assert shown(out, 1) == [(0.5, 0.9, b"[door]")]


@pytest.mark.parametrize("late", [Fraction(0), Fraction(3, 2)])
@pytest.mark.parametrize(("suffix", "target"), [(".mkv", ".mkv"), (".mp4", ".mp4"), (".mp4", ".mov")])
def test_words_times_and_names_are_kept(film: Path, tmp_path: Path, suffix: str, target: str, late: Fraction) -> None:
    tracks = HELLO if suffix == ".mkv" else TOLD
    video, out = subtitled(film, tmp_path / f"in{suffix}", *tracks, late=late), tmp_path / f"out{target}"
    assert dubbed(video, out) == []
    for place, track in enumerate(tracks):
        assert shown(out, place) == [pytest.approx(entry, abs=0.0011) for entry in shown(video, place)]
        assert [data for *_, data in shown(out, place)] == [data for *_, data in track.said]
    assert len(shown(out)) == 2
    with av.open(str(out)) as file:
        streams = file.streams.subtitles
        assert [s.metadata["language"] for s in streams] == ["eng", "ita"]
        if target != ".mov":  # which has no place for either
            assert [s.metadata.get("title", s.metadata.get("name")) for s in streams] == ["English", "Signs"]
            assert [s.disposition & Disposition.forced for s in streams] == [0, Disposition.forced]
        assert streams[0].disposition & Disposition.default
    once, twice = out.read_bytes(), out.with_name(f"twice{target}")
    dubbed(video, twice)
    assert twice.read_bytes() == once
    dubbed(out, tmp_path / f"again{target}")  # a dub of a dub: nothing piles up
    assert shown(tmp_path / f"again{target}") == [pytest.approx(entry, abs=0.0021) for entry in shown(out)]


@pytest.mark.parametrize("target", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
@pytest.mark.parametrize("tracks", [(), TOLD[:1]])
def test_titles_of_chapters_and_timecode_are_no_subtitles(
    film: Path, tmp_path: Path, suffix: str, target: str, tracks: Sequence[Track]
) -> None:
    video = subtitled(film, tmp_path / f"in{suffix}", *tracks, named=True)
    with av.open(str(video)) as file:
        assert len(file.streams.data) == 2, "MP4 and MOV keep both in tracks of their own"
    assert media.probe(video).besides == ()
    out = tmp_path / f"out{target}"
    assert len(dubbed(video, out)) == (target == ".mkv" and len(tracks) == 1), "subtitles written anew"
    with av.open(str(out)) as file:
        assert len(file.streams.subtitles) == len(tracks)
        assert [chapter["metadata"]["title"] for chapter in file.chapters()] == TITLES
    assert media.probe(out).timecode == "01:00:00:00"


def test_pictures_and_styles_with_their_fonts_are_kept(film: Path, tmp_path: Path) -> None:
    tracks = (
        Track("ass", [(0.4, 1.0, b"0,0,Default,,0,0,0,,{\\an8}Hello")]),
        Track("webvtt", [(0.4, 1.0, b"Hello")]),
        Track("dvd_subtitle", [(0.4, 1.0, b"\0\x08abcdef")]),
        Track("dvb_subtitle", [(0.4, 1.0, b"\x0f\x10abcdef")]),
        Track("hdmv_pgs_subtitle", [(0.4, None, HEAD + b"\x14\0\3abc" + END), (1.0, None, HEAD + END)]),
    )
    video, out = subtitled(film, tmp_path / "in.mkv", *tracks, font=b"a font"), tmp_path / "out.mkv"
    assert dubbed(video, out) == []
    for place, track in enumerate(tracks):
        assert shown(out, place) == [pytest.approx(entry, abs=0.0011) for entry in shown(video, place)]
        assert len(shown(out, place)) == len(track.said)
    with av.open(str(out)) as file:
        assert [(a.name, a.mimetype, a.data) for a in file.streams.attachments] == [
            ("a.ttf", "application/x-truetype-font", b"a font")
        ]


def test_fonts_stay_behind_with_the_styles_that_need_them(film: Path, tmp_path: Path) -> None:
    video = subtitled(film, tmp_path / "in.mkv", Track("subrip", [(0.4, 1.0, b"Hello")]), font=b"a font")
    for suffix in (".mp4", ".mkv"):
        dubbed(video, tmp_path / f"out{suffix}")
        with av.open(str(tmp_path / f"out{suffix}")) as file:
            assert len(file.streams.subtitles) == 1
            assert not file.streams.attachments


def test_they_are_shown_with_the_videos_own_pictures_only(film: Path, tmp_path: Path) -> None:
    said = [(-1.2, -0.6, b"before"), (-0.5, 0.3, b"over the start"), (1.5, 2.5, b"over the end"), (2.1, 2.4, b"after")]
    video = subtitled(film, tmp_path / "in.mkv", Track("subrip", said), late=2 * SECOND)
    assert dubbed(video, tmp_path / "out.mkv", again=50) == []
    assert len(list(media.read_frames(media.probe(tmp_path / "out.mkv")))) == 100
    assert shown(tmp_path / "out.mkv") == [
        (pytest.approx(0, abs=0.002), pytest.approx(0.3, abs=0.002), b"over the start"),
        (pytest.approx(1.5, abs=0.002), pytest.approx(2, abs=0.002), b"over the end"),
    ]


@pytest.mark.parametrize("suffix", [".mkv", ".mp4"])
def test_they_stand_in_the_file_where_they_are_shown(film: Path, tmp_path: Path, suffix: str) -> None:
    said = [(k / 5, k / 5 + 0.1, text(f"line {k}") if suffix == ".mp4" else b"line %d" % k) for k in range(10)]
    video = subtitled(film, tmp_path / f"in{suffix}", Track("mov_text" if suffix == ".mp4" else "subrip", said))
    dubbed(video, tmp_path / f"out{suffix}")
    clock, far = Fraction(0), []
    with av.open(str(tmp_path / f"out{suffix}")) as file:
        parts = [(p.pos, p.stream.type, p.pts * p.time_base) for p in file.demux() if p.pts is not None and p.size > 2]
    for _, kind, time in sorted(parts):
        if kind == "video":
            clock = time
        elif kind == "subtitle":
            far.append(float(abs(clock - time)))
    assert len(far) == 10
    assert max(far) < 0.3


def test_few_packets_wait_for_the_next_subtitle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (60, 128, 128, 3), np.uint8)
    media.write_clip(tmp_path / "noise.mp4", noise, Fraction(5), speech(12.0), crf=1, **QUICK)
    track, out = Track("mov_text", [(11.9, 12, text("late"))]), tmp_path / "out.mp4"
    clip = media.probe(subtitled(tmp_path / "noise.mp4", tmp_path / "in.mp4", track))
    part, sizes, mux_until = segment(clip, out), dict[Fraction, int](), Subtitles.mux_until

    def watched(self: Subtitles, time: Fraction) -> None:
        sizes[time] = (tmp_path / ".out.mp4.part").stat().st_size
        mux_until(self, time)

    monkeypatch.setattr(Subtitles, "mux_until", watched)
    with media.Writer(out, clip, audio=clip.path, encoding=HOW) as writer:
        writer.join([part], subtitles=Fraction(12))
    assert sizes[Fraction(9)] > out.stat().st_size / 3
    assert [data for *_, data in shown(out)] == [text("late")]


@pytest.mark.parametrize(
    ("kind", "suffix", "target", "becomes"),
    [("subrip", ".mkv", ".mp4", "mov_text"), ("webvtt", ".mkv", ".mov", "mov_text"),
     ("mov_text", ".mp4", ".mkv", "subrip")],
)  # fmt: skip
def test_plain_text_is_written_anew_where_it_has_to_be(
    film: Path, tmp_path: Path, kind: str, suffix: str, target: str, becomes: str
) -> None:
    say, words = (text, str.encode) if kind == "mov_text" else (str.encode, text)
    said = [(0.4, 1.0, say("Hello")), (1.0, 1.1, b"\xff\xfe\xff"), (1.2, 1.6, say("Grüße"))]
    video, out = subtitled(film, tmp_path / f"in{suffix}", Track(kind, said)), tmp_path / f"out{target}"
    lost = f"any colours and positions of 1 track of subtitles ({kind}), written as {becomes}"
    assert dubbed(video, out) == [
        f"{lost}; choose an {suffix} output to keep them",
        "subtitles that are damaged, near 1.00 s",
    ]
    found = [entry for entry in shown(out) if entry[2] in (words("Hello"), words("Grüße"))]
    assert [data for *_, data in found] == [words("Hello"), words("Grüße")]
    assert found[0][:2] == pytest.approx((0.4, 1.0), abs=0.0011)
    assert found[1][:2] == pytest.approx((1.2, 1.6), abs=0.0011)
    once = out.read_bytes()
    dubbed(video, out)
    assert out.read_bytes() == once


def test_what_is_bold_or_in_italics_stays_so(film: Path, tmp_path: Path) -> None:
    said = [(0.4, 1.0, b"Hello <i>there</i>\n<b>you</b>")]
    video = subtitled(film, tmp_path / "in.mkv", Track("subrip", said))
    dubbed(video, tmp_path / "there.mp4")
    dubbed(tmp_path / "there.mp4", tmp_path / "back.mkv")
    assert [data for *_, data in shown(tmp_path / "back.mkv")] == [said[0][2]]


def test_what_a_container_cannot_hold_is_left_behind_and_told(film: Path, tmp_path: Path) -> None:
    pictures = Track("hdmv_pgs_subtitle", [(0.4, None, HEAD + END)])
    styled = Track("ass", [(0.4, 1.0, b"0,0,Default,,0,0,0,,Hello")])
    video, out = subtitled(film, tmp_path / "in.mkv", pictures, styled, styled), tmp_path / "out.mp4"
    assert dubbed(video, out) == [
        "3 tracks of subtitles (ass, hdmv_pgs_subtitle), which .mp4 cannot hold; choose an .mkv output"
    ]
    with av.open(str(out)) as file:
        assert not file.streams.subtitles
    plain, clip = tmp_path / "plain.mp4", media.probe(video)
    with media.Writer(plain, clip, audio=video, encoding=HOW, named=True) as writer:
        writer.join([segment(clip, plain)])
    assert plain.read_bytes() == out.read_bytes()


def test_damaged_subtitles_lose_neither_pictures_nor_the_others(film: Path, tmp_path: Path) -> None:
    whole = HEAD + b"\x14\0\3abc" + END
    cut, stray, twice = whole[:-4], b"\x14\0\3abc" + END, HEAD + HEAD + END
    damaged = [stray, whole, cut, twice, b"\x16", whole + b"!", whole]
    pictures = [(0.2 * k, None, data) for k, data in enumerate(damaged)]
    noise = [(0.1 * k, 0.1 * k + 0.1, random.Random(k).randbytes(30)) for k in range(19)]
    first, late = (1.0, 1.2, b"first"), (1.4, 1.6, b"said to be before it")
    tracks = Track("hdmv_pgs_subtitle", pictures), Track("ass", noise), Track("subrip", [first, late])
    video = subtitled(film, tmp_path / "in.mkv", *tracks)
    raw = bytearray(video.read_bytes())
    place = raw.index(late[2])
    raw[place - 3 : place - 1] = (500).to_bytes(2, "big")  # its time in its cluster, ms
    video.write_bytes(raw)
    out = tmp_path / "out.mkv"
    assert dubbed(video, out) == ["subtitles that are damaged, near 0.00 s"]
    assert [data for *_, data in shown(out)] == [whole, whole]
    assert [begin for begin, *_ in shown(out)] == [pytest.approx(0.2, abs=0.002), pytest.approx(1.2, abs=0.002)]
    assert [data for *_, data in shown(out, 1)] == [data for *_, data in noise]
    assert [words for *_, words in shown(out, 2)] == [b"first"]
    assert media.shown_times(out) == media.shown_times(video)
    for one, other in zip(*(media.read_frames(media.probe(path)) for path in (video, out)), strict=True):
        assert abs(int(one.planes[0].mean()) - int(other.planes[0].mean())) <= 1


def test_what_cannot_be_read_is_passed_over(film: Path, tmp_path: Path) -> None:
    class Worn:
        """A file of which every other packet cannot be read."""

        def __init__(self, file: InputContainer) -> None:
            self.streams, self._packets, self._turn = file.streams, file.demux(file.streams.subtitles[0]), 0

        def demux(self, *tracks: object) -> Iterator[Packet[Any]]:
            for packet in self._packets:
                self._turn += 1
                if self._turn % 2 == 0:
                    raise av.InvalidDataError(1, "it is worn")
                yield packet

    said = [(k / 5, k / 5 + 0.1, b"line %d" % k) for k in range(5)]
    video = subtitled(film, tmp_path / "in.mkv", Track("subrip", said))
    with av.open(str(video)) as source, av.open(str(tmp_path / "out.mkv"), "w") as file:
        subtitles = Subtitles(cast("InputContainer", Worn(source)), ".mkv", Fraction(0), 2 * SECOND)
        subtitles.add_to(file, tmp_path / "out.mkv")
        subtitles.finish(2 * SECOND)
    with av.open(str(tmp_path / "out.mkv")) as file:
        assert [bytes(packet) for packet in file.demux(subtitles=0) if packet.size] == [b"line 0", b"line 2", b"line 4"]
    assert list(subtitles.left()) == ["subtitles that are damaged, near 0.06 s"]


def test_a_video_without_subtitles_has_none_to_write(film: Path, tmp_path: Path) -> None:
    with opened(film) as source, av.open(str(tmp_path / "out.mp4"), "w") as file:
        file.add_stream_from_template(source.streams.video[0])
        subtitles = Subtitles(source, ".mp4", Fraction(0), 2 * SECOND)
        subtitles.add_to(file, tmp_path / "out.mp4")
        subtitles.finish(2 * SECOND)
        assert list(subtitles.left()) == []
    assert not (tmp_path / "out.mp4").exists(), "it begins with the first packet"


def test_display_sets_are_put_together_from_parts() -> None:
    file = av.open(io.BytesIO(), "w", "matroska")
    stream = file.add_mux_stream("hdmv_pgs_subtitle")

    def packet(data: bytes, pts: int) -> Packet[Any]:
        made: Packet[Any] = Packet(data)
        made.stream, made.time_base, made.pts = stream, Fraction(1, 1000), pts
        return made

    parts, sets = [HEAD, b"\x15\0\1a\x15\0\1b", END], DisplaySets()
    assert [sets.add(packet(part, 7 + k)) for k, part in enumerate(parts[:-1])] == [None, None]
    whole = sets.add(packet(parts[-1], 9))
    assert whole is not None
    assert (bytes(whole), whole.pts) == (b"".join(parts), 7)
    for stray in (parts[1], END, b"\x16", HEAD[:-1]):
        with pytest.raises(ValueError, match=r"it|no"):
            sets.add(packet(stray, 8))
    again = packet(b"".join(parts), 10)
    assert sets.add(again) is again


def worn(data: bytes, rng: random.Random) -> bytes:
    """Some bits turned round, bytes put in, or the end cut off; never nothing."""
    bad = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        at, kind = rng.randrange(len(bad)), rng.randrange(3)
        if kind == 0:
            bad[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            bad[at:at] = rng.randbytes(rng.randint(1, 6))
        elif len(bad) > 40:
            del bad[max(40, at) : None if rng.random() < 0.2 else at + 9]
    return bytes(bad)


def test_worn_display_sets_end_in_sets_or_value_errors() -> None:
    rng, stream = random.Random(7), av.open(io.BytesIO(), "w", "matroska").add_mux_stream("hdmv_pgs_subtitle")
    good, came = HEAD + b"\x15\0\1a" + END, 0
    for _ in range(500):
        sets = DisplaySets()
        for part in (worn(good, rng), *(worn(one, rng) for one in (HEAD, END)), good):
            packet: Packet[Any] = Packet(part)
            packet.stream, packet.time_base, packet.pts = stream, Fraction(1, 1000), 7
            with contextlib.suppress(ValueError):
                came += sets.add(packet) is not None
    assert came >= 500, "what comes after damage is not lost"


def test_worn_files_end_in_subtitles_or_one_line(film: Path, tmp_path: Path) -> None:
    said = [(k / 5, k / 5 + 0.1, b"line %d" % k) for k in range(8)]
    sets = [(k / 5, None, HEAD + b"\x15\0\1a" + END) for k in range(8)]
    sources = [
        subtitled(film, tmp_path / "in.mkv", Track("subrip", said), Track("hdmv_pgs_subtitle", sets)),
        subtitled(film, tmp_path / "in.mp4", Track("mov_text", [(b, e, text(d.decode())) for b, e, d in said])),
    ]
    wrong, read, rng = list[BaseException](), list[int](), random.Random(11)

    def taken_over(video: Path, out: Path) -> None:
        with opened(video) as source, av.open(str(out), "w") as file:
            subtitles = Subtitles(source, out.suffix, Fraction(0), 2 * SECOND)
            subtitles.add_to(file, out)
            subtitles.finish(2 * SECOND)
            read.append(len(list(subtitles.left())))

    def wear() -> None:
        for turn in range(300):
            source = sources[turn % 2]
            bad = tmp_path / f"bad{source.suffix}"
            bad.write_bytes(worn(source.read_bytes(), rng))
            if turn % 5 == 0:  # the words themselves, in a file that is whole
                bad = tmp_path / "bad.mkv"
                subtitled(film, bad, *(Track(kind, [(b, e, worn(data, rng)) for b, e, data in some])
                                       for kind, some in (("subrip", said), ("hdmv_pgs_subtitle", sets))))  # fmt: skip
            try:
                taken_over(bad, tmp_path / f"out{[*MUXERS][turn % 3]}")
            except SidganError:
                pass
            except BaseException as error:
                wrong.append(error)

    at_work = threading.Thread(target=wear, daemon=True)
    at_work.start()
    at_work.join(300)
    assert not at_work.is_alive(), "one of them is read for ever"
    assert not wrong, wrong[:3]
    assert len(read) > 30, "most were opened"


# ---------------------------------------------------------------------------------------------------------- whole dubs


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("subtitled")
    scene = Scene(Person(3), LINES["hello"], seconds=0.5, rate=RATE, size=SIZE)
    media.write_clip(folder / "film.mp4", [shot.image for shot in scene][:12], RATE, speech(0.4), crf=12)
    said = [(0.1, 0.2, b"Hello"), (0.2, 0.25, b"there"), (0.3, 5.0, b"to the end and on"), (2.0, 3.0, b"after")]
    unknown = Track("hdmv_text_subtitle", [(0.2, 0.3, b"Hello")])
    subtitled(folder / "film.mp4", folder / "film.mkv", Track("subrip", said, "eng"), unknown)
    return folder


def dub(folder: Path, out: Path, **how: Any) -> dubbing.DubReport:
    return dubbing.dub(folder / "film.mkv", folder / "film.mp4", out, generator=network(0), device="cpu", **how)


@pytest.mark.usefixtures("one_thread")
def test_a_dub_that_goes_on_has_them_too(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "LENGTH", 4)
    monkeypatch.setattr(journal, "LENGTH", 4)
    straight, out, finish = tmp_path / "straight.mkv", tmp_path / "out.mkv", Subtitles.finish

    def as_killed(self: Subtitles, end: Fraction) -> None:
        shutil.copytree(work_folder(straight), work_folder(out))
        shutil.copy(straight.with_name(".straight.mkv.part"), out.with_name(".out.mkv.part"))
        finish(self, end)

    with monkeypatch.context() as patch:
        patch.setattr(Subtitles, "finish", as_killed)
        report = dub(folder, straight)
    assert report.notes == (
        f"not copied from {folder / 'film.mkv'}: 1 track of subtitles (of an unknown kind), which no dub can hold",
    )
    assert [data for *_, data in shown(straight)] == [b"Hello", b"there", b"to the end and on"]
    assert shown(straight)[0][:2] == pytest.approx((0.1, 0.2), abs=0.002)
    assert shown(straight)[2][1] == pytest.approx(12 / float(RATE), abs=0.002)
    again = dub(folder, out)
    assert again.resumed == 12
    assert again.notes == report.notes
    assert out.read_bytes() == straight.read_bytes()
    code, said = command("verify", out)
    assert code == 0, said

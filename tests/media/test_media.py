"""Files in and out: timestamps, planes, tags and sound survive, and what cannot work says so in one line."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import av
import cv2
import numpy as np
import pytest
from av.video.frame import PictureType
from made_files import (
    QUICK,
    RATE,
    copy_clip,
    drawing,
    lag,
    make_sound,
    make_video,
    room_for,
    sound_packets,
    speech,
    timestamps,
)

from sidgan import geometry, media
from sidgan.errors import InputError, OutputError
from sidgan.media import source as reading
from sidgan.media.pictures import Picture, turned
from sidgan.media.sound import samples_from
from sidgan.media.source import first_picture
from sidgan.types import Frame, PlaneMap


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One second of pictures and sound."""
    path = tmp_path_factory.mktemp("media") / "talk.mp4"
    media.write_clip(path, map(drawing, range(25)), Fraction(25), speech(1.0), RATE, **QUICK)
    return path


# --- looking at files ------------------------------------------------------------------------------------------------


def test_probe_describes_the_clip(talk: Path) -> None:
    clip = media.probe(talk)
    assert (clip.width, clip.height, clip.frames, clip.rotation) == (64, 48, 25, 0)
    assert clip.frame_rate == 25
    assert clip.duration == pytest.approx(1.0)
    assert clip.audio_rate == RATE
    assert (clip.format.name, clip.format.bits, clip.format.full_range) == ("yuv420p", 8, False)
    assert clip.format.chroma == PlaneMap(2, 2, 0.0, 0.5)


@pytest.mark.parametrize(("height", "matrix"), [(480, "bt601"), (720, "bt709")])
def test_silent_files_have_the_matrix_that_players_assume(tmp_path: Path, height: int, matrix: str) -> None:
    path = make_video(tmp_path / "a.mp4", [0, 1], Fraction(1, 25), size=(64, height))
    assert media.probe(path).format.matrix == matrix


def test_tags_decide_over_the_size(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", [0, 1], Fraction(1, 25), tags={"colorspace": 1, "color_range": 2})
    assert media.probe(path).format.matrix == "bt709"
    assert media.probe(path).format.full_range


def _missing(folder: Path, talk: Path) -> Path:
    return folder / "none.mp4"


def _folder(folder: Path, talk: Path) -> Path:
    return folder


def _text(folder: Path, talk: Path) -> Path:
    path = folder / "notes.txt"
    path.write_text("hello\n" * 100)
    return path


def _empty(folder: Path, talk: Path) -> Path:
    path = folder / "empty.mp4"
    path.touch()
    return path


def _headless(folder: Path, talk: Path) -> Path:
    path = make_video(folder / "plain.mp4", range(25), Fraction(1, 25))  # its index is at the end
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    return path


def _cut_png(folder: Path, talk: Path) -> Path:
    path = folder / "photo.png"
    media.write_png(path, drawing(0))
    path.write_bytes(path.read_bytes()[:60])
    return path


def _gif(folder: Path, talk: Path) -> Path:
    return make_video(folder / "photo.gif", [0], Fraction(1, 25), codec="gif", pixels="rgb8")


def _wav(folder: Path, talk: Path) -> Path:
    path = folder / "voice.wav"
    media.write_wav(path, speech(0.2), RATE)
    return path


@pytest.mark.parametrize("make", [_missing, _folder, _text, _empty, _headless, _cut_png, _gif, _wav])
def test_what_is_not_a_video_is_refused_in_one_line(tmp_path: Path, talk: Path, make: object) -> None:
    path = make(tmp_path, talk)  # type: ignore[operator]
    with pytest.raises(InputError) as caught:
        media.probe(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_cover_is_no_video(tmp_path: Path) -> None:
    media.write_png(tmp_path / "cover.png", drawing(0))
    with av.open(str(tmp_path / "song.mkv"), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=RATE, layout="mono")
        out.add_attachment("cover.png", "image/png", (tmp_path / "cover.png").read_bytes())
        frame = av.AudioFrame.from_ndarray(speech(1.0)[None], format="fltp", layout="mono")
        frame.sample_rate, frame.time_base, frame.pts = RATE, Fraction(1, RATE), 0
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    with pytest.raises(InputError, match="is sound without pictures"):
        media.probe(tmp_path / "song.mkv")


def test_a_recording_that_begins_in_the_middle_of_things_is_read_from_the_first_whole_picture(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mov", range(8), Fraction(1, 25), codec="mjpeg", pixels="yuvj420p")
    with av.open(str(path)) as container:
        first, second, *_ = (packet.pos for packet in container.demux(video=0) if packet.pos is not None)
    data = bytearray(path.read_bytes())
    data[first:second] = bytes(second - first)
    path.write_bytes(data)
    times = [frame.time for frame in media.read_frames(media.probe(path))]
    assert times == [Fraction(i, 25) for i in range(7)]


def test_times_always_increase(tmp_path: Path, talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = reading._pictures

    def worn(*given: object) -> Iterator[av.VideoFrame]:
        for picture, pts in zip(plain(*given), [0, 1000, 1000, None, 500, 3000], strict=False):  # type: ignore
            picture.pts = pts
            yield picture

    monkeypatch.setattr(reading, "_pictures", worn)
    monkeypatch.setattr(reading, "_stated_end", lambda *_: Fraction(0))
    times = [frame.time for frame in media.read_frames(media.probe(talk))]
    assert len(times) == 6
    assert all(one < other for one, other in pairwise(times))


def test_key_frames_are_the_encoders_own_choice(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.avi", range(30), Fraction(1, 25), codec="mjpeg", pixels="yuvj420p")
    copy_clip(path, tmp_path / "b.mp4")
    for name, wanted in (("a.avi", 30), ("b.mp4", 1)):
        with av.open(str(tmp_path / name)) as container:
            assert sum(packet.is_keyframe for packet in container.demux(video=0) if packet.size) == wanted


@pytest.mark.parametrize(("said", "seconds"), [("01:02:03.500000000", Fraction(7447, 2)), ("a while", Fraction(0))])
def test_the_length_that_matroska_states(said: str, seconds: Fraction) -> None:
    stream = SimpleNamespace(duration=None, metadata={"DURATION": said})
    assert reading._stated_end(stream, Fraction(1, 1000), False) == seconds  # type: ignore[arg-type]


def test_names_with_colons_and_blanks_are_names(tmp_path: Path, talk: Path) -> None:
    path = tmp_path / "http: my talk%d.mp4"
    path.write_bytes(talk.read_bytes())
    assert media.probe(path).frames == 25
    copy_clip(path, tmp_path / "data:out #1.mp4", audio=path)


# --- frames ----------------------------------------------------------------------------------------------------------


def test_frames_carry_exact_times_and_skip_to_a_start(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", [0, 1001, 2002, 3003], Fraction(1, 30_000))
    clip = media.probe(path)
    frames = list(media.read_frames(clip))
    assert [f.time for f in frames] == [Fraction(1001 * i, 30_000) for i in range(4)]
    late = list(media.read_frames(clip, start=2))
    assert [(f.index, f.time) for f in late] == [(f.index, f.time) for f in frames[2:]]
    assert np.array_equal(late[0].planes[0], frames[2].planes[0])


@pytest.mark.parametrize("muxer", ["mpeg", "mpegts"])
def test_time_zero_is_the_first_picture_wherever_the_container_starts(tmp_path: Path, muxer: str) -> None:
    said = speech(1.0, 48_000)
    path = tmp_path / "a.mpg"
    make_video(path, range(25), Fraction(1, 25), codec="mpeg2video", muxer=muxer, sound=(said, 0))
    assert timestamps(path)[0] > 0  # else it tests nothing
    assert [f.time for f in media.read_frames(media.probe(path))] == [Fraction(i, 25) for i in range(25)]
    assert abs(lag(media.read_audio(path, 48_000), said)) <= 2
    copy_clip(path, tmp_path / "b.mp4", audio=path)
    assert timestamps(tmp_path / "b.mp4") == [t - timestamps(path)[0] for t in timestamps(path)], "a dub begins at 0"
    assert abs(lag(media.read_audio(tmp_path / "b.mp4", 48_000), said)) <= 2


@pytest.mark.parametrize(
    ("codec", "between"), [("mjpeg", 0), ("mpeg4", 0), ("mpeg4", 2), ("libx264", 0), ("libx264", 3)]
)
def test_an_avi_begins_with_its_sound_and_its_frames_keep_their_distances(
    tmp_path: Path, codec: str, between: int
) -> None:
    said, path = speech(3.0, 48_000), tmp_path / "a.avi"
    pixels = "yuvj420p" if codec == "mjpeg" else "yuv420p"
    make_video(
        path, range(75), Fraction(1, 25), codec=codec, pixels=pixels, sound=(said, 0), tags={"max_b_frames": between}
    )
    with av.open(str(path)) as file:
        kinds = {picture.pict_type for picture in file.decode(video=0)}
    assert (PictureType.B in kinds) == (between > 0), "or it tests less"
    clip = media.probe(path)
    frames = [(frame.time, media.glance(frame)) for frame in media.read_frames(clip)]
    assert [time for time, _ in frames] == [Fraction(index, 25) for index in range(75)]
    for start in range(51, 75):
        assert [(f.time, media.glance(f)) for f in media.read_span(clip, Fraction(start, 25))] == frames[start:]
    assert abs(lag(media.read_audio(path, 48_000), said)) <= 2
    copy_clip(path, tmp_path / "b.mkv", audio=path)
    assert timestamps(tmp_path / "b.mkv") == [time for time, _ in frames]
    assert abs(lag(media.read_audio(tmp_path / "b.mkv", 48_000), said)) <= 2


def test_decoded_planes_are_read_only_and_an_editable_copy_is_private(talk: Path) -> None:
    clip = media.probe(talk)
    before = [f.planes[0].copy() for f in media.read_frames(clip)]
    for frame, expected in zip(media.read_frames(clip), before, strict=True):
        assert np.array_equal(frame.planes[0], expected)  # edits of earlier frames did not spread
        with pytest.raises(ValueError, match="read-only"):
            frame.planes[0][0, 0] = 1
        mine = media.editable(frame)
        assert (mine.time, mine.index, mine.format) == (frame.time, frame.index, frame.format)
        for plane, source in zip(mine.planes, frame.planes, strict=True):
            assert np.array_equal(plane, source)
            plane[:] = 17
        assert np.array_equal(frame.planes[0], expected)


def test_an_edit_is_what_gets_encoded_and_the_rest_stays(tmp_path: Path, talk: Path) -> None:
    clip = media.probe(talk)
    with media.Writer(tmp_path / "b.mp4", clip, encoding=media.Encoding(crf=0, **QUICK)) as writer:
        for frame in media.read_frames(clip):
            mine = media.editable(frame)
            mine.planes[0][8:16, 16:32] = 200
            writer.write(mine)
    for old, new in zip(media.read_frames(clip), media.read_frames(media.probe(tmp_path / "b.mp4")), strict=True):
        expected = old.planes[0].copy()
        expected[8:16, 16:32] = 200
        assert np.array_equal(new.planes[0], expected)
        assert np.array_equal(new.planes[1], old.planes[1])
        assert np.array_equal(new.planes[2], old.planes[2])


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_rotated_clips_are_read_upright_and_written_back_rotated(tmp_path: Path, rotation: int, suffix: str) -> None:
    path = make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25), rotation=rotation)
    flat = make_video(tmp_path / "flat.mp4", range(3), Fraction(1, 25))
    clip = copy_clip(path, tmp_path / f"b{suffix}")
    assert clip.rotation == rotation
    assert (clip.width, clip.height) == ((48, 64) if rotation != 180 else (64, 48))
    upright = next(media.read_frames(clip))
    lying = next(media.read_frames(media.probe(flat)))
    for turned_plane, plane in zip(upright.planes, lying.planes, strict=True):
        assert np.array_equal(turned_plane, np.rot90(plane, rotation // 90))
    assert np.array_equal(media.editable(upright).planes[1], upright.planes[1])
    again = media.probe(tmp_path / f"b{suffix}")
    assert (again.rotation, again.width, again.height) == (rotation, clip.width, clip.height)


@pytest.mark.parametrize("rotation", [0, 90, 180])
def test_a_mirrored_clip_is_refused_rather_than_shown_upside_down(tmp_path: Path, rotation: int) -> None:
    path = make_video(tmp_path / "a.mp4", [0, 1], Fraction(1, 25), rotation=rotation, mirror=True)
    with pytest.raises(InputError, match="mirrored"):
        media.probe(path)


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
@pytest.mark.parametrize("chroma", [PlaneMap(2, 2, 0.0, 0.5), PlaneMap(2, 1, 0.0, 0.0), PlaneMap()])
def test_the_chroma_map_of_a_turned_picture_finds_the_same_places(turns: int, chroma: PlaneMap) -> None:
    # Every sample of the chroma plane holds its own place on the luma grid; turning must not change what it says.
    height, width = 8, 12
    rows, columns = np.mgrid[: height // chroma.step_y, : width // chroma.step_x].astype(float)
    place_x, place_y = columns * chroma.step_x + chroma.offset_x, rows * chroma.step_y + chroma.offset_y
    x, y, wide, high = place_x, place_y, width, height
    for _ in range(turns):  # a quarter turn counter-clockwise takes (x, y) to (y, wide - 1 - x)
        x, y, wide, high = y, wide - 1 - x, high, wide
    x, y = np.rot90(x, turns), np.rot90(y, turns)
    found = turned(chroma, turns)
    rows, columns = np.mgrid[: x.shape[0], : x.shape[1]].astype(float)
    assert np.array_equal((x - found.offset_x) / found.step_x, columns)
    assert np.array_equal((y - found.offset_y) / found.step_y, rows)


@pytest.mark.parametrize(
    ("pixels", "codec", "suffix", "name", "bits"),
    [
        ("yuv420p", "libx264", ".mp4", "yuv420p", 8),
        ("yuv422p", "libx264", ".mp4", "yuv422p", 8),
        ("yuv444p", "libx264", ".mp4", "yuv444p", 8),
        ("yuvj420p", "mjpeg", ".mov", "yuv420p", 8),
        ("yuv420p10le", "libx264", ".mp4", "yuv420p10le", 10),
        ("yuv422p10le", "libx264", ".mp4", "yuv422p10le", 10),
        ("yuv444p12le", "ffv1", ".mkv", "yuv444p10le", 10),
        ("yuv411p", "ffv1", ".mkv", "yuv422p", 8),
        ("gray", "ffv1", ".mkv", "yuv420p", 8),
        ("bgr0", "ffv1", ".mkv", "yuv444p", 8),
        ("yuyv422", "rawvideo", ".avi", "yuv422p", 8),
        ("bgr24", "rawvideo", ".avi", "yuv444p", 8),
        ("nv12", "rawvideo", ".avi", "yuv420p", 8),
    ],
)
def test_every_layout_is_read_as_planar_and_written_as_it_was_read(
    tmp_path: Path, pixels: str, codec: str, suffix: str, name: str, bits: int
) -> None:
    path = make_video(tmp_path / f"a{suffix}", range(3), Fraction(1, 25), codec=codec, pixels=pixels)
    clip = copy_clip(path, tmp_path / "b.mkv", crf=1)
    assert (clip.format.name, clip.format.bits) == (name, bits)
    assert clip.format.full_range == (pixels == "yuvj420p")
    again = media.probe(tmp_path / "b.mkv")
    assert again.format == clip.format
    for old, new in zip(media.read_frames(clip), media.read_frames(again), strict=True):
        assert old.planes[0].dtype == (np.uint8 if bits == 8 else np.uint16)
        for plane, source in zip(new.planes, old.planes, strict=True):
            assert np.abs(plane.astype(int) - source).mean() < 1.5 * 2 ** (bits - 8)
    for (_, rgb), index in zip(media.read_rgb(path), range(3), strict=True):
        if pixels != "gray":
            assert np.abs(rgb[4:-4, 4:-4].astype(int) - drawing(index)[4:-4, 4:-4]).mean() < 6


def test_colour_of_half_width_lies_on_the_left_pixel_of_two(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(2), Fraction(1, 25), pixels="yuv422p")
    assert media.probe(path).format.chroma == PlaneMap(2, 1, 0.0, 0.0)


def test_rgb_is_no_full_range_yuv(tmp_path: Path) -> None:
    with av.open(str(tmp_path / "a.mkv"), "w") as out:
        stream = out.add_stream("ffv1", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "bgr0"
        stream.codec_context.color_range = 2
        for index in range(2):
            picture = av.VideoFrame.from_ndarray(drawing(index), format="rgb24").reformat(format="bgr0")
            picture.pts, picture.time_base, picture.color_range = index, Fraction(1, 25), 2
            out.mux(stream.encode(picture))
        out.mux(stream.encode(None))
    clip = media.probe(tmp_path / "a.mkv")
    frame = next(media.read_frames(clip))
    back = geometry.ycc_to_rgb([np.asarray(plane, np.float32) for plane in frame.planes], clip.format)
    assert np.abs(back.astype(int) - drawing(0)).max() < 4


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_the_last_picture_is_shown_as_long_as_it_should(tmp_path: Path, talk: Path, suffix: str) -> None:
    """Also where it is not the last one to be decoded, and also in a copy of the copy."""
    source, rest = talk, Fraction(1, 5)
    for name in ("a", "b"):
        clip, out = media.probe(source), tmp_path / f"{name}{suffix}"
        with media.Writer(out, clip) as writer:
            for frame in media.read_frames(clip):
                writer.write(replace(frame, duration=rest) if source == talk and frame.index == 24 else frame)
        with av.open(str(out)) as file:
            decoded = [packet.pts for packet in file.demux(video=0) if packet.pts is not None]
        assert decoded[-1] != max(decoded)  # B-frames
        *_, last = media.read_frames(media.probe(out))
        assert (last.time, last.duration) == (Fraction(24, 25), rest)
        assert media.probe(out).duration == pytest.approx(1.16)
        source = out


def test_pictures_that_change_their_size_are_refused_with_the_time(tmp_path: Path) -> None:
    files = [make_video(tmp_path / f"{k}.ts", range(2), Fraction(1, 25), size=(64, 48 + 16 * k)) for k in range(2)]
    (tmp_path / "both.ts").write_bytes(b"".join(file.read_bytes() for file in files))
    clip = media.probe(tmp_path / "both.ts")
    with pytest.raises(InputError, match=r"changes its picture size at \d+\.\d\d s; convert it to one size first"):
        list(media.read_frames(clip))


@pytest.mark.parametrize("size", [(321, 241), (64, 49), (65, 48)])
def test_odd_sizes_keep_their_size(tmp_path: Path, size: tuple[int, int]) -> None:
    path = make_video(tmp_path / "a.mkv", range(2), Fraction(1, 25), codec="ffv1", size=size)
    clip = copy_clip(path, tmp_path / "b.mp4", crf=1)
    assert (clip.width, clip.height) == size
    again = media.probe(tmp_path / "b.mp4")
    assert (again.width, again.height) == size
    old, new = next(media.read_frames(clip)), next(media.read_frames(again))
    assert old.planes[0].shape == old.planes[1].shape == size[::-1]
    assert np.abs(new.planes[0].astype(int) - old.planes[0]).mean() < 1


# --- writing ---------------------------------------------------------------------------------------------------------

TIMES = {
    "25": (range(20), Fraction(1, 25)),
    "29.97": (range(0, 20 * 1001, 1001), Fraction(1, 30_000)),
    "23.976 late start": (range(2002, 2002 + 20 * 1001, 1001), Fraction(1, 24_000)),
    "odd start": (range(507, 507 + 20 * 512, 512), Fraction(1, 15_360)),
    "variable": ([0, 40, 80, 121, 300, 333, 334, 900, 1000], Fraction(1, 1000)),
    "90 kHz variable": ([0, 3003, 6007, 9000, 20_001, 20_002], Fraction(1, 90_000)),
}


@pytest.mark.parametrize("name", TIMES)
def test_timestamps_survive_exactly(tmp_path: Path, name: str) -> None:
    path = make_video(tmp_path / "a.mp4", *TIMES[name])
    voice = tmp_path / "voice.wav"
    media.write_wav(voice, speech(3.0), RATE)
    copy_clip(path, tmp_path / "b.mp4", audio=voice)
    assert timestamps(tmp_path / "b.mp4") == timestamps(path)


@pytest.mark.parametrize("name", ["25", "variable", "29.97"])
@pytest.mark.parametrize(("file", "codec"), [("voice.m4a", "aac"), ("voice.wav", "pcm_f32le")])
def test_matroska_keeps_timestamps_to_the_millisecond(tmp_path: Path, name: str, file: str, codec: str) -> None:
    path = make_video(tmp_path / "a.mp4", *TIMES[name])
    voice = make_sound(tmp_path / file, speech(2.0), RATE, codec)  # as AAC it starts before 0: must not move pictures
    copy_clip(path, tmp_path / "b.mkv", audio=voice)
    pairs = zip(timestamps(tmp_path / "b.mkv"), timestamps(path), strict=True)
    assert max(abs(new - old) for new, old in pairs) <= Fraction(1, 2000)
    assert abs(lag(media.read_audio(tmp_path / "b.mkv")[:12_000], speech(2.0)[:12_000])) <= 16


def test_colour_tags_pixel_shape_and_metadata_survive(tmp_path: Path) -> None:
    tags = {"colorspace": 9, "color_range": 2, "color_primaries": 9, "color_trc": 16}
    path = make_video(
        tmp_path / "a.mp4", range(3), Fraction(1, 25), pixels="yuv420p10le", tags=tags, shape=Fraction(16, 15)
    )
    copy_clip(path, tmp_path / "b.mp4", tags={"comment": "dubbed"})
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert {name: getattr(frame, name) for name in tags} == tags
        assert stream.sample_aspect_ratio == Fraction(16, 15)
        assert container.metadata["comment"] == "dubbed"


def test_the_index_is_at_the_front_of_an_mp4(talk: Path) -> None:
    data = talk.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_same_input_same_bytes(tmp_path: Path, talk: Path) -> None:
    for suffix in (".mp4", ".mkv"):
        copy_clip(talk, tmp_path / f"a{suffix}", audio=talk)
        copy_clip(talk, tmp_path / f"b{suffix}", audio=talk)
        assert (tmp_path / f"a{suffix}").read_bytes() == (tmp_path / f"b{suffix}").read_bytes()


@pytest.mark.parametrize("chroma444", [False, True])
@pytest.mark.parametrize("height", [48, 720])
def test_drawn_colours_come_back(tmp_path: Path, chroma444: bool, height: int) -> None:
    images = [drawing(i, height) for i in range(3)]
    media.write_clip(tmp_path / "a.mp4", images, Fraction(30_000, 1001), crf=4, chroma444=chroma444, **QUICK)
    back = list(media.read_rgb(tmp_path / "a.mp4"))
    assert [t for t, _ in back] == [Fraction(1001 * i, 30_000) for i in range(3)]
    for (_, rgb), image in zip(back, images, strict=True):
        assert np.abs(rgb.astype(int) - image).mean() < (1.5 if chroma444 else 3)


def test_png_comes_back(tmp_path: Path) -> None:
    media.write_png(tmp_path / "a.png", drawing(3))
    with av.open(str(tmp_path / "a.png")) as container:
        assert np.array_equal(next(container.decode(video=0)).to_ndarray(format="rgb24"), drawing(3))


# --- sound -----------------------------------------------------------------------------------------------------------


def test_wav_is_read_sample_for_sample(tmp_path: Path) -> None:
    said = speech(1.3)
    media.write_wav(tmp_path / "a.wav", said, RATE)
    heard = media.read_audio(tmp_path / "a.wav")
    assert heard.dtype == np.float32
    assert len(heard) == len(said)
    assert np.abs(heard - said).max() < 1e-4


def test_what_is_too_loud_is_clipped(tmp_path: Path) -> None:
    media.write_wav(tmp_path / "a.wav", np.array([0.5, 1.5, -1.5, 0.5], np.float32).repeat(100), RATE)
    heard = media.read_audio(tmp_path / "a.wav")
    assert heard[[50, 150, 250, 350]] == pytest.approx([0.5, 1, -1, 0.5], abs=1e-3)


@pytest.mark.parametrize("better", ["voice", "own"])
def test_voice_and_own_sound_in_one_track_lose_no_channel_and_no_high_tones(
    tmp_path: Path, talk: Path, better: str
) -> None:
    plain = make_sound(tmp_path / "voice.wav", speech(0.3), RATE, "pcm_s16le")
    media.write_mix(tmp_path / "mix.wav", [plain])  # stereo at 48 kHz
    copy_clip(talk, tmp_path / "own.mkv", audio=tmp_path / "mix.wav")
    own, voice = (talk, tmp_path / "mix.wav") if better == "voice" else (tmp_path / "own.mkv", plain)
    clip = media.probe(own)
    with media.Writer(tmp_path / "b.mp4", clip, audio=voice) as writer:
        writer.go_on_with_own_sound()
        for frame in media.read_frames(clip):
            writer.write(frame)
    with av.open(str(tmp_path / "b.mp4")) as file:
        assert (file.streams.audio[0].rate, file.streams.audio[0].channels) == (48_000, 2)


def test_blocks_join_to_the_whole(tmp_path: Path) -> None:
    media.write_wav(tmp_path / "a.wav", speech(2.3, 44_100), 44_100)
    blocks = list(media.decode_audio(tmp_path / "a.wav"))
    assert [len(b) for b in blocks] == [16_000, 16_000, 4800]
    assert np.array_equal(np.concatenate(blocks), media.read_audio(tmp_path / "a.wav"))


@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [
        ("a.wav", "pcm_s16le", 44_100),
        ("a.m4a", "aac", 44_100),
        ("a.aac", "aac", 48_000),
        ("a.mp3", "libmp3lame", 44_100),
        ("a.flac", "flac", 48_000),
        ("a.ogg", "libopus", 48_000),
        ("a.mka", "libopus", 48_000),
    ],
)
def test_any_sound_starts_at_its_start_and_ends_at_its_end(tmp_path: Path, name: str, codec: str, rate: int) -> None:
    path = make_sound(tmp_path / name, speech(2.0, rate), rate, codec)
    heard, said = media.read_audio(path), media_resampled(speech(2.0, rate), rate, tmp_path)
    padding = 2048 if name == "a.aac" else 0  # bare ADTS frames do not say how much of them is padding
    assert abs(lag(heard, said, 1600)) <= 1 + padding
    assert abs(len(heard) - 2 * RATE) <= (40 if not padding else 2 * padding)


def media_resampled(samples: np.ndarray, rate: int, folder: Path) -> np.ndarray:
    media.write_wav(folder / "reference.wav", samples, rate)
    return media.read_audio(folder / "reference.wav")


@pytest.mark.parametrize("start", [-24_000, 24_000])
def test_sound_and_pictures_of_one_file_share_a_clock(tmp_path: Path, start: int) -> None:
    said = speech(2.0, 48_000)
    first = max(0, -start)  # pictures half a second after the sound, or before it
    pts = [Fraction(first, 48_000) * 25_000 + 1000 * i for i in range(50)]
    path = make_video(tmp_path / "a.mp4", [int(p) for p in pts], Fraction(1, 25_000), sound=(said, max(0, start)))
    expected = said[24_000:] if start < 0 else np.concatenate([np.zeros(24_000, np.float32), said])
    assert abs(lag(media.read_audio(path, 48_000), expected)) <= 2


def test_a_gap_in_the_sound_stays_a_gap(tmp_path: Path) -> None:
    said = speech(2.0, 48_000)
    path = tmp_path / "a.mkv"
    with av.open(str(path), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=48_000, layout="mono")
        for start in range(0, len(said), 4800):
            if 48_000 <= start < 72_000:
                continue
            frame = av.AudioFrame.from_ndarray(said[None, start : start + 4800], format="fltp", layout="mono")
            frame.sample_rate, frame.time_base, frame.pts = 48_000, Fraction(1, 48_000), start
            out.mux(stream.encode(frame))
    heard = media.read_audio(path, 48_000)
    said[48_000:72_000] = 0
    assert len(heard) == len(said)
    assert np.abs(heard - said).max() < 1e-3


def test_silent_and_soundless_files(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25))
    assert media.probe(path).audio_rate is None
    for use in (media.read_audio, lambda p: copy_clip(path, tmp_path / "b.mp4", audio=p)):
        with pytest.raises(InputError, match="has no sound; give a file with speech"):
            use(path)
    assert not (tmp_path / "b.mp4").exists()


def test_sound_without_a_sample_is_not_called_damaged(tmp_path: Path) -> None:
    media.write_wav(tmp_path / "a.wav", np.zeros(0, np.float32), RATE)
    with pytest.raises(InputError, match="its sound is empty; give a file with speech"):
        media.read_audio(tmp_path / "a.wav")


def test_sound_of_no_known_kind_counts_as_none(tmp_path: Path, talk: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(talk.read_bytes().replace(b"mp4a", b"zzzz").replace(b"esds", b"free"))
    assert media.probe(path).audio_rate is None
    assert not media.stated(path, 100).sound
    assert len(list(media.read_frames(media.probe(path)))) == len(list(media.read_frames(media.probe(talk))))
    with pytest.raises(InputError, match="no sound that can be decoded; give a file with speech"):
        media.read_audio(path)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -1e30])
def test_what_is_no_sound_is_refused_with_the_time(tmp_path: Path, wrong: float) -> None:
    samples = speech(1.0)
    samples[RATE // 2] = wrong
    path = make_sound(tmp_path / "a.wav", samples, RATE, "pcm_f32le")
    with pytest.raises(InputError, match=r"a\.wav holds NaN or infinite values at 0\.[45]\d s"):
        media.read_audio(path)


def test_hours_of_nothing_are_not_held_at_once(tmp_path: Path) -> None:
    hours = 3 * 3600 * 48_000
    path = make_video(tmp_path / "a.mkv", [0, 1], Fraction(1, 25), sound=(speech(0.5, 48_000), hours))
    blocks = [block.shape[1] for block in samples_from(path, RATE, "mono")]
    assert sum(blocks) == pytest.approx(3 * 3600 * RATE + RATE // 2, abs=2 * 1024)
    assert max(blocks) <= 1 << 16


def test_damaged_sound_is_refused(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.m4a", speech(2.0), RATE, "aac")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    data[start : start + 8000] = np.random.default_rng(0).bytes(8000)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="cannot be decoded"):
        media.read_audio(path)


def test_sound_that_is_damaged_for_the_most_part_is_refused(tmp_path: Path) -> None:
    path = make_sound(tmp_path / "a.m4a", speech(6.0), RATE, "aac")
    data = bytearray(path.read_bytes())
    start = data.index(b"mdat") + 4
    size = int.from_bytes(data[start - 8 : start - 4], "big") - 8
    data[start + size // 4 : start + size] = np.random.default_rng(0).bytes(size - size // 4)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match="cannot be decoded"):
        media.read_audio(path)


@pytest.mark.parametrize("voice", ["a.m4a", "a.mp3", "talk.mp4"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_the_container_can_hold_is_copied_byte_for_byte(
    tmp_path: Path, talk: Path, voice: str, suffix: str
) -> None:
    said = speech(1.0)
    codec = {"a.m4a": "aac", "a.mp3": "libmp3lame"}
    source = talk if voice == "talk.mp4" else make_sound(tmp_path / voice, said, RATE, codec[voice])
    pictures = make_video(tmp_path / "v.mp4", range(6006, 6006 + 40 * 1001, 1001), Fraction(1, 30_000))
    copy_clip(pictures, tmp_path / f"b{suffix}", audio=source)
    given, written = sound_packets(source), sound_packets(tmp_path / f"b{suffix}")
    assert written == given
    assert abs(lag(media.read_audio(tmp_path / f"b{suffix}"), said)) <= 16  # Matroska's millisecond


@pytest.mark.parametrize(("rate", "channels"), [(44_100, 2), (16_000, 1), (11_000, 1), (48_000, 6)])
def test_pcm_becomes_aac_in_an_mp4(tmp_path: Path, rate: int, channels: int) -> None:
    said = speech(2.0, rate)
    voice, layout = tmp_path / "voice.wav", {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    with av.open(str(voice), "w") as out:
        stream = out.add_stream("pcm_s16le", rate=rate, layout=layout)
        packed = np.repeat((said * 32767).astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(packed, format="s16", layout=layout)
        frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), 0
        out.mux(stream.encode(frame))
    pictures = make_video(tmp_path / "v.mp4", range(507, 507 + 50 * 512, 512), Fraction(1, 12_800))
    copy_clip(pictures, tmp_path / "b.mp4", audio=voice)
    with av.open(str(tmp_path / "b.mp4")) as container:
        stream = container.streams.audio[0]
        assert stream.codec.canonical_name == "aac"
        assert stream.channels == channels
        assert stream.rate == (rate if rate != 11_000 else 48_000)
    heard, reference = media.read_audio(tmp_path / "b.mp4"), media.read_audio(voice)
    assert abs(lag(heard, reference)) <= 2


@pytest.mark.parametrize(("suffix", "codec"), [(".mp4", "aac"), (".mov", "mp3"), (".mkv", "mp3")])
def test_mp3_of_a_dictaphone_is_copied_except_into_mp4(tmp_path: Path, suffix: str, codec: str) -> None:
    voice = make_sound(tmp_path / "voice.mp3", speech(2.0, 8000), 8000, "libmp3lame")
    pictures = make_video(tmp_path / "v.mp4", range(40), Fraction(1, 25))
    copy_clip(pictures, tmp_path / f"b{suffix}", audio=voice)
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        stream = container.streams.audio[0]
        assert (stream.codec.canonical_name, stream.rate) == (codec, 8000)
    heard, given = media.read_audio(tmp_path / f"b{suffix}"), media.read_audio(voice)
    assert abs(lag(heard, given)) <= 16


@pytest.mark.parametrize("codec", ["pcm_s16le", "aac", "flac"])
@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_sound_is_cut_where_the_pictures_end(tmp_path: Path, codec: str, suffix: str) -> None:
    name = {"pcm_s16le": "v.wav", "aac": "v.m4a", "flac": "v.flac"}[codec]
    voice = make_sound(tmp_path / name, speech(3.0, 48_000), 48_000, codec)
    pictures = make_video(tmp_path / "v.mp4", range(0, 26 * 40, 40), Fraction(1, 1000))
    copy_clip(pictures, tmp_path / f"b{suffix}", audio=voice)
    heard = len(media.read_audio(tmp_path / f"b{suffix}")) / RATE
    packet = 0.1 if suffix == ".mkv" else 0.001  # Matroska cannot say that a packet is only partly heard
    assert 1.04 - 0.001 <= heard <= 1.04 + packet


def test_short_sound_leaves_the_pictures_alone(tmp_path: Path, talk: Path) -> None:
    voice = tmp_path / "voice.wav"
    media.write_wav(voice, speech(0.3), RATE)
    copy_clip(talk, tmp_path / "b.mp4", audio=voice)
    assert timestamps(tmp_path / "b.mp4") == timestamps(talk)
    assert len(media.read_audio(tmp_path / "b.mp4")) == pytest.approx(0.3 * RATE, abs=2)


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_clip_cut_off_in_the_middle_is_refused_with_the_time(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    noise = np.random.default_rng(0)
    media.write_clip(path, (noise.integers(0, 255, (48, 64, 3), np.uint8) for _ in range(75)), Fraction(25), **QUICK)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    clip = media.probe(path)
    with pytest.raises(InputError, match=r"a\.mp4 (ends at|is damaged near) 1\.\d+ s"):
        list(media.read_frames(clip))


def test_damage_in_the_middle_is_refused_with_the_time(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", range(0, 2000, 40), Fraction(1, 1000), codec="ffv1")
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 20_000] = bytes(20_000)
    path.write_bytes(bytes(data))
    with pytest.raises(InputError, match=r"damaged near|ends at"):
        list(media.read_frames(media.probe(path)))


def test_a_failed_run_leaves_nothing_and_keeps_what_was_there(tmp_path: Path, talk: Path) -> None:
    target = tmp_path / "out" / "b.mp4"
    target.parent.mkdir()
    target.write_text("earlier result")
    clip = media.probe(talk)

    def run() -> None:
        with media.Writer(target, clip, audio=talk) as writer:
            for frame in media.read_frames(clip):
                writer.write(frame)
                if frame.index == 5:
                    raise KeyError("boom")

    with pytest.raises(KeyError, match="boom"):
        run()
    assert [p.name for p in target.parent.iterdir()] == ["b.mp4"]
    assert target.read_text() == "earlier result"
    with pytest.raises(OutputError, match="no frame"), media.Writer(target, clip):
        pass
    assert target.read_text() == "earlier result"


def test_nothing_stands_under_the_final_name_before_the_end(tmp_path: Path, talk: Path) -> None:
    clip = media.probe(talk)
    with media.Writer(tmp_path / "b.mp4", clip) as writer:
        for frame in media.read_frames(clip):
            writer.write(frame)
            assert not (tmp_path / "b.mp4").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["b.mp4"]


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("nowhere/b.mp4", "does not exist"),
        ("file/b.mp4", "does not exist"),
        ("b.webm", r"use \.mp4, \.mov, \.mkv"),
        ("b", r"use \.mp4, \.mov, \.mkv"),
        ("folder.mp4", "is a folder"),
        ("/proc/b.mp4", "cannot be written"),
    ],
)
def test_impossible_targets_are_refused_before_any_work(tmp_path: Path, talk: Path, target: str, says: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match=says):
        media.Writer(tmp_path / target, media.probe(talk)).__enter__()
    with pytest.raises(OutputError, match=says):
        media.write_clip(tmp_path / target, [drawing(0)], Fraction(25))


@pytest.mark.skipif(sys.platform != "linux", reason="needs file size limits")
def test_a_full_disk_is_one_clear_line(tmp_path: Path) -> None:
    noise = np.random.default_rng(0)
    images = (noise.integers(0, 255, (240, 320, 3), np.uint8) for _ in range(60))
    with room_for(300_000), pytest.raises(OutputError, match=r"b\.mp4 cannot be written"):
        media.write_clip(tmp_path / "b.mp4", images, Fraction(25), crf=4, **QUICK)
    with room_for(1000), pytest.raises(OutputError, match=r"b\.wav cannot be written"):
        media.write_wav(tmp_path / "b.wav", speech(1.0), RATE)
    assert not list(tmp_path.iterdir())


def test_a_frame_handle_is_ours(talk: Path) -> None:
    frame: Frame = next(media.read_frames(media.probe(talk)))
    assert isinstance(frame.handle, Picture)


def test_small_pictures_do_not_depend_on_what_memory_held_before(tmp_path):
    code = (
        "import sys, numpy as np; from fractions import Fraction; from pathlib import Path; from sidgan import media\n"
        "rng = np.random.default_rng(0); noise = np.repeat(np.repeat(rng.integers(0, 256, (40, 40, 3)), 4, 0), 4, 1)\n"
        "frames = [noise[i : i + 64, 2 * i : 2 * i + 64].astype(np.uint8) for i in range(36)]\n"
        "drawn, dubbed = map(Path, sys.argv[1:])\n"
        "media.write_clip(drawn, frames, Fraction(25), crf=10, chroma444=True); clip = media.probe(drawn)\n"
        "with media.Writer(dubbed, clip, encoding=media.Encoding(crf=10)) as writer:\n"
        "    for frame in media.read_frames(clip): writer.write(frame)"
    )
    for pattern in ("85", "170"):  # glibc fills memory with this before a program gets it
        files = [str(tmp_path / f"{kind}_{pattern}.mp4") for kind in ("drawn", "dubbed")]
        environment = os.environ | {"MALLOC_PERTURB_": pattern}
        subprocess.run([sys.executable, "-c", code, *files], check=True, env=environment)
    for kind in ("drawn", "dubbed"):
        assert (tmp_path / f"{kind}_85.mp4").read_bytes() == (tmp_path / f"{kind}_170.mp4").read_bytes()


CHAPTERS = [(0, 200, "Hello"), (200, 400, "World")]


def named(talk: Path, out: Path, sounds: int = 1) -> Path:
    """The same video with a title, chapters, and its sound so many times."""
    with av.open(str(talk)) as source, av.open(str(out), "w", format="matroska") as file:
        pictures, sound = source.streams.video[0], source.streams.audio[0]
        film = file.add_stream_from_template(pictures)
        tracks = [file.add_stream_from_template(sound) for _ in range(sounds)]
        file.metadata["title"] = "My talk"
        file.set_chapters([
            {"id": i, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
            for i, (a, b, name) in enumerate(CHAPTERS)
        ])
        for packet in source.demux(pictures, sound):
            if packet.dts is not None:
                packet.stream = film if packet.stream is pictures else tracks[0]
                file.mux(packet)
    return out


@pytest.mark.parametrize(("times", "rate"), [([30 * i + i % 7 * i % 5 for i in range(40)], 33), ([0], 25)])
def test_a_camera_recorded_by_a_browser_has_its_rate_measured(tmp_path: Path, times: list[int], rate: int) -> None:
    """Such files state no rate, and FFmpeg takes each millisecond for a frame."""
    film = make_video(tmp_path / "film.mkv", times, Fraction(1, 1000))
    stated = film.read_bytes()
    place = stated.index(b"\x23\xe3\x83\x84")  # DefaultDuration, four bytes; becomes padding
    film.write_bytes(stated[:place] + b"\xec\x86" + bytes(6) + stated[place + 8 :])
    with av.open(str(film)) as container:
        assert (container.streams.video[0].average_rate, container.streams.video[0].guessed_rate) == (None, 1000)
    clip = media.probe(film)
    assert float(clip.frame_rate) == pytest.approx(rate, abs=1)
    frames = list(media.read_frames(clip))
    assert [frame.time for frame in frames] == [Fraction(time, 1000) for time in times]
    assert frames[-1].duration == Fraction(1, 25)


def test_what_a_dub_leaves_behind_is_told(talk: Path, tmp_path: Path) -> None:
    assert media.probe(talk).besides == ()
    assert media.probe(named(talk, tmp_path / "much.mkv", sounds=3)).besides == ("2 further sound tracks",)
    _, jpeg = cv2.imencode(".jpg", drawing(0))
    with av.open(str(talk)) as source, av.open(str(tmp_path / "cover.mkv"), "w") as file:
        pictures = file.add_stream_from_template(source.streams.video[0])
        file.add_attachment("cover.jpg", "image/jpeg", jpeg.tobytes())
        for packet in source.demux(video=0):
            if packet.dts is not None:
                packet.stream = pictures
                file.mux(packet)
    assert media.probe(tmp_path / "cover.mkv").besides == ("cover picture",)


@pytest.mark.parametrize(
    ("name", "told"), [("named.mp4", ()), ("data.mp4", ("1 data track",)), ("files.mkv", ("1 attached file",))]
)
def test_data_and_attached_files_that_a_dub_leaves_behind_are_told(
    tmp_path: Path, name: str, told: tuple[str, ...]
) -> None:
    with av.open(str(tmp_path / name), "w") as out:
        film = out.add_stream("libx264", rate=25)
        film.width, film.height, film.pix_fmt = 64, 48, "yuv420p"
        packets = []
        if name == "named.mp4":
            out.set_chapters([{"id": 0, "start": 0, "end": 1, "time_base": Fraction(1), "metadata": {"title": "a"}}])
        elif name == "data.mp4":
            film.metadata["timecode"] = "01:00:00:00"
            packets = [data := av.Packet(b"data")]
            data.stream, data.pts, data.dts, data.duration = out.add_data_stream("bin_data"), 0, 0, 9
        else:
            out.add_attachment("notes.txt", "text/plain", b"what was said")
            out.add_attachment("a.ttf", "application/x-truetype-font", b"letters, which go with subtitles")
        picture = av.VideoFrame.from_ndarray(drawing(0, 48, 64), format="rgb24")
        for packet in (*film.encode(picture), *film.encode(), *packets):
            out.mux(packet)
    with av.open(str(tmp_path / name)) as file:
        assert len(file.streams.data) + len(file.streams.attachments) == (1 if name == "named.mp4" else 2)
    assert media.probe(tmp_path / name).besides == told


def test_what_a_dub_does_not_keep_of_the_pictures_is_told(tmp_path: Path) -> None:
    clear = make_video(tmp_path / "clear.mkv", [0, 1], Fraction(1, 25), codec="ffv1", pixels="yuva420p")
    assert media.probe(clear).besides == ("transparency",)
    beside = make_video(tmp_path / "beside.webm", [0, 1], Fraction(1, 25), codec="libvpx-vp9", pixels="yuva420p")
    assert media.probe(beside).besides == ("transparency",)
    with av.open(str(tmp_path / "tv.mov"), "w") as out:
        lines = out.add_stream("libx264", rate=25, options={"flags": "+ildct+ilme", "x264-params": "mbtree=0"})
        more = out.add_stream("libx264", rate=25, options={"x264-params": "mbtree=0"})
        for stream in (lines, more):
            stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for stream in (lines, more):
            for index in range(2):
                out.mux(stream.encode(av.VideoFrame.from_ndarray(drawing(index, 48, 64), format="rgb24")))
            out.mux(stream.encode(None))
    assert media.probe(tmp_path / "tv.mov").besides == ("1 further video track", "interlacing")


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_title_and_chapters_are_taken_over(talk: Path, tmp_path: Path, suffix: str) -> None:
    clip, out = media.probe(named(talk, tmp_path / "named.mkv")), tmp_path / f"out{suffix}"
    start = first_picture(clip.path) or Fraction(0)
    assert start > 0, "or it tests less"
    with media.Writer(out, clip, audio=talk, named=True) as writer:
        writer.tags = {"comment": "altered"}
        for frame in media.read_frames(clip):
            writer.write(frame)
    assert media.metadata(out)["title"] == "My talk"
    assert media.metadata(out)["comment"] == "altered"
    assert first_picture(out) == start, "so that chapters are at the same pictures where they are at the same times"
    with av.open(str(out)) as file:
        found = [(*(1000 * c[edge] * c["time_base"] for edge in ("start", "end")), c["metadata"]["title"])
                 for c in file.chapters()]  # fmt: skip
    assert found == CHAPTERS
    assert len(list(media.read_frames(media.probe(out)))) == len(list(media.read_frames(clip)))

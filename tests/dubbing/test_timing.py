"""When a frame is shown and what becomes of its samples: voices of any length, orders, encoders, the last check."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from itertools import islice, pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest
from av.video.frame import PictureType
from made_files import copy_clip, film, lag, make_sound, make_video, sound_packets, speech, timestamps

from sidgan import dubbing, media, provenance
from sidgan.audio import log_mel, mel_windows
from sidgan.dubbing import dub
from sidgan.dubbing.conclusion import reduced
from sidgan.dubbing.review import proof
from sidgan.engine import Engine
from sidgan.errors import ConfigError, InputError, SidganError
from sidgan.media import encoders, player, track
from sidgan.media.pictures import Picture, arranged
from sidgan.media.sound import pcm, pcm_file
from sidgan.media.source import decoded, first_picture, opened, video_stream
from sidgan.nn import Generator
from sidgan.synth import LINES, Person, Scene
from sidgan.timeline import LENGTHS, Timeline
from sidgan.types import Frame

RATE = 16_000
UNEVEN = [Fraction(t) for t in (0, 1, 3, 7)]  # and over at 9


def shown(length: str, voice: int | Fraction, times: list[Fraction] = UNEVEN, end: int = 9) -> Timeline:
    return Timeline(times, Fraction(end), Fraction(voice), length)  # type: ignore[arg-type]


# --------------------------------------------------------------------------------------- which frame is shown when


@pytest.mark.parametrize(
    ("length", "sources", "times", "end"),
    [
        ("cut", [0, 1, 2, 3], [0, 1, 3, 7], 9),
        ("keep", [0, 1, 2, 3], [0, 1, 3, 7], 9),
        ("hold", [0, 1, 2, 3, 3, 3, 3, 3], [0, 1, 3, 7, 9, 11, 13, 15], 17),
        ("loop", [0, 1, 2, 3, 0, 1, 2], [0, 1, 3, 7, 9, 10, 12], 16),
        ("pingpong", [0, 1, 2, 3, 2, 1, 0, 1], [0, 1, 3, 7, 11, 13, 14, 15], 17),
    ],
)
def test_a_longer_voice_is_filled_at_the_videos_own_intervals(
    length: str, sources: list[int], times: list[int], end: int
) -> None:
    timeline = shown(length, 16)
    assert [s.source for s in timeline] == sources
    assert [s.time for s in timeline] == times
    assert [s.index for s in timeline] == list(range(len(timeline)))
    assert timeline.end == end
    assert list(timeline) == list(timeline)  # it can be walked again
    for now, after in pairwise(timeline):
        assert now.time + now.duration == after.time


@pytest.mark.parametrize("length", LENGTHS)
def test_it_can_be_walked_from_any_frame_on(length: str) -> None:
    whole = list(shown(length, 30))
    assert all(list(shown(length, 30).since(first)) == whole[first:] for first in range(len(whole) + 1))


@pytest.mark.parametrize("length", LENGTHS)
@pytest.mark.parametrize("voice", [1, Fraction(17, 2), 9])
def test_a_voice_that_is_no_longer_shows_every_frame_once(length: str, voice: int | Fraction) -> None:
    assert list(shown(length, voice)) == list(shown("cut", voice))
    assert not shown(length, voice).repeats


def test_a_single_picture_is_held() -> None:
    for length in ("hold", "loop", "pingpong"):
        assert [s.time for s in shown(length, 7, [Fraction(0)], 2)] == [0, 2, 4, 6]


@pytest.mark.parametrize("length", ["hold", "loop", "pingpong"])
def test_half_an_hour_of_repeats_is_still_on_the_tick(length: str) -> None:
    step = Fraction(1001, 30_000)
    timeline = Timeline([i * step for i in range(40)], 40 * step, Fraction(1800), length)  # type: ignore[arg-type]
    last = next(islice(timeline, len(timeline) - 1, None))
    assert last.time == (len(timeline) - 1) * step
    assert last.time < 1800 <= timeline.end == last.time + step


# ------------------------------------------------------------------------------------------------ frames in any order


FILMS = [("libx264", "a.mp4"), ("libx264", "a.mkv"), ("libx265", "a.mp4"), ("mpeg4", "a.avi"), ("libx264", "a.avi")]


@pytest.mark.parametrize(("codec", "name"), FILMS)
def test_frames_are_the_same_in_any_order(
    tmp_path: Path, codec: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = media.probe(film(tmp_path / name, codec))
    straight = [(f.time, [p.copy() for p in f.planes]) for f in media.read_frames(clip)]
    last, decoded = len(straight) - 1, 0
    read = player.read_span

    def counted(*where: Any) -> Iterator[Frame]:
        nonlocal decoded
        for frame in read(*where):
            decoded += 1
            yield frame

    monkeypatch.setattr(player, "read_span", counted)
    monkeypatch.setattr(player, "read_frames", lambda clip, start=0: _only_from_0(clip, start))
    some = media.Player(clip, [time for time, _ in straight])
    back_and_forth = [*range(last + 1), last, last, *range(last - 1, -1, -1), 0, *range(1, last + 1)]
    for place, index in enumerate([*back_and_forth, 50, 51, 17]):
        frame = some.frame(index)
        assert (frame.index, frame.time) == (index, straight[index][0])
        for plane, expected in zip(frame.planes, straight[index][1], strict=True):
            assert np.array_equal(plane, expected)
        assert len(some._held) <= player.STRETCH
        if place < len(back_and_forth):
            assert decoded <= last + 1  # going back reads stretches, and none of them is needed again going forth


@pytest.mark.parametrize(("codec", "name"), FILMS)
def test_frames_that_are_picked_are_the_same_and_few_others_are_decoded(
    tmp_path: Path, codec: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = media.probe(film(tmp_path / name, codec))
    straight = [(f.time, [p.copy() for p in f.planes], media.glance(f)) for f in media.read_frames(clip)]
    times, glances = [time for time, _, _ in straight], [seen for _, _, seen in straight]
    whole, played = player._played, list[int]()

    def noted(clip: Any, times: Any, glances: Any, start: int) -> Iterator[Frame]:
        played.append(start)
        return whole(clip, times, glances, start)

    monkeypatch.setattr(player, "_played", noted)
    otherwise = [*glances[:60], *(seen + 1 for seen in glances[60:])]
    for known, again in ((glances, []), (otherwise, [60, 109])):  # not as they were, they are looked for anew
        for wanted in ([0, 3, 4], [58, 59, 60, 77], [109]):
            frames = list(media.Player(clip, times, known).pick(wanted))
            assert [(frame.index, frame.time) for frame in frames] == [(i, times[i]) for i in wanted]
            for frame in frames:
                assert all(map(np.array_equal, frame.planes, straight[frame.index][1]))
        assert played == again


def test_what_nobody_wants_and_nothing_builds_on_is_not_decoded(tmp_path: Path) -> None:
    clip = media.probe(film(tmp_path / "a.mp4", "libx264"))
    with opened(clip.path) as container:
        stream = video_stream(container)
        assert stream is not None
        shown = [frame.pts for frame in decoded(container, stream, clip.path)]
    with opened(clip.path) as container:
        stream = video_stream(container)
        assert stream is not None
        some = [frame.pts for frame in decoded(container, stream, clip.path, wanted={shown[6], shown[7]})]
    assert {shown[6], shown[7]} <= {*some} <= {*shown}
    assert len(some) < 0.8 * len(shown)


def _only_from_0(clip: Any, start: int) -> Iterator[Frame]:
    assert start == 0, "the file was not entered at a key frame"
    return media.read_frames(clip)


def test_a_file_whose_index_is_wrong_is_read_from_its_beginning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = media.probe(film(tmp_path / "a.mp4", "libx264", 60))
    times = [f.time for f in media.read_frames(clip)]
    expected = next(media.read_frames(clip, start=55))
    monkeypatch.setattr(player, "read_span", lambda clip, start, end: media.read_span(clip, start - 1, end))
    found = media.Player(clip, times).frame(55)
    assert (found.index, found.time) == (55, times[55])
    assert np.array_equal(found.planes[0], expected.planes[0])


def test_a_file_that_changes_between_two_readings_is_refused(tmp_path: Path) -> None:
    clip = media.probe(film(tmp_path / "a.mp4", "libx264", 10))
    times = [f.time for f in media.read_frames(clip)]
    late = media.Player(clip, [*times[:5], times[5] + Fraction(1, 1000), *times[6:], times[-1] + 1])
    for index in range(5):
        late.frame(index)
    for index in (5, 10):
        with pytest.raises(InputError, match=r"a\.mp4 was changed while it was read"):
            late.frame(index)


# ----------------------------------------------------------------------------------------------------------- encoders


@pytest.mark.parametrize("encoder", ["x264", "x265", "ffv1"])
@pytest.mark.parametrize(
    ("pixels", "codec", "suffix"),
    [("yuv420p", "libx264", ".mp4"), ("yuv422p10le", "libx264", ".mp4"), ("yuvj420p", "mjpeg", ".mov")],
)
def test_without_loss_every_sample_comes_back(
    tmp_path: Path, encoder: str, pixels: str, codec: str, suffix: str
) -> None:
    path = make_video(tmp_path / f"a{suffix}", range(6), Fraction(1, 25), codec=codec, pixels=pixels)
    clip = media.probe(path)
    with media.Writer(tmp_path / "b.mkv", clip, encoding=media.Encoding(encoder, crf=40, lossless=True)) as writer:
        for frame in media.read_frames(clip):
            writer.write(frame)
    again = media.probe(tmp_path / "b.mkv")
    assert again.format == clip.format
    for old, new in zip(media.read_frames(clip), media.read_frames(again), strict=True):
        assert media.digest(old) == media.digest(new)
        for plane, source in zip(new.planes, old.planes, strict=True):
            assert np.array_equal(plane, source)


def test_a_digest_sees_one_sample_of_any_plane(tmp_path: Path) -> None:
    clip = media.probe(make_video(tmp_path / "a.mp4", [0], Fraction(1, 25)))
    frame = next(media.read_frames(clip))
    for which in range(3):
        mine = media.editable(frame)
        mine.planes[which][5, 7] += 1
        assert media.digest(mine) != media.digest(frame) == media.digest(media.editable(frame))


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
@pytest.mark.parametrize("encoder", ["x265", "libx265"])
def test_x265_keeps_times_and_bits_and_is_called_hvc1(tmp_path: Path, encoder: str, suffix: str) -> None:
    tags = {"colorspace": 9, "color_range": 1, "color_primaries": 9, "color_trc": 16}
    pts = [507 + 512 * i + 100 * (i % 3) for i in range(20)]
    path = make_video(tmp_path / "a.mp4", pts, Fraction(1, 15_360), pixels="yuv420p10le", tags=tags)
    clip = copy_clip_with(path, tmp_path / f"b{suffix}", encoder)
    assert media.probe(tmp_path / f"b{suffix}").format == clip.format
    with av.open(str(tmp_path / f"b{suffix}")) as container:
        stream = container.streams.video[0]
        assert (stream.codec.canonical_name, stream.codec_context.pix_fmt) == ("hevc", "yuv420p10le")
        assert suffix == ".mkv" or stream.codec_context.codec_tag == "hvc1"
        frame = next(container.decode(stream))
        assert {name: getattr(frame, name) for name in tags} == tags
    slack = Fraction(1, 2000) if suffix == ".mkv" else 0
    pairs = zip(timestamps(tmp_path / f"b{suffix}"), timestamps(path), strict=True)
    assert max(abs(new - old) for new, old in pairs) <= slack


@pytest.mark.parametrize(
    ("encoder", "suffix"),
    [("x264", ".mp4"), ("x264", ".mov"), ("x265", ".mp4"), ("x265", ".mkv"), ("libvpx-vp9", ".mkv"),
     ("libsvtav1", ".mp4"), ("ffv1", ".mkv")],
)  # fmt: skip
def test_when_frames_are_shown_is_told_without_decoding_them(tmp_path: Path, encoder: str, suffix: str) -> None:
    pts = [507 + 512 * i + 100 * (i % 3) for i in range(40)]
    path = make_video(tmp_path / "a.mp4", pts, Fraction(1, 15_360))
    copy_clip_with(path, tmp_path / f"b{suffix}", encoder)
    decoded = [frame.time for frame in media.read_frames(media.probe(tmp_path / f"b{suffix}"))]
    assert media.shown_times(tmp_path / f"b{suffix}") == decoded
    assert len(decoded) == 40


def test_key_frames_that_do_not_decode_are_told(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mp4", range(8), Fraction(1, 25))
    with av.open(str(path)) as container:
        keys = [packet.pos for packet in container.demux(video=0) if packet.pos is not None and packet.is_keyframe]
    data = bytearray(path.read_bytes())
    data[keys[0] : keys[0] + 400] = bytes(400)
    path.write_bytes(data)
    with pytest.raises(InputError, match="damaged"):
        media.shown_times(path)
    media.write_wav(tmp_path / "a.wav", np.zeros(16_000, np.float32), 16_000)
    with pytest.raises(InputError, match="no longer a video"):
        media.shown_times(tmp_path / "a.wav")


def copy_clip_with(path: Path, out: Path, encoder: str) -> Any:
    clip = media.probe(path)
    with media.Writer(out, clip, encoding=media.Encoding(encoder, preset="ultrafast")) as writer:
        for frame in media.read_frames(clip):
            writer.write(frame)
    return clip


@pytest.mark.parametrize("plain", sorted(encoders.TWINS))
@pytest.mark.parametrize("full", [1, 2])
def test_another_arrangement_holds_the_same_samples(plain: str, full: int) -> None:
    picture = av.VideoFrame(64, 48, plain)
    bits = 10 if plain.endswith("10le") else 8
    dtype = np.uint16 if bits == 10 else np.uint8
    held = Picture(picture, 0)
    for index, plane in enumerate(held.planes(writeable=True)):
        plane[...] = np.random.default_rng(index).integers(0, 1 << bits, plane.shape, dtype)
    picture.pts, picture.time_base, picture.duration = 7, Fraction(1, 25), 3
    picture.colorspace, picture.color_range = 1, full
    for twin in encoders.TWINS[plain]:
        packed = arranged(picture, twin)
        assert (packed.format.name, packed.pts, packed.duration) == (twin, 7, 3)
        assert (packed.colorspace, packed.color_range) == (1, full)
        back = Picture(arranged(packed, plain), 0)
        for plane, source in zip(back.planes(writeable=False), held.planes(writeable=False), strict=True):
            assert np.array_equal(plane, source)


@pytest.mark.parametrize(
    ("encoding", "suffix", "says"),
    [
        (media.Encoding("abacus"), ".mp4", "no encoder abacus in this build of FFmpeg; available are x264, x265"),
        (media.Encoding("aac"), ".mp4", "aac encodes audio, not video; available are x264"),
        (media.Encoding("prores_ks"), ".mov", "does not support the video's pixel format yuv420p; use x264 or x265"),
        (media.Encoding("libvpx-vp9", lossless=True), ".mkv", "cannot encode without loss; use x264, x265 or ffv1"),
        (media.Encoding("ffvhuff", lossless=True), ".mp4", r"\.mp4 files cannot hold video from ffvhuff; use another"),
        (media.Encoding("libvpx-vp9"), ".mov", r"\.mov files cannot hold video from libvpx-vp9"),
    ],
)
def test_an_encoder_that_cannot_be_used_is_told_before_any_work(
    tmp_path: Path, encoding: media.Encoding, suffix: str, says: str
) -> None:
    clip = media.probe(make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25)))
    (tmp_path / f"b{suffix}").write_text("earlier result")
    with pytest.raises(ConfigError, match=says) as caught:
        media.Writer(tmp_path / f"b{suffix}", clip, encoding=encoding).__enter__()
    assert "\n" not in str(caught.value)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mp4", f"b{suffix}"]
    assert (tmp_path / f"b{suffix}").read_text() == "earlier result"


@pytest.mark.parametrize("name", ["h264_videotoolbox", "hevc_videotoolbox"])
def test_a_lower_crf_is_a_better_picture_where_quality_counts_upwards(name: str) -> None:
    codec: Any = SimpleNamespace(name=name, lossy=True, lossless=False)
    made = (media.Encoding(name, crf=crf)._options(codec, 0) for crf in (0, 16, 51))
    best, usual, worst = (int(options["global_quality"]) for options in made)
    assert best == 118 * 100
    assert best > usual > worst
    assert worst == 118


def test_hardware_that_is_not_there_is_told_with_what_is(tmp_path: Path) -> None:
    clip = media.probe(make_video(tmp_path / "a.mp4", range(3), Fraction(1, 25)))
    missing = sorted(set(encoders.HARDWARE) - set(encoders.working()))
    assert missing, "no machine drives the chips of all makers"
    for name in missing:
        with pytest.raises(ConfigError, match=r"(in this build of FFmpeg|on this computer); available are x264, x265"):
            media.Writer(tmp_path / "b.mp4", clip, encoding=media.Encoding(name)).__enter__()


# ------------------------------------------------------------------------------------------------- files of all kinds


def trimmed(source: Path, target: Path, skip: Fraction) -> Path:
    """A copy without encoding that begins ``skip`` seconds later: what was before stays in it, behind an edit list."""
    how: dict[str, Any] = {"container_options": {"movie_timescale": "48000"}}
    with (
        av.open(str(source)) as given,
        av.open(str(target), "w", options={"avoid_negative_ts": "disabled"}, **how) as out,
    ):
        copies = {stream.index: out.add_stream_from_template(stream) for stream in given.streams}
        for packet in given.demux():
            if packet.dts is None or packet.pts is None:
                continue
            earlier = round(skip / packet.time_base)
            packet.pts, packet.dts = packet.pts - earlier, packet.dts - earlier
            packet.stream = copies[packet.stream.index]
            out.mux(packet)
    return target


def test_an_edit_list_that_starts_late_hides_pictures_and_sound(tmp_path: Path) -> None:
    said = speech(2.0, 48_000)
    whole = make_video(tmp_path / "whole.mp4", range(50), Fraction(1, 25), sound=(said, 0))
    with av.open(str(whole)) as container:
        assert PictureType.B in {frame.pict_type for frame in container.decode(video=0)}  # else it tests less
    path = trimmed(whole, tmp_path / "a.mp4", Fraction(7, 25))
    for file in (path, tmp_path / "b.mp4"):
        frames = [frame.planes[0].copy() for frame in media.read_frames(media.probe(file))]
        assert timestamps(file) == [Fraction(i, 25) for i in range(43)]
        heard = media.read_audio(file, 48_000)
        assert len(heard) == pytest.approx(43 / 25 * 48_000, abs=2)
        assert abs(lag(heard, said[7 * 1920 :])) <= 2
        for old, new in zip(islice(media.read_frames(media.probe(whole)), 7, None), frames, strict=True):
            assert np.abs(old.planes[0].astype(int) - new).mean() < 1.5
        if file == path:
            copy_clip(path, tmp_path / "b.mp4", audio=path)
    assert sound_packets(tmp_path / "b.mp4")[-40:] == sound_packets(path)[-40:]


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
@pytest.mark.parametrize("codec", ["aac", "pcm"])
@pytest.mark.parametrize("start", [-12_000, 12_000])
def test_a_voice_beside_pictures_keeps_its_distance_to_them(
    tmp_path: Path, start: int, codec: str, suffix: str
) -> None:
    said, first = speech(2.0, 48_000), max(0, -start)
    pts = [round((Fraction(first, 48_000) + Fraction(i, 25)) * 25_000) for i in range(60)]
    voice = make_video(tmp_path / "v.mp4", pts, Fraction(1, 25_000), sound=(said, max(0, start)))
    if codec == "pcm":  # which an mp4 file gets encoded, from its first picture on
        voice = with_pcm(voice, tmp_path / "v.mkv")
    pictures = make_video(tmp_path / "p.mp4", range(507, 507 + 60 * 512, 512), Fraction(1, 12_800))
    copy_clip(pictures, tmp_path / f"b{suffix}", audio=voice)
    expected = said[12_000:] if start < 0 else np.concatenate([np.zeros(12_000, np.float32), said])
    heard = media.read_audio(tmp_path / f"b{suffix}", 48_000)
    assert abs(lag(heard, expected)) <= (2 if suffix == ".mp4" and codec == "aac" else 72)  # Matroska's milliseconds
    span = media.sound_span(tmp_path / f"b{suffix}")
    assert abs(span.end - Fraction(len(expected), 48_000)) <= span.packet
    assert span.start <= max(start, 0) / 48_000 + span.packet


def with_pcm(source: Path, target: Path) -> Path:
    """The pictures copied, the sound as PCM at its own time."""
    with av.open(str(source)) as given, av.open(str(target), "w") as out:
        pictures = out.add_stream_from_template(given.streams.video[0])
        sound = out.add_stream("pcm_s32le", rate=48_000, layout="stereo")
        mixer = av.AudioResampler(format="s32", layout="stereo", rate=48_000)
        for packet in given.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "video":
                packet.stream = pictures
                out.mux(packet)
                continue
            for frame in packet.decode():
                for piece in mixer.resample(frame):
                    out.mux(sound.encode(piece))
    return target


def test_b_frames_and_uneven_times_come_out_in_order(tmp_path: Path) -> None:
    path = film(tmp_path / "a.mp4", "libx264", 40)
    with av.open(str(path)) as container:
        packets = [(p.pts, p.dts) for p in container.demux(video=0) if p.pts is not None]
    assert [pts for pts, _ in packets] != sorted(pts for pts, _ in packets)  # the file is not in order
    copy_clip(path, tmp_path / "b.mp4", crf=4)
    assert timestamps(tmp_path / "b.mp4") == timestamps(path)
    for old, new in zip(
        media.read_frames(media.probe(path)), media.read_frames(media.probe(tmp_path / "b.mp4")), strict=True
    ):
        assert np.abs(old.planes[2].astype(int) - new.planes[2]).mean() < 2  # the red of neighbours differs by more
        assert old.duration > 0


def test_a_voice_and_what_follows_it_join_at_a_sample() -> None:
    first = [np.full((1, n), 0.5, np.float32) for n in (7, 5)]
    then = [np.full((1, n), 0.25, np.float32) for n in (3, 8, 20)]
    joined = np.concatenate(list(track.continued(first, then, 4)), axis=1)[0]
    assert joined.tolist() == [0.5] * 12 + [0.0625, 0.125, 0.1875] + [0.25] * 16
    assert np.concatenate(list(track.continued(first, then[:1], 4)), axis=1).shape == (1, 12)


# ----------------------------------------------------------------------------------------------------- the whole way

FACES = 12
SIZE = (256, 320)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """talk.mp4: a face at uneven times for 0.4 s, with its own sound; long.wav: 1 s; short.wav: 0.2 s; mute.mp4."""
    folder = tmp_path_factory.mktemp("timing")
    scene = Scene(Person(3), LINES["hello"], seconds=FACES / 30 + 0.001, rate=Fraction(30), size=SIZE)
    own = speech(0.4, seed=1)
    media.write_clip(folder / "even.mp4", [shot.image for shot in scene], Fraction(30), own, RATE, crf=8)
    clip = media.probe(folder / "even.mp4")
    for name, sound in (("talk.mp4", folder / "even.mp4"), ("mute.mp4", None)):
        with media.Writer(folder / name, clip, audio=sound, encoding=media.Encoding(crf=8)) as writer:
            for frame in media.read_frames(clip):
                writer.write(replace(frame, time=frame.time + Fraction(frame.index % 3, 120)))
    voice = Scene(Person(3), LINES["morning"], seconds=1.0).audio(RATE)
    media.write_wav(folder / "long.wav", voice, RATE)
    media.write_wav(folder / "short.wav", speech(0.2, seed=2), RATE)
    return folder


def dubbed(
    folder: Path, out: Path, generator: Generator, voice: str, video: str = "talk.mp4", **how: Any
) -> tuple[dubbing.DubReport, list[tuple[Frame, Frame]]]:
    pairs: list[tuple[Frame, Frame]] = []
    report = dub(
        folder / video, folder / voice, out, generator=generator, device="cpu",
        on_frame=lambda *pair: pairs.append(pair), **how,
    )  # fmt: skip
    return report, pairs


@pytest.mark.parametrize(
    ("length", "suffix"),
    [("cut", ".mp4"), ("keep", ".mkv"), ("hold", ".mp4"), ("loop", ".mp4"), ("pingpong", ".mp4"), ("pingpong", ".mkv")],
)
def test_a_longer_voice_is_cut_or_fully_spoken(
    folder: Path, tmp_path: Path, generator: Generator, length: str, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mels: list[np.ndarray] = []
    drawn: list[np.ndarray] = []
    run = Engine.run

    def spy(self: Engine, crops: Any, masks: Any, sound: Any, *rest: Any) -> np.ndarray:
        mels.extend(sound)
        drawn.extend(run(self, crops, masks, sound, *rest))
        return np.stack(drawn[-len(crops) :])

    monkeypatch.setattr(Engine, "run", spy)
    out = tmp_path / f"out{suffix}"
    report, pairs = dubbed(folder, out, generator, "long.wav", length=length)
    source = list(media.read_frames(media.probe(folder / "talk.mp4")))
    end = source[-1].time + source[-1].duration
    timeline = Timeline([f.time for f in source], end, Fraction(1), length)  # type: ignore[arg-type]
    assert report.frames == report.dubbed == len(timeline) == len(pairs)
    assert (len(timeline) > 2 * FACES) == (length not in ("cut", "keep"))
    assert any("--length hold" in note for note in report.notes) == (length in ("cut", "keep"))
    back = list(media.read_frames(media.probe(out)))
    for plan, frame, (before, _) in zip(timeline, back, pairs, strict=True):
        assert abs(frame.time - plan.time) <= (Fraction(1, 2000) if suffix == ".mkv" else 0)
        assert (before.index, before.time) == (plan.index, plan.time)
        assert np.array_equal(before.planes[0], source[plan.source].planes[0])
    spectrum = log_mel(media.read_audio(folder / "long.wav"))
    for plan, mel in zip(timeline, mels, strict=True):  # what is heard when it is shown, not when it was filmed
        assert np.allclose(mel, mel_windows(spectrum, [plan.time])[0], atol=1e-4)
    again = [image for plan, image in zip(timeline, drawn, strict=True) if plan.source == FACES - 1]
    assert all(not np.array_equal(one, other) for one, other in pairwise(again))
    heard = media.read_audio(out)
    wanted = min(float(timeline.end), 1.0)
    assert len(heard) / RATE == pytest.approx(wanted, abs=0.07 if suffix == ".mkv" else 0.002)
    said = media.read_audio(folder / "long.wav")[: len(heard)]
    assert np.corrcoef(heard[: len(said)], said)[0, 1] > 0.9


@pytest.mark.parametrize("length", LENGTHS)
def test_after_a_shorter_voice_there_is_silence_or_the_original(
    folder: Path, tmp_path: Path, generator: Generator, length: str
) -> None:
    report, pairs = dubbed(folder, tmp_path / "out.mp4", generator, "short.wav", length=length)
    assert report.frames == FACES
    idle = f"--length {length} had no effect: the voice is not longer than the video"
    assert report.notes == (() if length in ("cut", "keep") else (idle,))
    assert [before is after for before, after in pairs] == [before.time >= Fraction(1, 5) for before, _ in pairs]
    assert report.passed == ((report.dubbed, FACES - 1, "voice is over"),)
    heard, said, own = (
        media.read_audio(path) for path in (tmp_path / "out.mp4", folder / "short.wav", folder / "talk.mp4")
    )
    assert np.corrcoef(heard[:3200], said[:3200])[0, 1] > 0.9
    if length != "keep":
        assert len(heard) == pytest.approx(3200, abs=2)
        return
    assert len(heard) == pytest.approx(len(own), abs=20)
    assert np.corrcoef(heard[3600:6300], own[3600:6300])[0, 1] > 0.9


def test_a_video_without_sound_has_none_to_go_on_with_and_says_so(
    folder: Path, tmp_path: Path, generator: Generator
) -> None:
    report, _ = dubbed(folder, tmp_path / "out.mp4", generator, "short.wav", "mute.mp4", length="keep")
    assert len(media.read_audio(tmp_path / "out.mp4")) == pytest.approx(3200, abs=2)
    line = f"{folder / 'mute.mp4'} has no sound of its own to keep: the result is silent after the voice"
    assert report.notes == (line,)
    for voice, length in (("short.wav", "cut"), ("long.wav", "keep")):  # nothing was to be kept
        report, _ = dubbed(folder, tmp_path / "out.mp4", generator, voice, "mute.mp4", length=length)
        assert not any("of its own" in note for note in report.notes)


def test_a_voice_as_long_as_its_video_leaves_nothing_to_keep(
    folder: Path, tmp_path: Path, generator: Generator
) -> None:
    report, _ = dubbed(folder, tmp_path / "out.mp4", generator, "even.mp4", length="keep")
    assert report.notes == ("--length keep had no effect: the voice is as long as the video",)
    media.write_wav(tmp_path / "breath.wav", speech(0.45), RATE)  # 0.05 s more: nothing that would be missed
    assert dubbed(folder, tmp_path / "out.mp4", generator, str(tmp_path / "breath.wav"))[0].notes == ()


@pytest.mark.parametrize("own", [0.1, 0.15])
def test_a_video_whose_own_sound_is_over_before_the_voice_says_that_silence_follows(
    folder: Path, tmp_path: Path, generator: Generator, own: float
) -> None:
    media.write_wav(tmp_path / "own.wav", media.read_audio(folder / "even.mp4")[: round(own * 16_000)], 16_000)
    clip = media.probe(folder / "talk.mp4")
    with media.Writer(folder / "hushed.mp4", clip, audio=tmp_path / "own.wav") as writer:
        for frame in media.read_frames(clip):
            writer.write(frame)
    report, _ = dubbed(folder, tmp_path / "out.mkv", generator, "short.wav", "hushed.mp4", length="keep")
    line = f"{folder / 'hushed.mp4'}'s own sound ends at {own:.2f} s: the result is silent after the voice"
    assert report.notes == (line,)
    assert report.frames == FACES
    with av.open(str(tmp_path / "out.mkv")) as file:  # nothing was to be joined, so the voice is as it was given
        assert file.streams.audio[0].codec.name == "pcm_s16le"
    assert len(media.read_audio(tmp_path / "out.mkv")) == pytest.approx(3200, abs=20)


def test_of_a_voice_with_several_sound_tracks_the_first_one_is_used_and_told(
    folder: Path, tmp_path: Path, generator: Generator
) -> None:
    both = tmp_path / "both.mkv"
    with av.open(str(folder / "long.wav")) as source, av.open(str(both), "w") as file:
        tracks = [file.add_stream_from_template(source.streams.audio[0]) for _ in range(2)]
        for packet in source.demux(audio=0):
            if packet.dts is not None:
                packet.stream = tracks[0]
                file.mux(packet)
    report, _ = dubbed(folder, tmp_path / "out.mp4", generator, str(both))
    line = f"only the first sound track of {both} is used; it has 1 further sound track"
    assert [note for note in report.notes if "sound track" in note] == [line]
    with pcm_file(tmp_path / "four.wav", 4, RATE) as file:
        file.writeframes(pcm(np.zeros((4, 1600))))
    notes = list(reduced([both, both], [tmp_path / "four.wav"] * 2, 2))  # of two people with one voice
    assert notes[0] == line
    assert [note.split(";")[0] for note in notes[1:]] == [f"the 4 channels of {tmp_path / 'four.wav'} are mixed to 2"]


@pytest.mark.parametrize(
    ("channels", "out", "change", "kept"),
    [(4, "mp4", {}, 2), (4, "mov", {}, 4), (6, "mp4", {}, 6), (6, "mov", {"background": "voice.wav"}, 2)],
)
def test_channels_that_are_mixed_are_told(
    folder: Path, tmp_path: Path, generator: Generator, channels: int, out: str, change: dict[str, str], kept: int
) -> None:
    with pcm_file(tmp_path / "voice.wav", channels, RATE) as file:
        file.writeframes(pcm(np.tile(speech(0.4), (channels, 1))))
    change = {name: str(tmp_path / value) for name, value in change.items()}
    report, _ = dubbed(folder, tmp_path / f"out.{out}", generator, str(tmp_path / "voice.wav"), **change)
    with av.open(str(tmp_path / f"out.{out}")) as file:
        assert file.streams.audio[0].channels == kept
    told = [note.split(";")[0] for note in report.notes if "channels of" in note]
    assert told == [f"the {channels} channels of {tmp_path / 'voice.wav'} are mixed to 2"] * (kept < channels)


@pytest.mark.parametrize("channels", [np.zeros((1, 6400)), np.outer([1, -1], speech(0.4))])
def test_a_voice_that_no_mouth_can_follow_is_told(
    folder: Path, tmp_path: Path, generator: Generator, channels: np.ndarray
) -> None:
    with pcm_file(tmp_path / "voice.wav", len(channels), RATE) as file:
        file.writeframes(pcm(channels))
    line = "is silent while the video lasts: no mouth follows it"
    report, _ = dubbed(folder, tmp_path / "out.mp4", generator, str(tmp_path / "voice.wav"))
    assert [line in note for note in report.notes] == [True]
    report, _ = dubbed(folder, tmp_path / "out.mp4", generator, "even.mp4", speakers={1: tmp_path / "voice.wav"})
    assert ["the voice of person 1, " in note and line in note for note in report.notes] == [True]


@pytest.mark.parametrize(
    ("video", "music", "says"),
    [("mute.mp4", False, "as filmed, in silence"), ("mute.mp4", True, "as filmed, with the background only"),
     ("talk.mp4", True, "as filmed, with the background only"),
     ("talk.mp4", False, "in silence; use --length keep to keep its own sound there")],
)  # fmt: skip
def test_what_follows_a_shorter_voice_is_told_with_advice_that_works(
    folder: Path, tmp_path: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch, video: str, music: bool,
    says: str,
) -> None:  # fmt: skip
    monkeypatch.setattr("sidgan.dubbing.conclusion.LONG", 0.1)
    under = {"background": folder / "long.wav"} if music else {}
    report, _ = dubbed(folder, tmp_path / "out.mp4", generator, "short.wav", video, **under)
    (note,) = report.notes
    assert note.endswith(says)
    report, _ = dubbed(folder, tmp_path / "out.mp4", generator, "short.wav", video, length="keep")
    assert not any("is left as filmed" in note for note in report.notes)


def test_h264_that_few_players_play_is_told(folder: Path, tmp_path: Path, generator: Generator) -> None:
    with av.open(str(folder / "even.mp4")) as source, av.open(str(tmp_path / "deep.mkv"), "w") as target:
        stream = target.add_stream("ffv1", rate=30, width=SIZE[1], height=SIZE[0], pix_fmt="yuv420p10le")
        for picture in source.decode(video=0):
            target.mux(stream.encode(picture.reformat(format="yuv420p10le")))
        target.mux(stream.encode())
    told = []
    for video, encoder in ((folder / "even.mp4", "x264"), (tmp_path / "deep.mkv", "x264"),
                           (tmp_path / "deep.mkv", "libx264"), (tmp_path / "deep.mkv", "x265")):  # fmt: skip
        report, _ = dubbed(folder, tmp_path / "out.mp4", generator, "even.mp4", str(video), encoder=encoder)
        told.append(any("do not play that; use --encoder x265" in note for note in report.notes))
    assert told == [False, True, True, False]


def test_without_loss_only_the_mouth_differs_in_the_file(folder: Path, tmp_path: Path, generator: Generator) -> None:
    _, pairs = dubbed(folder, tmp_path / "out.mp4", generator, "short.wav", lossless=True)
    back = list(media.read_frames(media.probe(tmp_path / "out.mp4")))
    for frame, (before, after) in zip(back, pairs, strict=True):
        for plane, meant, source in zip(frame.planes, after.planes, before.planes, strict=True):
            assert np.array_equal(plane, meant)
            assert np.array_equal(plane[: len(plane) // 3], source[: len(source) // 3])  # forehead and room
    assert not np.array_equal(back[0].planes[0], pairs[0][0].planes[0])


def test_references_are_forgotten_out_of_sight_and_found_again(
    folder: Path, tmp_path: Path, generator: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = media.probe(folder / "talk.mp4")
    with media.Writer(tmp_path / "cuts.mp4", clip, encoding=media.Encoding(crf=4)) as writer:
        frames = list(media.read_frames(clip))
        for frame in frames + [
            replace(f, index=f.index + FACES, time=f.time + Fraction(2, 5)) for f in map(emptied, frames)
        ]:
            writer.write(frame)
    encoded: list[int] = []
    encode = Engine.encode_reference
    monkeypatch.setattr(
        Engine, "encode_reference", lambda self, images, *how: encoded.append(images.sum()) or encode(self, images)
    )
    out = tmp_path / "out.mp4"
    dubber = dubbing.Dubber(generator=generator, device="cpu", batch=2)
    dubber.dub(tmp_path / "cuts.mp4", folder / "long.wav", out, length="loop")
    assert len(encoded) == 2  # one person, who is seen in every round
    assert len(set(encoded)) == 1


def test_repeats_of_an_altered_video_count_as_altered(folder: Path, tmp_path: Path, generator: Generator) -> None:
    report, _ = dubbed(folder, tmp_path / "once.mp4", generator, "short.wav")
    source = media.probe(tmp_path / "once.mp4")
    frames = list(media.read_frames(source))
    end = frames[-1].time + frames[-1].duration
    for voice, length in (("long.wav", "loop"), ("long.wav", "cut"), ("short.wav", "loop")):
        out = tmp_path / "twice.mp4"
        dub(source.path, folder / voice, out, generator=generator, device="cpu", length=length)  # type: ignore[arg-type]
        mark = provenance.read(out)
        assert mark is not None
        first, *more = mark.earlier.spans
        assert first[0] == 0
        assert float(frames[report.dubbed - 1].time) < first[1] <= float(frames[report.dubbed].time)
        repeats = (voice, length) == ("long.wav", "loop")
        assert bool(more) == repeats
        if repeats:
            *_, last = media.read_frames(media.probe(out))
            over = float(last.time + last.duration)
            assert more == [(pytest.approx(float(end), abs=1e-3), pytest.approx(over, abs=1e-3))]


def emptied(frame: Frame) -> Frame:
    """Nobody's face."""
    mine = media.editable(frame)
    for plane in mine.planes:
        plane[...] = 128
    return mine


# ------------------------------------------------------------------------------------------------------ the last check


@pytest.mark.parametrize("wrong", ["late", "early end", "picture", "moved"])
def test_an_output_that_is_not_what_was_meant_is_told_and_removed(
    folder: Path, tmp_path: Path, generator: Generator, wrong: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = {"late": "sound from 0.2", "early end": "to 0.200 s instead of", "picture": "frame 4 not as it went",
            "moved": "frame 4 at"}  # fmt: skip
    write = media.SegmentWriter.write

    def spoilt(self: media.SegmentWriter, frame: Frame) -> None:
        if frame.index == 4 and wrong == "picture":
            frame = media.editable(frame)
            frame.planes[0][3, 3] += 1
        if frame.index == 4 and wrong == "moved":
            frame = replace(frame, time=frame.time + Fraction(1, 500))
        write(self, frame)

    if wrong in ("picture", "moved"):
        monkeypatch.setattr(media.SegmentWriter, "write", spoilt)
    else:
        shift, end = (Fraction(3, 10), Fraction(9)) if wrong == "late" else (Fraction(0), Fraction(1, 5))

        class Spoilt(track.SoundTrack):
            def finish(self, stop: Fraction) -> None:
                super().finish(min(stop, end))

            def mux_until(self, stop: Fraction) -> None:
                super().mux_until(min(stop, end))

            def _mux(self, packet: Any) -> None:
                packet.pts += round(shift / packet.time_base)
                packet.dts = packet.pts
                super()._mux(packet)

        monkeypatch.setattr("sidgan.media.writer.SoundTrack", Spoilt)
    make_sound(tmp_path / "voice.m4a", media.read_audio(folder / "long.wav"), RATE, "aac")
    with pytest.raises(SidganError, match=says[wrong]) as caught:
        dub(
            folder / "talk.mp4", tmp_path / "voice.m4a", tmp_path / "out.mp4", generator=generator, device="cpu",
            lossless=True,
        )  # fmt: skip
    assert "\n" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["voice.m4a"]


@pytest.mark.parametrize(("fault", "kept"), [("sound", False), ("pictures", False), ("interrupted", True)])
def test_an_output_that_cannot_be_checked_takes_no_name(
    folder: Path, tmp_path: Path, generator: Generator, fault: str, kept: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt if fault == "interrupted" else InputError("damaged")

    if fault == "sound":
        monkeypatch.setattr(track.SoundTrack, "_mux", lambda self, packet: None)
    else:
        monkeypatch.setattr(media, "shown_times", stop)
    (tmp_path / "out.mp4").write_bytes(b"older")
    with pytest.raises(KeyboardInterrupt if kept else SidganError, match=None if kept else fault):
        dub(folder / "talk.mp4", folder / "short.wav", tmp_path / "out.mp4", generator=generator, device="cpu")
    assert (tmp_path / "out.mp4").read_bytes() == b"older"
    work = {".out.mp4.sidgan"} if kept else set()  # where it can go on
    assert {path.name for path in tmp_path.iterdir()} == {"out.mp4"} | work


def test_sound_that_begins_late_is_told(tmp_path: Path) -> None:
    out = make_video(tmp_path / "a.mp4", range(26), Fraction(1, 25), sound=(speech(0.5, 48_000), 24_000))
    timeline = Timeline([Fraction(i, 25) for i in range(26)], Fraction(26, 25), Fraction(1), "cut")
    late, early = (media.SoundSpan(Fraction(start, 10), Fraction(1), Fraction(1, 40)) for start in (5, 0))
    assert proof.wrong_sound(out, late, timeline, None) is None
    found = proof.wrong_sound(out, early, timeline, None)
    assert found is not None
    assert re.fullmatch(r"sound from 0\.[45]\d\d to 1\.0\d\d s instead of 0\.000 to 1\.000 s", found)


def test_a_voice_that_begins_after_the_video_is_told(folder: Path, tmp_path: Path, generator: Generator) -> None:
    pts = [25_000 * i for i in range(2)]
    late = make_video(tmp_path / "late.mp4", pts, Fraction(1, 25_000), sound=(speech(0.2, 48_000), 24_000))
    for suffix in (".mp4", ".mkv"):
        with pytest.raises(InputError, match=r"starts at 0.[45]\d s, after the end of the video"):
            dub(folder / "talk.mp4", late, tmp_path / f"out{suffix}", generator=generator, device="cpu")
        assert not (tmp_path / f"out{suffix}").exists()
    dub(folder / "talk.mp4", late, tmp_path / "out.mp4", generator=generator, device="cpu", length="hold")
    assert media.sound_span(tmp_path / "out.mp4").start == pytest.approx(0.5, abs=0.03)


FRAGMENTED = {"movflags": "cmaf+frag_keyframe+empty_moov+frag_discont"}


def recorded(video: Path, out: Path, late: int, how: dict[str, str] | None = None) -> Path:
    """A video as whoever receives it writes it down, ``late`` seconds after its clock began."""
    with av.open(str(video)) as source, av.open(str(out), "w", container_options=how or {}) as file:
        copies = {stream.index: file.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.dts is not None and packet.pts is not None:
                packet.pts, packet.dts = (t + round(late / packet.time_base) for t in (packet.pts, packet.dts))
                packet.stream = copies[packet.stream.index]
                file.mux(packet)
    return out


@pytest.mark.parametrize(("name", "how", "begins"), [
    ("a.flv", None, 0), ("a.mp4", FRAGMENTED, 0), ("a.mp4", None, 7200), ("a.mkv", None, 7200),
])  # fmt: skip
def test_what_was_joined_late_begins_at_0_unless_its_clock_means_something(
    tmp_path: Path, name: str, how: dict[str, str] | None, begins: int
) -> None:
    make_video(tmp_path / "even.mp4", range(6), Fraction(1, 25), sound=(speech(0.2, 48_000), 0))
    late = media.probe(recorded(tmp_path / "even.mp4", tmp_path / name, 7200, how))
    assert late.begin == pytest.approx(begins, abs=0.1)
    assert len(list(media.read_frames(late))) == 6
    on_time = media.probe(recorded(tmp_path / "even.mp4", tmp_path / f"on-time-{name}", 0, how))
    assert (on_time.origin, on_time.begin) == (0, on_time.start), "a clock that began with the file is kept"


@pytest.mark.parametrize(("name", "suffix", "length"), [
    ("tv.ts", ".mp4", "keep"), ("tv.ts", ".mkv", "cut"), ("live.flv", ".mp4", "keep"), ("live.flv", ".mkv", "cut"),
])  # fmt: skip
def test_a_recording_begins_at_0_whatever_its_clock_says(
    folder: Path, tmp_path: Path, generator: Generator, name: str, suffix: str, length: str
) -> None:
    """Else players show a film of ten hours, the dub at its end."""
    video, out = recorded(folder / "talk.mp4", tmp_path / name, 36_000), tmp_path / f"out{suffix}"
    assert first_picture(video) == 36_000
    dub(video, folder / "short.wav", out, generator=generator, device="cpu", length=length)  # type: ignore[arg-type]
    assert first_picture(out) == 0
    assert [float(t) for t in media.shown_times(out)] == pytest.approx(
        [float(t) for t in media.shown_times(video)], abs=0.001
    )
    with av.open(str(out)) as file:
        assert (file.duration or 0) / 1e6 < 1
    said, heard = media.read_audio(folder / "short.wav"), media.read_audio(out)
    assert abs(lag(said, heard[: len(said)], 200)) <= 16, "nor does the voice move by more than a millisecond"


@pytest.mark.parametrize(("setting", "says"), [({"length": "twist"}, "length must be"), ({"encoder": "no"}, "encoder")])
def test_a_setting_that_does_not_exist_is_one_line(
    folder: Path, tmp_path: Path, generator: Generator, setting: dict[str, Any], says: str
) -> None:
    with pytest.raises(ConfigError, match=says):
        dubbed(folder, tmp_path / "out.mp4", generator, "short.wav", **setting)
    assert not list(tmp_path.iterdir())

"""Encoded stretches join to a file with the same frames at the same times as one encoder's, wherever they are cut."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from made_files import film, room_for

from sidgan import media
from sidgan.errors import InputError, OutputError
from sidgan.media.segments import decoding_times, depth, earlier

CUTS = {"whole": [0, 60], "even": [0, 30, 60], "uneven": [0, 3, 4, 31, 33, 60]}


def packets(path: Path) -> list[tuple[int, int]]:
    with av.open(str(path)) as file:
        return [(p.pts or 0, p.dts or 0) for p in file.demux(video=0) if p.size and p.dts is not None]


def write_segments(folder: Path, clip: media.Clip, cuts: list[int], how: media.Encoding, suffix: str) -> list[Path]:
    frames, paths = media.read_frames(clip), []
    for first, stop in pairwise(cuts):
        paths.append(folder / f"{first}.segment")
        with media.SegmentWriter(paths[-1], clip, how, suffix) as writer:
            for _ in range(first, stop):
                writer.write(next(frames))
    return paths


@pytest.mark.parametrize("side", [64, 590])
def test_the_same_frames_have_the_same_bytes_in_every_run(side: int, tmp_path: Path) -> None:
    """On some processors, x264 reads memory that it never wrote, unless told to give the same on all."""
    wide = cv2.GaussianBlur(np.random.default_rng(0).integers(0, 256, (side, side + 60, 3), np.uint8), (0, 0), 5)
    files = set()
    for run in range(4):
        media.write_clip(tmp_path / f"{run}.mp4", (wide[:, i : i + side] for i in range(50)), 25, crf=16)
        files.add((tmp_path / f"{run}.mp4").read_bytes())
    assert len(files) == 1


@pytest.mark.parametrize("cut", CUTS)
@pytest.mark.parametrize(
    ("encoder", "suffix"), [("x264", ".mp4"), ("x264", ".mkv"), ("x265", ".mov"), ("ffv1", ".mkv"), ("mpeg4", ".mp4")]
)
def test_joined_is_as_from_one_encoder(encoder: str, suffix: str, cut: str, tmp_path: Path) -> None:
    clip = media.probe(film(tmp_path / "film.mp4", "libx264", 60))
    how = media.Encoding(encoder, crf=12)
    whole, parted = tmp_path / f"whole{suffix}", tmp_path / f"joined{suffix}"
    with media.Writer(whole, clip, encoding=how) as writer:
        writer.tags = {"comment": "hello"}
        for frame in media.read_frames(clip):
            writer.write(frame)
    parts = [media.Segment(path) for path in write_segments(tmp_path, clip, CUTS[cut], how, suffix)]
    with media.Writer(parted, clip, encoding=how) as writer:
        writer.tags = {"comment": "hello"}
        writer.join(parts)
    assert [p.count for p in parts] == [b - a for a, b in pairwise(CUTS[cut])]
    if encoder in ("x264", "x265"):
        assert max(part.depth for part in parts) > 0, "without B-frames it tests less"
    assert media.metadata(parted)["comment"] == "hello"
    for one, other in zip(
        media.read_frames(media.probe(whole)), media.read_frames(media.probe(parted)), strict=True
    ):
        assert one.time == other.time
        assert np.abs(one.planes[0].astype(int) - other.planes[0]).mean() < 4
    assert other.time + other.duration == one.time + one.duration  # the others' are between decoding times in mp4
    decoding = [dts for _, dts in packets(parted)]
    assert all(a < b for a, b in pairwise(decoding))
    assert all(dts <= pts for pts, dts in packets(parted))
    if cut == "whole":
        assert packets(parted) == packets(whole)


def test_decoding_times_carry_on_from_one_segment_to_the_next() -> None:
    first, then = [0, 30, 10, 20, 45], [50, 80, 70, 60]
    deep = max(depth(first), depth(then))
    assert deep == 2
    before = earlier(first, 10, deep)
    one = decoding_times(first, before)
    two = decoding_times(then, [*before, *sorted(first)][-deep:])
    times = one + two
    assert all(a < b for a, b in pairwise(times))
    assert all(a <= b for a, b in zip(times, first + then, strict=True))
    assert earlier([7], 4, 2) == [-1, 3]


def test_a_segment_that_is_not_whole_is_no_segment(tmp_path: Path) -> None:
    clip = media.probe(film(tmp_path / "film.mp4", "libx264", 8))
    (path,) = write_segments(tmp_path, clip, [0, 8], media.Encoding(), ".mp4")
    data = path.read_bytes()
    for wrong in (data[:-1], data[: len(data) // 2], b"", data.replace(data[700:708], b"01234567", 1), b"{}\n" + data):
        path.write_bytes(wrong)
        with pytest.raises(InputError, match="start again"):
            media.Segment(path)
    with pytest.raises(InputError, match="missing or damaged"):
        media.Segment(tmp_path / "no.segment")


def test_segments_of_another_encoder_are_not_joined(tmp_path: Path) -> None:
    clip = media.probe(film(tmp_path / "film.mp4", "libx264", 8))
    paths = write_segments(tmp_path, clip, [0, 8], media.Encoding(crf=20), ".mp4")
    out = tmp_path / "out.mp4"
    with (
        pytest.raises(OutputError, match="differs from the one that wrote its parts"),
        media.Writer(out, clip, encoding=media.Encoding(preset="ultrafast")) as writer,
    ):
        writer.join([media.Segment(path) for path in paths])
    assert not out.exists()


def test_a_full_disk_leaves_no_segment(tmp_path: Path) -> None:
    clip = media.probe(film(tmp_path / "film.mp4", "libx264", 30))
    with room_for(5000), pytest.raises(OutputError, match="cannot be written"):
        write_segments(tmp_path, clip, [0, 30], media.Encoding(crf=1), ".mp4")
    assert [path.name for path in tmp_path.iterdir()] == ["film.mp4"]

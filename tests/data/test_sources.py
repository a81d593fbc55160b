"""Published data sets in their official layouts, with the odd lines that their lists really have."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidgan.data.listing import ClipSource, Listing
from sidgan.data.sources import hdtf_test, read_source
from sidgan.data.splits import by_identity
from sidgan.errors import InputError


def tree(root: Path, files: dict[str, str | bytes]) -> Path:
    for name, content in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return root


def skipped(listing: Listing, kind: str) -> list[str]:
    return [s.where for s in listing.skipped if s.kind == kind]


# ---------------------------------------------------------------------------------------------------------- AVSpeech

ROWS = """\
-0EF_abcdeF,90.000000,93.500000,0.25,0.5
-0EF_abcdeF,100.000000,104.000000,0.75,0.5
_K2Zz_0EFA-,12.512500,19.012500,0.403646,0.131944
AAAAAAAAAAA,5.0,4.0,0.5,0.5
AAAAAAAAAAA,1.0,x,0.5,0.5
short,1.0,4.0,0.5,0.5

BBBBBBBBBBB,1.0,4.0,0.5,0.5
_K2Zz_0EFA-,12.512500,19.012500,0.403646,0.131944
"""


def test_avspeech(tmp_path: Path) -> None:
    tree(tmp_path, {
        "avspeech_train.csv": ROWS, "avspeech_test.csv": "CCCCCCCCCCC,0,3.0,0.5,0.5\r\n",
        "clips/_K2Zz_0EFA-_12.512500_19.012500.mp4": b"", "full/-0EF_abcdeF.mp4": b"",
        "clips/CCCCCCCCCCC_0.0_3.0.mp4": b"",
    })  # fmt: skip
    listing = read_source("avspeech", tmp_path)
    clips = {c.name: c for c in listing.clips}
    assert sorted(clips) == ["-0EF_abcdeF/100.00-104.00", "-0EF_abcdeF/90.00-93.50", "CCCCCCCCCCC/0.00-3.00",
                             "_K2Zz_0EFA-/12.51-19.01"]  # fmt: skip
    whole = clips["-0EF_abcdeF/90.00-93.50"]
    assert (whole.start, whole.end, whole.point, whole.identity) == (90, 93.5, (0.25, 0.5), "-0EF_abcdeF")
    cut = clips["_K2Zz_0EFA-/12.51-19.01"]
    assert (cut.start, cut.end, cut.split) == (0, None, "train"), "it was cut already"
    assert clips["CCCCCCCCCCC/0.00-3.00"].split == "test"
    assert skipped(listing, "bad") == [f"avspeech_train.csv:{n}" for n in (4, 5, 6, 9)]
    assert skipped(listing, "missing") == ["avspeech_train.csv:8"]
    assert listing.lines == 9


# -------------------------------------------------------------------------------------------------------------- HDTF


def test_hdtf_reads_its_odd_lines(tmp_path: Path) -> None:
    tree(tmp_path, {
        "HDTF_dataset/RD_annotion_time.txt": "Radio34.mp4 00:02-00:30 00:40-00:50\nRadio9.mp4 00:30-01:30\n",
        "HDTF_dataset/WDA_annotion_time.txt":
            b"\xef\xbb\xbfAmyKlobuchar0.mp4 00:10-04:30\r\nAmyKlobuchar1 00:35-02:45 \r\n",
        "HDTF_dataset/WRA_annotion_time.txt":
            "AllenWest.mp4 00:20-04:55 5:00-4:00 1:00:05-1:01:00 \n \nBobCorker.mp4\n",
        "HDTF_dataset/RD_video_url.txt": b"\xef\xbb\xbfRadio9 https://www.youtube.com/watch?v=2nqyIG86DgM&t=6s\n",
        "videos/Radio34.mp4": b"", "videos/2nqyIG86DgM.mp4": b"", "videos/WDA_AmyKlobuchar0_000.mp4": b"",
        "videos/AmyKlobuchar1_0.mp4": b"", "videos/WRA_AllenWest.mp4": b"",
    })  # fmt: skip
    listing = read_source("hdtf", tmp_path)
    spans = {c.name: (c.path.name, c.start, c.end, c.identity) for c in listing.clips}
    assert spans == {
        "RD_Radio34/Radio34_0": ("Radio34.mp4", 2, 30, "Radio34"),
        "RD_Radio34/Radio34_1": ("Radio34.mp4", 40, 50, "Radio34"),
        "RD_Radio9/Radio9_0": ("2nqyIG86DgM.mp4", 30, 90, "Radio9"),
        "WDA_AmyKlobuchar/AmyKlobuchar0_0": ("WDA_AmyKlobuchar0_000.mp4", 0, None, "AmyKlobuchar"),
        "WDA_AmyKlobuchar/AmyKlobuchar1_0": ("AmyKlobuchar1_0.mp4", 0, None, "AmyKlobuchar"),
        "WRA_AllenWest/AllenWest_0": ("WRA_AllenWest.mp4", 20, 295, "AllenWest"),
        "WRA_AllenWest/AllenWest_2": ("WRA_AllenWest.mp4", 3605, 3660, "AllenWest"),
    }, "a bad span does not renumber the others"
    assert skipped(listing, "bad") == ["HDTF_dataset/WRA_annotion_time.txt:1", "HDTF_dataset/WRA_annotion_time.txt:3"]


def test_a_second_video_of_the_same_name_is_named(tmp_path: Path) -> None:
    lists = {"RD_annotion_time.txt": "Radio1.mp4 00:00-01:00\n", "avspeech_test.csv": "abcdefghijk,1,2,0.5,0.5\n"}
    copies = {f"{folder}/{name}.mp4": b"" for folder in ("cropped", "raw") for name in ("Radio1", "abcdefghijk_1_2")}
    for source in ("hdtf", "avspeech"):
        listing = read_source(source, tree(tmp_path, lists | copies))
        assert [clip.path.parent.name for clip in listing.clips] == ["cropped"]
        assert skipped(listing, "left out") == ["raw/Radio1.mp4", "raw/abcdefghijk_1_2.mp4"]
        assert "cropped/Radio1.mp4 has the same name" in listing.skipped[0].what


def test_hdtf_test_list_is_drawn_from_long_clips_alone(tmp_path: Path) -> None:
    seconds = {f"p{i}/v{i}_0": 20.0 + i % 40 for i in range(400)}
    names = hdtf_test(seconds)
    assert len(names) == 171
    assert all(seconds[n] >= 30 for n in names)
    assert names == hdtf_test(dict(reversed(seconds.items()))) == sorted(names)
    assert names[:3] == ["p100/v100_0", "p102/v102_0", "p103/v103_0"], "the same on every computer, for ever"
    lists = "".join(f"Radio{i}.mp4 00:00-01:00 02:00-02:10\n" for i in range(200))
    files = {f"Radio{i}.mp4": b"" for i in range(0, 200, 2)}  # half of the videos are there
    listing = read_source("hdtf", tree(tmp_path, {"RD_annotion_time.txt": lists, **files}))
    whole = set(hdtf_test({f"RD_Radio{i}/Radio{i}_0": 60.0 for i in range(200)}))
    clips = by_identity(listing.clips)
    assert {c.name for c in clips if c.split == "test"} == whole & {c.name for c in clips}
    assert all(c.split == "aside" for c in clips if c.name[:-1] + "0" in whole and c.name.endswith("_1"))


# ------------------------------------------------------------------------------------------------ LRW, LRS2, VoxCeleb2


def test_lrw_reads_its_text_by_key(tmp_path: Path) -> None:
    base = "lipreading_mp4/ABOUT"
    text = "Disk reference: 6\r\nChannel: BBC\r\nDuration: 0.53 seconds\r\n"
    tree(tmp_path, {
        f"{base}/train/ABOUT_00001.mp4": b"", f"{base}/train/ABOUT_00001.txt": text,
        f"{base}/val/ABOUT_00001.mp4": b"", f"{base}/val/ABOUT_00001.txt": "Duration: 0.2 seconds\n" + text[:30],
        f"{base}/test/ABOUT_00001.mp4": b"", f"{base}/test/ABOUT_00002.mp4": b"",
        f"{base}/test/ABOUT_00002.txt": "Duration: soon\n", f"{base}/test/OTHER_00002.mp4": b"",
    })  # fmt: skip
    listing = read_source("lrw", tmp_path)
    assert {(c.name, c.split, c.word) for c in listing.clips} == {
        ("ABOUT/train/ABOUT_00001", "train", (0.315, 0.845)), ("ABOUT/val/ABOUT_00001", "heldout", (0.48, 0.68)),
    }  # fmt: skip
    assert skipped(listing, "bad") == [f"{base}/test/ABOUT_0000{i}.txt" for i in (1, 2)]


def test_lrs2_leaves_marked_lines_out(tmp_path: Path) -> None:
    tree(tmp_path, {
        "mvlrs_v1/train.txt": "55/00001\n55/00002 NF\n56/00001\n",
        "mvlrs_v1/test.txt": "99/00001 MV\n99/00002\nnonsense\n",
        "mvlrs_v1/pretrain.txt": "55/00001\n", "mvlrs_v1/pretrain/55/00001.mp4": b"",
        "mvlrs_v1/main/55/00001.mp4": b"", "mvlrs_v1/main/55/00002.mp4": b"", "mvlrs_v1/main/99/00002.mp4": b"",
    })  # fmt: skip
    listing = read_source("lrs2", tmp_path)
    assert [(c.name, c.identity, c.split) for c in listing.clips] == [
        ("main/55/00001", "55", "train"), ("main/99/00002", "99", "test"), ("pretrain/55/00001", "55", "train"),
    ]  # fmt: skip
    assert skipped(listing, "left out") == ["mvlrs_v1/test.txt:1", "mvlrs_v1/train.txt:2"]
    assert skipped(listing, "missing") == ["mvlrs_v1/train.txt:3"]
    assert skipped(listing, "bad") == ["mvlrs_v1/test.txt:3"]


def test_voxceleb2_finds_the_sound_beside(tmp_path: Path) -> None:
    tree(tmp_path, {
        "vox/dev/mp4/id00012/21Uxsk56VDQ/00001.mp4": b"", "vox/dev/aac/id00012/21Uxsk56VDQ/00001.m4a": b"",
        "vox/test/mp4/id00017/-abcdefghij/00002.mp4": b"",
    })  # fmt: skip
    one, other = read_source("voxceleb2", tmp_path).clips
    assert (one.name, one.identity, one.split) == ("id00012/21Uxsk56VDQ/00001", "id00012", "train")
    assert one.audio == tmp_path / "vox/dev/aac/id00012/21Uxsk56VDQ/00001.m4a"
    assert (other.identity, other.split, other.audio) == ("id00017", "test", None)


def test_an_empty_set_says_what_was_expected(tmp_path: Path) -> None:
    for kind, text in {"avspeech": "avspeech_train.csv", "hdtf": "RD_annotion_time", "lrw": "WORD", "lrs2": "train.txt",
                       "voxceleb2": "idXXXXX", "folder": "no videos", "cctv": "known: folder"}.items():  # fmt: skip
        with pytest.raises(InputError, match=text):
            read_source(kind, tmp_path)
    tree(tmp_path, {"avspeech_train.csv": "BBBBBBBBBBB,1.0,4.0,0.5,0.5\n"})
    with pytest.raises(InputError, match=r"first of 1 skipped: avspeech_train.csv:1: no BBBBBBBBBBB_1.0_4.0.mp4"):
        read_source("avspeech", tmp_path)


# ------------------------------------------------------------------------------------------------------------ splits


def speakers(count: int, clips: int = 3) -> list[ClipSource]:
    return [ClipSource(Path(f"{p}_{c}.mp4"), f"p{p}/{c}", f"p{p}") for p in range(count) for c in range(clips)]


def test_nobody_is_on_two_sides() -> None:
    clips = by_identity(speakers(400))
    sides = {clip.identity: clip.split for clip in clips}
    assert all(clip.split == sides[clip.identity] for clip in clips)
    shares = [list(sides.values()).count(side) / 400 for side in ("train", "heldout", "test")]
    assert shares == pytest.approx([0.9, 0.05, 0.05], abs=0.03)
    later = {clip.name: clip.split for clip in by_identity(speakers(500)[300:])}
    assert all(later.get(clip.name, clip.split) == clip.split for clip in clips), "more data moves nobody"


def test_official_sides_stand_and_their_people_stay_out_of_training() -> None:
    marks = [("a", "test"), ("a", "train"), ("a", "heldout"), ("b", "heldout"), ("b", "train"), ("c", "train")]
    clips = [ClipSource(Path("x"), f"{p}/{i}", p, split=s) for i, (p, s) in enumerate(marks)]
    assert [c.split for c in by_identity(clips)] == ["test", "aside", "aside", "heldout", "aside", "train"]

"""Readers of data sets in their published layouts, and of plain folders of videos.

Each reader takes a folder that contains the named files at any depth, and records what it skips with file and line.
None opens a video.

=========  ==========================================================================  =====================
source     files expected                                                              identity
=========  ==========================================================================  =====================
folder     any videos                                                                  unknown
avspeech   ``avspeech_train.csv``, ``avspeech_test.csv``; ``ID_START_END.mp4``, ``ID.mp4``   YouTube id
hdtf       ``{RD,WDA,WRA}_annotion_time.txt``; ``NAME.mp4``, ``NAME_i.mp4``, with or without   name without number
           ``RD_`` etc. before it
lrw        ``WORD/{train,val,test}/WORD_00001.mp4`` and ``.txt``                       unknown
lrs2       ``{train,val,test,pretrain}.txt``; ``{main,pretrain}/ID/CLIP.mp4``          programme
voxceleb2  ``{dev,test}/mp4/idXXXXX/YOUTUBE/00001.mp4``, ``.m4a`` under ``aac``            idXXXXX
=========  ==========================================================================  =====================
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qs, urlparse

from sidgan.data.listing import SUFFIXES, ClipSource, Listing, files_below, lines_of, rank
from sidgan.errors import InputError
from sidgan.portable import spelt

HDTF_TEST_CLIPS = 171  #: as many as in the paper, which does not say which ones
HDTF_TEST_SECONDS = 30.0  #: shortest test clip
SPLIT_NAMES = {"train": "train", "pretrain": "train", "dev": "train", "val": "heldout", "test": "test"}


def read_source(kind: str, root: Path) -> Listing:
    """The clips of the data set of this kind (a key of `SOURCES`) below ``root``, sorted by name.

    Raises:
        InputError: unknown kind, no such folder, or no clip in it.
    """
    if kind not in SOURCES:
        raise InputError(f"no source '{kind}'; known: {', '.join(SOURCES)}")
    return SOURCES[kind](root)


def folder(root: Path) -> Listing:
    """Any videos. A clip's name is its path below ``root`` without suffix, or with it where names would be equal."""
    files = files_below(root)
    paths = [p for p in files if p.suffix.lower() in SUFFIXES]
    if not paths:
        raise InputError(f"no videos ({', '.join(sorted(SUFFIXES))}) in {root}")
    listing = Listing(lines=len(paths))
    for path, name in zip(paths, unique_names(root, paths), strict=True):
        listing.add(ClipSource(path, name), path.relative_to(root).as_posix())
    return listing


def unique_names(root: Path, paths: list[Path]) -> list[str]:
    """Names of files below ``root``, see `folder`.

    Bytes that are not valid UTF-8, as old disks and archives contain them, are escaped: names become those of output
    files, and OpenCV crashes the process on a file name that is not valid text.
    """
    stems = [_text(p.relative_to(root).with_suffix("")) for p in paths]
    count = Counter(stems)
    return [s if count[s] == 1 else _text(p.relative_to(root)) for s, p in zip(stems, paths, strict=True)]


def _by_stem(listing: Listing, root: Path, files: list[Path]) -> dict[str, Path]:
    """Video files by name without suffix, in normalised Unicode; of equal names the first, and the rest are skipped."""
    videos: dict[str, Path] = {}
    for path in files:
        if path.suffix.lower() not in SUFFIXES:
            continue
        first = videos.setdefault(spelt(path.stem), path)
        if first != path:
            listing.skip(path.relative_to(root).as_posix(), f"{first.relative_to(root).as_posix()} has the same name",
                         "left out")  # fmt: skip
    return videos


def _text(path: Path) -> str:
    return spelt(path.as_posix().encode("utf-8", "backslashreplace").decode())


# ---------------------------------------------------------------------------------------------------------- AVSpeech

_CUT_NAME = re.compile(r"([\w-]{11})_(\d+(?:\.\d+)?)_(\d+(?:\.\d+)?)")
_YOUTUBE = re.compile(r"[\w-]{11}")


def avspeech(root: Path) -> Listing:
    """AVSpeech: CSV without header; YouTube id, start and end (s), x and y of the face at the start (0 to 1)."""
    files, listing = files_below(root), Listing()
    cut: dict[tuple[str, int, int], Path] = {}
    whole = _by_stem(listing, root, files)
    for stem, path in whole.items():
        if named := _CUT_NAME.fullmatch(stem):
            cut[named[1], _ms(named[2]), _ms(named[3])] = path
    for path in files:
        if path.name not in ("avspeech_train.csv", "avspeech_test.csv"):
            continue
        split = path.stem.removeprefix("avspeech_")
        for where, line in lines_of(path, root):
            listing.lines += 1
            _avspeech_row(listing, where, line, split, whole, cut)
    return listing.finish(root, "avspeech_train.csv or avspeech_test.csv, and videos named ID_START_END.mp4 or ID.mp4")


def _avspeech_row(
    listing: Listing, where: str, line: str, split: str, whole: dict[str, Path],
    cut: dict[tuple[str, int, int], Path],
) -> None:  # fmt: skip
    cells = [cell.strip().strip('"') for cell in line.split(",")]
    try:
        key, (start, end, x, y) = cells[0], (float(cell) for cell in cells[1:])
    except ValueError:
        listing.skip(where, f"expected an id and four numbers, not '{line[:60]}'", "bad")
        return
    if not (_YOUTUBE.fullmatch(key) and 0 <= start < end < 1e6 and 0 <= x <= 1 and 0 <= y <= 1):
        listing.skip(where, f"not an id, a span and a point within the picture: '{line[:60]}'", "bad")
        return
    clip = ClipSource(
        Path(), f"{key}/{start:.2f}-{end:.2f}", identity=key, point=(x, y), split=split,
    )  # fmt: skip
    path = cut.get((key, _ms(cells[1]), _ms(cells[2])))
    if path is not None:
        listing.add(replace(clip, path=path), where)
    elif key in whole:
        listing.add(replace(clip, path=whole[key], start=start, end=end), where)
    else:
        listing.skip(where, f"no {key}_{cells[1]}_{cells[2]}.mp4 and no {key}.mp4", "missing")


def _ms(seconds: str) -> int:
    return round(1000 * float(seconds))


# -------------------------------------------------------------------------------------------------------------- HDTF

_RANGE = re.compile(r"(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)-(?:(\d+):)?(\d+):(\d\d(?:\.\d+)?)")


def hdtf(root: Path) -> Listing:
    """HDTF: lines ``NAME.mp4 MM:SS-MM:SS [MM:SS-MM:SS ...]``; span i is clip i. Crop and resolution lists are not used.

    The paper's 171 test clips were not published. `hdtf_test` chooses as many of at least 30 s; other clips of the same
    people are used neither for training nor for testing, see `sidgan.data.splits.by_identity`.
    """
    files = files_below(root)
    listing, seconds, annotated = Listing(), dict[str, float](), list[tuple[ClipSource, str]]()
    videos = _by_stem(listing, root, files)
    for path in files:
        named = re.fullmatch(r"(RD|WDA|WRA)_annota?t?ion_time\.txt", path.name)
        if named is None:
            continue
        ids = _hdtf_ids(path.with_name(f"{named[1]}_video_url.txt"), root)
        for where, line in lines_of(path, root):
            listing.lines += 1
            for clip in _hdtf_line(listing, where, line, named[1], videos, ids):
                seconds[clip.name] = (clip.end or 0) - clip.start
                annotated.append((clip, where))
    test = set(hdtf_test(seconds))
    for clip, where in annotated:
        cut = _hdtf_cut(clip.name, videos)
        if cut is None and clip.path == Path():
            listing.skip(where, f"no {clip.name.rpartition('/')[2]}.mp4 and no video it could be cut from", "missing")
            continue
        found = replace(clip, path=cut, start=0.0, end=None) if cut is not None else clip
        listing.add(replace(found, split="test" if clip.name in test else "train"), where)
    return listing.finish(root, "RD_annotion_time.txt (or WDA, WRA), and videos named as in it")


def hdtf_test(seconds: dict[str, float]) -> list[str]:
    """Sorted names of up to 171 test clips of at least 30 s, chosen by `rank` from the lengths in s by name.

    The choice depends only on the published lists, not on which videos could be downloaded.
    """
    long = [name for name, length in seconds.items() if length >= HDTF_TEST_SECONDS]
    return sorted(sorted(long, key=rank)[:HDTF_TEST_CLIPS])


def _hdtf_ids(path: Path, root: Path) -> dict[str, str]:
    """YouTube ids by video name: some copies of the data set name the videos by id."""
    ids = {}
    for _, line in lines_of(path, root) if path.is_file() else ():
        name, _, url = line.partition(" ")
        parsed = urlparse(url.strip())
        ids[name.removesuffix(".mp4")] = parse_qs(parsed.query).get("v", [parsed.path.rpartition("/")[2]])[0]
    return ids


def _hdtf_line(
    listing: Listing, where: str, line: str, part: str, videos: dict[str, Path], ids: dict[str, str]
) -> list[ClipSource]:
    """The clips of one line; their path is the whole video, or empty if it is missing."""
    name, *spans = line.split()
    name = name.removesuffix(".mp4")
    person = name if part == "RD" else name.rstrip("0123456789")
    whole = next((videos[n] for n in (f"{part}_{name}", name, ids.get(name, "")) if n in videos), Path())
    clips = []
    for index, span in enumerate(spans):
        found = _RANGE.fullmatch(span)
        start, end = (_clock(found.groups()[i : i + 3]) for i in (0, 3)) if found else (0.0, 0.0)
        if start >= end:
            listing.skip(where, f"{name}: '{span}' is not a span MM:SS-MM:SS", "bad")
            continue
        clips.append(ClipSource(whole, f"{part}_{person}/{name}_{index}", identity=person, start=start, end=end))
    if not spans:
        listing.skip(where, f"'{line[:60]}' has no span", "bad")
    return clips


def _hdtf_cut(name: str, videos: dict[str, Path]) -> Path | None:
    """The file of a clip that was cut already, under any of the usual names, or ``None``."""
    group, _, clip = name.partition("/")
    part, (video, _, index) = group.partition("_")[0], clip.rpartition("_")
    names = (clip, f"{part}_{clip}", f"{video}_{int(index):03}", f"{part}_{video}_{int(index):03}")
    return next((videos[n] for n in names if n in videos), None)


def _clock(groups: tuple[str | None, ...]) -> float:
    hours, minutes, seconds = (float(g or 0) for g in groups)
    return 3600 * hours + 60 * minutes + seconds


# ------------------------------------------------------------------------------------------------ LRW, LRS2, VoxCeleb2


def lrw(root: Path) -> Listing:
    """LRW: clips of 1.16 s (29 frames) with a word in the middle, whose duration is in the ``.txt`` beside each."""
    listing = Listing()
    for path in files_below(root):
        found = re.search(r"/([^/]+)/(train|val|test)/(\1_\d+)\.mp4$", path.as_posix())
        if found is None:
            continue
        listing.lines += 1
        where = path.relative_to(root).with_suffix(".txt").as_posix()
        try:
            length = _lrw_duration(path.with_suffix(".txt"))
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            listing.skip(where, f"no length of the word ({reason})", "bad")
            continue
        middle = 29 / 25 / 2
        name = f"{found[1]}/{found[2]}/{found[3]}"
        word = (round(middle - length / 2, 3), round(middle + length / 2, 3))
        listing.add(ClipSource(path, name, split=SPLIT_NAMES[found[2]], word=word), where)
    return listing.finish(root, "lipreading_mp4/WORD/{train,val,test}/WORD_00001.mp4 with a .txt beside each")


def _lrw_duration(path: Path) -> float:
    """Seconds from the line ``Duration: 0.53 seconds``, anywhere in the file."""
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        key, _, value = line.partition(":")
        if key.strip().lower() == "duration" and value.split():
            length = float(value.split()[0])
            if 0 < length <= 29 / 25:
                return length
            raise ValueError(f"Duration: {value.strip()}")
    raise ValueError("no line 'Duration: ... seconds'")


def lrs2(root: Path) -> Listing:
    """LRS2: lists of one ``id/clip`` per line; a second word (NF, MV) marks clips that the authors leave out."""
    files = files_below(root)
    videos: dict[tuple[str, str], Path] = {}
    for path in files:
        found = re.search(r"/(main|pretrain)/([^/]+/[^/]+)\.mp4$", path.as_posix())
        if found:
            videos[found[1], spelt(found[2])] = path
    listing = Listing()
    for path in files:
        if path.name not in ("train.txt", "val.txt", "test.txt", "pretrain.txt"):
            continue
        part = "pretrain" if path.stem == "pretrain" else "main"
        for where, line in lines_of(path, root):
            listing.lines += 1
            _lrs2_line(listing, where, line, part, SPLIT_NAMES[path.stem], videos)
    return listing.finish(root, "train.txt, val.txt, test.txt or pretrain.txt, and {main,pretrain}/ID/CLIP.mp4")


def _lrs2_line(
    listing: Listing, where: str, line: str, part: str, split: str, videos: dict[tuple[str, str], Path]
) -> None:
    key, *mark = line.split()
    if not re.fullmatch(r"[^/]+/[^/]+", key):
        listing.skip(where, f"expected id/clip, not '{line[:60]}'", "bad")
    elif mark:
        listing.skip(where, f"{key} is marked {' '.join(mark)}", "left out")
    elif (part, key) not in videos:
        listing.skip(where, f"no {part}/{key}.mp4", "missing")
    else:
        listing.add(ClipSource(videos[part, key], f"{part}/{key}", key.partition("/")[0], split=split), where)


def voxceleb2(root: Path) -> Listing:
    """VoxCeleb2: face crops of 224 px by person; the sound is in the video, or in a file below ``aac``."""
    listing = Listing()
    for path in files_below(root):
        found = re.search(r"/(dev|test)/mp4/(id\d+)/([^/]+)/([^/]+)\.mp4$", path.as_posix())
        if found is None:
            continue
        listing.lines += 1
        sound = path.parents[3] / "aac" / found[2] / found[3] / f"{found[4]}.m4a"
        clip = ClipSource(path, f"{found[2]}/{found[3]}/{found[4]}", found[2], split=SPLIT_NAMES[found[1]])
        listing.add(replace(clip, audio=sound if sound.is_file() else None), path.relative_to(root).as_posix())
    return listing.finish(root, "{dev,test}/mp4/idXXXXX/YOUTUBE/00001.mp4")


SOURCES: dict[str, Callable[[Path], Listing]] = {
    "folder": folder, "avspeech": avspeech, "hdtf": hdtf, "lrw": lrw, "lrs2": lrs2, "voxceleb2": voxceleb2,
}  # fmt: skip

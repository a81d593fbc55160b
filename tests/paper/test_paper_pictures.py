"""Figures that show faces: the same moments in every column, measured as they are, on people who do not exist."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import cv2
import numpy as np
import pytest
from marked import sidgan

from sidgan import media
from sidgan.errors import ConfigError, InputError
from sidgan.paper import extremes, people, side_by_side, voices
from sidgan.paper.filmed import SIZE, crops, follow, likeness, mouth_of
from sidgan.paper.sheet import Cell, Sheet, draw_sheet
from sidgan.synth import LINES, Person, Scene

SIDE, SECONDS = 192, 1.0


def film(path: Path, person: int, line: str = "hello", seconds: float = SECONDS) -> list[np.ndarray]:
    scene = Scene(Person(person), LINES[line], seconds=seconds, size=(SIDE, SIDE), motion=0.3)
    images = [shot.image for shot in scene]
    path.parent.mkdir(parents=True, exist_ok=True)
    media.write_clip(path, images, Fraction(25), scene.audio(16_000), crf=6)
    return images


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A true video, a copy, one with a blurred mouth, and what cannot be compared with it."""
    root = tmp_path_factory.mktemp("films")
    images = film(root / "truth" / "one.mp4", 3)
    for name, change in (
        ("soft", lambda image: cv2.GaussianBlur(image, (0, 0), 4)), ("small", lambda image: image[::2, ::2].copy()),
    ):  # fmt: skip
        (root / name).mkdir()
        media.write_clip(root / name / "one.mp4", [change(image) for image in images], Fraction(25), crf=6)
    for name, some, rate in (("brief", images[:9], 25), ("fast", images, 30)):
        (root / name).mkdir()
        media.write_clip(root / name / "one.mp4", some, Fraction(rate), crf=6)
    shutil.copytree(root / "truth", root / "copy")
    (root / "empty").mkdir()
    film(root / "other" / "two.mp4", 3, seconds=0.4)
    return root


def test_moments_show_open_and_closed_mouths_by_turns(films: Path) -> None:
    filmed = follow(films / "truth" / "one.mp4")
    frames = filmed.moments(2)
    assert frames == sorted(frames)
    wide, close = filmed.opening[np.array(frames) - filmed.track.first]
    assert wide > close + 0.05
    assert len(set(filmed.moments(4))) == 4
    media.write_clip(films / "blank.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 8, Fraction(25))
    with pytest.raises(InputError, match="shows no face"):
        follow(films / "blank.mp4")


def test_the_true_video_says_where_all_are_cut(films: Path) -> None:
    filmed = follow(films / "truth" / "one.mp4")
    frames = filmed.moments(2)
    truth = crops(films / "truth" / "one.mp4", filmed, frames)
    assert truth[0].shape == (SIZE, SIZE, 3)
    assert np.array_equal(truth, crops(films / "copy" / "one.mp4", filmed, frames))
    soft = crops(films / "soft" / "one.mp4", filmed, frames)
    same, worse = (likeness(some[0], truth[0], filmed.landmarks(frames[0])) for some in (truth, soft))
    assert (same.psnr, same.lmd) == (100, 0)
    assert 15 < worse.psnr < 40
    assert worse.lmd > 0.3
    for name, why in (("small", "has 96x96 px, not 192x192"), ("fast", "30.00 fps, not 25.00"),
                      ("brief", "ends before frame")):  # fmt: skip
        with pytest.raises(InputError, match=why):
            crops(films / name / "one.mp4", filmed, frames)


def test_the_mouth_is_cut_about_the_lips() -> None:
    crop = np.zeros((SIZE, SIZE, 3), np.uint8)
    crop[352:358, 270:276] = 255
    landmarks = np.zeros((68, 2))
    landmarks[48:] = 273 / SIZE, 355 / SIZE
    mouth = mouth_of(crop, landmarks)
    assert mouth.shape == (SIZE // 2, SIZE, 3)
    y, x = (np.argwhere(mouth[..., 0] > 128).mean(0) / mouth.shape[:2]).tolist()
    assert (x, y) == (pytest.approx(0.5, abs=0.02), pytest.approx(0.5, abs=0.02))
    landmarks[48:] = 0.99, 0.99
    assert mouth_of(crop, landmarks).shape == (SIZE // 2, SIZE, 3), "at the edge, too"


def test_figure_5_by_command(films: Path, tmp_path: Path) -> None:
    code, said = sidgan("paper", "fig5", "--method", f"Copy={films / 'copy'}", "--method", f"Soft={films / 'soft'}",
                        "--truth", films / "truth", "--out", tmp_path)  # fmt: skip
    assert code == 0
    assert "Copy: mouth 100.0 dB, LMD 0.0 px, over 2 moments" in said
    picture = cv2.imread(str(tmp_path / "fig5.png"))
    assert picture.shape[0] > 500
    values = json.loads((tmp_path / "fig5.json").read_text(encoding="utf-8"))
    assert values["methods"] == ["Copy", "Soft"]
    assert not values["drawn_people"]
    assert [m["clip"] for m in values["moments"]] == ["one", "one"]
    assert all(m["methods"]["Soft"]["mouth_psnr"] < 40 for m in values["moments"])


def test_what_cannot_be_put_side_by_side_is_named(films: Path) -> None:
    truth = films / "truth"
    with pytest.raises(InputError, match=r"Other: .* has no video named one"):
        side_by_side.compare([("Other", str(films / "other"))], truth)
    with pytest.raises(ConfigError, match="Copy has finished videos: give --truth"):
        side_by_side.compare([("Copy", str(films / "copy"))], None)
    with pytest.raises(ConfigError, match="a name of its own"):
        side_by_side.compare([("A", str(films / "copy")), ("A", str(films / "soft"))], truth)
    with pytest.raises(InputError, match="there is nothing at"):
        side_by_side.compare([("A", str(films / "nowhere"))], truth)


class Pretender:
    """A dubber whose results were filmed beforehand: by name of the video, or a copy of it."""

    ready: ClassVar[dict[str, Path]] = {}
    passed: ClassVar[tuple[tuple[int, int, str], ...]] = ()

    def __init__(self, *_: object, **__: object) -> None:
        pass

    def dub(self, video: Path, voice: Path, out: Path) -> Any:
        shutil.copy(self.ready.get(Path(video).stem, video), out)
        left = sum(last - first + 1 for first, last, _ in self.passed)
        return SimpleNamespace(frames=25, dubbed=25 - left, passed=self.passed)


def test_figure_1_tells_lips_that_move_alike(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidgan.dubbing.Dubber", Pretender)
    film(tmp_path / "a.mp4", 3, "vowels")
    film(tmp_path / "b.mp4", 5, "morning")
    film(tmp_path / "b-hello.mp4", 5, "hello")
    monkeypatch.setattr(Pretender, "ready", {"a": films / "truth" / "one.mp4", "b": tmp_path / "b-hello.mp4"})
    pair = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    found = voices.one_voice(pair, films / "truth" / "one.mp4")
    assert found.together > 0.8, "two people, one line"
    assert found.together > found.before + 0.2, "as filmed they say two lines"
    assert abs(found.lag) <= 1
    assert len(found.loudness) == len(found.speakers[0].dubbed) >= 20
    assert found.loudness.max() > found.loudness.min() + 20
    voices.draw_one_voice(found, tmp_path / "fig1.png")
    assert (tmp_path / "fig1.png").stat().st_size > 50_000
    values = json.loads(json.dumps(found.to_dict()))
    assert values["correlation"] == found.together
    assert sidgan("paper", "fig1", tmp_path / "a.mp4", "--out", tmp_path)[0] == 2


def test_figure_6_shows_what_was_left_and_why(
    films: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sidgan.dubbing.Dubber", Pretender)
    monkeypatch.setattr(Pretender, "passed", ((10, 14, "covered"),))
    monkeypatch.setattr(extremes, "LABELS", {"beard": "beard", "low": "low resolution"})
    videos = dict.fromkeys(extremes.LABELS, films / "truth" / "one.mp4")
    cases = extremes.extremes(videos)
    assert [case.name for case in cases] == ["beard", "low"]
    case = cases[0]
    assert case.left.count("covered") >= 1
    assert (case.frames, case.dubbed) == (25, 20)
    assert any(0.4 <= time <= 0.56 for time, _, _ in case.shown), "one of them is shown"
    assert not case.invented
    sheet = extremes.as_sheet(cases)
    notes = [cell.note for cell in sheet.rows[0][1] if cell is not None]
    assert "as filmed: covered" in notes
    assert "redrawn" in notes
    draw_sheet(sheet, tmp_path / "fig6.png")
    assert (tmp_path / "fig6.png").stat().st_size > 50_000
    assert json.loads(json.dumps(case.to_dict()))["passed"] == [[10, 14, "covered"]]
    with pytest.raises(ConfigError, match="there is no case night; cases are"):
        extremes.extremes({"night": films / "truth" / "one.mp4"})


def test_drawn_people_are_what_they_stand_for(tmp_path: Path) -> None:
    assert people.CASES.keys() == extremes.LABELS.keys()
    assert people.CASES["beard"].person.beard == 1
    picture = np.full((120, 120, 3), 50, np.uint8)
    changed = [int((people.hand(picture, share) != picture).any(2).sum()) for share in (0.0, 0.4, 0.5, 1.0)]
    assert changed[0] == changed[3] == 0
    assert changed[2] > changed[1] > 200, "a hand comes and goes"
    how = replace(people.CASES["side"], size=192, head=135, turned=25.0)
    people.film(how, tmp_path / "side.mp4", 0.8)
    clip = media.probe(tmp_path / "side.mp4")
    assert clip.audio_rate == 16_000
    assert abs(float(np.median(follow(tmp_path / "side.mp4").track.pose[:, 0]))) > 10


def test_a_sheet_may_have_gaps_and_many_columns(tmp_path: Path) -> None:
    picture = np.full((60, 40, 3), 128, np.uint8)
    rows = [("first", [Cell(picture, "a note")] * 5), ("second", [Cell(picture), None, Cell(picture)])]
    draw_sheet(Sheet("title", "of what", "abcde", rows, "how to read it", ("a",), "careful"), tmp_path / "s.png")
    drawn = cv2.imread(str(tmp_path / "s.png"))
    assert drawn.shape[1] > drawn.shape[0]
    assert (np.abs(drawn.astype(int) - 128).max(2) < 3).sum() > 8 * 10_000

"""How a redrawn mouth looks: each figure rises where a picture is broken on purpose, and what mends it does mend it."""

from __future__ import annotations

import base64
import dataclasses
import json
import re
from collections import Counter
from collections.abc import Callable
from fractions import Fraction
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from marked import sidgan
from typer.testing import CliRunner

from sidgan import dubbing, geometry, media, provenance
from sidgan.blend import mouth_alpha, polygon
from sidgan.blend.detail import brightness, detailed, fine, mean_size
from sidgan.blend.steady import LOOK_BACK, Steady
from sidgan.cli import app
from sidgan.dubbing.review.looks import Looks, Sample, around, doubt, figures, stretches
from sidgan.dubbing.silence import PAUSED
from sidgan.errors import ConfigError, OutputError
from sidgan.faces import smooth
from sidgan.geometry import OUTER_LIPS
from sidgan.jobs import Job
from sidgan.nn import Generator
from sidgan.people import TrackedFace
from sidgan.synth import LINES, Scene
from sidgan.synth import Person as Drawn
from sidgan.timeline import Timeline
from sidgan.types import Byte, Float, Frame

SIZE, FRAMES = 192, 8


@dataclasses.dataclass
class Film:
    """A drawn person: frames, crops (N, S, S, 3) and the track."""

    frames: list[Frame]
    crops: Byte
    person: TrackedFace

    def lips(self, i: int) -> tuple[Float, Float]:
        return self.person.points[i, OUTER_LIPS], self.person.points[i, OUTER_LIPS]

    def alpha(self, i: int) -> Float:
        points = self.person.points[i]
        return mouth_alpha(SIZE, self.person.boxes[i], points, points)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Film:
    path = tmp_path_factory.mktemp("film") / "film.mp4"
    shots = list(Scene(Drawn(5), LINES["hello"], seconds=FRAMES / 25 + 0.001, size=(288, 288)))
    media.write_clip(path, [shot.image for shot in shots], Fraction(25), crf=4)
    frames = list(media.read_frames(media.probe(path)))
    person = TrackedFace(smooth(0, np.stack([shot.landmarks for shot in shots]), np.ones(FRAMES, np.float32)))
    crops = [geometry.crop_face(f, m, SIZE).image for f, m in zip(frames, person.track.matrices, strict=True)]
    return Film(frames, np.stack(crops), person)


def look(film: Film, spoil: Callable[[int, Float], Float], edge: Callable[[Float], Float] = lambda a: a) -> Sample:
    """The means of the figures for a dub that is the source, spoilt."""
    looks, found = Looks(), []
    for i, frame in enumerate(film.frames):
        luma = geometry.crop_luma(frame, film.person.track.matrices[i], SIZE)
        drawn = spoil(i, film.crops[i].astype(np.float32)).astype(np.float32)
        points = film.person.points[i]
        at = Fraction(i, 25)
        found.append(looks(frame, at, film.person, i, film.crops[i], luma, drawn, edge(film.alpha(i)), points))
    means = figures([sample for sample in found if sample is not None])
    assert sum(sample is not None for sample in found) == 6  # of 8 frames
    return Sample(0, 0.0, 0.0, (0, 0, 0), *(means[name] for name in ("seam", "jitter", "sharpness")))


def noise(i: int, size: float, shape: tuple[int, ...]) -> Float:
    return np.random.default_rng(i).normal(0, size, shape).astype(np.float32)


def test_a_perfect_copy_has_no_seam_no_jitter_and_the_sharpness_of_its_source(film: Film) -> None:
    perfect = look(film, lambda i, face: face)
    assert perfect.seam == 0
    assert perfect.jitter == 0
    assert perfect.sharpness == pytest.approx(1, abs=0.03)  # luma is compared with rounded colours
    assert doubt(perfect._asdict()) < 0.1


def test_seams_show_in_another_tone_and_more_so_behind_a_hard_edge(film: Film) -> None:
    tone = look(film, lambda i, face: face + 12)
    box = look(film, lambda i, face: face + 12, lambda alpha: (alpha > 0).astype(np.float32))
    assert tone.seam > 2
    assert box.seam > 2 * tone.seam
    assert box.seam == pytest.approx(12, abs=4)
    assert max(tone.jitter, box.jitter) < 0.5  # it stands still
    assert doubt(box._asdict()) > 1


def test_lips_that_move_are_no_seam(film: Film) -> None:
    def silent(i: int, face: Float) -> Float:
        return np.asarray(np.where(polygon(SIZE, film.lips(i)[0])[..., None], 0, face), np.float32)

    through = look(film, silent, lambda alpha: alpha * (np.arange(SIZE) < SIZE // 2))  # the edge goes through the mouth
    assert through.seam < 0.1
    assert look(film, lambda i, face: face + 12, lambda alpha: alpha * (np.arange(SIZE) < SIZE // 2)).seam > 2


def test_jitter_shows_in_flicker_and_in_trembling(film: Film) -> None:
    flicker = look(film, lambda i, face: face + noise(i, 4, (1, 1, 1)))
    tremble = look(film, lambda i, face: np.roll(face, (i % 2, -(i % 3)), (0, 1)))
    slow = look(film, lambda i, face: face + i)
    assert flicker.jitter > 1
    assert tremble.jitter > 0.5
    assert slow.jitter < 0.3
    assert min(doubt(flicker._asdict()), doubt(tremble._asdict())) > 1


def test_sharpness_falls_with_blur_and_rises_with_grain(film: Film) -> None:
    blur = look(film, lambda i, face: cv2.GaussianBlur(face, (0, 0), 2))
    grain = look(film, lambda i, face: face + noise(i, 4, face.shape[:2])[..., None])
    assert blur.sharpness < 0.5
    assert grain.sharpness > 1.5
    assert doubt(grain._asdict()) > 1


# --------------------------------------------------------------------------------------------------------------- detail


def test_soft_skin_gets_the_detail_of_its_source_and_no_more(film: Film) -> None:
    matrix = film.person.track.matrices[3]
    sharp = geometry.crop_luma(film.frames[3], matrix, SIZE) + noise(0, 3, (SIZE, SIZE))  # grain
    mouths = around(film.lips(3), SIZE)
    skin = film.alpha(3) * ~mouths
    where = skin > 0.5
    drawn = cv2.GaussianBlur(film.crops[3].astype(np.float32), (0, 0), 2)

    def size(grey: Float) -> float:
        return mean_size(fine(grey), where)

    mended = detailed(sharp, drawn, skin)
    assert size(brightness(drawn)) < 0.4 * size(sharp)
    assert 0.8 * size(sharp) < size(brightness(mended)) < 1.02 * size(sharp)
    assert np.array_equal(mended[mouths], drawn[mouths])
    assert np.array_equal(mended[film.alpha(3) == 0], drawn[film.alpha(3) == 0])
    soft = cv2.GaussianBlur(sharp, (0, 0), 4)  # filmed soft: stays soft
    assert size(brightness(detailed(soft, drawn, skin))) < 1.02 * max(size(soft), size(brightness(drawn)))
    assert np.abs(detailed(soft, drawn, skin) - drawn).max() < 1


def test_an_edge_of_the_source_that_the_dub_does_not_have_leaves_no_line(film: Film) -> None:
    luma = np.full((SIZE, SIZE), 120, np.float32) + noise(1, 1, (SIZE, SIZE))
    luma[:, SIZE // 2 :] += 100
    drawn = np.full((SIZE, SIZE, 3), 120, np.float32)
    mended = detailed(luma, drawn, np.ones((SIZE, SIZE), np.float32))
    assert np.abs(fine(luma)).max() > 25
    assert np.abs(mended - drawn).max() < 5


# --------------------------------------------------------------------------------------------------------------- steady


def test_steadiness_takes_flicker_away_and_leaves_lips_and_still_pictures_alone(film: Film) -> None:
    def run(strength: float, spoil: Callable[[int, Float], Float]) -> list[Float]:
        steady = Steady(strength)
        return [
            steady(film.person, i, crop, spoil(i, crop.astype(np.float32)), film.lips(i))
            for i, crop in enumerate(film.crops)
        ]

    def flicker(i: int, face: Float) -> Float:
        return face + noise(i, 4, (1, 1, 1))

    made = {strength: run(strength, flicker) for strength in (0.0, 0.5, 1.0)}
    jitter = {s: look(film, lambda i, face, faces=faces: faces[i]).jitter for s, faces in made.items()}
    assert jitter[0.5] < 0.75 * jitter[0]
    assert jitter[1.0] < 0.6 * jitter[0]
    for i, (calm, drawn) in enumerate(zip(made[1.0], made[0.0], strict=True)):
        lips = polygon(SIZE, film.lips(i)[0])
        assert np.array_equal(calm[lips], drawn[lips])
        assert np.array_equal(drawn, flicker(i, film.crops[i].astype(np.float32)))
    for face, crop in zip(run(1.0, lambda i, face: face + 9), film.crops, strict=True):
        assert np.abs(face - crop - 9).max() < 0.2  # near lips, which move, less is known


def test_what_is_long_ago_makes_no_difference_to_a_bit(film: Film) -> None:
    crop = film.crops[0]

    def last(first: int) -> Float:
        steady = Steady(0.9)
        for place in range(first, 20):
            made = steady(film.person, place, crop, crop + noise(place, 5, (1, 1, 3)), film.lips(0))
        return made

    assert np.array_equal(last(0), last(20 - LOOK_BACK))
    assert not np.array_equal(last(0), last(21 - LOOK_BACK))


# ----------------------------------------------------------------------------------------------- stretches and the page


def test_each_redrawn_stretch_is_told_with_its_worst_moment() -> None:
    times = [Fraction(i, 25) for i in range(20)]
    timeline = Timeline(times, Fraction(20, 25), Fraction(1), "cut")
    nan = float("nan")
    samples = [Sample(i, i / 25, i / 25, (i, 0, 100), 1.0, nan, 1.0) for i in (0, 5, 10, 15)]
    samples[1] = samples[1]._replace(seam=9.0)
    samples[3] = samples[3]._replace(sharpness=0.2)
    first, second = stretches(samples, timeline, [(8, 9, "no face"), (18, 19, "voice is over")])
    assert (first.first, first.last, first.start, first.end, first.dubbed) == (0, 7, 0.0, 0.32, 8)
    assert (second.first, second.last, second.dubbed) == (10, 17, 8)
    assert (first.seam, first.jitter, first.at, first.face) == (5.0, None, 0.2, (5, 0, 100))
    assert (second.sharpness, second.at) == (0.6, 0.6)
    assert figures([]) == {"seam": None, "jitter": None, "sharpness": None}
    pauses = [(0, 1, PAUSED), (6, 7, PAUSED), (11, 12, PAUSED)]
    one, other = stretches(samples, timeline, [*pauses, (14, 14, "no face"), (19, 19, PAUSED)])
    assert (one.first, one.last, one.dubbed, one.at) == (2, 13, 8, 0.2)
    assert (other.first, other.last, other.dubbed, other.at) == (15, 18, 4, 0.6)
    assert list(stretches([], timeline, [(0, 19, PAUSED)])) == []
    shots = [(one.first, one.last, one.seam) for one in stretches(samples, timeline, [(8, 9, "no face")], cuts=(5, 9))]
    assert shots == [(0, 4, 1.0), (5, 7, 9.0), (10, 19, 1.0)], "each shot has figures of its own"


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory, generator: Generator) -> tuple[Path, dubbing.DubReport]:
    """film <b>.mp4 and voice.wav, dubbed to out & "about".mp4."""
    folder = tmp_path_factory.mktemp("job")
    scene = Scene(Drawn(3), LINES["hello"], seconds=10 / 25 + 0.001, size=(208, 208))
    room = np.full((208, 208, 3), 235, np.uint8)
    media.write_clip(folder / "film <b>.mp4", [shot.image for shot in scene] + [room] * 3, Fraction(25), crf=8)
    media.write_wav(folder / "voice.wav", scene.audio(16_000), 16_000)
    return folder, dubbing.dub(
        folder / "film <b>.mp4", folder / "voice.wav", folder / 'out & "about".mp4', generator=generator, device="cpu"
    )  # fmt: skip


def test_the_report_holds_the_figures(job: tuple[Path, dubbing.DubReport]) -> None:
    told = json.loads(json.dumps(job[1].to_dict()))
    (stretch,) = told["looks"]
    assert (stretch["first"], stretch["last"], stretch["dubbed"]) == (0, 9, 10)
    for name in ("seam", "jitter", "sharpness"):
        assert stretch[name] == told[name]
    assert told["seam"] > 0.5  # random weights
    left, top, side = stretch["face"]
    assert 0 < side < 208
    assert -side < left < 208
    assert -side < top < 208


class Structure(HTMLParser):
    """Counts what is open, and keeps text and pictures."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.open: Counter[str] = Counter()
        self.text, self.pictures, self.titles, self.said = "", list[bytes](), list[str](), list[str]()
        self.feed(page.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            kind, _, data = (given["src"] or "").partition(",")
            assert kind == "data:image/jpeg;base64"
            self.pictures.append(base64.b64decode(data))
        elif tag != "meta":
            self.open[tag] += 1
        self.titles += [given["title"] or ""] if "title" in given else []
        self.said += [given["aria-label"] or ""] if given.get("role") == "img" else []
        assert tag != "th" or given.get("scope") in ("col", "row"), "of what it is the head, a screen reader cannot see"

    def handle_endtag(self, tag: str) -> None:
        self.open[tag] -= 1

    def handle_data(self, data: str) -> None:
        self.text += data


def test_a_page_tells_it_all_in_one_file(job: tuple[Path, dubbing.DubReport], tmp_path: Path) -> None:
    folder, report = job
    page = tmp_path / "page.html"
    names = [folder / "film <b>.mp4", {"voice": folder / "voice.wav"}, folder / 'out & "about".mp4']
    dubbing.write_page(report.to_dict(), *names, page)
    found = Structure(page)
    assert not +found.open
    assert not -found.open
    for name in ("film <b>.mp4", "voice.wav", 'out & "about".mp4'):
        assert name in found.text
    assert not re.search(r"https?://|<link|<script", page.read_text())
    for word in ("altered", "10 of 13 frames (77%)", "no face", "seam", "network", "SHA-256", "0.52 s"):
        assert word in found.text
    assert found.titles == ["frames 0-9: redrawn", "frames 10-12: no face"]
    assert found.said == ["10 of 13 frames are redrawn; the others are listed below"]
    before, after = (cv2.imdecode(np.frombuffer(p, np.uint8), cv2.IMREAD_COLOR).astype(int) for p in found.pictures)
    assert before.shape == after.shape == (224, 224, 3)
    assert np.abs(before[:90] - after[:90]).mean() < 4  # eyes
    assert np.abs(before[130:180, 70:150] - after[130:180, 70:150]).mean() > 8  # mouth


def test_pauses_hide_no_other_reason_of_a_page(job: tuple[Path, dubbing.DubReport], tmp_path: Path) -> None:
    folder, report = job
    passed = [(first, first, PAUSED) for first in range(0, 6, 2)] + [(10, 12, "no face")]
    page, voice = tmp_path / "page.html", {"voice": folder / "voice.wav"}
    for told in (passed, passed[:3]):
        given = report.to_dict() | {"passed": told, "looks": []}
        dubbing.write_page(given, folder / "film <b>.mp4", voice, folder / 'out & "about".mp4', page)
        text = Structure(page).text
        assert "In 3 pauses of the voice, the mouth stays as filmed." in text
        assert ("no face" in text) == (len(told) > 3)


def test_a_page_names_all_that_is_heard(
    job: tuple[Path, dubbing.DubReport], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, report = job
    video, out = folder / "film <b>.mp4", folder / 'out & "about".mp4'
    mark = provenance.read(out)
    assert mark is not None
    both = dataclasses.replace(mark, voice="1a" * 32, voices=("2b" * 32,))
    monkeypatch.setattr(provenance, "read", lambda file: both)
    wanted = Job(video, None, out, speakers={2: Path("ben.wav"), 1: Path("anna.wav")}, background="original")
    dubbing.write_page(report.to_dict(), video, wanted.heard, out, tmp_path / "page.html")
    text = Structure(tmp_path / "page.html").text
    for words in (f"voice of person 1anna.wav, SHA-256 {'1a' * 32}", f"voice of person 2ben.wav, SHA-256 {'2b' * 32}",
                  "backgroundthe video's own sound, without its speech"):  # fmt: skip
        assert words in text
    alone = Job(video, Path("mix.wav"), out, speakers={1: Path("anna.wav")}, background=Path("rest.wav")).heard
    assert alone == {"voice": Path("mix.wav"), "voice of person 1": Path("anna.wav"), "background": Path("rest.wav")}


def test_a_name_that_is_no_text_does_not_cost_a_page(
    job: tuple[Path, dubbing.DubReport], tmp_path: Path
) -> None:
    folder, report = job
    names = [folder / "film <b>.mp4", {"voice": folder / "voice.wav"}, folder / 'out & "about".mp4']
    old = {names[0]: "m\udcfcller.mp4"}  # what Python makes of a name in Latin-1
    dubbing.write_page(report.to_dict(), *names, tmp_path / "page.html", old)
    assert "m?ller.mp4" in (tmp_path / "page.html").read_text(encoding="utf-8")


def test_a_page_leaves_out_what_is_not_known(job: tuple[Path, dubbing.DubReport], tmp_path: Path) -> None:
    folder, report = job
    names = [folder / "film <b>.mp4", {"voice": folder / "voice.wav"}, folder / 'out & "about".mp4']
    dubbing.write_page({}, *names, tmp_path / "bare.html")
    bare = Structure(tmp_path / "bare.html")
    assert not bare.pictures
    assert "seam" not in bare.text
    assert "Time" not in bare.text
    (stretch,) = report.to_dict()["looks"]
    shown = report.to_dict() | {"looks": [stretch | {"jitter": None, "confidence": 0.25}]}
    dubbing.write_page(shown, *names, tmp_path / "more.html")
    more = Structure(tmp_path / "more.html")
    assert "confidence" in more.text
    assert "0.25" in more.text
    with pytest.raises(OutputError, match="nowhere"):
        dubbing.write_page({}, *names, tmp_path / "nowhere" / "page.html")


def test_the_command_line_refuses_before_it_works(
    job: tuple[Path, dubbing.DubReport], generator: Generator, tmp_path: Path
) -> None:
    folder, _ = job
    given = ["dub", str(folder / "film <b>.mp4"), str(folder / "voice.wav"), "-o", str(tmp_path / "out.mp4")]
    lost = CliRunner().invoke(app, [*given, "--report", str(tmp_path / "nowhere" / "page.html")])
    assert isinstance(lost.exception, OutputError)
    (tmp_path / "voice.wav").symlink_to(folder / "voice.wav")
    for options, told in (
        (["--strip", str(tmp_path / "look.jpg")], "look.jpg must end in .png"),
        (["--report", str(tmp_path / "page.pdf")], "page.pdf must end in .html"),
        (["--strip", given[1]], "one of the inputs"), (["--report", str(tmp_path / "voice.wav")], "one of the inputs"),
        (["--strip", given[4]], "written as well"), (["--strip", "a.png", "--report", "a.png"], "written as well"),
    ):  # fmt: skip
        code, said = sidgan(*given, *options)
        assert (code, told in said) == (2, True), said
    (tmp_path / "voice.wav").unlink()
    assert CliRunner().invoke(app, [*given, "--steady", "2"]).exit_code == 2
    with pytest.raises(ConfigError, match="steady"):
        dubbing.dub(Path(given[1]), Path(given[2]), tmp_path / "out.mp4", steady=2, generator=generator)
    assert not list(tmp_path.iterdir())

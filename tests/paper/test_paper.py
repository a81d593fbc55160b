"""Figures of the paper: real content in moved crops, the warp, and numbers on shapes whose answer is known."""

import json
import sys
from fractions import Fraction
from importlib import resources
from itertools import islice
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from sidgan import checkpoint, geometry, media
from sidgan.cli import app
from sidgan.config import SyncNetConfig
from sidgan.errors import CheckpointError, ConfigError, InputError, SidganError
from sidgan.nn import SyncNet
from sidgan.nn.vgg import LAYERS
from sidgan.paper import draw, judges, landscape, numbers, shifts, warp
from sidgan.paper.footage import MARGIN, SIZE, Source, Talk, Window, widened
from sidgan.paper.material import Material
from sidgan.types import Frame, PixelFormat, PlaneMap

DEMO = Path(str(resources.files("sidgan") / "assets" / "demo.mp4"))
WIDE = SIZE + 2 * MARGIN
SHIFTS = np.array(shifts.SHIFTS)


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """The first second and a half of the bundled clip."""
    path, rate = tmp_path_factory.mktemp("paper") / "short.mp4", 16_000
    pictures = (image for _, image in islice(media.read_rgb(DEMO), 38))
    return media.write_clip(path, pictures, Fraction(25), media.read_audio(DEMO, rate)[: 3 * rate // 2], rate) or path


@pytest.fixture
def thin_vgg(monkeypatch):
    """VGG19 with a sixteenth of its channels: the same shapes of maps, in no time."""
    monkeypatch.setattr("sidgan.nn.vgg.LAYERS", tuple(c // 16 for c in LAYERS))
    return checkpoint.load_vgg("random")


def expert(path, kind, face=128):
    torch.manual_seed(0)
    config = SyncNetConfig(kind=kind, face=face, width=2, audio_width=2, blocks=0.0)
    checkpoint.save(path, SyncNet(config), {})
    return str(path)


def texture(rows, columns, block=16):
    """A picture of random grey squares, uint8."""
    small = np.random.default_rng(0).uniform(0, 255, (rows // block + 1, columns // block + 1))
    return np.kron(small, np.ones((block, block)))[:rows, :columns].astype(np.uint8)


def grey_frame(luma):
    chroma = np.full_like(luma, 128)
    return Frame(0, Fraction(0), (luma, chroma, chroma), PixelFormat("yuv444p", 8, True, "bt601", PlaneMap()), None)


def face_points():
    """68 points in a wide crop: where the proportions of the mean face put them."""
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([288 + 190 * np.cos(angle), 260 + 200 * np.sin(angle)], 1)
    points[17:27] = np.stack([np.linspace(140, 436, 10), np.full(10, 130)], 1)
    points[27:31] = np.stack([np.full(4, 288), np.linspace(170, 270, 4)], 1)
    points[31:36] = np.stack([np.linspace(255, 321, 5), np.full(5, 292)], 1)
    for i, x in ((36, 190), (42, 386)):
        turn = np.linspace(np.pi, -np.pi, 6, endpoint=False)
        points[i : i + 6] = np.stack([x + 28 * np.cos(turn), 164 - 10 * np.sin(turn)], 1)
    for i, count, width, height in ((48, 12, 70, 28), (60, 8, 55, 10)):
        turn = np.linspace(np.pi, -np.pi, count, endpoint=False)
        points[i : i + count] = np.stack([288 + width * np.cos(turn), 352 - height * np.sin(turn)], 1)
    return points


# ---------------------------------------------------------------------------------------------------- moved crops


def test_a_moved_rectangle_shows_what_the_frame_has_there():
    luma = texture(700, 800)
    x, y = 130, 90  # of the first pixel of the face crop, which is 512 frame px wide
    unit = geometry.square_matrix(np.array([x - 0.5 + SIZE / 2, y - 0.5, SIZE], np.float32))
    wide = geometry.crop_face(grey_frame(luma), widened(unit), WIDE).image
    for k in (-32, -2, 0, 2, 32):
        view = shifts.moved(wide, k)
        assert np.array_equal(view[..., 0], luma[y : y + SIZE, x + k : x + k + SIZE])
        there = geometry.square_matrix(np.array([x + k - 0.5 + SIZE / 2, y - 0.5, SIZE], np.float32))
        assert np.array_equal(view, geometry.crop_face(grey_frame(luma), there, SIZE).image)


def test_a_moved_rectangle_of_another_size_is_the_crop_of_a_moved_face():
    luma = texture(480, 640)
    square, k = np.array([330.3, 81.7, 307.9], np.float32), 18
    wide = geometry.crop_face(grey_frame(luma), widened(geometry.square_matrix(square)), WIDE).image
    square[0] += k * square[2] / SIZE
    direct = geometry.crop_face(grey_frame(luma), geometry.square_matrix(square), SIZE).image
    difference = np.abs(shifts.moved(wide, k).astype(int) - direct)
    assert difference.mean() < 1, "the sampling grid is the same but for rounding"


def test_repeated_columns_are_counted():
    room = np.array([[40, 40], [40, 40], [40, 10], [-5, 40], [-5, -5]])
    window = Window(DEMO, 0.0, *(np.zeros(1),) * 2, room, *(np.zeros(1),) * 2)
    assert window.replicated([-32, -2, 0, 2, 32]).tolist() == pytest.approx([0.4, 0.4, 0.0, 0.2, 0.4])


def test_windows_do_not_overlap_and_wrong_sounds_are_from_elsewhere():
    talk = Talk(SimpleNamespace(), SimpleNamespace(), list(range(75)), Fraction(0), np.zeros((80, 1)), 0)
    picks = talk.choose(np.random.default_rng(0), 8)
    starts, elsewhere = np.array(picks).T
    assert len(picks) == 8
    assert (np.diff(starts) >= 5).all()
    assert (np.abs(elsewhere - starts - 2) >= 10).all()
    assert len(talk.choose(np.random.default_rng(0), 99)) == 15, "no more than there are"


def test_without_a_shift_nothing_is_lost(thin_vgg):
    wide = np.repeat(texture(WIDE, WIDE, 64)[..., None], 3, 2)
    l1, perceptual, contextual = judges.Reconstruction(thin_vgg, 128)(wide, wide, [0, 4, 16, 32])
    assert l1[0] == 0
    assert perceptual[0] == pytest.approx(0, abs=1e-5)
    assert contextual[0] == pytest.approx(0, abs=1e-4)
    assert (np.diff(l1) > 0).all()
    direct = np.abs(shifts.moved(wide, 16).astype(float) - shifts.moved(wide, 0)) / 255
    assert l1[2] <= direct.mean() + 1e-6, "pictures are averaged down before they are compared"


# ----------------------------------------------------------------------------------------------------------- warp


def dot(x, y):
    rows, columns = np.mgrid[0:WIDE, 0:WIDE]
    spot = 255 * np.exp(-((rows - y) ** 2 + (columns - x) ** 2) / (2 * 2.5**2))
    return np.repeat(spot[..., None], 3, 2).astype(np.uint8)


def brightest(image):
    row, column = np.unravel_index(image[..., 0].argmax(), image.shape[:2])
    return np.array([column, row])


def test_no_opening_is_no_change():
    image = np.repeat(texture(WIDE, WIDE)[..., None], 3, 2)
    assert np.array_equal(warp.open_mouth(image, face_points(), 0.0), image)
    assert np.abs(warp.displacement(face_points(), 0.0, WIDE)).max() == 0


@pytest.mark.parametrize("opening", [-1.0, 0.5, 1.0])
def test_lips_and_chin_move_and_the_rest_stays(opening):
    points = face_points()
    target = warp.moved_landmarks(points, opening)
    for index in (57, 51, 8):  # lower lip, upper lip, chin
        x, y = points[index]
        moved = brightest(warp.open_mouth(dot(x, y), points, opening))
        assert moved == pytest.approx(target[index], abs=1.5)
        assert np.sign(moved[1] - y) == np.sign(opening) * (-1 if index == 51 else 1)
    for index in (0, 3, 13, 19, 30, 33, 39, 45):  # jaw, brow, nose, eyes
        x, y = points[index]
        moved = brightest(warp.open_mouth(dot(x, y), points, opening))
        assert moved == pytest.approx(brightest(dot(x, y)), abs=0.5)
    still = np.delete(np.arange(68), np.r_[48:68, 6:11])
    assert np.array_equal(target[still], points[still])
    assert target[57, 1] - target[51, 1] == pytest.approx((points[57, 1] - points[51, 1]) * (1 + 0.6 * opening))


def test_the_displacement_is_that_of_the_landmarks():
    points = face_points()
    for opening in (-1.0, 1.0):
        field, moved = warp.displacement(points, opening, WIDE), warp.moved_landmarks(points, opening)
        at = field[np.round(moved[:, 1]).astype(int), np.round(moved[:, 0]).astype(int)]
        assert at == pytest.approx(points[:, 1] - moved[:, 1], abs=1.5)
        assert np.abs(field[[0, -1]]).max() < 1
        assert np.abs(field[:, [0, -1]]).max() < 1
        assert np.abs(field[:100]).max() == 0, "brows and what is above them"


# -------------------------------------------------------------------------------------------------------- numbers


def test_flatness_of_known_curves():
    assert numbers.flatness(np.full(len(SHIFTS), 0.7), SHIFTS) == 0
    tent = np.abs(SHIFTS).astype(float)
    assert numbers.flatness(tent, SHIFTS) == pytest.approx(16 / (2 * sum(range(2, 17, 2)) / 17))
    assert numbers.rise(tent, SHIFTS) == 0.5
    far = np.where(np.abs(SHIFTS) > 16, 9.0, 1.0)
    assert numbers.flatness(far, SHIFTS) == 0, "what happens beyond 16 px does not count"


def test_bootstrap_covers_the_mean_and_is_repeatable():
    values = np.random.default_rng(1).normal(5, 1, (100, 3))
    one = [0] * len(values)
    low, high = numbers.interval(numbers.resampled(values, one))
    assert (low < values.mean(0)).all()
    assert (values.mean(0) < high).all()
    assert high - low == pytest.approx(2 * 1.96 / 10, rel=0.25)
    assert np.array_equal(numbers.resampled(values, one), numbers.resampled(values, one))


def test_bootstrap_draws_videos_with_all_of_their_windows():
    """Ten videos of ten windows each that say the same: as if there were ten windows, not a hundred."""
    values = np.repeat(np.random.default_rng(1).normal(5, 1, 10), 10)
    low, high = numbers.interval(numbers.resampled(values, np.repeat(range(10), 10).tolist()))
    assert high - low == pytest.approx(2 * 1.96 * values.std() / np.sqrt(10), rel=0.1)
    few = numbers.resampled(np.eye(3), [4, 4, 7])
    assert np.allclose(few.sum(1), 1)
    assert {tuple(row) for row in few.round(3)} == {(0.5, 0.5, 0.0), (0.333, 0.333, 0.333), (0.0, 0.0, 1.0)}


def bowl(x, y):
    """A landscape with its minimum at (x, y): squared distance in halves of the axes."""
    k, s = np.array(landscape.SHIFTS, float), np.array(landscape.OPENINGS)
    return numbers.Surface.through(k, s, ((k - x) / 24)[None] ** 2 + (s - y)[:, None] ** 2)


def test_feasible_area_of_bowls():
    one = bowl(0, 0)  # range 2, so that low is a circle of squared radius 0.3 in a square of side 2
    assert numbers.area(numbers.feasible(one, one)) == pytest.approx(np.pi * 0.3 / 4, rel=0.05)
    assert numbers.area(numbers.feasible(bowl(-24, -1), bowl(24, 1))) == 0
    everywhere = np.ones((numbers.FINE, numbers.FINE), bool)
    assert numbers.area(everywhere) == pytest.approx(1)


def test_distance_and_compromise_of_bowls():
    first, second = bowl(-8, 0), bowl(8, 0.5)
    assert numbers.apart(first, second) == pytest.approx(
        {"shift": 16, "opening": 0.5, "distance": np.hypot(16 / 24, 0.5)}
    )
    assert numbers.apart(first, first)["distance"] == 0
    assert numbers.compromise(first, first).conflict == 0
    middle = numbers.compromise(bowl(-8, 0), bowl(8, 0))
    assert (middle.x, middle.y) == pytest.approx((0, 0), abs=0.5)
    highest = (32 / 24) ** 2 + 1
    assert middle.conflict == pytest.approx((8 / 24) ** 2 / highest, rel=0.1)


def test_surfaces_have_no_valleys_of_their_own():
    k, s = np.array(landscape.SHIFTS, float), np.array(landscape.OPENINGS)
    flat = np.maximum(np.abs(k)[None] - 8, 0) + 0 * s[:, None]
    surface = numbers.Surface.through(k, s, flat)
    assert surface.values.min() >= 0
    assert surface.values.max() <= flat.max() + 1e-9


def test_an_expert_that_hears_nothing_is_told_apart():
    rows = np.ones((4, len(SHIFTS)))
    rows[:, shifts.STILL] = 0.9
    listening = shifts.Curve("a", rows, range(4), wrong=np.full(4, 1.9))
    assert listening.sway == pytest.approx(0.1)
    deaf = shifts.Curve("b", rows, range(4), wrong=np.full(4, 0.9))
    assert deaf.to_dict()["sway"] is None
    assert listening.flatness == deaf.flatness


# ----------------------------------------------------------------------------------------------------- end to end


def test_curves_of_a_video_without_drawing(video, thin_vgg, tmp_path):
    cpu = torch.device("cpu")
    experts = [judges.Expert.load(expert(tmp_path / f"{k}{f}.safetensors", k, f), cpu)
               for k, f in (("aps", 128), ("vanilla", 96))]  # fmt: skip
    source = Source([video], 2, seed=3)
    told = []
    result = shifts.shift_curves(source, experts, judges.Reconstruction(thin_vgg, 128), lambda *p: told.append(p))
    values = json.loads(json.dumps(result.to_dict()))
    assert told == [(1, 2), (2, 2)]
    assert values["windows"] == 2
    assert "proves nothing" in values["caution"]
    assert values["vgg"] == "random weights, seed 0"
    assert [c["vgg"] for c in values["reconstruction"] if "vgg" in c] == ["random weights, seed 0"] * 2
    assert [c["name"] for c in values["sync"]] == ["APS-SyncNet (aps128.safetensors)",
                                                   "vanilla SyncNet (vanilla96.safetensors)"]  # fmt: skip
    l1 = values["reconstruction"][0]
    assert l1["mean"][shifts.STILL] == 0
    assert l1["relative"][-1] == 1
    assert l1["mean"][0] > 0.02, "the face is not flat, so moving it changes the picture"
    assert 0 <= values["replicated_mean"] < 0.05, "there is room around this face"
    first, second = (list(Source([video], 2, seed=s).windows()) for s in (3, 5))
    assert [w.time for w in first] != [w.time for w in second], "the seed chooses"


def test_both_verbs_on_the_bundled_clip(video, thin_vgg, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setattr(landscape, "SHIFTS", (-24, 0, 24))
    monkeypatch.setattr(landscape, "OPENINGS", (-1.0, 0.0, 1.0))
    weights = expert(tmp_path / "vanilla.safetensors", "vanilla")
    common = [str(video), "--against", weights, "--out", str(tmp_path / "out"), "--vgg", "random", "--size", "128",
              "--windows", "1", "--device", "cpu", "--json"]  # fmt: skip
    for verb in ("fig4", "fig2"):
        result = CliRunner().invoke(app, ["paper", verb, *common])
        assert result.exit_code == 0, result.output
        values = json.loads(result.stdout)
        assert values == json.loads((tmp_path / "out" / f"{verb}.json").read_text())
        assert "proves nothing" in values["caution"]
        assert (tmp_path / "out" / f"{verb}.png").read_bytes()[:4] == b"\x89PNG"
    assert [p["losses"][0]["name"] for p in values["panels"]] == ["L1", "contextual"]
    assert ["vanilla" in p["title"] for p in values["panels"]] == [True, False]
    at = values["panels"][0]["losses"][0]["minimum_at"]
    assert (at["shift"], at["opening"]) == pytest.approx((0, 0)), "the truth has no reconstruction loss"
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["fig2.json", "fig2.png", "fig4.json", "fig4.png"]


@pytest.mark.parametrize(("verb", "work", "told"), [
    ("fig4", "shifts.shift_curves", "about 7 min on this CPU (VGG19 at 256 px); --size 128 takes 1/4 of the time, "),
    ("fig2", "landscape.landscape", "about 23 min on this CPU"),
])  # fmt: skip
def test_long_work_is_told_before_it_begins(verb, work, told, video, thin_vgg, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")

    def begun(*_):
        raise InputError("begun")

    monkeypatch.setattr(f"sidgan.paper.{work}", begun)
    monkeypatch.setattr(judges.Reconstruction, "pace", lambda self: 3.0)
    how = ["--vgg", "random", "--size", "256", "--windows", "4", "--device", "cpu", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["paper", verb, str(video), *how])
    assert str(result.exception) == "begun"
    assert told in result.output
    monkeypatch.setattr(judges.Reconstruction, "pace", lambda self: 0.01)
    assert "min on" not in CliRunner().invoke(app, ["paper", verb, str(video), *how]).output


def test_the_caution_is_in_the_picture(thin_vgg, tmp_path, monkeypatch):
    figure = pytest.importorskip("matplotlib.figure").Figure
    texts = []
    write = figure.text
    monkeypatch.setattr(figure, "text", lambda self, x, y, s, **k: texts.append(s) or write(self, x, y, s, **k))
    curve = np.random.default_rng(0).uniform(0.1, 1, (2, len(SHIFTS)))
    curves = shifts.ShiftCurves(
        (shifts.Curve("APS-SyncNet (a)", curve, [0, 0], wrong=np.ones(2)),),
        tuple(shifts.Curve(name, curve, [0, 0]) for name in judges.RECONSTRUCTION),
        Material({"a.mp4": 2}, {}, 0, 128, thin_vgg.source, judges.CAUTION),
        np.zeros(len(SHIFTS)), (np.zeros((SIZE, SIZE, 3), np.uint8),) * 3,
    )  # fmt: skip
    draw.draw_shifts(curves, tmp_path / "a.png")
    assert judges.CAUTION in texts
    assert any("2 windows of 5 frames from 1 video" in text for text in texts)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("fig4", "there"), "there is not video or sound"),
        (("fig2", DEMO, "no.mp4"), "no.mp4: there is no such file"),
        (("fig1", DEMO, DEMO, "--voice", "no.wav"), "no.wav: there is no such file"),
        (("fig6", "--low", "no.mp4"), "no.mp4: there is no such file"),
        (("table1", "--published", "--method", "Ours=bundled"), "give --data SET=FOLDER"),
        (("table2", "--published", "--method", "Ours=bundled", "--data", "lrw=."), ". was not prepared"),
        (("fig7", "--published", "--method", "Ours=no.pt", "--data", "lrw=."), "there is nothing at no.pt"),
        (("ablation", "data", "--published"), "data holds no manifest"),
    ],
    ids=lambda value: value if isinstance(value, str) else value[0],
)  # fmt: skip
def test_inputs_are_looked_at_before_anything_is_fetched_or_drawn(arguments, says, monkeypatch, tmp_path):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there").write_text("no film")
    work = []
    for place in ("sidgan.downloads.fetch", "sidgan.dubbing.Dubber", "sidgan.paper.people.film"):
        monkeypatch.setattr(place, lambda *_, **__: work.append(1) or pytest.fail("too early"))
    result = CliRunner().invoke(app, ["paper", *map(str, arguments)])
    assert isinstance(result.exception, SidganError), result.output
    assert says in str(result.exception)
    assert not work


def test_missing_matplotlib_is_said_before_any_work(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = CliRunner().invoke(app, ["paper", "fig4", str(DEMO), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, SidganError)
    assert "pip install 'sidgan[paper]'" in str(result.exception)
    assert not (tmp_path / "out").exists()


def test_bad_input_is_explained(tmp_path):
    with pytest.raises(CheckpointError, match="no weights file"):
        checkpoint.load_vgg(str(tmp_path / "none.pth"))
    (tmp_path / "junk.pth").write_bytes(b"junk")
    with pytest.raises(CheckpointError, match="cannot be read"):
        checkpoint.load_vgg(str(tmp_path / "junk.pth"))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(CheckpointError, match="VGG19"):
        checkpoint.load_vgg(str(tmp_path / "other.pth"))
    with pytest.raises(InputError, match="there is no such file"):
        next(Source([tmp_path / "no.mp4"], 4).windows())
    media.write_clip(tmp_path / "mute.mp4", [np.full((96, 96, 3), 90, np.uint8)] * 12, Fraction(25))
    with pytest.raises(InputError, match=r"none of the videos can be used \(mute.mp4: no sound\)"):
        next(Source([tmp_path / "mute.mp4"], 4).windows())
    with pytest.raises(ConfigError, match="windows"):
        Source([DEMO], 0)
    with pytest.raises(ConfigError, match="size"):
        judges.Reconstruction(checkpoint.load_vgg("random"), 100)

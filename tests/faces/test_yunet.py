"""YuNet behind the detector's interface, with a stand-in for the network, whose file is a download."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from time import sleep

import cv2
import numpy as np
import pytest

from sidgan import faces, media
from sidgan.data.listing import ClipSource
from sidgan.data.packing import PrepareConfig, prepare_clip
from sidgan.data.prepare import prepare
from sidgan.errors import ConfigError, DownloadError
from sidgan.faces import box_of, overlap, yunet
from sidgan.settings import from_dict
from sidgan.synth import Person, Scene, random_line


def five(points: np.ndarray) -> np.ndarray:
    return np.stack([points[36:42].mean(0), points[42:48].mean(0), points[30], points[48], points[54]])


class Net:
    """Finds the faces it is told of, as the network would: in px of the picture it gets."""

    def __init__(self, frame: tuple[int, int], found: list[np.ndarray]) -> None:
        self.frame, self.faces, self.size, self.pictures = frame, found, (0, 0), []

    def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802  OpenCV's name
        self.size = size

    def detect(self, image: np.ndarray):
        assert image.shape == (self.size[1], self.size[0], 3)
        assert image.dtype == np.uint8
        self.pictures.append(image)
        scale = np.array(self.size) / self.frame
        rows = [np.concatenate([np.zeros(4), (five(f) * scale).ravel(), [0.9]]) for f in self.faces]
        return 1, np.array(rows, np.float32) if rows else None


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch):
    def make(net: Net) -> yunet.YuNet:
        monkeypatch.setattr(yunet, "fetch", lambda download: Path(download.file))
        monkeypatch.setattr(cv2.FaceDetectorYN, "create", lambda *_: net)
        return yunet.YuNet()

    return make


@pytest.fixture(scope="module")
def shots():
    scene = Scene(Person.random(3), random_line(np.random.default_rng(3), 0.8), size=(200, 200))
    return [(cv2.cvtColor(shot.image, cv2.COLOR_RGB2GRAY), shot.landmarks) for shot in scene]


@pytest.mark.parametrize("size", [200, 1600])
def test_landmarks_sit_where_they_should(detector, shots, size: int) -> None:
    grey, truth = shots[0]
    grey, truth = cv2.resize(grey, (size, size)), truth * (size / 200)
    net = Net((size, size), [truth])
    (face,) = detector(net).search(grey)
    assert max(net.pictures[0].shape) == min(size, yunet.LONG_SIDE)
    assert overlap(face.box, box_of(truth)) > 0.7
    assert np.linalg.norm(face.landmarks - truth, axis=1).mean() < 0.05 * (face.box[2] - face.box[0])
    assert face.score == pytest.approx(0.9)
    assert detector(Net((size, size), [])).search(grey) == []


def test_threads_do_not_disturb_each_other(detector) -> None:
    class Slow(Net):
        def setInputSize(self, size: tuple[int, int]) -> None:  # noqa: N802
            super().setInputSize(size)
            sleep(0.002)

    shared = detector(Slow((200, 200), []))
    with ThreadPoolExecutor(4) as threads:
        assert not any(threads.map(lambda side: shared.search(np.zeros((side, side), np.uint8)), range(100, 120)))


@pytest.mark.parametrize("degrees", [0, 20])
def test_the_box_moves_and_grows_with_the_points(shots, degrees: int) -> None:
    points = five(shots[0][1])
    x0, y0, x1, y1 = yunet.box_of_five(points)
    expected = [3 * x0 + 10, 3 * y0 - 5, 3 * x1 + 10, 3 * y1 - 5]
    np.testing.assert_allclose(yunet.box_of_five(3 * points + [10, -5]), expected)
    turn, middle = np.exp(1j * np.radians(degrees)), complex((x0 + x1) / 2, (y0 + y1) / 2)
    z = (points @ [1, 1j] - middle) * turn + middle
    np.testing.assert_allclose(yunet.box_of_five(np.stack([z.real, z.imag], 1)), (x0, y0, x1, y1), atol=1e-6)


def test_a_known_face_is_confirmed_in_its_window(detector, shots) -> None:
    grey, truth = shots[0]
    box = box_of(truth)
    left, top = (max(0, int(box[i] - 0.5 * (box[2] - box[0]))) for i in (0, 1))
    right, bottom = (min(200, int(box[i] + 0.5 * (box[2] - box[0]))) for i in (2, 3))
    window = Net((right - left, bottom - top), [truth - [left, top]])
    assert detector(window).confirm(grey, box) == pytest.approx(0.9)
    far = Net((right - left, bottom - top), [truth * 0.2])
    assert detector(far).confirm(grey, box) is None
    assert detector(window).confirm(grey, (-50, -50, -40, -40)) is None


def test_preparation_uses_it_where_asked(shots, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Told:
        asked = 0

        def search(self, luma, fine):
            self.asked += 1
            return faces.search(luma, fine)

        confirm = staticmethod(faces.confirm)

    told = Told()
    monkeypatch.setattr(yunet, "detector", lambda: told)
    sound = np.random.default_rng(0).normal(0, 0.1, 12800).astype(np.float32)
    media.write_clip(tmp_path / "a.mp4", [np.repeat(g[..., None], 3, 2) for g, _ in shots], Fraction(25), sound, 16000)
    (tmp_path / "clips").mkdir()
    source = ClipSource(tmp_path / "a.mp4", "a")
    plain = prepare_clip(source, tmp_path, PrepareConfig(size=64, min_seconds=0.4))
    assert told.asked == 0
    other = prepare_clip(source, tmp_path, PrepareConfig(size=64, min_seconds=0.4, detector="yunet"))
    assert told.asked > 0
    assert plain["kept"]
    assert other["kept"]
    assert plain["signature"] != other["signature"]


def test_without_the_file_it_says_so_before_any_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "a.mp4").write_bytes(b"nothing")
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / yunet.YUNET.file).write_bytes(b"something else")
    yunet.detector.cache_clear()
    with pytest.raises(DownloadError, match="is not the published face_detection_yunet_2023mar"):
        prepare(tmp_path / "set", tmp_path / "out", PrepareConfig(detector="yunet"))
    assert not (tmp_path / "out").exists()
    with pytest.raises(ConfigError, match="'detector' must be one of yunet"):
        from_dict(PrepareConfig, {"detector": "hog"})

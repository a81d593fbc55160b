"""What `sidgan doctor` says about a computer: what is there, what is missing, what adds it, how fast it is."""

import json
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest
from separating import none_at_all, put_on_path
from typer.testing import CliRunner

from sidgan import checkpoint, downloads, files, media
from sidgan.cli import app
from sidgan.doctor import checkup, examine, findings, speed


@pytest.fixture(autouse=True)
def few_extras(monkeypatch, tmp_path):
    """Only extras that are imported fast, and an empty cache."""
    monkeypatch.setattr(findings, "EXTRAS", {"train": (("lightning",), "training"), "odd": (("sidgan",), "a test")})
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path / "cache"))


def without(monkeypatch, *modules):
    """As if these were not installed."""
    found = findings.find_spec
    monkeypatch.setattr(findings, "find_spec", lambda name: None if name in modules else found(name))


def named(result: checkup.Checkup, name: str) -> findings.Finding:
    (one,) = (one for group in result.found.values() for one in group if one.name == name)
    return one


def doctor(*options):
    return CliRunner().invoke(app, ["doctor", "--no-timed", *options])


def test_a_computer_that_can_dub():
    result = doctor()
    assert result.exit_code == 0, result.output
    assert result.output.rstrip().endswith("This computer can dub.")
    values = json.loads(doctor("--json").output)
    assert values["fit"]
    assert values["engines"][0] == "torch"
    assert values["device"].startswith(("cpu", "cuda"))
    assert {one["name"] for one in values["found"]["Needed"]} >= {"torch", "av", "dlib-bin", "face models", "encoders"}
    assert values["speed"] is None


def test_a_missing_extra_is_told_with_its_command_and_does_not_matter(monkeypatch):
    without(monkeypatch, "lightning")
    result = doctor()
    assert "pip install 'sidgan[train]'" in result.output
    assert result.exit_code == 0


def test_a_separation_tool_on_the_path_is_found(monkeypatch, tmp_path):
    none_at_all(monkeypatch)
    assert "pip install 'sidgan[separate]'" in doctor().output
    monkeypatch.undo()
    put_on_path(tmp_path, monkeypatch)
    monkeypatch.setattr(findings, "EXTRAS", {})
    assert [(one.name, one.state) for one in findings.extras()] == [("separate", "ok")]


def test_something_needed_is_missing(monkeypatch):
    without(monkeypatch, "dlib")
    result = doctor()
    assert result.exit_code == 1
    assert "pip install dlib-bin" in result.output
    assert "cannot dub" in result.output.splitlines()[-1]


def test_without_torch_it_still_looks():
    code = ("import sys; sys.modules['torch'] = None; sys.argv = ['sidgan', 'doctor', '--no-timed', '--json']; "
            "from sidgan.doctor import findings; findings.EXTRAS = {}; "
            "from sidgan.cli import main; main()")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stderr
    values = json.loads(done.stdout)
    states = {one["name"]: one["state"] for one in values["found"]["Needed"]}
    assert states["torch"] == "missing"
    assert states["av"] == "ok"
    assert values["device"] == ""


def test_a_package_that_cannot_be_imported_is_broken_not_missing(monkeypatch, tmp_path):
    (tmp_path / "torchtwisted.py").write_text("raise RuntimeError('operator does not exist\\nand more')")
    monkeypatch.syspath_prepend(tmp_path)
    found = findings._imported("twisted", ("torchtwisted",), "1.0", "pip uninstall twisted")
    assert found.state == "broken"
    assert found.detail == "cannot be imported: operator does not exist"
    assert "pip uninstall twisted" in found.lines()[1]


def test_models_that_lie_on_the_path_are_there(monkeypatch):
    monkeypatch.setattr(findings, "_version", lambda name: findings.NOT_INSTALLED)
    (models,) = (one for one in findings.packages() if one.name == "face models")
    assert (models.state, models.detail) == ("ok", "installed, version unknown")
    without(monkeypatch, "face_recognition_models")
    (models,) = (one for one in findings.packages() if one.name == "face models")
    assert (models.state, models.detail) == ("missing", findings.NOT_INSTALLED)


def test_packages_in_the_way(monkeypatch):
    monkeypatch.setattr(findings, "_version", lambda name: "5.0" if name == "opencv-python" else findings.NOT_INSTALLED)
    assert [one.name for one in findings.conflicts()] == ["opencv-python"]


def test_damaged_weights(monkeypatch, tmp_path):
    bad = tmp_path / "generator.safetensors"
    bad.write_bytes(b"no weights")
    whole = checkpoint.bundled
    monkeypatch.setattr(checkpoint, "bundled", lambda kind: bad if kind == "generator" else whole(kind))
    result = examine(timed=False)
    assert named(result, "generator").state == "broken"
    assert named(result, "syncnet").state == "ok"
    assert not result.fit


def test_published_files_absent_wrong_and_unknown(tmp_path):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / downloads.VGG19.file).write_bytes(b"something else")
    found = {one.name: one for one in findings.downloads()}
    assert found[downloads.VGG19.file].state == "broken"
    assert "remove it" in found[downloads.VGG19.file].detail
    assert found[downloads.FAN.file].remedy == f"sidgan info --fetch {downloads.FAN.file}"
    refused = CliRunner().invoke(app, ["info", "--fetch", "nothing.pt"])
    assert downloads.FAN.file in str(refused.exception)


def test_fetch_gives_the_path_of_a_file_that_is_there(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    folder.mkdir()
    (folder / "mine.bin").write_bytes(b"published")
    digest = files.digest(folder / "mine.bin")
    mine = downloads.Download("mine.bin", "http://127.0.0.1:9/mine.bin", digest, 1, "", "")
    monkeypatch.setattr(downloads, "KNOWN", (mine,))
    assert CliRunner().invoke(app, ["info", "--fetch", "mine.bin"]).output.strip() == str(folder / "mine.bin")


def test_little_space(monkeypatch):
    monkeypatch.setattr(findings, "SPACE", 1e9)
    assert findings.space(Path.cwd()).state == "missing"


def test_speed_is_measured(monkeypatch):
    for name, value in {"SIDE": 128, "ROUNDS": 1, "SHORT": 6, "LONG": 9, "FULL_HD": (640, 960)}.items():
        monkeypatch.setattr(speed, name, value)
    shares = []
    found = speed.measure("cpu", lambda share, text: shares.append(share))
    assert found.engine.startswith("torch")
    assert min(found.network, found.dub, found.minute) > 0
    assert shares == sorted(shares)
    assert "full HD" in found.line()


def test_speed_is_what_a_clock_says(monkeypatch, tmp_path):
    """A dub that takes 4 s and 0.25 s a frame, and 3 s more the first time; a network of 8 faces in 0.5 s."""
    now = [100.0]

    class Engine:
        batch, size, references = 8, speed.SIDE, 2
        fitting = encode_reference = lambda self, _: self

        def run(self, faces, *_):
            now[0] += len(faces) / 16

    class Slow:
        engine, warm = Engine(), 3.0

        def __init__(self, **_): ...

        def dub(self, video, voice, out):
            now[0] += 4 + self.warm + media.probe(video).frames / 4
            self.warm = 0.0
            return Mock(engine="torch fp32")

    monkeypatch.setattr(speed, "FULL_HD", (640, 960))
    monkeypatch.setattr(speed, "Dubber", Slow)
    monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])
    found = speed.measure()
    assert (found.network, found.start, found.dub) == pytest.approx((16, 4, 4))
    assert found.minute == pytest.approx(4 + 1500 / 4)


def test_a_clip_in_full_hd_is_the_bundled_one_in_the_middle(tmp_path):
    clip = media.probe(speed._full_hd(tmp_path / "clip.mp4", 2))
    assert (clip.height, clip.width) == speed.FULL_HD


def test_a_measurement_that_fails_is_told(monkeypatch):
    def fail(*_):
        raise findings_error

    from sidgan.errors import OutputError

    findings_error = OutputError("/tmp cannot be written: disk full")
    monkeypatch.setattr(speed, "measure", fail)
    result = examine()
    assert not result.fit
    assert "disk full" in "\n".join(result.lines())

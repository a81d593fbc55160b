"""The command line: what a user types, and what they read when it cannot work."""

import inspect
import json
import os
import subprocess
import sys
import tomllib
from importlib.resources import files
from io import StringIO
from pathlib import Path

import pytest
from documents import find
from rich.console import Console
from typer.testing import CliRunner

import sidgan as package
from sidgan import checkpoint, cli
from sidgan.cli import app, output
from sidgan.config import SyncNetConfig
from sidgan.errors import InputError
from sidgan.files import digest, look_first
from sidgan.nn import SyncNet


def sidgan(*arguments, cwd=None):
    """Run the command as a user does; returns the finished process."""
    command = [sys.executable, "-m", "sidgan", *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment, check=False)


@pytest.fixture
def typed(monkeypatch, capfd, tmp_path):
    """Runs the command in this process and in an empty folder: its exit code, and what it says on standard error.

    That a process of its own leaves with this code, and its libraries say nothing either, `sidgan` shows; it takes
    seconds to import them.
    """
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def start(*arguments):
        monkeypatch.setattr("sys.argv", ["sidgan", *map(str, arguments)])
        with pytest.raises(SystemExit) as left:
            cli.main()
        return left.value.code, capfd.readouterr().err

    return start


VERBS = (
    "dub", "faces", "verify", "adapt", "demo", "export", "prepare", "multiply", "shards", "inspect", "eval",
    "robustness", "info", "doctor", "serve", "serve-worker", "train syncnet", "train gan",
)  # fmt: skip


def test_a_log_holds_how_far_a_long_command_is(monkeypatch):
    now, log = 0.0, StringIO()
    monkeypatch.setattr(output.time, "monotonic", lambda: now)
    monkeypatch.setattr(output, "console", Console(file=log))
    with output.bar() as show:
        for done in range(100):
            now += 1.5
            show(done / 100, f"[{done}] of 100 clips")
    assert log.getvalue().splitlines() == [" 39%  [39] of 100 clips", " 79%  [79] of 100 clips"]


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb):
    result = CliRunner().invoke(app, [*verb.split(), "--help"])
    assert result.exit_code == 0
    assert verb in ("demo", "info") or f"sidgan {verb}" in " ".join(result.output.split())


@pytest.mark.parametrize("verb", VERBS)
def test_no_line_of_the_help_is_broken_in_the_middle(verb):
    """Below the first paragraph, lines of a docstring are shown as they were broken, whatever the terminal's width."""
    command, _ = find(verb.split())
    _, *rest = inspect.cleandoc(command.help).split("\n\n")
    assert [line for part in rest for line in part.split("\n") if not line.endswith(".")] == []


def test_the_help_begins_with_dubbing():
    lines = CliRunner().invoke(app, ["--help"]).output.splitlines()
    panels = [line.strip("╭─╮ ") for line in lines if line.startswith("╭")]
    assert panels == ["Options", "Dub", "Train", "Judge"]
    first = next(i for i, line in enumerate(lines) if line.startswith("╭─ Dub ")) + 1
    assert lines[first].split()[1] == "dub"


def test_every_verb_that_gives_a_result_can_give_it_as_json():
    for command in app.registered_commands:
        name = command.name or command.callback.__name__
        if not name.startswith("serve"):  # runs until it is stopped
            assert "as_json" in inspect.signature(command.callback).parameters, name


def test_an_output_that_is_no_file_is_one_line(typed, tmp_path):
    demo = files("sidgan") / "assets" / "demo.mp4"
    for out, says in (("", "is a folder; give a file name"), (str(tmp_path), "is a folder"), ("name", "has no ending")):
        code, said = typed("dub", demo, demo, "-o", out)
        assert (code, said.count("\n")) == (2, 1), said
        assert says in said
    assert not list(tmp_path.iterdir())


def test_a_folder_for_the_demo_that_cannot_be_is_one_line(typed, tmp_path):
    (tmp_path / "file").touch()
    for out in ("file", "file/deeper"):
        code, said = typed("demo", out)
        assert (code, said.count("\n")) == (2, 1), said
        assert f"{out} cannot be written" in said


def test_a_name_cannot_write_on_the_screen(tmp_path):
    result = sidgan("verify", "a\nb\x1b[2Jc.mp4", cwd=tmp_path)
    assert result.stderr == "sidgan: a?b?[2Jc.mp4: there is no such file; check the name\n"


WITHOUT = """if True:
    import sys
    from importlib.abc import MetaPathFinder

    class Hidden(MetaPathFinder):
        def find_spec(self, name, path=None, target=None):
            if name.split(".")[0] in {extras}:
                raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

    sys.meta_path.insert(0, Hidden())
    import importlib.util
    found = importlib.util.find_spec
    importlib.util.find_spec = lambda name, *rest: None if name in {extras} else found(name, *rest)
    from sidgan import cli
    cli.main()
"""  #: the command line where these packages are not installed


@pytest.mark.parametrize(("arguments", "says"), [
    (("dub", "demo", "demo", "-o", "out.mp4", "--face", "7"), "there is no person 7 in "),
    (("dub", "demo", "demo", "-o", "out.mp4", "--adapt", "1"), "; run: pip install 'sidgan[train]'"),
    (("adapt", "demo", "-o", "me.safetensors"), "; run: pip install 'sidgan[train]'"),
    (("train", "gan", "data"), "; run: pip install 'sidgan[train]'"),
])  # fmt: skip
def test_a_plain_installation_dubs_and_names_what_the_rest_needs(arguments, says, tmp_path):
    from sidgan.doctor.findings import EXTRAS

    code = WITHOUT.format(extras={name for modules, _ in EXTRAS.values() for name in modules})
    demo = str(files("sidgan") / "assets" / "demo.mp4")
    given = [demo if word == "demo" else word for word in arguments]
    done = subprocess.run([sys.executable, "-c", code, *given], capture_output=True, text=True, cwd=tmp_path,
                          env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert says in done.stderr
    assert not list(tmp_path.iterdir())


def test_extras_are_named_in_the_help():
    assert "'sidgan[separate]'" in " ".join(CliRunner().invoke(app, ["dub", "--help"]).output.replace("│", "").split())


def test_what_the_package_offers_is_found():
    code = """if True:
        import sidgan, sys
        sidgan.dubbing.faces, sidgan.synth.Person, sidgan.evaluation.evaluate
        print({"dub", "verify"} <= set(dir(sidgan)), "scipy.signal" in sys.modules)
    """
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert told == "True False\n", "scipy.signal takes as long to import as all the package's own"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = package.nothing


def test_dry_run_prints_resolved_settings():
    result = CliRunner().invoke(app, ["train", "gan", "x", "--dry-run", "--set", "lr=0.5", "--set", "weights.64.l1=2"])
    values = json.loads(result.output)
    assert values["lr"] == 0.5
    assert values["weights"]["64"]["l1"] == 2.0
    assert values["generator"]["size"] == 128


def test_bad_input_is_one_line_and_exit_code_2(typed, tmp_path):
    expert, demo = tmp_path / "expert.safetensors", files("sidgan") / "assets" / "demo.mp4"
    checkpoint.save(expert, SyncNet(SyncNetConfig(width=2, audio_width=2, blocks=0.0)))
    (tmp_path / "empty").mkdir()

    def alone(*arguments):
        result = sidgan(*arguments, cwd=tmp_path)
        return result.returncode, result.stderr

    cases = [  # a process of its own for each set of libraries: none, those of dubbing, those of training
        (alone, ("dub", "no.mp4", "no.wav", "-o", "out.mp4"), "no.mp4"),
        (alone, ("dub", demo, demo, "-o", "out.mp4", "--model", expert), "holds a syncnet, not a generator"),
        (typed, ("prepare", tmp_path / "empty", tmp_path / "data"), "no videos"),
        (alone, ("train", "syncnet", tmp_path / "empty"), "sidgan prepare"),
        (typed, ("train", "gan", tmp_path, "--set", "lrr=1"), "did you mean 'lr'"),
        (typed, ("train", "gan", tmp_path, "--config", "huge"), "no preset 'huge'"),
        (typed, ("train", "gan", tmp_path, "--config", "nano65"), "did you mean 'nano64'"),
        (typed, ("export", "no.safetensors", "-o", "model.onnx"), "no weights file no.safetensors"),
        (typed, ("adapt", "no.mp4", "-o", "none/me.safetensors"), "folder none does not exist"),
        (typed, ("dub", "no.mp4", "no.wav", "-o", "out.mp4", "--strip", "none/look.png"), "folder none does not exist"),
    ]
    for run, arguments, text in cases:
        code, said = run(*arguments)
        lines = said.strip().splitlines()
        assert code == 2, (arguments, said)
        assert len(lines) == 1, (arguments, said)
        assert text in lines[0], (arguments, lines)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "expert.safetensors"]


MISSING = "no.mp4: there is no such file; check the name"
WEIGHTLESS = "no weights file no; check the name, or give a run's folder or 'bundled'"


ABSENT = [
    (("dub", "no.mp4", "there", "-o", "out.mp4"), MISSING),
    (("dub", "there", "no.mp4", "-o", "out.mp4"), MISSING),
    (("dub", "there", "-o", "out.mp4", "--speaker", "1=there", "--speaker", "2=no.mp4"), MISSING),
    (("dub", "there", "there", "-o", "out.mp4", "--face", "no.mp4"), MISSING),
    (("dub", "there", "there", "-o", "out.mp4", "--background", "no.mp4"), MISSING),
    (("dub", "there", "there", "-o", "out.mp4", "--sign", "no.mp4", "--key", "there"), MISSING),
    (("dub", "there", "there", "-o", "out.mp4", "--sign", "there", "--key", "no.mp4"), MISSING),
    (("dub", "--jobs", "no.mp4"), MISSING),
    (("dub", "folder", "there", "-o", "out.mp4"), "folder is a folder; give one file in it"),
    (("dub", "there", "there", "-o", "no/out.mp4"), "no/out.mp4: the folder no does not exist; create"),
    (("dub", "there", "there", "-o", "out.mp4", "--report", "no/a.html"), "no/a.html: the folder no does not"),
    (("faces", "no.mp4"), MISSING),
    (("faces", "there", "-o", "no/sheet.png"), "no/sheet.png: the folder no does not exist"),
    (("adapt", "no.mp4", "-o", "me.safetensors"), MISSING),
    (("adapt", "there", "-o", "no/me.safetensors"), "no/me.safetensors: the folder no does not exist"),
    (("verify", "no.mp4"), MISSING),
    (("dub", "there", "there", "-o", "out.mp4", "--model", "no.onnx"), "no weights file no.onnx; check the name"),
    (("dub", "--jobs", "there", "--model", "no"), WEIGHTLESS),
    (("adapt", "there", "-o", "me.safetensors", "--model", "no"), WEIGHTLESS),
    (("export", "no", "-o", "model.onnx"), WEIGHTLESS),
    (("export", "folder", "-o", "model.onnx"), "folder is a folder; give a weights file, the folder of a run"),
    (("eval", "no", "folder", "-o", "judged"), WEIGHTLESS),
    (("eval", "bundled", "folder", "-o", "judged", "--expert", "no"), WEIGHTLESS),
    (("robustness", "no", "folder", "-o", "limits"), WEIGHTLESS),
    (("paper", "fig1", "--model", "no"), WEIGHTLESS),
    (("paper", "fig6", "--beard", "there", "--model", "no"), WEIGHTLESS),
    (("eval", "bundled", "folder", "-o", "judged", "--inception", "no.mp4"), MISSING),
    (("paper", "fig4", "no.mp4"), MISSING),
    (("paper", "fig4", "there", "--expert", "no"), WEIGHTLESS),
    (("paper", "fig2", "there", "--against", "no"), WEIGHTLESS),
    (("paper", "fig2", "there", "--vgg", "no"), "no weights file no for VGG19; give a file, or one of 'published'"),
    (("paper", "ablation", "folder", "--expert", "no"), WEIGHTLESS),
    (("paper", "ablation", "folder", "--vanilla", "no"), WEIGHTLESS),
    (("paper", "ablation", "folder", "--lag-expert", "no.mp4"), MISSING),
    (("paper", "table1", "--method", "Ours=there", "--inception", "no.mp4"), MISSING),
    (("paper", "table2", "--method", "Ours=there", "--lag-expert", "no.mp4"), MISSING),
    (("paper", "fig7", "--method", "Ours=there", "--lag-expert", "no.mp4"), MISSING),
    (("train", "gan", "folder", "--expert", "no"), WEIGHTLESS),
    (("train", "gan", "folder", "--ears", "no"), WEIGHTLESS),
    (("train", "syncnet", "folder", "--start", "no"), WEIGHTLESS),
    (("train", "listener", "folder", "--start", "no"), WEIGHTLESS),
    (("train", "occlusion", "folder", "--start", "no"), WEIGHTLESS),
    (("serve", "--port", "1", "--model", "no"), WEIGHTLESS),
    (("dub", "https://example.org/a.mp4", "there", "-o", "out.mp4"), "https://example.org/a.mp4 is a URL; "),
]  # fmt: skip

#: One process for all, each in a folder of its own; libraries that one has imported would be seen in all after it.
IN_TURN = """
import contextlib, io, json, os, sys
from pathlib import Path
from sidgan import cli

told, above = [], Path.cwd()
for number, arguments in enumerate(json.loads(sys.argv[1])):
    folder = above / str(number)
    (folder / "folder").mkdir(parents=True)
    (folder / "there").touch()
    os.chdir(folder)
    sys.argv, code, said = ["sidgan", *arguments], 0, io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            cli.main()
        except SystemExit as end:
            code = end.code
    told.append((code, said.getvalue(), "torch" in sys.modules))
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def absent(tmp_path_factory):
    """Arguments -> exit code, what is said, whether torch was imported, and what is in the folder."""
    above = tmp_path_factory.mktemp("absent")
    given = [arguments for arguments, _ in ABSENT]
    result = subprocess.run([sys.executable, "-c", IN_TURN, json.dumps(given)], capture_output=True, text=True,
                            cwd=above, check=False)  # fmt: skip
    assert (result.returncode, result.stderr) == (0, "")
    found = [sorted(path.name for path in (above / str(number)).iterdir()) for number in range(len(given))]
    return {one: (*told, left) for one, told, left in zip(given, json.loads(result.stdout), found, strict=True)}


@pytest.mark.parametrize(("arguments", "says"), ABSENT, ids=" ".join)
def test_what_is_not_there_is_told_before_libraries_are_imported(absent, arguments, says):
    code, said, imported, left = absent[arguments]
    assert (code, imported, said.count("\n")) == (2, False, 1), said
    assert said.startswith(f"sidgan: {says}")
    assert left == ["folder", "there"]


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes with names")
def test_what_can_be_read_only_once_is_told_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InputError, match=r"pipe is a pipe or a device, .* save it as a file"):
        look_first([tmp_path / "pipe"], [])


def test_info_tells_people_and_machines_which_weights_there_are(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path))
    values = json.loads(CliRunner().invoke(app, ["info", "--json"]).output)
    assert values["generator"]["kind"] == "generator"
    assert {one["state"] for one in values["downloads"]} == {"absent"}
    text = CliRunner().invoke(app, ["info"]).output
    assert not text.startswith("{")
    for kind in ("generator", "syncnet", "occlusion"):
        facts = values[kind]
        assert facts["bytes"] == Path(facts["path"]).stat().st_size
        assert facts["sha256"] == digest(Path(facts["path"]))
        assert facts["sha256"] in text
        assert facts["path"] in text
        assert f"{kind:<9}  version {facts['meta']['version']}, {facts['bytes'] / 1e6:.1f} MB" in text
    assert all(f"--  {one['file']}" in text for one in values["downloads"])
    assert f"kept in {tmp_path}" in text
    (tmp_path / "syncnet_v2.model").write_bytes(b"something else")
    assert "!!  syncnet_v2.model" in CliRunner().invoke(app, ["info"]).output


def test_info_tells_what_is_not_bundled(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path))
    monkeypatch.setattr("sidgan.checkpoint.bundled", lambda kind: tmp_path / kind)
    assert "--  generator  not bundled" in CliRunner().invoke(app, ["info"]).output
    assert json.loads(CliRunner().invoke(app, ["info", "--json"]).output)["generator"] == "not bundled"


def test_info_lists_downloads(tmp_path, monkeypatch):
    monkeypatch.setenv("SIDGAN_CACHE", str(tmp_path))
    text = CliRunner().invoke(app, ["info", "--downloads"]).output
    listed = json.loads(CliRunner().invoke(app, ["info", "--downloads", "--json"]).output)["downloads"]
    assert {"inception-2015-12-05.pt", "syncnet_v2.model"} <= {one["file"] for one in listed}
    for one in listed:
        assert one["state"] == "absent"
        assert one["url"] in text
        assert str(tmp_path / one["file"]) in text


def test_ctrl_c_is_told(monkeypatch, capsys, tmp_path):
    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("sidgan.provenance.verify", stopped)
    monkeypatch.setattr("sys.argv", ["sidgan", "verify", str(tmp_path / "a.mp4")])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 130
    assert "stopped" in capsys.readouterr().err


PRINTING = [("--version",), ("verify", files("sidgan") / "assets" / "demo.mp4", "--json"), ("dub", "--help")]


def printed_into(stream, arguments, unbuffered):
    return subprocess.run(
        [sys.executable, "-m", "sidgan", *map(str, arguments)], stdout=stream, stderr=subprocess.PIPE, text=True,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered}, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", PRINTING, ids=lambda arguments: arguments[0])
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a file that is always full")
def test_output_that_cannot_be_written_is_one_line(arguments, unbuffered):
    with open("/dev/full", "wb") as full:
        result = printed_into(full, arguments, unbuffered)
    says = "sidgan: the output cannot be written: no space left on device; free space or write to another place\n"
    assert (result.returncode, result.stderr) == (2, says)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("arguments", PRINTING, ids=lambda arguments: arguments[0])
@pytest.mark.skipif(sys.platform == "win32", reason="there it is no error of its own")
def test_a_reader_that_has_seen_enough_is_no_error_of_the_program(arguments, unbuffered):
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "wb") as pipe:
        result = printed_into(pipe, arguments, unbuffered)
    assert (result.returncode, result.stderr) == (1, "")


STOPPED_AT = """
import runpy, signal, sys

class Stopping:
    def find_spec(self, name, *_):
        if name == sys.argv[1]:
            signal.raise_signal(signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # tests that run in the background are started with it off
sys.meta_path.insert(0, Stopping())
"""


@pytest.mark.parametrize("during", ["sidgan.cli", "typer", "sidgan.cli.serving"])
@pytest.mark.parametrize("started", ["script", "module"])
def test_ctrl_c_while_the_command_line_is_imported_is_told(started, during, tmp_path):
    project = Path(__file__).parents[1] / "pyproject.toml"
    module, _, name = tomllib.loads(project.read_text(encoding="utf-8"))["project"]["scripts"]["sidgan"].partition(":")
    starts = {"script": f"from {module} import {name}; {name}()",
              "module": "runpy.run_module('sidgan', run_name='__main__')"}  # fmt: skip
    command = [sys.executable, "-c", STOPPED_AT + starts[started], during]
    result = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "sidgan: stopped\n")


@pytest.mark.parametrize("verb", [("verify",), ("faces",), ("inspect",), ("export", "-o", "a.onnx")], ids=" ".join)
def test_a_name_that_no_system_takes_is_one_line(verb, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.argv", ["sidgan", *verb, 300 * "a"])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert "cannot be used: " in said
    assert not list(tmp_path.iterdir())

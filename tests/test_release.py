"""What goes out: wheel, workflows, container. They run elsewhere, so here they are read."""

import re
import shlex
import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest
from documents import ROOT, problem

from sidgan.version import __version__

yaml = pytest.importorskip("yaml")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
CONTAINER = ROOT / "Containerfile"


def steps(path: Path):
    """(job, step) of a workflow."""
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items():
        for step in job["steps"]:
            yield name, step


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_run_what_is_there(path):
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for job, step in steps(path):
        assert ("run" in step) != ("uses" in step), (job, step)
        words = shlex.split(step.get("run", ""), comments=True)
        if words[:1] == ["make"]:
            assert re.search(rf"^{words[1]}:", makefile, re.M), words
        if words[:1] == ["sidgan"]:
            assert problem(words[1:]) is None, words
        if words[:1] == ["pytest"]:
            assert all((ROOT / word).is_file() for word in words[1:]), words
        for extra in re.findall(r"\.\[([a-z0-9,]+)\]", step.get("run", "")):
            assert set(extra.split(",")) <= extras(), extra


def test_workflows_cover_three_systems_and_are_allowed_nothing():
    systems = set()
    for path in WORKFLOWS:
        told = yaml.safe_load(path.read_text(encoding="utf-8"))
        assert told["permissions"] == {"contents": "read"}
        systems |= {job["runs-on"].split("-")[0] for job in told["jobs"].values()}
        assert all(job["timeout-minutes"] <= 60 for job in told["jobs"].values())
    assert systems == {"ubuntu", "macos", "windows"}


def test_linux_runs_what_the_readme_says():
    assert any(step.get("run") == ".ci/run" for _, step in steps(ROOT / ".github" / "workflows" / "tests.yml"))
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "make test" in (ROOT / "README.md").read_text(encoding="utf-8")


def extras() -> set[str]:
    import tomllib

    return set(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"])


def instructions() -> list[tuple[str, str]]:
    """(instruction, what follows) of the container file, continued lines joined."""
    text = re.sub(r"(?m)^#.*\n", "", CONTAINER.read_text(encoding="utf-8")).replace("\\\n", " ")
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.split("\n") if line.strip()]


def test_the_container_copies_what_is_there_and_what_is_not_ignored():
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").split() if line[0] == "!"}
    for name, rest in instructions():
        if name == "COPY" and "--from" not in rest:
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert source in allowed, f"{source} is kept out by .dockerignore"


def test_the_container_is_well_formed_and_runs_commands_that_exist():
    found = instructions()
    known = {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "ENTRYPOINT", "CMD", "USER", "LABEL"}
    assert {name for name, _ in found} <= known
    assert found[0][0] == "ARG"
    assert ("ENTRYPOINT", '["sidgan"]') in found
    stages = [rest.split(" AS ")[1] for name, rest in found if name == "FROM" and " AS " in rest]
    for name, rest in found:
        if copied := re.search(r"--from=(\w+)", rest):
            assert copied[1] in stages
        if name == "RUN":
            checked = subprocess.run(["sh", "-n", "-c", rest], capture_output=True, text=True, check=False)
            assert checked.returncode == 0, checked.stderr
            for part in rest.split("&&"):
                words = shlex.split(part)
                assert words[0] in ("python", "rm", "sidgan"), words
                assert words[0] != "sidgan" or problem(words[1:]) is None, words
    shown = re.search(r"docker run .*? sidgan (dub .*)", CONTAINER.read_text(encoding="utf-8"))
    assert problem(shlex.split(shown[1])) is None


def test_constraints_leave_torch_alone_where_they_are_emptied():
    """The GPU build gives an empty CONSTRAINTS; the shell must then pass no -c."""
    (run,) = (rest for name, rest in instructions() if name == "RUN" and "install" in rest)
    part = re.search(r"\$\{CONSTRAINTS:\+.*?\}\}|\$\{CONSTRAINTS:\+[^}]*\$\{CONSTRAINTS\}\}", run)[0]
    for value, wanted in (("", []), ("/c.txt", ["-c", "/c.txt"])):
        told = subprocess.run(["sh", "-c", f"printf '%s\\n' {part}"], env={"CONSTRAINTS": value}, text=True,
                              capture_output=True, check=True)  # fmt: skip
        assert told.stdout.split() == wanted


def test_a_wheel_that_lacks_weights_is_refused(tmp_path, monkeypatch):
    sys.path.insert(0, str(ROOT / "tools"))
    import wheel

    def packed(command, check):
        target = Path(command[command.index("--wheel-dir") + 1])
        target.mkdir(exist_ok=True)
        with ZipFile(target / f"sidgan-{__version__}-py3-none-any.whl", "w") as archive:
            for name in wheel.NEEDED:
                if name not in left_out:
                    archive.writestr(f"sidgan/{name}", b"")
            for name in added:
                archive.writestr(name, b"")

    monkeypatch.setattr(wheel.subprocess, "run", packed)
    monkeypatch.setattr(wheel, "DIST", tmp_path / "dist")
    left_out, added = set(), []
    assert wheel.build().name.startswith(f"sidgan-{__version__}")
    left_out = {"weights/generator.safetensors"}
    with pytest.raises(SystemExit, match=r"weights/generator\.safetensors"):
        wheel.build()
    left_out, added = set(), ["tests/conftest.py"]
    with pytest.raises(SystemExit, match="foreign"):
        wheel.build()


def test_the_changelog_begins_with_this_version():
    headings = re.findall(r"(?m)^## (\S+)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"))
    assert headings[0] == __version__

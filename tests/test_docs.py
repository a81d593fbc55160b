"""The documentation tells the truth: its commands parse, its blocks run, its names and links exist, its site builds."""

import ast
import importlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from documents import PAGES, ROOT, Block, code_lines, commands, find, marked, options, problem, root, spans

import sidgan
from sidgan import checkpoint, media
from sidgan.settings import read_toml
from sidgan.synth import LINES, Person, Scene
from sidgan.train import runs

SOURCE = Path(sidgan.__file__).parents[1]
SLOW = bool(os.environ.get("SIDGAN_SLOW"))
RUN = [block for page in PAGES for block in marked(page)]
#: Options of other programs that the documentation names.
OTHERS = {"--nproc-per-node", "--nnodes", "--help", "--version", "--gpus", "--rm", "--user", "--no-deps",
          "--config-settings", "--force-reinstall", "--build-arg", "--file", "--tag", "--shm-size",
          "--shifts"}  # fmt: skip


def ids(block: Block) -> str:
    return block.name


# --------------------------------------------------------------------------------------------------- they are parsed


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_is_one_that_the_command_line_takes(page):
    for number, line in code_lines(page.read_text(encoding="utf-8")):
        for words in commands(line):
            said = problem(words)
            assert said is None, f"{page.name}:{number}: sidgan {' '.join(words)}: {said}"


Ears = tuple[int, float, str]  #: width, depth and sampling of an audio encoder


def pairs(page: Path) -> Iterator[tuple[int, str, tuple[Ears, str], tuple[Ears, str]]]:
    """(number, preset, ears and kind of expert that a generator gets, those it wants) of a page's trainings."""
    made: dict[str, tuple[Ears, str]] = {}  # by run folder, and by what a numbered folder is called
    for number, line in code_lines(page.read_text(encoding="utf-8")):
        for words in commands(line):
            command, rest = find(words)
            if words[:1] != ["train"] or words[1] == "occlusion" or "--help" in words:
                continue
            given = command.make_context(command.name, [word.replace("...", "") for word in rest]).params
            how = given["config"], given["steps"], None, given["settings"] or []
            if command.name != "gan":
                config = (runs.sync_config if command.name == "syncnet" else runs.listener_config)(*how)
                net = config.model
                made[str(given["run"] or command.name)] = made["last"] = (
                    (net.audio_width, net.blocks, net.aps_audio), getattr(net, "kind", ""))
                continue
            settings = runs.gan_config(*how)
            net, wanted = settings.generator, settings.expert_kind
            source = given["ears"] or given["expert"]
            folder = str(Path(source).parent)
            numbered = re.fullmatch(r"runs/[0-9]+-([a-z]+)", folder)
            if source == "bundled":
                kind = "generator" if given["ears"] else "syncnet"
                has = checkpoint.load_ears(checkpoint.bundled(kind)).settings, "aps"
            else:
                has = made.get(numbered[1] if numbered else folder) or made.get("last")
            if net.kind == "sidgan" and has is not None and (given["ears"] or not given["start"]):
                own = has[1] if given["expert"] == source and wanted != "any" else wanted
                yield (number, given["config"], (has[0], own),
                       ((net.audio_width, net.audio_blocks, net.aps_audio), wanted))


def test_experts_that_are_trained_fit_the_generators_that_take_them():
    """An expert's audio encoder becomes the generator's: else days of training would end in a refusal."""
    found = [(page.name, *pair) for page in PAGES for pair in pairs(page)]
    for name, number, preset, has, wants in found:
        assert has == wants, f"{name}:{number}: {preset} cannot take the ears of the expert it is given"
    assert {("training.md", "full"), ("scale.md", "full"), ("README.md", "tiny128")} <= {f[0:3:2] for f in found}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_running_text_has_its_verb_and_options(page):
    for number, span in spans(page.read_text(encoding="utf-8")):
        for words in commands(span):
            command, rest = find(words)
            assert command is not root() or set(rest) <= {"--help", "--version"}, f"{page.name}:{number}: `{span}`"
            unknown = {w.split("=")[0] for w in rest if re.match(r"--?[a-z]", w)} - options(command) - {"--help"}
            assert not unknown, f"{page.name}:{number}: `{span}`: no option {unknown}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_option_exists_somewhere(page):
    known = options(root()) | OTHERS | options_of_scripts()
    for number, span in spans(page.read_text(encoding="utf-8")):
        for name in re.findall(r"(?<![\w-])--[a-z][a-z-]+", span):
            assert name in known, f"{page.name}:{number}: nothing has the option {name}"


def options_of_scripts() -> set[str]:
    scripts = [*(ROOT / "tools").glob("*.py"), *(ROOT / "benchmarks").glob("*.py"), *(ROOT / "examples").glob("*.py")]
    return {name for path in scripts for name in re.findall(r'add_argument\(\s*"(--[a-z-]+)"', path.read_text("utf-8"))}


def test_the_parser_of_these_tests_refuses_what_the_command_line_refuses():
    assert problem(["dub", "a.mp4", "b.wav", "-o", "c.mp4"]) is None
    assert "--adopt" in problem(["dub", "a.mp4", "--adopt", "5"])
    assert "nicht" in problem(["nicht"])
    assert problem(["dub", "a.mp4", "b.wav", "--length", "stretch"])
    assert problem(["prepare", "FOLDER"])  # OUT is missing
    assert list(commands("torchrun --nproc-per-node 8 -m -- sidgan info; sidgan train gan x  # why")) == [
        ["info"], ["train", "gan", "x"]]  # fmt: skip


def test_other_programs_of_the_documentation_are_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for path in re.findall(r"\b((?:tools|benchmarks|tests|examples)/[a-z_/]+\.(?:py|sh))", text):
            assert (ROOT / path).is_file(), f"{page.name} names {path}"
        for target in re.findall(r"\bmake ([a-z][a-z-]+)\b", "\n".join(line for _, line in code_lines(text))):
            assert re.search(rf"^{target}:", makefile, re.M), f"{page.name}: make {target}"


# -------------------------------------------------------------------------------------------------------- they exist


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_name_of_the_package_exists(page):
    for number, span in spans(page.read_text(encoding="utf-8")):
        if found := re.fullmatch(r"(sidgan(?:\.\w+)+)(?:\(.*\))?", span):
            assert resolve(found[1]) is not None, f"{page.name}:{number}: no {found[1]}"


def resolve(name: str):
    """The module or object of a dotted name, or None."""
    parts = name.split(".")
    for end in range(len(parts), 0, -1):
        try:
            thing = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            thing = getattr(thing, part, None)
        return thing
    return None


def test_a_name_that_is_not_there_is_noticed():
    assert resolve("sidgan.losses.sync_loss")
    assert resolve("sidgan.losses.sink_loss") is None
    assert resolve("sidgan.sinks.sync_loss") is None


def test_the_paper_map_names_every_equation_and_section():
    text = (ROOT / "docs" / "papermap.md").read_text(encoding="utf-8")
    for part in ("Eq. 1", "Eq. 2", "Eq. 3", "Eq. 4", "Sec. 3.1", "Sec. 3.2", "Sec. 3.3.1", "Sec. 3.3.2", "Sec. 3.3.3",
                 "Sec. 3.4", "Sec. 4", "Sec. 5", "Fig. 2", "Fig. 4", "Tables 1, 2", "Table 4"):  # fmt: skip
        row = next((line for line in text.split("\n") if line.startswith("|") and part in line.split("|")[1]), "")
        assert re.search(r"`[^`]+`", row.split("|")[3] if row else ""), f"no row for {part}"


def test_presets_that_are_named_exist():
    for page in PAGES:
        for name in re.findall(r"presets? `([a-z0-9_]+)`", page.read_text(encoding="utf-8")):
            assert read_toml(name), page.name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_and_picture_is_there(page):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        if "://" not in target:
            moved = {"MODEL_CARD.md": ROOT, "CHANGELOG.md": ROOT}.get(target, page.parent)  # pages of the site too
            made = target == "commands.md"  # written when the site is
            assert made or (moved / target).exists(), f"{page.name}: no {target}"


def test_pictures_of_the_documentation_are_small():
    pictures = [p for p in (ROOT / "docs").rglob("*") if p.suffix in (".png", ".jpg", ".svg")]
    assert pictures
    assert sum(path.stat().st_size for path in pictures) < 1_500_000


# ----------------------------------------------------------------------------------------------------------- they run


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What the blocks find: a talking person, two of them, voices, and ``sidgan`` as a command."""
    path = tmp_path_factory.mktemp("docs")
    assets = SOURCE / "sidgan" / "assets"
    pictures = (rgb[::2, ::2] for _, rgb in islice(media.read_rgb(assets / "demo.mp4"), 12))
    media.write_clip(path / "talk.mp4", pictures, 25)
    voice = media.read_audio(assets / "demo_voice.m4a", 16_000)
    for name, begin in (("german", 0), ("anna", 4000), ("ben", 9000)):
        media.write_wav(path / f"{name}.wav", voice[begin : begin + 9_600], 16_000)
    pair = [Scene(Person.random(seed), LINES["morning"], 0.4, size=(280, 240), face_px=200) for seed in (14, 11)]
    media.write_clip(path / "two.mp4", (np.hstack([a.image, b.image]) for a, b in zip(*pair, strict=True)), 25)
    (path / "tools").symlink_to(ROOT / "tools")
    (path / "bin").mkdir()
    for name, command in (("sidgan", f'"{sys.executable}" -m sidgan'), ("python", f'"{sys.executable}"')):
        script = path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
        script.chmod(0o755)
    return path


@pytest.mark.skipif(shutil.which("bash") is None, reason="no bash")
@pytest.mark.parametrize("block", RUN, ids=ids)
def test_blocks_that_are_marked_run(block, folder):
    if block.slow and not SLOW:
        pytest.skip("slow: make docs-test")
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"PATH": path, "PYTHONPATH": str(SOURCE), "OMP_NUM_THREADS": "1"}
    assert block.language in ("bash", "python"), block.name
    shell = ["bash", "-euo", "pipefail", "-c"] if block.language == "bash" else [sys.executable, "-c"]
    done = subprocess.run([*shell, block.text], cwd=folder, env=environment, capture_output=True, text=True,
                          check=False)  # fmt: skip
    assert done.returncode == 0, f"{block.name}\n{done.stdout}\n{done.stderr}"


def test_there_is_something_to_run():
    assert {block.page.name for block in RUN} >= {"quickstart.md", "dubbing.md", "speakers.md", "training.md"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_of_the_documentation_compiles_and_imports_what_is_there(page):
    for text in re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL):
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "sidgan":
                assert hasattr(sidgan, node.attr), f"{page.name}: no sidgan.{node.attr}"


# ----------------------------------------------------------------------------------------------------------- the site


def test_the_site_builds_without_a_network(tmp_path):
    """Strictly: a page that is not in the navigation, a link to nothing and an anchor that is gone are errors."""
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path / "site")]
    no_network = {"https_proxy": "http://127.0.0.1:9", "http_proxy": "http://127.0.0.1:9"}
    environment = os.environ | no_network | {"NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    pages = {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / "site").glob("*.html")}
    assert {"index.html", "commands.html", "api.html", "MODEL_CARD.html", "papermap.html"} <= set(pages)
    assert "sidgan doctor" in pages["commands.html"]
    assert "Time 0 of the voice is the first frame" in pages["api.html"]  # from the docstring
    for name, text in pages.items():
        fetched = re.findall(r'<(?:script|link|img)[^>]+(?:src|href)="(https?:)?//[^"]*"', text)
        assert not fetched, f"{name} fetches something"

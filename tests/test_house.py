"""The import layers of the package: nobody reaches upwards."""

import ast
import subprocess
import sys
from pathlib import Path

import sidgan

ROOT = Path(sidgan.__file__).parent
LAYERS = {
    "version": 0, "types": 0, "errors": 0, "settings": 0, "config": 0, "files": 0, "timeline": 0, "ahead": 0,
    "portable": 0, "arguments": 0, "resampling": 0, "spans": 0, "executors": 0, "threads": 1,
    "audio": 1, "media": 1, "geometry": 1, "nn": 1, "synth": 1, "poses": 2, "carry": 2,
    "faces": 2, "losses": 2, "metrics": 2, "checkpoint": 2, "engine": 2,
    "blend": 2, "downloads": 2, "published": 2, "provenance": 2,
    "people": 3, "data": 3, "dubbing": 3, "train": 3, "evaluation": 3, "adaptation": 3,
    "paper": 4, "study": 4, "jobs": 4, "doctor": 4,
    "__init__": 5, "__main__": 5, "cli": 5, "web": 5,
}  # fmt: skip
FORBIDDEN = {("losses", "media"), ("dubbing", "train"), ("media", "faces"), ("train", "media")}


def imports() -> list[tuple[str, str, Path]]:
    """(room that imports, room that is imported, file)."""
    found = []
    for path in sorted(ROOT.rglob("*.py")):
        room = path.relative_to(ROOT).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [f"{node.module}.{a.name}" if node.module == "sidgan" else node.module for a in node.names]
            found += [(room, name.split(".")[1], path) for name in names if name.startswith("sidgan.")]
    return found


def test_nobody_reaches_upwards():
    for room, target, path in imports():
        assert room in LAYERS, f"{path}: give {room} a layer"
        if target in LAYERS:
            assert LAYERS[room] >= LAYERS[target], f"{path} ({room}) must not import {target}"


def test_rooms_that_must_not_meet():
    met = {(room, target) for room, target, _ in imports()}
    assert not met & FORBIDDEN


def test_only_media_uses_the_media_library():
    for path in sorted(ROOT.rglob("*.py")):
        uses = any(
            (isinstance(n, ast.Import) and any(a.name.split(".")[0] == "av" for a in n.names))
            or (isinstance(n, ast.ImportFrom) and (n.module or "").split(".")[0] == "av")
            for n in ast.walk(ast.parse(path.read_text()))
        )
        assert not uses or path.is_relative_to(ROOT / "media"), f"{path} imports av"


def test_importing_the_package_is_light():
    code = "import sys, sidgan; print([m for m in ('torch', 'cv2', 'av', 'dlib') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_type_checkers_see_what_the_package_offers():
    """`import sidgan` finds its names late; without these imports all of them would be Any to mypy and editors."""
    seen = {}
    for node in ast.walk(ast.parse((ROOT / "__init__.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("sidgan."):
            seen |= {alias.name: node.module for alias in node.names}
    assert seen == sidgan._HOMES | {"__version__": "sidgan.version"}
    assert set(seen) == set(sidgan.__all__)


def test_training_needs_neither_media_library_nor_face_finder():
    """Crops are cut where there are; GPUs that train on them often stand where neither is installed."""
    code = """if True:
        import sys
        sys.modules |= dict.fromkeys(("av", "dlib", "soxr", "face_recognition_models"))
        from importlib.util import find_spec
        from unittest.mock import MagicMock
        fabric = MagicMock(__spec__=find_spec("lightning"))  # it needs them neither, and takes longest to import
        sys.modules |= dict.fromkeys(("lightning", "lightning.fabric", "lightning.fabric.strategies.ddp"), fabric)
        import sidgan.cli, sidgan.train.runs
    """
    subprocess.run([sys.executable, "-c", code], check=True)

"""Build the wheel; with --test, install it into an empty environment and dub the demo outside the checkout.

    python tools/wheel.py --test

The wheel contains code, presets, bundled weights and the demo: with its dependencies, it is all that dubbing needs.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from zipfile import ZipFile

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
NEEDED = ("weights/generator.safetensors", "weights/critics.safetensors", "weights/syncnet.safetensors",
          "weights/occlusion.safetensors", "assets/demo.mp4", "assets/demo_voice.m4a", "configs/tiny128.toml",
          "py.typed")  # fmt: skip
LARGEST = 40.0  #: MB, size limit of the wheel


def build() -> Path:
    """Build a wheel in `DIST`, after removing what earlier builds left behind.

    Raises:
        SystemExit: a file is missing from it, foreign packages are in it, or it is too large.
    """
    for stale in (ROOT / "build" / "lib", *ROOT.glob("build/bdist*"), *DIST.glob("sidgan-*.whl")):
        shutil.rmtree(stale) if stale.is_dir() else stale.unlink(missing_ok=True)
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*pip, "--wheel-dir", str(DIST), str(ROOT)], check=True)
    (wheel,) = DIST.glob("sidgan-*.whl")
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    missing = [name for name in NEEDED if f"sidgan/{name}" not in names]
    foreign = sorted({name.split("/")[0] for name in names if not name.startswith("sidgan")})
    size = wheel.stat().st_size / 1e6
    if missing or foreign or size > LARGEST:
        raise SystemExit(f"{wheel.name}: missing {missing}, foreign {foreign}, {size:.0f} MB (at most {LARGEST:.0f})")
    print(f"{wheel}: {size:.1f} MB, {len(names)} files")
    return wheel


def test(wheel: Path) -> None:
    """Install a wheel into an empty environment, and run commands with it in an empty folder."""
    with tempfile.TemporaryDirectory(prefix="sidgan-wheel-") as name:
        folder = Path(name)
        venv.create(folder / "venv", with_pip=True)
        scripts = folder / "venv" / ("Scripts" if os.name == "nt" else "bin")
        python, command = scripts / "python", scripts / "sidgan"
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, "-c", str(ROOT / "constraints.txt"), str(wheel)], check=True)
        empty = folder / "empty"
        empty.mkdir()
        plain = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}

        def say(*words: str | Path) -> str:
            done = subprocess.run([*map(str, words)], cwd=empty, env=plain, capture_output=True, text=True, check=False)
            if done.returncode:
                told = f"{words[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
                raise SystemExit(told)
            return done.stdout.strip()

        where = Path(say(python, "-c", "import sidgan; print(sidgan.__file__)"))
        if not where.is_relative_to(folder):
            raise SystemExit(f"the package was taken from {where}, not from the wheel")
        print("version", say(command, "--version"))
        print(say(command, "doctor", "--no-timed").splitlines()[-1])
        print(say(command, "demo", "out"))
        print(say(command, "verify", "out/dubbed.mp4"))
        print(say(command, "dub", "out/dubbed.mp4", "out/dubbed.mp4", "-o", "again.mp4"))


def main() -> None:
    """Build, and test if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--test", action="store_true", help="install it into an empty environment and dub the demo")
    args = parser.parse_args()
    wheel = build()
    if args.test:
        test(wheel)


if __name__ == "__main__":
    main()

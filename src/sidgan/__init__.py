"""Dub video: redraw the mouth of a talking face so that it speaks a new audio track.

    import sidgan
    report = sidgan.dub("talk.mp4", "german.wav", "talk-german.mp4")

Submodules, and the heavy libraries they need, are imported on first use.
"""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from sidgan.version import __version__

if TYPE_CHECKING:  # for editors and type checkers; a test compares these imports with `_HOMES`
    from sidgan.adaptation import adapt
    from sidgan.checkpoint import load_generator, load_syncnet
    from sidgan.data.prepare import prepare
    from sidgan.dubbing import Dubber, DubReport, dub
    from sidgan.evaluation import evaluate
    from sidgan.provenance import verify
    from sidgan.provenance.credentials import Credentials

_HOMES = {
    "dub": "sidgan.dubbing", "Dubber": "sidgan.dubbing", "DubReport": "sidgan.dubbing", "adapt": "sidgan.adaptation",
    "prepare": "sidgan.data.prepare", "evaluate": "sidgan.evaluation", "load_generator": "sidgan.checkpoint",
    "load_syncnet": "sidgan.checkpoint", "Credentials": "sidgan.provenance.credentials", "verify": "sidgan.provenance",
}  # fmt: skip

__all__ = [
    "Credentials", "DubReport", "Dubber", "__version__", "adapt", "dub", "evaluate", "load_generator", "load_syncnet",
    "prepare", "verify",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if not name.startswith("_") and find_spec(f"sidgan.{name}") is not None:
        return import_module(f"sidgan.{name}")
    raise AttributeError(f"module 'sidgan' has no attribute '{name}'")


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]

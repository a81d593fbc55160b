"""Dub video: redraw the mouth of a talking face so that it speaks a new audio track."""

from sidgan.version import __version__

__all__ = ["__version__"]

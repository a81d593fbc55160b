"""The first pass over a video: track faces, identify people, find what covers them, choose whom to redraw and how."""

from sidgan.dubbing.analysis.first_pass import Analysis, Find, Seen, analyse, once, survey, undecided

__all__ = ["Analysis", "Find", "Seen", "analyse", "once", "survey", "undecided"]

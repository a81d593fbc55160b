"""The first pass over a video: whose faces are where, what covers them, who is redrawn, and after which pictures."""

from sidgan.dubbing.analysis.first_pass import Analysis, Seen, analyse, survey

__all__ = ["Analysis", "Seen", "analyse", "survey"]

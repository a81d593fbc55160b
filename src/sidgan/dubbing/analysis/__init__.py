"""The first pass over a video: whose faces are where, how sure that is, who is redrawn, and what covers them."""

from sidgan.dubbing.analysis.first_pass import Analysis, Seen, analyse, survey

__all__ = ["Analysis", "Seen", "analyse", "survey"]

"""Judging results: each metric is a function, and `FrameMean` or a class of its own accumulates it over a clip.

Landmarks, boxes and embeddings are handed in; nothing here looks for a face.
"""

from sidgan.metrics.frames import FrameMean
from sidgan.metrics.identity import identity_distance
from sidgan.metrics.image import psnr, ssim
from sidgan.metrics.lips import MouthOpening, OpeningMatch, lmd, lmd_centred, opening_match
from sidgan.metrics.sync import MouthSync, SyncMatch, sync_match

__all__ = [
    "FrameMean", "MouthOpening", "MouthSync", "OpeningMatch", "SyncMatch", "identity_distance", "lmd", "lmd_centred",
    "opening_match", "psnr", "ssim", "sync_match",
]  # fmt: skip

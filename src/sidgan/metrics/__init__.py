"""Evaluation metrics: each is a function; those that do not judge each frame by itself have an accumulator too.

Landmarks, bounding boxes and embeddings are arguments: nothing here detects faces or opens files, except the loaders
of published networks. `docs/evaluation.md` says what each number means and where it misleads.
"""

from sidgan.metrics.frechet import FeatureMoments, frechet_distance
from sidgan.metrics.identity import identity_distance
from sidgan.metrics.image import l1, psnr, ssim
from sidgan.metrics.inception import Inception, load_inception, require_script
from sidgan.metrics.lag import LagMatch, MouthLag, lag_match, load_lag_expert
from sidgan.metrics.lag_crops import direct_crops, pipeline_crop, pipeline_squares
from sidgan.metrics.lips import OpeningMatch, lmd, lmd_centred, lmd_normalised, opening_match
from sidgan.metrics.mfcc import mfcc
from sidgan.metrics.motion import Jitter, Leak, acceleration, jitter, leak
from sidgan.metrics.sync import MouthSync, SyncMatch, sync_match

__all__ = [
    "FeatureMoments", "Inception", "Jitter", "LagMatch", "Leak", "MouthLag", "MouthSync", "OpeningMatch", "SyncMatch",
    "acceleration", "direct_crops", "frechet_distance", "identity_distance", "jitter", "l1", "lag_match", "leak", "lmd",
    "lmd_centred", "lmd_normalised", "load_inception", "load_lag_expert", "mfcc", "opening_match", "pipeline_crop",
    "pipeline_squares", "psnr", "require_script", "ssim", "sync_match",
]  # fmt: skip

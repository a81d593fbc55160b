"""Who is where in a video: faces found, landmarks placed, both followed from frame to frame and never across a cut.

::

    frame ─ detector ─▶ boxes ─ models ─▶ 68 landmarks ─ tracker ─▶ raw track ─ smoothing ─▶ FaceTrack, with pose
      └──── shots ─▶ a track ends at a cut                            (per face)

`yunet` and `fan` are another detector and other landmarks, for difficult footage; they are fetched when asked for.
"""

from sidgan.faces.detector import Detector, confirm, detect, overlap, search
from sidgan.faces.models import Box, Landmarker, box_of, embed, landmarks
from sidgan.faces.pose import head_pose
from sidgan.faces.smoothing import SMOOTHED, smooth
from sidgan.faces.tracker import MIN_SEEN, Tracker, prominence, track_faces

__all__ = [
    "MIN_SEEN", "SMOOTHED", "Box", "Detector", "Landmarker", "Tracker", "box_of", "confirm", "detect", "embed",
    "head_pose", "landmarks", "overlap", "prominence", "search", "smooth", "track_faces",
]  # fmt: skip

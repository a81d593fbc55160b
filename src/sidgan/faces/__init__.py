"""Face tracking: faces are detected, given landmarks, and followed from frame to frame, never across a shot cut.

::

    frame ─ detector ─▶ boxes ─ models ─▶ 68 landmarks ─ tracker ─▶ raw track ─ smoothing ─▶ FaceTrack, with pose
      └──── shots ─▶ a track ends at a cut                            (per face)

`yunet` (a detector) and `fan` (landmarks) are alternatives for difficult footage; they are downloaded on first use.
"""

from sidgan.faces.detector import Detector, confirm, detect, overlap, search
from sidgan.faces.edges import cut_off, lips_inside
from sidgan.faces.follower import MIN_SEEN
from sidgan.faces.models import Box, Landmarker, box_of, embed, landmarks
from sidgan.faces.pose import head_pose
from sidgan.faces.smoothing import SMOOTHED, smooth
from sidgan.faces.tracker import Tracker, prominence, track_faces

__all__ = [
    "MIN_SEEN", "SMOOTHED", "Box", "Detector", "Landmarker", "Tracker", "box_of", "confirm", "cut_off", "detect",
    "embed", "head_pose", "landmarks", "lips_inside", "overlap", "prominence", "search", "smooth", "track_faces",
]  # fmt: skip

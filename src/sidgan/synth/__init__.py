"""Synthetic talking people: ground truth for tests, faces for training, and the demo.

`head` models a head as a union of ellipsoids and finds its surface by ray marching. `skin` paints textures once per
person, `eyes` and `lips` are drawn per frame, `backdrop` is behind, and `render` shades it all. A line of phones
(`speech`) drives both the lips and the voice (`voice`), so picture and sound are in sync. `Scene` combines them.
"""

from sidgan.synth.person import Person, Pose, pose
from sidgan.synth.render import Portrait
from sidgan.synth.scene import Scene, Shot
from sidgan.synth.speech import LINES, PHONES, Line, Mouth, Phone, bounds, length, mouth, random_line, read
from sidgan.synth.voice import voice

__all__ = [
    "LINES", "PHONES", "Line", "Mouth", "Person", "Phone", "Portrait", "Pose", "Scene", "Shot", "bounds",
    "length", "mouth", "pose", "random_line", "read", "voice",
]  # fmt: skip

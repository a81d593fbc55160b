"""A person who does not exist, drawn and made to speak: ground truth for tests, training faces, and the demo.

A head modelled from smooth blobs is met by camera rays (`head`), wears painted skin and hair (`skin`), and gets eyes
and lips per frame (`eyes`, `lips`); `render` lights it. A line of phones (`speech`) drives both the lips and the voice
(`voice`), so picture and sound agree at every moment. `Scene` puts it together.
"""

from sidgan.synth.person import Person, Pose, pose
from sidgan.synth.render import Portrait, landmarks, render
from sidgan.synth.scene import Scene, Shot
from sidgan.synth.speech import LINES, PHONES, Line, Mouth, Phone, bounds, length, mouth, random_line, read
from sidgan.synth.voice import voice

__all__ = [
    "LINES", "PHONES", "Line", "Mouth", "Person", "Phone", "Portrait", "Pose", "Scene", "Shot", "bounds", "landmarks",
    "length", "mouth", "pose", "random_line", "read", "render", "voice",
]  # fmt: skip

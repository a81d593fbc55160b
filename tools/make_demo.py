"""Make the bundled demo: a video of a synthetic person who talks, and another line spoken by another voice.

    python tools/make_demo.py

writes ``demo.mp4`` (video with sound) and ``demo_voice.m4a`` (sound) into the package's ``assets`` folder. The same
version of the package always draws the same person.
"""

from __future__ import annotations

import argparse
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from sidgan.media import write_clip
from sidgan.synth import LINES, Line, Person, Scene, voice

ASSETS = Path(__file__).parents[1] / "src" / "sidgan" / "assets"
RATE = 48_000
SEEN, HEARD = Person.random(14), Person.random(11)


def fitted(line: Line, seconds: float) -> Line:
    """The line followed by silence, ``seconds`` long in all."""
    return (*line, ("_", seconds - sum(d for _, d in line)))


def write_voice(path: Path, samples: np.ndarray) -> None:
    """Encode mono float32 samples at `RATE` as AAC."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("aac", rate=RATE, layout="mono", bit_rate=80_000)
        for start in range(0, len(samples), 1024):
            frame = av.AudioFrame.from_ndarray(samples[None, start : start + 1024], "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start, Fraction(1, RATE)
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))


def main() -> None:
    """Write both files."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=ASSETS, help="folder to write into")
    parser.add_argument("--crf", type=int, default=19, help="x264 quality of the clip")
    args = parser.parse_args()
    scene = Scene(SEEN, fitted(LINES["morning"], 6.0), size=(640, 640), face_px=430)
    images = (shot.image for shot in scene)
    write_clip(args.out / "demo.mp4", images, scene.rate, scene.audio(RATE), RATE, crf=args.crf, preset="veryslow")
    write_voice(args.out / "demo_voice.m4a", voice(fitted(LINES["seven"], 6.0), HEARD, RATE))


if __name__ == "__main__":
    main()

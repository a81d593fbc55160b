"""Dub two people in one video, each with a voice of their own; both are synthetic, so no files are needed.

python examples/several_speakers.py --seconds 3
"""

import argparse
from itertools import islice
from pathlib import Path

import numpy as np

import sidgan
from sidgan import dubbing, media
from sidgan.synth import LINES, Person, Scene, voice

RATE = 16_000


def draw(out: Path, seconds: float) -> None:
    """Write a clip of two people side by side."""
    left, right = (Scene(Person.random(seed), LINES["morning"], seconds, size=(360, 320), face_px=250)
                   for seed in (14, 11))  # fmt: skip
    images = (np.hstack([a.image, b.image]) for a, b in zip(left, right, strict=True))
    media.write_clip(out, images, left.rate, (left.audio(RATE) + right.audio(RATE)) / 2, RATE)


def main() -> None:
    """Draw the video, list its people, dub, and print which person was redrawn in which frames."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--out", type=Path, default=Path("speakers"), help="folder")
    args = parser.parse_args()
    args.out.mkdir(exist_ok=True)
    draw(args.out / "two.mp4", args.seconds)

    for person in dubbing.faces(args.out / "two.mp4", sheet=args.out / "people.png"):
        print(person.line())

    # Each voice is silent while the other speaks: here, the first one has the first half, the other the second half.
    half = round(args.seconds / 2 * RATE)
    for number, (line, quiet_before) in enumerate((("hello", 0), ("seven", half)), start=1):
        spoken = np.concatenate([np.zeros(quiet_before, np.float32), voice(LINES[line], Person.random(number), RATE)])
        media.write_wav(args.out / f"{number}.wav", spoken[: quiet_before + half], RATE)

    voices = {1: args.out / "1.wav", 2: args.out / "2.wav"}
    report = sidgan.dub(args.out / "two.mp4", None, args.out / "dubbed.mp4", speakers=voices)
    for shot in islice(report.shots, 4):
        print(f"frames {shot.first}-{shot.last}: person {shot.person}, {shot.dubbed} frames redrawn")
    print(f"see {args.out / 'people.png'} and {args.out / 'dubbed.mp4'}")


if __name__ == "__main__":
    main()

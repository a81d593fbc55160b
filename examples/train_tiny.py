"""From footage to weights: draw synthetic people, prepare the videos, train a small generator, and evaluate it.

python examples/train_tiny.py --steps 300     # some minutes; needs pip install 'sidgan[train]'
"""

import argparse
from pathlib import Path

from sidgan import checkpoint, evaluate, prepare
from sidgan.data.dataset import PackedSet
from sidgan.data.packing import PrepareConfig
from sidgan.evaluation import table
from sidgan.media import write_clip
from sidgan.synth import LINES, Person, Scene
from sidgan.train import runs

RATE = 16_000


def main() -> None:
    """Draw, prepare, train, evaluate on a person who was not trained on."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=6)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("tiny"), help="folder")
    args = parser.parse_args()
    footage = args.out / "footage"
    footage.mkdir(parents=True, exist_ok=True)
    for k in range(args.people):
        scene = Scene(Person.random(1000 + k), LINES["morning"], args.seconds, size=(200, 200), face_px=150)
        images = (shot.image for shot in scene)
        write_clip(footage / f"person_{k}.mp4", images, scene.rate, scene.audio(RATE), RATE)

    # A person must not be in two splits: the first one is held out for the evaluation.
    (args.out / "splits.toml").write_text('[unseen]\npeople = ["person_0"]\n', encoding="utf-8")
    prepare(footage, args.out / "data", PrepareConfig(size=64, min_side=32), splits=args.out / "splits.toml")

    config = runs.gan_config("nano64", args.steps, None, ["batch=5"])
    weights = runs.train_gan([args.out / "data"], config, "bundled", args.out / "run", "cpu")

    unseen = PackedSet(args.out / "data", ["unseen_people"])
    result = evaluate(checkpoint.load_generator(weights), unseen, rows=("model", "wrong", "average"), max_frames=10)
    print(table({"unseen people": result}))


if __name__ == "__main__":
    main()

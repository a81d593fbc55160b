"""A compared system through the commands: trained, judged, used to dub, exported."""

import json
import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from drawn import talking_blob
from marked import films, sidgan

from sidgan import checkpoint, media
from sidgan.config import SyncNetConfig
from sidgan.nn import SyncNet

SIZE, COUNT = 96, 30
TINY = ["generator.base=4", "generator.cmax=32", "generator.audio_width=2", "batch=5"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips as `sidgan prepare` packs them, and an expert beside them."""
    root = tmp_path_factory.mktemp("data")
    (root / "clips").mkdir()
    lines = []
    for seed, split in enumerate(("train", "heldout")):
        blob = talking_blob(SIZE, COUNT, seed)
        images = blob.images.permute(0, 2, 3, 1).numpy()
        media.write_clip(root / "clips" / f"{split}.mp4", list(images), Fraction(25), crf=10, chroma444=True)
        rng = np.random.default_rng(seed)
        np.savez(
            root / "clips" / f"{split}.npz", mel=rng.uniform(-4, 4, (80, 110)).astype(np.float16),
            landmarks=np.tile(rng.uniform(0.2, 0.9, (68, 2)), (COUNT, 1, 1)).astype(np.float32),
            masks=blob.masks.numpy(), pose=np.zeros((COUNT, 3), np.float32),
            matrices=np.tile(np.float32([[150, 0, 0], [0, 150, 0]]), (COUNT, 1, 1)),
        )  # fmt: skip
        split_of = {split: [0, COUNT]}
        lines.append({"name": f"a/{split}", "file": split, "frames": COUNT, "kept": True, "splits": split_of})
    (root / "manifest.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    torch.manual_seed(0)
    checkpoint.save(root / "expert.safetensors", SyncNet(SyncNetConfig(face=96, width=1, audio_width=1, blocks=0.0)))
    return root


@pytest.mark.parametrize(("preset", "kind"), [("wav2lip_small", "wav2lip"), ("pcavs_small", "pcavs")])
def test_from_training_to_a_dub(preset, kind, prepared, tmp_path):
    run, expert = tmp_path / "run", prepared / "expert.safetensors"
    settings = [word for setting in TINY for word in ("--set", setting)]
    code, said = sidgan("train", "gan", prepared, "--config", preset, "--steps", 2, "--run", run, "--expert", expert,
                        "--device", "cpu", *settings)  # fmt: skip
    assert code == 0, said
    assert json.loads((run / "config.json").read_text())["generator"]["kind"] == kind
    made = checkpoint.read_meta(run / "weights.safetensors")
    assert (made["kind"], made["config"]["kind"]) == ("generator", kind)
    if kind == "wav2lip":
        code, said = sidgan("eval", run, prepared, "--out", tmp_path / "judged", "--rows", "model", "--expert", expert,
                            "--max-frames", 4, "--device", "cpu", "--no-report")  # fmt: skip
        assert code == 0, said
        assert "model" in said
    folder = films(tmp_path)
    code, said = sidgan("dub", folder / "film.mp4", folder / "voice.wav", "-o", tmp_path / "out.mp4", "--model", run,
                        "--device", "cpu")  # fmt: skip
    assert code == 0, said
    dubbed = re.search(r"(\d+) of \d+ frames dubbed", said)
    assert dubbed, said
    assert int(dubbed[1]) > 20
    before, after = (list(media.read_frames(media.probe(tmp_path / name))) for name in ("film.mp4", "out.mp4"))
    changed = np.abs(before[5].planes[0].astype(int) - after[5].planes[0])
    assert changed[110:].max() > 20, "the mouth is another"
    assert changed[:60].max() < 20, "the forehead is as it was, but for the encoder"


def test_adaptation_is_for_our_own(prepared, tmp_path):
    from test_baselines import settled, tiny

    checkpoint.save(tmp_path / "w.safetensors", settled(tiny("wav2lip")))
    code, said = sidgan("adapt", films(tmp_path) / "film.mp4", "-o", tmp_path / "me.safetensors", "--model",
                        tmp_path / "w.safetensors")  # fmt: skip
    assert (code, said.endswith("only sidgan's can be adapted")) == (2, True)

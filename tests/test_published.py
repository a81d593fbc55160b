"""Weights as the compared systems' authors publish them, made here in the right names and shapes."""

import json

import h5py
import numpy as np
import pytest
import torch
from marked import sidgan
from safetensors import safe_open

from sidgan import checkpoint, published
from sidgan.config import GeneratorConfig
from sidgan.errors import CheckpointError
from sidgan.nn import Generator
from sidgan.nn.baselines import LipGAN, Wav2Lip, build


def small(kind: str, **changes) -> GeneratorConfig:
    values = {"kind": kind, "size": 24, "start": 3, "base": 2, "cmax": 16, "audio_width": 2, "rgb_levels": (24,),
              "audio_levels": ()}  # fmt: skip
    return GeneratorConfig(**values | changes)


def trained(kind: str, **changes) -> Generator:
    """Random weights and statistics, in evaluation."""
    torch.manual_seed(0)
    net = build(small(kind, **changes)).train()
    with torch.no_grad():
        for _ in range(10):
            net(torch.rand(4, 3, 24, 24), torch.rand(4, 3, 24, 24), torch.randn(4, 1, 80, 28))
    return net.eval()


def as_wav2lip(net: Wav2Lip, path, old: bool = False, **extra) -> None:
    """As its training script saves: behind ``module.``, with its optimiser, in the format of torch 1.1."""
    state = {f"module.{k}": v for k, v in net.state_dict().items() if k != "usual"} | extra
    saved = {"state_dict": state, "optimizer": {"state": {}, "param_groups": [{"lr": 1e-4}]}, "global_step": 3}
    torch.save(saved, path, _use_new_zipfile_serialization=not old)


def as_keras(net: LipGAN, path, first: int = 1) -> None:
    """As Keras saves a whole model: layers numbered by kind from ``first``, each in a group within its group."""
    kinds = {torch.nn.Conv2d: "conv2d", torch.nn.ConvTranspose2d: "conv2d_transpose",
             torch.nn.BatchNorm2d: "batch_normalization"}  # fmt: skip
    names = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    with h5py.File(path, "w") as file:
        file.create_dataset("optimizer_weights/Adam/conv2d_1/kernel:0", data=np.zeros(3))
        counts = dict.fromkeys(kinds, first)
        for module in net.modules():
            if type(module) not in kinds:
                continue
            layer = f"{kinds[type(module)]}_{counts[type(module)]}"
            counts[type(module)] += 1
            for key, value in module.state_dict().items():
                if key == "num_batches_tracked":
                    continue
                norm = isinstance(module, torch.nn.BatchNorm2d)
                name = names[key] if norm else {"weight": "kernel", "bias": "bias"}[key]
                array = value.permute(2, 3, 1, 0) if value.dim() == 4 else value
                file.create_dataset(f"model_weights/{layer}/{layer}/{name}:0", data=array.numpy())


def as_pcavs(net: Generator, path) -> None:
    """As its trainer saves the generator: convolutions with an axis in front, and parts that are not used here."""
    state = {k: v[None] if k.endswith("conv.weight") else v for k, v in net.synthesis.state_dict().items()}
    state |= {"style.1.weight": torch.zeros(4, 4), "convs.0.conv.blur.kernel": torch.zeros(4, 4)}
    torch.save(state, path)


@pytest.mark.parametrize(("kind", "write"), [
    ("wav2lip", as_wav2lip), ("wav2lip", lambda net, path: as_wav2lip(net, path, old=True)), ("lipgan", as_keras),
    ("lipgan", lambda net, path: as_keras(net, path, first=9)),
])  # fmt: skip
def test_a_published_network_draws_the_same_in_the_other_order_of_colours(kind, write, tmp_path):
    net = trained(kind)
    source = tmp_path / ("weights.h5" if kind == "lipgan" else "weights.pth")
    write(net, source)
    code, said = sidgan("import", source, "-o", tmp_path / "out.safetensors")
    assert code == 0, said
    assert "non-commercial" in said
    made = checkpoint.load_generator(tmp_path / "out.safetensors")
    assert made.config == net.config
    assert "non-commercial" in checkpoint.read_meta(tmp_path / "out.safetensors")["meta"]["terms"]
    query, reference, mel = torch.rand(2, 3, 24, 24), torch.rand(1, 3, 24, 24), torch.randn(2, 1, 80, 28)
    with torch.no_grad():
        blue_first = net(query.flip(1), reference.flip(1), mel)[24].flip(1)
        torch.testing.assert_close(made(query, reference, mel)[24], blue_first)
        assert (net(query, reference, mel)[24] - blue_first).abs().max() > 1e-4


def test_only_what_draws_is_taken_from_pc_avs(tmp_path):
    net = trained("pcavs")
    as_pcavs(net, tmp_path / "latest_net_G.pth")
    line = published.convert(tmp_path / "latest_net_G.pth", tmp_path / "out.safetensors")
    assert "train the rest" in line
    assert "CC BY" in line
    made = checkpoint.load_generator(tmp_path / "out.safetensors")
    assert (made.config.size, made.config.cmax, made.config.base) == (24, 16, 2)
    code = torch.randn(2, 80)
    with torch.no_grad():
        torch.testing.assert_close(made.synthesis(code), net.synthesis(code))


def test_published_size_is_recognised(tmp_path):
    """The names of the full network, as zeros that take no room in memory."""
    with torch.device("meta"):
        net = build(GeneratorConfig(kind="wav2lip", size=96, start=3, base=16, rgb_levels=(96,), audio_levels=()))
    assert {"face_encoder_blocks.5.1.conv_block.0.weight", "face_encoder_blocks.6.1.conv_block.1.running_var",
            "audio_encoder.12.conv_block.0.bias", "face_decoder_blocks.6.2.conv_block.1.weight",
            "face_decoder_blocks.0.0.conv_block.0.weight", "output_block.0.conv_block.0.weight",
            "output_block.1.bias"} <= net.state_dict().keys()  # fmt: skip
    shape = {k: tuple(v.shape) for k, v in net.state_dict().items()}
    assert shape["face_decoder_blocks.3.0.conv_block.0.weight"] == (768, 384, 3, 3)
    assert shape["output_block.0.conv_block.0.weight"] == (32, 80, 3, 3)


def test_a_wrong_file_gets_one_line(tmp_path):
    out = tmp_path / "out.safetensors"

    def refusal(file) -> str:
        code, said = sidgan("import", file, "-o", out)
        assert code == 2
        assert "\n" not in said
        assert sorted(p.name for p in tmp_path.glob("*.safetensors")) == []
        return said

    assert "no weights file" in refusal(tmp_path / "none.pth")
    (tmp_path / "text.pth").write_text("this is not weights")
    assert "cannot be read as weights" in refusal(tmp_path / "text.pth")
    torch.save({"state_dict": {"a": torch.zeros(2)}}, tmp_path / "other.pth")
    assert "neither a generator of Wav2Lip" in refusal(tmp_path / "other.pth")
    torch.save([torch.zeros(2)], tmp_path / "list.pth")
    assert "neither a generator of Wav2Lip" in refusal(tmp_path / "list.pth")
    torch.save({"net": trained("wav2lip")}, tmp_path / "pickle.pth")
    assert "cannot be read as weights" in refusal(tmp_path / "pickle.pth"), "whole networks would run code"
    as_wav2lip(trained("wav2lip"), tmp_path / "more.pth", **{"module.face_encoder_blocks.0.9.x": torch.zeros(1)})
    assert "another version of Wav2Lip: 'face_encoder_blocks.0.9.x'" in refusal(tmp_path / "more.pth")
    (tmp_path / "text.h5").write_text("this is not weights")
    assert "cannot be read as weights of Keras" in refusal(tmp_path / "text.h5")
    with h5py.File(tmp_path / "empty.h5", "w") as file:
        file.create_dataset("dense_1/kernel:0", data=np.zeros((2, 2)))
    assert "no generator of LipGAN" in refusal(tmp_path / "empty.h5")
    as_keras(trained("lipgan"), tmp_path / "short.h5")
    with h5py.File(tmp_path / "short.h5", "a") as file:
        del file["model_weights/batch_normalization_3"]
    assert "not its residual network" in refusal(tmp_path / "short.h5")
    code, said = sidgan("import", tmp_path / "short.h5", "-o", tmp_path / "out.pth")
    assert (code, said) == (2, f"{tmp_path / 'out.pth'} must end in .safetensors")


def test_weights_of_an_unknown_kind_get_one_line(tmp_path):
    path = tmp_path / "new.safetensors"
    checkpoint.save(path, trained("wav2lip"))
    with safe_open(path, "pt") as file:
        header, tensors = file.metadata(), {k: file.get_tensor(k) for k in file.keys()}  # noqa: SIM118
    from safetensors.torch import save_file

    save_file(tensors, path, {**header, "config": header["config"].replace("wav2lip", "wav3lip")})
    with pytest.raises(CheckpointError, match=r"does not fit this version of sidgan .*'kind' must be one of"):
        checkpoint.load_generator(path)
    for change in ({"kind": None}, {"config": "{"}, {"meta": "3"}, {"base": "{}"}, {"base": "[]"},
                   {"base": '{"name": "x", "near": 3, "digest": "0"}'}):  # fmt: skip
        save_file(tensors, path, {k: v for k, v in {**header, **change}.items() if v is not None})
        with pytest.raises(CheckpointError, match="is damaged: its metadata cannot be read"):
            checkpoint.load_generator(path)
    (tmp_path / "text").write_text("no weights, but in the place of some")
    save_file(tensors, path, {**header, "base": json.dumps({"name": "text", "near": "text", "digest": "0"})})
    with pytest.raises(CheckpointError, match="text is not those weights; put the right file there"):
        checkpoint.load_generator(path)
    checkpoint.save(path, trained("wav2lip"))
    with pytest.raises(CheckpointError, match="cannot be used in other networks"):
        checkpoint.load_ears(path)

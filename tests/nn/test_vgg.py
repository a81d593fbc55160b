"""VGG19: the layers that the published weights fit, and what happens without them."""

import pytest
import torch
from torch import nn

from sidgan.errors import CheckpointError
from sidgan.nn import VGG19, vgg
from sidgan.nn.vgg import DEVIATION, MEAN

CONVOLUTIONS = {0: 64, 2: 64, 5: 128, 7: 128, 10: 256, 12: 256, 14: 256, 16: 256, 19: 512, 21: 512, 23: 512, 25: 512,
                28: 512, 30: 512, 32: 512}  # fmt: skip


@pytest.fixture(scope="module")
def net() -> VGG19:
    return VGG19()


def test_layers_are_numbered_as_published_and_end_at_relu5_3(net: VGG19) -> None:
    found = {i: m.out_channels for i, m in enumerate(net.features) if isinstance(m, nn.Conv2d)}
    assert found == CONVOLUTIONS
    assert [i for i, m in enumerate(net.features) if isinstance(m, nn.MaxPool2d)] == [4, 9, 18, 27]
    assert len(net.features) == 34
    assert isinstance(net.features[33], nn.ReLU)
    assert set(net.state_dict()) == {f"features.{i}.{kind}" for i in CONVOLUTIONS for kind in ("weight", "bias")}


@pytest.mark.parametrize(("size", "side"), [(32, 8), (128, 8), (256, 16)])
def test_positions_to_compare(net: VGG19, size: int, side: int) -> None:
    features = net(torch.rand(1, 3, size, size))
    assert features.shape == (1, 512, side, side)
    assert 0.05 < features.std() < 50  # the signal neither dies nor explodes on its way through random layers


def test_published_weights_are_taken_and_named(net: VGG19) -> None:
    state = {k: torch.full_like(v, 0.01) for k, v in net.state_dict().items()}
    loaded = VGG19(state | {"classifier.0.weight": torch.zeros(3), "features.34.weight": torch.zeros(1)})
    assert loaded.source == "published weights"
    assert all(float(p.min()) == pytest.approx(0.01) for p in loaded.parameters())
    with pytest.raises(CheckpointError, match=r"features\.0\.weight"):
        VGG19({"features.0.weight": torch.zeros(3, 3)})


def test_without_them_it_says_so_and_repeats(net: VGG19, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "random" in net.source
    again = VGG19()
    monkeypatch.setattr(vgg, "SEED", 1)
    other = VGG19()
    assert torch.equal(net.features[28].weight, again.features[28].weight)
    assert not torch.equal(net.features[28].weight, other.features[28].weight)


def test_it_is_frozen_but_passes_gradients(net: VGG19) -> None:
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    net(images).square().mean().backward()
    assert not any(p.requires_grad for p in net.parameters())
    assert images.grad is not None
    assert images.grad.abs().sum() > 0


def normalised(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Weights as published for style transfer: other numbers, scaled channels, and a layer in front."""
    before = torch.tensor([[0.0, 0, 255], [0, 255, 0], [255, 0, 0]])
    given, scale = {"0.weight": before[:, :, None, None], "0.bias": -before @ torch.tensor(MEAN)}, torch.ones(3)
    for number, layer in zip((2, 5, 9, 12, 16, 19, 22, 25, 29, 32, 35, 38, 42, 45, 48), CONVOLUTIONS, strict=True):
        weight, bias = state[f"features.{layer}.weight"], state[f"features.{layer}.bias"]
        if layer == 0:  # which is to see what the layer in front gives
            weight = (weight / torch.tensor(DEVIATION)[:, None, None]).flip(1) / 255
        after = torch.rand(len(weight)) + 0.5
        given[f"{number}.weight"] = weight * after[:, None, None, None] / scale[None, :, None, None]
        given[f"{number}.bias"], scale = bias * after, after
    return given | {"51.weight": torch.zeros(1), "last": scale}


def test_normalised_weights_are_the_same_network_but_for_the_scales_of_its_last_channels(net: VGG19) -> None:
    state = {k: v + 0.01 * torch.randn_like(v) for k, v in net.state_dict().items()}
    given = normalised(state)
    scale = given.pop("last")[:, None, None]
    images = torch.rand(2, 3, 128, 128)
    loaded = VGG19(given)
    torch.testing.assert_close(loaded(images), VGG19(state)(images) * scale, rtol=1e-3, atol=1e-3)
    assert loaded.source == "published weights, normalised"
    for broken in ({"48.weight": torch.zeros(1)}, {"2.weight": torch.zeros(64, 1, 3, 3)}, {"0.weight": torch.zeros(1)}):
        with pytest.raises(CheckpointError, match="missing or of another shape"):
            VGG19(given | broken)
    with pytest.raises(CheckpointError, match="missing or of another shape"):
        VGG19({k: v for k, v in given.items() if k != "0.bias"})

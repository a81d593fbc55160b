"""VGG19: the layers that the published weights fit, and what happens without them."""

import pytest
import torch
from torch import nn

from sidgan.errors import CheckpointError
from sidgan.nn import VGG19

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


def test_without_them_it_says_so_and_repeats(net: VGG19) -> None:
    assert "random" in net.source
    again, other = VGG19(), VGG19(seed=1)
    assert torch.equal(net.features[28].weight, again.features[28].weight)
    assert not torch.equal(net.features[28].weight, other.features[28].weight)


def test_it_is_frozen_but_passes_gradients(net: VGG19) -> None:
    images = torch.rand(1, 3, 128, 128, requires_grad=True)
    net(images).square().mean().backward()
    assert not any(p.requires_grad for p in net.parameters())
    assert images.grad is not None
    assert images.grad.abs().sum() > 0

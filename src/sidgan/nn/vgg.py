"""VGG19 up to relu5_3, the feature extractor of the contextual and the perceptual loss (Sec. 3.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from sidgan.errors import CheckpointError

POOL = 0  #: stands for a 2x2 max pooling in `LAYERS`
#: Output channels of the 3x3 convolutions, each followed by a ReLU; layers are numbered as in the published weights.
LAYERS = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, 256, POOL, 512, 512, 512, 512, POOL, 512, 512, 512)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  #: of ImageNet's RGB values in [0, 1]
SEED = 0  #: of random weights
SMALLEST = 128  #: px; smaller images are enlarged, as too few feature positions would be left to compare


class VGG19(nn.Module):
    """Frozen feature extractor: the first 34 layers of VGG19, ending with the ReLU of conv5_3.

    Args:
        state: published weights, with or without the rest of the network: torchvision's, whose keys begin with
            ``features.``, or the normalised ones used in style transfer, with a preprocessing layer in front (see
            `_renumbered`). Without them the weights are random with a fixed seed, which gives another loss than the
            paper's.

    Attributes:
        source: which weights these are; recorded with every run and checkpoint.

    Raises:
        CheckpointError: the weights are of another network.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for outputs in LAYERS:
            if outputs == POOL:
                layers.append(nn.MaxPool2d(2))
                continue
            layers += [nn.Conv2d(channels, outputs, 3, padding=1), nn.ReLU(inplace=True)]
            channels = outputs
        self.features = nn.Sequential(*layers)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("deviation", torch.tensor(DEVIATION).view(1, 3, 1, 1), persistent=False)
        self.source = f"random weights, seed {SEED}"
        if state is None:
            self._randomise()
        elif "0.weight" in state:
            self._load(_renumbered(state, [k.removesuffix(".weight") for k in self.state_dict() if "weight" in k]))
            self.source = "published weights, normalised"
        else:
            self._load(state)
            self.source = "published weights"
        self.eval().requires_grad_(False)

    def forward(self, images: Tensor) -> Tensor:
        """Map (N, 3, S, S) in [0, 1] to (N, 512, S / 16, S / 16); images under 128 px are first enlarged to 128 px."""
        if images.shape[-1] < SMALLEST:
            size = (SMALLEST, SMALLEST)
            images = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
        return self.features((images - self.mean) / self.deviation)

    def _randomise(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):  # Kaiming initialisation keeps the variance from layer to layer
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _load(self, state: Mapping[str, Tensor]) -> None:
        own = self.state_dict()
        missing = [k for k in own if k not in state or state[k].shape != own[k].shape]
        if missing:
            raise CheckpointError(f"these are not the weights of VGG19: '{missing[0]}' is missing or of another shape")
        self.load_state_dict({k: state[k] for k in own})


def _renumbered(state: Mapping[str, Tensor], layers: Iterable[str]) -> dict[str, Tensor]:
    """Convert normalised weights to the parameter names ``layers`` and the input of `VGG19`.

    They are the authors' weights with each channel rescaled to a mean activation of 1 on ImageNet. The scales cancel
    from layer to layer; only those of the last layer remain. A 1x1 convolution in front maps RGB in [0, 1] to BGR minus
    the mean colour. It is folded into the first 3x3 convolution, whose zero padding then stands for the mean colour, as
    when the network was trained.

    Returns:
        The renamed weights, or an empty dictionary where they are of another network.
    """
    convert, shift = state["0.weight"], state.get("0.bias")
    numbers = sorted(int(k.removesuffix(".weight")) for k in state if k.removesuffix(".weight").isdecimal())
    found = {f"{layer}.{kind}": state[f"{number}.{kind}"] for layer, number in zip(layers, numbers[1:], strict=False)
             for kind in ("weight", "bias") if f"{number}.{kind}" in state}  # fmt: skip
    first = found.get("features.0.weight")
    if first is None or first.shape[1:] != (3, 3, 3) or convert.shape != (3, 3, 1, 1) or shift is None:
        return {}  # the caller then raises a `CheckpointError`
    matrix = convert[:, :, 0, 0]
    found["features.0.weight"] = torch.einsum("ochw,ci,i->oihw", first, matrix, torch.tensor(DEVIATION))
    found["features.0.bias"] = found["features.0.bias"] + first.sum((2, 3)) @ (matrix @ torch.tensor(MEAN) + shift)
    return found

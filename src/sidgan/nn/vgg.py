"""VGG19 up to relu5_3, whose features the contextual and the perceptual loss compare (Sec. 3.3.2)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch
from torch import Tensor, nn

from sidgan.errors import CheckpointError

POOL = 0  #: in `LAYERS`: halve the picture
#: Channels of the 3x3 convolutions. Layers are numbered as in the published weights: convolution, ReLU, ..., pooling.
LAYERS = (64, 64, POOL, 128, 128, POOL, 256, 256, 256, 256, POOL, 512, 512, 512, 512, POOL, 512, 512, 512)
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  #: of the pictures that the published weights saw
SEED = 0  #: of random weights
SMALLEST = 128  #: px; smaller pictures are enlarged, or too few positions are left to compare


class VGG19(nn.Module):
    """Frozen feature extractor: the first 34 layers of VGG19, ending with the ReLU of conv5_3.

    Args:
        state: published weights, with or without the rest of the network: of torchvision, whose keys begin with
            ``features.``, or normalised as for style transfer, with a layer in front that prepares pictures (see
            `_renumbered`). Without them the weights are random, always the same. That is another loss than the
            paper's: ``source`` says which it is, and every run and checkpoint repeats it.

    Raises:
        CheckpointError: weights of another network.
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
        """Map (N, 3, S, S) in [0, 1] to (N, 512, S / 16, S / 16); pictures under 128 px are enlarged to that first."""
        if images.shape[-1] < SMALLEST:
            size = (SMALLEST, SMALLEST)
            images = nn.functional.interpolate(images, size, mode="bilinear", align_corners=False)
        return self.features((images - self.mean) / self.deviation)

    def _randomise(self) -> None:
        generator = torch.Generator().manual_seed(SEED)
        for layer in self.features:
            if isinstance(layer, nn.Conv2d):  # keeps the strength of the signal from layer to layer
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
                nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def _load(self, state: Mapping[str, Tensor]) -> None:
        mine = self.state_dict()
        missing = [k for k in mine if k not in state or state[k].shape != mine[k].shape]
        if missing:
            raise CheckpointError(f"these are not the weights of VGG19: '{missing[0]}' is missing or of another shape")
        self.load_state_dict({k: state[k] for k in mine})


def _renumbered(state: Mapping[str, Tensor], layers: Iterable[str]) -> dict[str, Tensor]:
    """Normalised weights under the names of ``layers``, as the network here takes them.

    They are those of the network's authors, with channels scaled so that each says 1 of ImageNet on average. The scales
    cancel from layer to layer; only those of the last remain. A layer in front turns RGB in [0, 1] into BGR without the
    mean colour. It becomes a part of the first convolution, whose zeros at the border are then the mean colour, as when
    the network was trained.
    """
    before, added = state["0.weight"], state.get("0.bias")
    numbers = sorted(int(k.removesuffix(".weight")) for k in state if k.removesuffix(".weight").isdecimal())
    mine = {f"{layer}.{kind}": state[f"{number}.{kind}"] for layer, number in zip(layers, numbers[1:], strict=False)
            for kind in ("weight", "bias") if f"{number}.{kind}" in state}  # fmt: skip
    first = mine.get("features.0.weight")
    if first is None or first.shape[1:] != (3, 3, 3) or before.shape != (3, 3, 1, 1) or added is None:
        return {}  # which whoever takes it refuses
    turned = before[:, :, 0, 0]
    mine["features.0.weight"] = torch.einsum("ochw,ci,i->oihw", first, turned, torch.tensor(DEVIATION))
    mine["features.0.bias"] = mine["features.0.bias"] + first.sum((2, 3)) @ (turned @ torch.tensor(MEAN) + added)
    return mine

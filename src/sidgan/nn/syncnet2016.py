"""The published SyncNet, on whose embeddings the metrics LSE-D and LSE-C are based (the paper's Tables 1 and 2).

Chung & Zisserman, "Out of time: automated lip sync in the wild", 2016. It is used for evaluation with published
weights and is not trained here; the expert that the generator is trained with is `sidgan.nn.SyncNet`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from sidgan.errors import CheckpointError

FACE = 224  #: px, side of its face crops
FRAMES, COLUMNS = 5, 20  #: of a 0.2 s window: frames, and time steps of its 13 cepstral coefficients
FEATURES = 1024  #: values of an embedding

#: One row per convolution: channels, kernel, stride, padding, and kernel, stride and padding of the pooling after it.
Layer = tuple[int, tuple[int, ...], int | tuple[int, ...], int | tuple[int, ...], tuple[tuple[int, ...], ...] | None]
VIDEO: tuple[Layer, ...] = (
    (96, (5, 7, 7), (1, 2, 2), 0, ((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    (256, (1, 5, 5), (1, 2, 2), (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 1, 1))),
    (256, (1, 3, 3), 1, (0, 1, 1), None),
    (256, (1, 3, 3), 1, (0, 1, 1), None),
    (256, (1, 3, 3), 1, (0, 1, 1), ((1, 3, 3), (1, 2, 2), (0, 0, 0))),
    (512, (1, 6, 6), 1, 0, None),
)
AUDIO: tuple[Layer, ...] = (
    (64, (3, 3), 1, 1, ((1, 1), (1, 1), (0, 0))),
    (192, (3, 3), 1, 1, ((3, 3), (1, 2), (0, 0))),
    (384, (3, 3), 1, 1, None),
    (256, (3, 3), 1, 1, None),
    (256, (3, 3), 1, 1, ((3, 3), (2, 2), (0, 0))),
    (512, (5, 4), 1, 0, None),
)


class SyncNet2016(nn.Module):
    """Embeds mouths and sounds so that matching pairs are close.

    Modules are named as in the published weights, ``syncnet_v2.model``.

    Args:
        state: weights. Without them, the weights are random and the network only serves tests of shape and speed.

    Attributes:
        published: whether the weights are the published ones, by their digest (`sidgan.metrics.load_lag_expert`). Only
            then may figures computed with it be called LSE-D or LSE-C.
        sha256: digest of the weights file; empty without one.

    Raises:
        CheckpointError: the weights are of another network.
    """

    def __init__(self, state: Mapping[str, Tensor] | None = None) -> None:
        super().__init__()
        self.netcnnaud, self.netcnnlip = _convolutions(1, AUDIO), _convolutions(3, VIDEO)
        self.netfcaud, self.netfclip = _head(), _head()
        self.published, self.sha256 = False, ""
        if state is not None:
            self._load(state)
        self.eval().requires_grad_(False)

    def embed_video(self, windows: Tensor) -> Tensor:
        """Map windows (N, 3, 5, 224, 224) float in 0..255, channels in the order **blue, green, red**, to (N, 1024)."""
        return self.netfclip(self.netcnnlip(windows).flatten(1))

    def embed_audio(self, cepstra: Tensor) -> Tensor:
        """Map cepstra (N, 1, 13, 20) to (N, 1024)."""
        return self.netfcaud(self.netcnnaud(cepstra).flatten(1))

    def _load(self, state: Mapping[str, Tensor]) -> None:
        own = self.state_dict()
        counters = {name for name in own if name.endswith("num_batches_tracked")}  # older files lack these
        wrong = [k for k in own if k not in counters and (k not in state or state[k].shape != own[k].shape)]
        if wrong:
            raise CheckpointError(
                f"these are not the weights of SyncNet: '{wrong[0]}' is missing or of another shape"
            )
        self.load_state_dict({k: state.get(k, v) for k, v in own.items()})


def _convolutions(channels: int, layers: tuple[Layer, ...]) -> nn.Sequential:
    """Build each row as convolution, batch normalisation, ReLU and, where the row has one, max pooling."""
    planar = len(layers[0][1]) == 2
    conv: type[nn.Module] = nn.Conv2d if planar else nn.Conv3d
    norm: type[nn.Module] = nn.BatchNorm2d if planar else nn.BatchNorm3d
    pool: type[nn.Module] = nn.MaxPool2d if planar else nn.MaxPool3d
    modules: list[nn.Module] = []
    for inputs, (outputs, kernel, stride, padding, pooling) in zip(
        (channels, *(layer[0] for layer in layers)), layers, strict=False
    ):
        modules += [conv(inputs, outputs, kernel, stride, padding), norm(outputs), nn.ReLU()]
        if pooling is not None:
            modules.append(pool(*pooling))
    return nn.Sequential(*modules)


def _head() -> nn.Sequential:
    return nn.Sequential(nn.Linear(512, 512), nn.BatchNorm1d(512), nn.ReLU(), nn.Linear(512, FEATURES))

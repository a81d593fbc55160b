"""A network that tells speech sounds apart, for the sake of its ears.

Few people can be seen speaking in a small set of videos, but thousands can be heard. An audio encoder that has learnt
to tell the sounds of many voices apart hears the same in a voice it has never met; one that has learnt from the
videos alone knows their speakers by heart.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import AUDIO_FEATURES, ListenerConfig
from sidgan.nn.syncnet import AudioEncoder

#: What may be heard: nothing, or one of the 39 sounds of English in the ARPAbet's letters. Other languages' sounds are
#: told as the nearest of these, which is near enough for the lips.
SOUNDS = (
    "silence", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY",
    "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
DROPPED = 0.1  #: share of the features that are left out in training


class Listener(nn.Module):
    """Says which of `SOUNDS` is in the middle of a mel window.

    Attributes:
        audio: its `AudioEncoder`, which an expert or a generator of the same ``audio_width`` takes over.
    """

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioEncoder(config.audio_width, config.blocks, config.aps_audio)
        self.sound = nn.Linear(AUDIO_FEATURES, len(SOUNDS))

    def forward(self, mel: Tensor) -> Tensor:
        """Map (B, 1, 80, 16) log-mel in [-4, 4] to scores (B, 40), float32, of which softmax makes chances."""
        heard = F.layer_norm(self.audio(mel).float(), (AUDIO_FEATURES,))  # as the generator takes it
        return self.sound(F.dropout(heard, DROPPED, self.training))

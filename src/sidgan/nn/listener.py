"""A phoneme classifier, trained only to pretrain its audio encoder.

A small set of videos shows few speakers, but audio recordings of thousands exist. An audio encoder that was trained to
classify the phonemes of many voices generalises to unseen voices; one that was trained on the videos alone overfits to
their speakers.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from sidgan.config import AUDIO_FEATURES, ListenerConfig
from sidgan.nn.syncnet import AudioEncoder

#: The classes: silence and the 39 English phonemes in ARPAbet. Sounds of other languages are labelled as the nearest of
#: these, which is near enough for the shape of the lips.
SOUNDS = (
    "silence", "AA", "AE", "AH", "AO", "AW", "AY", "B", "CH", "D", "DH", "EH", "ER", "EY", "F", "G", "HH", "IH", "IY",
    "JH", "K", "L", "M", "N", "NG", "OW", "OY", "P", "R", "S", "SH", "T", "TH", "UH", "UW", "V", "W", "Y", "Z", "ZH",
)  # fmt: skip
DROPOUT = 0.1  #: share of the features that are dropped in training


class Listener(nn.Module):
    """Classifies which of `SOUNDS` is in the middle of a mel window.

    Attributes:
        audio: its `AudioEncoder`, whose weights an expert or a generator of the same ``audio_width`` can take over.
    """

    def __init__(self, config: ListenerConfig) -> None:
        super().__init__()
        self.config = config
        self.audio = AudioEncoder(config.audio_width, config.blocks, config.aps_audio)
        self.sound = nn.Linear(AUDIO_FEATURES, len(SOUNDS))

    def forward(self, mel: Tensor) -> Tensor:
        """Map (B, 1, 80, 16) log-mel in [-4, 4] to logits (B, 40), float32."""
        feature = F.layer_norm(self.audio(mel).float(), (AUDIO_FEATURES,))  # normalised as in the generator
        return self.sound(F.dropout(feature, DROPOUT, self.training))

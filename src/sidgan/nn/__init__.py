"""The networks: synchronisation experts, the pyramid generator, patch discriminators, and the layers they share."""

from sidgan.nn.discriminator import Discriminator
from sidgan.nn.generator import FaceEncoder, Features, Generator
from sidgan.nn.layers import AdaptivePolyphase, count_parameters
from sidgan.nn.syncnet import AudioEncoder, SyncNet, VideoEncoder, lower_half_windows
from sidgan.nn.syncnet2016 import SyncNet2016
from sidgan.nn.vgg import VGG19

__all__ = [
    "VGG19", "AdaptivePolyphase", "AudioEncoder", "Discriminator", "FaceEncoder", "Features", "Generator", "SyncNet",
    "SyncNet2016", "VideoEncoder", "count_parameters", "lower_half_windows",
]  # fmt: skip

"""The networks.

::

    layers          adaptive polyphase sampling (APS) with any stride, convolution units
    syncnet         APS-SyncNet and the vanilla SyncNet; the audio encoder that generators share with it
    generator       the pyramid from 16 to 512 px; `motion` warps the references for it
    discriminator   patch discriminators                     vgg          VGG19, for the contextual loss
    listener        phoneme classifier                       occlusion    segments what covers a face
    syncnet2016     published SyncNet of LSE-D and LSE-C     baselines    the systems that the paper compares with
"""

from sidgan.nn.discriminator import Discriminator
from sidgan.nn.generator import FaceEncoder, Features, Generator
from sidgan.nn.layers import AdaptivePolyphase, count_parameters
from sidgan.nn.listener import SOUNDS, Listener
from sidgan.nn.occlusion import OcclusionNet
from sidgan.nn.syncnet import AudioEncoder, SyncNet, VideoEncoder, at_expert_size, lower_half_windows, middle
from sidgan.nn.syncnet2016 import SyncNet2016
from sidgan.nn.vgg import VGG19

__all__ = [
    "SOUNDS", "VGG19", "AdaptivePolyphase", "AudioEncoder", "Discriminator", "FaceEncoder", "Features", "Generator",
    "Listener", "OcclusionNet", "SyncNet", "SyncNet2016", "VideoEncoder", "at_expert_size", "count_parameters",
    "lower_half_windows", "middle",
]  # fmt: skip

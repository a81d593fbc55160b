"""The networks: synchronisation experts, the pyramid generator, patch discriminators, and the layers they share."""

from sidgan.nn.layers import AdaptivePolyphase
from sidgan.nn.syncnet import AudioEncoder, SyncNet, VideoEncoder, lower_half_windows

__all__ = ["AdaptivePolyphase", "AudioEncoder", "SyncNet", "VideoEncoder", "lower_half_windows"]

"""Media files: video and sound are read, written and muxed here, and only here.

**One clock.** Time 0 of a video is when its first frame is shown, and time 0 of a file with sound alone is its first
sample. Frames, samples and the muxer all count from there, whatever timestamp the container starts at, so "the voice
starts with the first frame" needs no arithmetic anywhere else.

**One lossy step.** Frames keep the planes that the decoder gave; `editable` copies the ones that are to be changed, and
`Writer` encodes them with the timestamps, colour tags, rotation and pixel aspect ratio of the source.
"""

from sidgan.media.encoders import Encoding
from sidgan.media.excerpt import write_sound_excerpt
from sidgan.media.loudness import loudness
from sidgan.media.mix import turned_down, write_mix
from sidgan.media.pictures import digest, editable, glance, probe, read_frames, read_rgb, read_span, without_captions
from sidgan.media.player import Player
from sidgan.media.segments import Segment, SegmentWriter
from sidgan.media.separation import require_separator, separator, write_rest
from sidgan.media.shown import shown_for, shown_times
from sidgan.media.sound import decode_audio, read_audio, stretch, write_wav
from sidgan.media.source import metadata
from sidgan.media.stated import Stated, stated
from sidgan.media.stills import read_picture
from sidgan.media.track import SoundSpan, channels, channels_kept, require_sound, sound_span, unheard
from sidgan.media.writer import Writer, require_container, write_clip, write_png

__all__ = [
    "Encoding",
    "Player",
    "Segment",
    "SegmentWriter",
    "SoundSpan",
    "Stated",
    "Writer",
    "channels",
    "channels_kept",
    "decode_audio",
    "digest",
    "editable",
    "glance",
    "loudness",
    "metadata",
    "probe",
    "read_audio",
    "read_frames",
    "read_picture",
    "read_rgb",
    "read_span",
    "require_container",
    "require_separator",
    "require_sound",
    "separator",
    "shown_for",
    "shown_times",
    "sound_span",
    "stated",
    "stretch",
    "turned_down",
    "unheard",
    "without_captions",
    "write_clip",
    "write_mix",
    "write_png",
    "write_rest",
    "write_sound_excerpt",
    "write_wav",
]

"""The video encoder of an output file: its options, and whether it works on this computer."""

from __future__ import annotations

import io
from dataclasses import dataclass
from fractions import Fraction

import av
from av.codec.codec import Codec, UnknownCodecError
from av.codec.context import Flags
from av.container import OutputContainer
from av.video.codeccontext import VideoCodecContext
from av.video.stream import VideoStream

from sidgan.errors import ConfigError
from sidgan.types import Clip

MUXERS = {".mp4": "mp4", ".mov": "mov", ".mkv": "matroska"}  #: by `sidgan.files.ending`
SHORT = {"x264": "libx264", "x265": "libx265"}
SOFTWARE = ("x264", "x265", "libsvtav1", "libvpx-vp9", "ffv1", "prores_ks")
HARDWARE = tuple(f"{codec}_{chip}" for chip in ("nvenc", "videotoolbox", "qsv", "amf") for codec in ("h264", "hevc"))
#: Pixel formats with the same samples in another memory layout, for encoders that do not take the planar format.
TWINS = {
    "yuv420p": ("nv12",), "yuv422p": ("nv16",), "yuv420p10le": ("p010le",), "yuv422p10le": ("p210le",),
    "yuv444p10le": ("yuv444p10msble",),
}  # fmt: skip
REPRODUCIBLE = "cpu-independent=1"  #: for x264, whose macroblock tree otherwise gives other bytes in each run
BITS_PER_PIXEL = 0.2  #: for encoders without constant quality: 10 Mbit/s for 1080p at 25 frames per second


@dataclass(frozen=True)
class Encoding:
    """How frames are encoded.

    Attributes:
        encoder: ``x264``, ``x265``, or FFmpeg's name of any other, such as ``h264_nvenc``.
        crf: constant quality of x264 and x265, 0 (best) to 51; others get their nearest equivalent.
        preset: speed preset of x264 and x265; slower ones give smaller files.
        lossless: encode without loss; ``crf`` is ignored then.
    """

    encoder: str = "x264"
    crf: int = 16
    preset: str = "medium"
    lossless: bool = False

    @property
    def name(self) -> str:
        """FFmpeg's name of the encoder."""
        return SHORT.get(self.encoder, self.encoder)

    def stream(
        self, container: OutputContainer, layout: str, size: tuple[int, int], rate: Fraction, time_base: Fraction
    ) -> VideoStream:
        """Add a video stream to ``container``. Frames must be converted to its ``pix_fmt`` before they are encoded.

        Args:
            container: the output.
            layout: FFmpeg's name of the frames' pixel format.
            size: (width, height) in px, as stored.
            rate: average frames per second.
            time_base: seconds per tick of the frames' timestamps.

        Raises:
            ConfigError: this build of FFmpeg lacks the encoder, or it does not support lossless mode or ``layout``.
        """
        codec = self._codec()
        taken, plain = [form.name for form in codec.video_formats or ()], layout.replace("yuvj", "yuv")
        pixels = next((name for name in (layout, plain, *TWINS.get(plain, ())) if name in taken), None)
        if pixels is None:
            raise ConfigError(f"{self.encoder} does not support the video's pixel format {plain}; use x264 or x265")
        options = self._options(codec, round(BITS_PER_PIXEL * size[0] * size[1] * rate))
        if codec.name == "libx264":
            options["x264-params"] = REPRODUCIBLE
        options["a53cc"] = "1"  # write closed captions; encoders without this option ignore it
        stream = container.add_stream(codec.name, rate=rate, options=options, time_base=time_base)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt, (stream.width, stream.height) = pixels, size
        stream.codec_context.flags |= Flags.frame_duration  # so that the last frame lasts as long as it did
        if codec.canonical_name == "hevc" and container.format.name != "matroska":
            stream.codec_context.codec_tag = "hvc1"  # required by Apple's players, accepted by others
        return stream

    def check(self, suffix: str, clip: Clip) -> None:
        """Try to open the encoder for ``clip`` and a file with this suffix, to find errors before any work is done.

        Raises:
            ConfigError: as `stream`, or it does not open on this machine, or the container does not support its codec.
        """
        size = (clip.width, clip.height) if clip.rotation % 180 == 0 else (clip.height, clip.width)
        unfit = ConfigError(f"{suffix} files cannot hold video from {self.encoder}; use another container, or x264")
        with av.open(io.BytesIO(), "w", format=MUXERS[suffix]) as container:
            if self._codec().name not in container.supported_codecs:
                raise unfit
            stream = self.stream(container, clip.format.name, size, clip.frame_rate, 1 / clip.frame_rate)
            try:
                stream.codec_context.open()
            except av.FFmpegError as error:
                raise ConfigError(
                    f"{self.encoder} does not work on this computer; available are {', '.join(working())}"
                ) from error
            try:
                container.start_encoding()
            except av.FFmpegError as error:
                raise unfit from error

    def _codec(self) -> Codec:
        try:
            codec = Codec(self.name, "w")
        except UnknownCodecError as error:
            raise ConfigError(
                f"there is no encoder {self.encoder} in this build of FFmpeg; available are {', '.join(working())}"
            ) from error
        if codec.type != "video":
            raise ConfigError(f"{self.encoder} encodes {codec.type}, not video; available are {', '.join(working())}")
        return codec

    def _options(self, codec: Codec, bit_rate: int) -> dict[str, str]:
        """The encoder's options; ``bit_rate`` is used only by encoders without constant quality."""
        name, crf, chip = codec.name, str(self.crf), codec.name.rsplit("_", 1)[-1]
        if name == "libx264":
            return {"preset": self.preset} | ({"qp": "0"} if self.lossless else {"crf": crf})
        if name == "libx265":
            params = "log-level=error" + ":lossless=1" * self.lossless
            return {"preset": self.preset, "x265-params": params} | ({} if self.lossless else {"crf": crf})
        if chip == "nvenc":
            return {"tune": "lossless"} if self.lossless else {"rc": "vbr", "cq": crf, "b": "0"}
        if self.lossless and (codec.lossy or not codec.lossless):
            raise ConfigError(f"{self.encoder} cannot encode without loss; use x264, x265 or ffv1")
        if chip == "qsv":
            return {"global_quality": crf}
        if chip == "amf":
            return {"rc": "cqp", "qp_i": crf, "qp_p": crf, "qp_b": crf}
        if chip == "videotoolbox":  # quality 1 to 100 (best), times FFmpeg's FF_QP2LAMBDA
            return {"flags": "+qscale", "global_quality": str(118 * max(1, 100 - 2 * self.crf))}
        if name in ("libsvtav1", "libvpx-vp9"):
            return {"crf": crf, "b": "0"}
        return {"b": str(bit_rate)}


def working() -> list[str]:
    """The encoders of `SOFTWARE` and `HARDWARE` that work here; FFmpeg lists absent hardware too, so it is tried."""
    built = [name for name in SOFTWARE if SHORT.get(name, name) in av.codecs_available]
    return built + [name for name in HARDWARE if _opens(name)]


def _opens(name: str) -> bool:
    try:
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.time_base = 320, 256, Fraction(1, 25)
        context.pix_fmt = (context.codec.video_formats or [])[0].name
        context.open()
    except (av.FFmpegError, ValueError, IndexError):  # IndexError: it lists no pixel formats
        return False
    return True

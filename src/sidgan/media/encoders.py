"""Which encoder makes the pictures of the output, what it is told, and whether it works here."""

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
#: The same samples arranged in another way, for encoders that do not take planes.
TWINS = {
    "yuv420p": ("nv12",), "yuv422p": ("nv16",), "yuv420p10le": ("p010le",), "yuv422p10le": ("p210le",),
    "yuv444p10le": ("yuv444p10msble",),
}  # fmt: skip
SMALL = 80  #: px; x264's macroblock tree reads memory it never wrote in pictures of 64: other bytes every other time
BITS_PER_PIXEL = 0.2  #: for encoders that know no constant quality: 10 Mbit/s for 1080p at 25 frames per second


@dataclass(frozen=True)
class Encoding:
    """How pictures are to be encoded.

    Attributes:
        encoder: ``x264``, ``x265``, or FFmpeg's name of any other, such as ``h264_nvenc``.
        crf: constant quality of x264 and x265, 0 (best) to 51; others get what is nearest to it.
        preset: trade of time for size, of x264 and x265.
        lossless: every sample comes back as it went in; ``crf`` does not count then.
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
        """A new stream of ``container`` for pictures of (width, height), which it must be given as its ``pix_fmt``.

        Raises:
            ConfigError: the encoder is not in this FFmpeg, cannot do without loss, or does not take ``layout``.
        """
        codec = self._codec()
        taken, plain = [form.name for form in codec.video_formats or ()], layout.replace("yuvj", "yuv")
        pixels = next((name for name in (layout, plain, *TWINS.get(plain, ())) if name in taken), None)
        if pixels is None:
            raise ConfigError(f"{self.encoder} does not support the video's pixel format {plain}; use x264 or x265")
        options = self._options(codec, round(BITS_PER_PIXEL * size[0] * size[1] * rate))
        if codec.name == "libx264" and min(size) < SMALL:
            options["x264-params"] = "mbtree=0"
        options["a53cc"] = "1"  # closed captions come with their pictures; who knows none minds nothing
        stream = container.add_stream(codec.name, rate=rate, options=options, time_base=time_base)
        assert isinstance(stream, VideoStream)
        stream.pix_fmt, (stream.width, stream.height) = pixels, size
        stream.codec_context.flags |= Flags.frame_duration  # so that the last frame lasts as long as it did
        if codec.canonical_name == "hevc" and container.format.name != "matroska":
            stream.codec_context.codec_tag = "hvc1"  # Apple's players show no other; the rest do not mind
        return stream

    def check(self, suffix: str, clip: Clip) -> None:
        """Open the encoder as it will be for ``clip`` in a file with this suffix, before minutes are spent.

        Raises:
            ConfigError: as `stream`, or it does not open on this machine, or the container cannot hold what it makes.
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
        """What the encoder is told, each in its own words; ``bit_rate`` where it knows no constant quality."""
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
        if chip == "videotoolbox":  # 1 to 100 (best), in FFmpeg's units of quantisers
            return {"flags": "+qscale", "global_quality": str(118 * max(1, 100 - 2 * self.crf))}
        if name in ("libsvtav1", "libvpx-vp9"):
            return {"crf": crf, "b": "0"}
        return {"b": str(bit_rate)}


def working() -> list[str]:
    """Encoders that can be used here, of those one may want: hardware is tried, as FFmpeg lists what it could drive."""
    built = [name for name in SOFTWARE if SHORT.get(name, name) in av.codecs_available]
    return built + [name for name in HARDWARE if _opens(name)]


def _opens(name: str) -> bool:
    try:
        context = av.CodecContext.create(name, "w")
        assert isinstance(context, VideoCodecContext)
        context.width, context.height, context.time_base = 320, 256, Fraction(1, 25)
        context.pix_fmt = (context.codec.video_formats or [])[0].name
        context.open()
    except (av.FFmpegError, ValueError, IndexError):  # the last where it takes no format that can be named
        return False
    return True

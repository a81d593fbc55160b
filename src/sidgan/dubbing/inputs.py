"""The input files of a dub (video, voices, background), and the mix of their sound."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from sidgan import media, provenance
from sidgan.dubbing.report import Progress
from sidgan.dubbing.settings import Background
from sidgan.files import require_apart, writing
from sidgan.settings import require


class Inputs:
    """The input files of a dub.

    Args:
        video: the video.
        audio: the sound track; ``None`` for the mix of the speakers' voices.
        speakers: voice files by the number of their person.
        out: the output, which must differ from all inputs.
        background: sound to mix under the voices.

    Attributes:
        video: as given.
        speakers: as given, sorted by number.
        voices: all files with speech, ``audio`` first if given.
        heard: those of them that are heard in the output.
        voice: file with the voices mixed; until `mixed` is entered, the first voice.
        sound: file with the sound of the output, background included; likewise.

    Raises:
        ConfigError: there is no voice.
        OutputError: ``out`` is one of the inputs.
    """

    def __init__(
        self, video: Path, audio: Path | None, speakers: Mapping[int, Path] | None, out: Path,
        background: Background | None = None,
    ) -> None:  # fmt: skip
        self.speakers = {number: Path(file) for number, file in sorted((speakers or {}).items())}
        self.voices = ([] if audio is None else [Path(audio)]) + list(self.speakers.values())
        require(bool(self.voices), "give a voice, or speakers with voices of their own")
        files = [video, *self.voices, *([background] if isinstance(background, Path) else [])]
        require_apart(out, files)
        self.video, self._background = video, background
        self.voice = self.sound = self.voices[0]
        self.heard = self.voices if audio is None else self.voices[:1]

    def digests(self, face: int | Path | None) -> dict[str, Any]:
        """SHA-256 of all these files and of the photo ``face``, by plain names; what is not a file stays as it is."""
        return {
            "video": provenance.digest_of(self.video), "voice": [provenance.digest_of(file) for file in self.voices],
            "speakers": list(self.speakers),
            **{name: provenance.digest_of(value) if isinstance(value, Path) else value
               for name, value in (("face", face), ("background", self._background))},
        }  # fmt: skip

    @contextmanager
    def mixed(
        self, kept: Path, device: str, progress: Progress, tell: Callable[[str], None] | None
    ) -> Iterator[None]:
        """Mix voices and background where needed, into a temporary folder that exists while the block runs.

        Args:
            kept: folder for the video's own sound without its speech, which later runs use again.
            device, progress, tell: see `sidgan.dub`.

        Raises:
            InputError: a voice has no sound, or cannot be read.
            SidganError: as `sidgan.media.write_rest`.
        """
        background, gain = self._background, 1.0
        for file in (*self.voices, *([background] if isinstance(background, Path) else [])):
            media.require_sound(file)
        if background == "original":
            background = kept / f"{provenance.digest_of(self.video)[:16]}.wav"
            if not background.exists():
                with writing(kept):
                    kept.mkdir(exist_ok=True)
                try:
                    media.write_rest(background, self.video, device=device, progress=progress)
                finally:
                    with suppress(OSError):
                        kept.rmdir()  # empty if the separation failed
        mixing = len(self.heard) > 1 or background is not None  # else no folder, which a killed dub would leave behind
        with TemporaryDirectory(prefix="sidgan-") if mixing else nullcontext("") as name:
            if len(self.heard) > 1:
                self.voice = self.sound = Path(name) / "voices.wav"
                gain = media.write_mix(self.voice, self.heard)
            if background is not None:
                self.sound = Path(name) / "mix.wav"
                gain = media.write_mix(self.sound, [*self.heard, background])
            if tell is not None and (less := media.turned_down(gain)):
                tell(f"all of the sound was {less}")
            yield

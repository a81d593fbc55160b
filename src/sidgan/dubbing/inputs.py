"""The files of a dub: a video, one voice or several, and what they sound like together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from sidgan import media
from sidgan.config import require
from sidgan.errors import OutputError


class Inputs:
    """What goes into a dub.

    Args:
        video: the video.
        audio: the sound track; ``None`` for the mix of the speakers' voices.
        speakers: voices by the number of their person.
        out: the output, which must be none of them.

    Attributes:
        speakers: as given, in order.
        voices: all files with sound; the one that is heard comes first, if it is one of them.
        sound: what the output sounds like. A mix lies in a folder of its own, until `close`.

    Raises:
        ConfigError: there is no voice.
        InputError: a voice has no sound, or cannot be read.
        OutputError: ``out`` is one of the inputs.
    """

    def __init__(self, video: Path, audio: Path | None, speakers: Mapping[int, Path] | None, out: Path) -> None:
        self.speakers = {number: Path(file) for number, file in sorted((speakers or {}).items())}
        self.voices = ([] if audio is None else [Path(audio)]) + list(self.speakers.values())
        require(bool(self.voices), "give a voice, or speakers with voices of their own")
        if out.resolve() in (file.resolve() for file in [video, *self.voices]):
            raise OutputError(f"{out} is one of the inputs; choose another name")
        self._folder: TemporaryDirectory[str] | None = None
        self.sound = self.voices[0]
        if audio is None and len(self.voices) > 1:
            self._folder = TemporaryDirectory(prefix="sidgan-")
            self.sound = Path(self._folder.name) / "mix.wav"
            media.write_mix(self.sound, self.voices)

    def close(self) -> None:
        """Remove the mix."""
        if self._folder is not None:
            self._folder.cleanup()

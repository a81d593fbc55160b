"""The files of a dub: a video, one voice or several, and what they sound like together."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

from sidgan import media
from sidgan.config import require
from sidgan.errors import OutputError


class Inputs:
    """What goes into a dub. Use it as a context manager: a mix is there for as long as it is open.

    Args:
        video: the video.
        audio: the sound track; ``None`` for the mix of the speakers' voices.
        speakers: voices by the number of their person.
        out: the output, which must be none of them.

    Attributes:
        video: as given. speakers: as given, in order.
        voices: all files with sound; the one that is heard comes first, if it is one of them.
        sound: what the output sounds like; a mix lies in a folder of its own.

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
        self.video, self.sound, self._stack = video, self.voices[0], ExitStack()
        self._mixed = audio is None and len(self.voices) > 1

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self._mixed:
                self.sound = Path(stack.enter_context(TemporaryDirectory(prefix="sidgan-"))) / "mix.wav"
                media.write_mix(self.sound, self.voices)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the mix."""
        self._stack.close()

"""The files of a dub: a video, one voice or several, what lies under them, and what they sound like together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from sidgan import media, provenance
from sidgan.config import require
from sidgan.dubbing.report import Progress
from sidgan.dubbing.settings import Background
from sidgan.files import require_apart, writing


class Inputs:
    """What goes into a dub.

    Args:
        video: the video.
        audio: the sound track; ``None`` for the mix of the speakers' voices.
        speakers: voices by the number of their person.
        out: the output, which must be none of them.
        background: what is heard under the voices.

    Attributes:
        video: as given. speakers: as given, in order.
        voices: all files with speech; the one that is heard comes first, if it is one of them.
        voice: what the voices sound like together. sound: what the output does. See `mixed`.

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
        under = [background] if isinstance(background, Path) else []
        require_apart(out, [video, *self.voices, *under])
        self.video, self._background = video, background
        self.voice = self.sound = self.voices[0]
        self._heard = self.voices if audio is None else self.voices[:1]

    @contextmanager
    def mixed(
        self, kept: Path, device: str, progress: Progress, tell: Callable[[str], None] | None
    ) -> Iterator[None]:
        """Mix what has to be, in a folder that is there for as long as the block runs.

        Args:
            kept: folder for the video's own sound without its speech, where it stays for later runs.
            device, progress, tell: see `sidgan.dub`.

        Raises:
            InputError: a voice has no sound, or cannot be read.
            SidganError: as `sidgan.media.write_rest`.
        """
        under, turned = self._background, 1.0
        for file in (*self.voices, *([under] if isinstance(under, Path) else [])):
            media.require_sound(file)
        if under == "original":
            under = kept / f"{provenance.digest_of(self.video)[:16]}.wav"
            if not under.exists():
                with writing(kept):
                    kept.mkdir(exist_ok=True)
                try:
                    media.write_rest(under, self.video, device=device, progress=progress)
                finally:
                    with suppress(OSError):
                        kept.rmdir()  # where nothing came of it
        mixing = len(self._heard) > 1 or under is not None  # otherwise a killed dub leaves no empty folder behind
        with TemporaryDirectory(prefix="sidgan-") if mixing else nullcontext("") as name:
            if len(self._heard) > 1:
                self.voice = self.sound = Path(name) / "voices.wav"
                turned = media.write_mix(self.voice, self._heard)
            if under is not None:
                self.sound = Path(name) / "mix.wav"
                turned = media.write_mix(self.sound, [*self._heard, under])
            if tell is not None and (less := media.turned_down(turned)):
                tell(f"all of the sound was {less}")
            yield

"""What is written never takes the place of what was given, whatever the two are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidgan.dubbing.inputs import Inputs
from sidgan.errors import OutputError
from sidgan.files import require_apart


def test_a_file_is_known_under_its_other_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    video = tmp_path / "talk.mp4"
    video.write_bytes(b"film")
    (tmp_path / "link.mp4").symlink_to(video)
    (tmp_path / "hard.mp4").hardlink_to(video)
    monkeypatch.chdir(tmp_path)
    for name in ("link.mp4", "hard.mp4", "talk.mp4", str(tmp_path / "talk.mp4"), f"../{tmp_path.name}/talk.mp4"):
        with pytest.raises(OutputError, match="is one of the inputs; choose another name"):
            require_apart(Path(name), [Path("voice.wav"), video])
    video.unlink()  # two names of what is not yet there, and a link that leads nowhere
    for name in ("link.mp4", "./talk.mp4"):
        with pytest.raises(OutputError, match="written as well"):
            require_apart(Path(name), [video], "written as well")
    require_apart(Path("other.mp4"), [video, Path("voice.wav")])


def test_a_link_to_itself_is_no_fault_of_the_program(tmp_path: Path) -> None:
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)
    Inputs(tmp_path / "talk.mp4", tmp_path / "voice.wav", None, loop)
    with pytest.raises(OutputError, match="one of the inputs"):
        Inputs(loop, tmp_path / "voice.wav", None, loop)

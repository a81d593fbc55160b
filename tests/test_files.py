"""What is written never takes the place of what was given, whatever the two are called."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.journal import Journal
from sidgan.errors import CheckpointError, OutputError
from sidgan.files import check_target, finished, look_first, require_apart, write_text


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


def test_a_name_too_long_for_what_is_written_beside_it_is_told_as_that(tmp_path: Path) -> None:
    out = tmp_path / f"{'n' * 250}.mp4"
    with pytest.raises(OutputError, match="cannot be written: file name too long; choose a shorter name"), Journal(out):
        pass
    assert not list(tmp_path.iterdir())


def test_a_link_to_itself_is_no_fault_of_the_program(tmp_path: Path) -> None:
    loop = tmp_path / "loop.mp4"
    loop.symlink_to(loop)
    Inputs(tmp_path / "talk.mp4", tmp_path / "voice.wav", None, loop)
    with pytest.raises(OutputError, match="one of the inputs"):
        Inputs(loop, tmp_path / "voice.wav", None, loop)


def test_weights_are_looked_for_where_they_are_loaded_from(tmp_path: Path) -> None:
    run, begun = tmp_path / "run", tmp_path / "begun"
    for folder in (run, begun):
        folder.mkdir()
    (run / "weights.safetensors").touch()
    look_first([], [], [None, "bundled", str(run), str(run / "weights.safetensors")])
    for name, says in ((begun, "begun is a folder; give"), (tmp_path / "no", "no weights file"), (run / "no", "no w")):
        with pytest.raises(CheckpointError, match=says):
            look_first([], [], ["bundled", str(name)])


@pytest.mark.skipif(os.name == "nt", reason="Windows renames no file that is open")
def test_two_runs_that_write_one_file_at_a_time_both_write_it_whole(tmp_path: Path) -> None:
    out = tmp_path / "weights"
    with finished(out) as slow:
        slow.write_text("slow")
        write_text(out, "fast")
        assert out.read_text() == "fast"
        check_target(out)  # as a third one does before it begins
        with pytest.raises(UnicodeEncodeError):
            write_text(out, "fails \udc80")
        assert (slow.read_text(), out.read_text()) == ("slow", "fast")
    assert out.read_text() == "slow"
    assert list(tmp_path.iterdir()) == [out]


def test_what_a_killed_run_left_is_overwritten(tmp_path: Path) -> None:
    out = tmp_path / "weights"
    with finished(out) as part:
        part.write_text("whole")
        left = part
    left.write_text("half of what was to be writ")
    write_text(out, "new")
    assert (out.read_text(), list(tmp_path.iterdir())) == ("new", [out])


def test_a_file_that_is_renamed_while_it_is_locked_is_let_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "weights"
    monkeypatch.setattr("sidgan.files.hold", lambda file: os.replace(file.name, out))
    with finished(out) as part:
        out.write_text("whole")
        part.write_text("new")
        assert out.read_text() == "whole"
    assert (out.read_text(), list(tmp_path.iterdir())) == ("new", [out])

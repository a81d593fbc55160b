"""Many dubs from a list: each with its own settings, none of which ends the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from marked import films
from marked import sidgan as command
from small import save_networks

from sidgan import dubbing, media
from sidgan.dubbing.inputs import Inputs
from sidgan.dubbing.journal import Journal
from sidgan.dubbing.kept import settings_digest
from sidgan.dubbing.weights import Weights
from sidgan.errors import ConfigError, InputError, OutputError
from sidgan.executors import local
from sidgan.jobs import Job, Outcome, absent, attempt, left, read, run_all
from sidgan.provenance import Mark, Stretches, digest_of

LIKE = Job(Path(), Path(), Path(), crf=20, faces="all")


def listed(folder: Path, text: str) -> Path:
    (folder / "list.csv").write_text(text)
    return folder / "list.csv"


def test_a_line_overrides_the_options(tmp_path: Path) -> None:
    file = listed(
        tmp_path, "\ufeffvideo,voice, out ,crf,adapt,lossless,strip\na.mp4,a.wav,b.mp4,,,,\n"
        '"c, d.mp4",c.wav,d.mp4,30,1.5,yes,look.png\n\n',
    )  # fmt: skip
    one, other = read(file, LIKE)
    assert one == replace(LIKE, video=Path("a.mp4"), voice=Path("a.wav"), out=Path("b.mp4"))
    assert other == replace(
        LIKE, video=Path("c, d.mp4"), voice=Path("c.wav"), out=Path("d.mp4"), crf=30, adapt=1.5, lossless=True,
        strip=Path("look.png"),
    )  # fmt: skip


def test_a_tilde_is_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    (job,) = read(listed(tmp_path, "video,voice,out,speakers\n~/a.mp4,b~.wav,~/c.mp4,1=~/d.wav;2=e.wav\n"),
                  replace(LIKE, faces="largest"))  # fmt: skip
    assert (job.video, job.voice, job.out) == (tmp_path / "a.mp4", Path("b~.wav"), tmp_path / "c.mp4")
    assert job.speakers == {1: tmp_path / "d.wav", 2: Path("e.wav")}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("video,voice,out,encodr\na,b,c,x265\n", "did you mean 'encoder'"),
        ("video,voice\na,b\n", "no column out"),
        ("video,voice,out\na,,c\n", "line 2 lacks voice"),
        ("video,voice,out\na,b,c.mp4\na,b,d.avi\n", "line 3: d.avi: .avi is not a known container"),
        ("video,voice,out,crf\na,b,c,good\n", "crf cannot be 'good'"),
        ("video,voice,out,faces\na,b,c,smallest\n", "must be one of largest, all"),
        ("video,voice,out,lossless\na,b,c,perhaps\n", "lossless cannot be 'perhaps'"),
        ("video,voice,out,lossless\na,b,c,perhaps\n", "'perhaps'; give yes or no"),
        ("video,voice,out,adapt\na,b,c,\"0,5\"\n", "'0,5'; give a number, with a decimal point"),
        ("video,voice,out,adapt\na,b,c.mp4,0\n", "line 2: minutes of adaptation must be more than 0, not 0"),
        ("video,voice,out,face,faces\na,b,c.mp4,0,largest\n", "line 2: people are numbered from 1; sidgan faces lists"),
        ("video,voice,out\na, b,b,c\n", "line 2 has more values than there are columns"),
        ("video,voice,out\na,b,c.mp4\nd,e,./c.mp4\n", "job for c.mp4; give each a file of its own, in the list"),
        ("video,voice,out\na.mkv,b,c.mp4\nd,e,a.mkv\n", "a job that reads a.mkv, which another job writes"),
        ("video,voice,out,speakers,faces\na,,c.mp4,1=b;2=./d.mp4,largest\na,b,d.mp4,,\n",
         "reads d.mp4, which another job writes"),
        ("video;voice;out\na;b;c\n", "separated by semicolons; save it with commas"),
        ("video\tvoice\tout\na\tb\tc\n", "separated by tabs; save it with commas"),
        ("video,voice,out,voice\na,b,c,d\n", "two columns 'voice'"),
        ("video,voice,out\na,b\0,c\n", "line 2 holds a null character"),
        ("video,voice,out\n", "holds no job"),
        ("", "no column video"),
    ],
)
def test_a_list_that_cannot_be_meant_is_one_line(tmp_path: Path, text: str, says: str) -> None:
    file = listed(tmp_path, text)
    with pytest.raises((ConfigError, InputError), match=says) as caught:
        read(file, LIKE)
    assert "\n" not in str(caught.value)
    assert command("dub", "--jobs", file)[0] == 2
    with pytest.raises(InputError, match=r"no\.csv cannot be read"):
        read(tmp_path / "no.csv", LIKE)


def test_a_job_that_fails_does_not_end_the_others(tmp_path: Path) -> None:
    folder = films(tmp_path)
    model, _ = save_networks(folder, 64)
    rows = [
        f"{folder / video},{folder / 'voice.wav'},{folder / out}"
        for video, out in (("no.mp4", "1.mp4"), ("film.mp4", "2.mp4"), ("room.mp4", "3.mp4"), ("film.mp4", "4.mkv"))
    ]
    file = listed(folder, "video,voice,out\n" + "\n".join(rows) + "\n")
    code, said = command("dub", "--jobs", file, "--model", model, "--device", "cpu")
    assert code == 1
    assert f"2 of 4 dubs done, 2 failed: {folder / '1.mp4'}, {folder / '3.mp4'}" in said
    assert f"failed: {folder / '1.mp4'}: {folder / 'no.mp4'}: there is no such file" in " ".join(said.split())
    assert "no face found in" in said
    assert [(folder / name).exists() for name in ("1.mp4", "2.mp4", "3.mp4", "4.mkv")] == [False, True, False, True]
    assert len(list(media.read_frames(media.probe(folder / "4.mkv")))) == 32
    assert not list(folder.glob(".*"))


def test_many_pauses_are_one_line() -> None:
    pauses = [(10 * k, 10 * k + 1, "pause of the voice") for k in range(9)]
    report: Any = SimpleNamespace(passed=[*pauses, (200, 203, "no face"), (300, 300, "no face")])
    assert list(left(report, few=5)) == [
        "18 frames left as filmed: pause of the voice",
        "frames 200-203 left as filmed: no face", "frame 300 left as filmed: no face",
    ]  # fmt: skip
    assert list(left(report)) == ["18 frames left as filmed: pause of the voice", "5 frames left as filmed: no face"]


def test_what_is_not_there_is_told_before_the_first_of_many_begins(tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").touch()
    (tmp_path / "list.csv").write_text("video,voice,out\n" + "".join(
        f"{tmp_path / video},{tmp_path / voice},{tmp_path / out}\n"
        for video, voice, out in (("talk.mp4", "talk.mp4", "1.mp4"), ("no.mp4", "nor.wav", "2.mp4"))))  # fmt: skip
    (line,) = absent(read(tmp_path / "list.csv", LIKE))
    assert line.startswith(f"{tmp_path / '2.mp4'}: there is no {tmp_path / 'no.mp4'} and no {tmp_path / 'nor.wav'};")


def test_a_folder_for_outputs_that_is_not_there_is_told_before_the_first_of_many_begins(tmp_path: Path) -> None:
    (tmp_path / "talk.mp4").touch()
    for name in ("1.mp4", "to/2.mp4"):
        (tmp_path / "list.csv").write_text(
            f"video,voice,out,report\n{tmp_path / 'talk.mp4'},{tmp_path / 'talk.mp4'},{tmp_path / name},"
            f"{tmp_path / 'to' / 'page.html'}\n")  # fmt: skip
        (line,) = absent(read(tmp_path / "list.csv", LIKE))
        assert line.startswith(f"{tmp_path / name}: there is no folder {tmp_path / 'to'}; this dub will fail")


def test_a_page_that_cannot_be_made_leaves_a_finished_dub(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def full(*_: Any) -> None:
        raise OutputError("disk full")

    monkeypatch.setattr(dubbing.Dubber, "__init__", lambda *_: None)
    monkeypatch.setattr(dubbing.Dubber, "dub", lambda *_, **__: SimpleNamespace(to_dict=dict))
    monkeypatch.setattr(dubbing, "write_page", full)
    job = Job(tmp_path / "a.mp4", tmp_path / "a.wav", tmp_path / "b.mp4", report=tmp_path / "b.html")
    with pytest.raises(OutputError, match=r"b.mp4 is finished, but .*: disk full"):
        job.run(lambda *_: None, lambda _: None)


def test_what_nobody_foresaw_is_a_line_too(monkeypatch: pytest.MonkeyPatch) -> None:
    def odd(self: Job, *_: Any) -> None:
        if self.out.name == "odd.mp4":
            raise ZeroDivisionError("of a\nkind")
        raise InputError("no such thing")

    monkeypatch.setattr(Job, "run", odd)
    jobs = [replace(LIKE, out=Path(name)) for name in ("odd.mp4", "bad.mp4")]
    assert list(run_all(jobs, local(1))) == [
        Outcome(jobs[0], False, "odd.mp4 failed (ZeroDivisionError: of a kind)"),
        Outcome(jobs[1], False, "bad.mp4: no such thing"),
    ]
    assert attempt(jobs[1]).done is False


def test_a_list_tells_what_a_single_dub_tells(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    passed = ((0, 0, "no face"), (2, 3, "voice is over"), (5, 5, "no face"))
    report = SimpleNamespace(dubbed=3, frames=7, notes=("the voice was cut",), passed=passed, damaged=((1.0, 1.5),))

    def run(self: Job, show: Any, tell: Callable[[str], None]) -> Any:
        tell("the face was learnt")
        return report, []

    monkeypatch.setattr(Job, "run", run)
    file = listed(tmp_path, "video,voice,out\na.mp4,a.wav,b.mp4\n")
    code, said = command("dub", "--jobs", file, "--report", "b.html")
    assert (code, "3 of 7 frames dubbed -> b.mp4; see b.html" in said, "the voice was cut" in said) == (0, True, True)
    assert "2 frames left as filmed: no face" in said
    assert "2 frames left as filmed: voice is over" in said
    assert "1.00-1.50 s are damaged" in said
    assert "the face was learnt" in said
    assert '"the voice was cut"' in command("dub", "--jobs", file, "--json")[1]


@pytest.mark.parametrize("done", [0, 1])
def test_a_list_that_is_stopped_says_what_the_same_command_does(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, done: int
) -> None:
    def stopped(jobs: list[Job], _: Any) -> Iterator[Outcome]:
        yield from (Outcome(job, True, "fine") for job in jobs[:done])
        raise KeyboardInterrupt

    monkeypatch.setattr("sidgan.jobs.run_all", stopped)
    code, said = command("dub", "--jobs", listed(tmp_path, "video,voice,out\na,b,c.mp4\nd,e,f.mp4\n"))
    assert (code, f"stopped after {done} of 2 dubs; run the same command again to resume" in said) == (130, True)


def test_a_dub_says_where_its_picture_and_its_page_are(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    report = SimpleNamespace(dubbed=4, frames=4, notes=(), passed=(), damaged=(), to_dict=dict)
    monkeypatch.setattr(Job, "run", lambda *_: (report, []))
    video, voice, out = tmp_path / "a.mp4", tmp_path / "b.wav", tmp_path / "c.mp4"
    for file in (video, voice):
        file.touch()
    look, page = tmp_path / "look.png", tmp_path / "page.html"
    assert command("dub", video, voice, "-o", out) == (0, f"4 of 4 frames dubbed -> {out}\n")
    told = command("dub", video, voice, "-o", out, "--strip", look, "--report", page)[1]
    assert told == f"4 of 4 frames dubbed -> {out}; see {look} and {page}\n"


def test_either_a_list_or_one_dub(tmp_path: Path) -> None:
    video, voice = tmp_path / "a.mp4", tmp_path / "b.wav"
    for file in (video, voice):
        file.touch()
    for arguments, says in (
        (("dub",), "or --jobs with a list"),
        (("dub", "a.mp4", "b.wav"), "give VIDEO, VOICE (or --speaker) and -o OUT"),
        (("dub", "a.mp4", "b.wav", "-o", "c.mp4", "--jobs", "d.csv"), "not both"),
        (("dub", str(video), "--speaker", f"1={voice}", "-o", str(tmp_path / "c.mp4"), "--ray", "local"),
         "give a sound track"),
    ):
        code, said = command(*arguments)
        assert (code, says in said) == (2, True)


def test_lists_of_spreadsheets_are_understood_or_told(tmp_path: Path) -> None:
    (job,) = read(listed(tmp_path, "video,voice,out\na,b,c.mp4,,\n"), LIKE)  # empty cells to the right
    assert job.out == Path("c.mp4")
    (job,) = read(listed(tmp_path, "video,voice,out,,\na,b,c.mp4,,\n,,,,\n , ,,,\n"), LIKE)  # and below
    assert job.out == Path("c.mp4")
    wrong = ("video,voice,out,,\na,b,c,d,\n", "line 2 has more values"), ("video,,out\na,b,c\n", "column ''")
    for text, says in wrong:
        with pytest.raises(ConfigError, match=says):
            read(listed(tmp_path, text), LIKE)
    old = tmp_path / "old.csv"
    old.write_bytes("video,voice,out\nmüller.mp4,b,c\n".encode("latin-1"))
    with pytest.raises(InputError, match="is not in UTF-8; save it"):
        read(old, LIKE)
    with pytest.raises(InputError, match=r"gone.csv cannot be read as a list of jobs \(no such file or directory\)"):
        read(tmp_path / "gone.csv", LIKE)


def test_an_output_is_held_while_a_model_is_adapted_for_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    job = Job(video=tmp_path / "film.mp4", voice=tmp_path / "voice.wav", out=tmp_path / "out.mp4", adapt=1.0)
    adapted = list[Path]()

    def adapting(folder: Path, video: Path, **_: object) -> None:
        adapted.append(folder)
        with pytest.raises(OutputError, match="another run is writing"), Journal(job.out):
            pass
        raise InputError("enough")

    monkeypatch.setattr("sidgan.dubbing.check", lambda *_, **__: None)
    monkeypatch.setattr("sidgan.adaptation.adapt_faces_once", adapting)
    with pytest.raises(InputError, match="enough"):
        job.run(lambda share, text: None, print)
    assert len(adapted) == 1
    assert not list(tmp_path.iterdir()), "nothing came of it"
    with Journal(job.out), pytest.raises(OutputError, match="another run is writing"):
        job.run(lambda share, text: None, print)
    assert len(adapted) == 1, "told before the minutes are spent"


def test_a_list_that_is_run_again_keeps_what_is_made(tmp_path: Path) -> None:
    folder = films(tmp_path)
    model, _ = save_networks(folder, 64)
    given = {"video": "film.mp4", "voice": "voice.wav", "crf": "20", "report": ""}

    def kept(**change: str) -> bool:
        row = given | {"out": "1.mp4"} | change
        values = [str(folder / text) if "." in text else text for text in row.values()]
        file = listed(folder, ",".join(row) + "\n" + ",".join(values) + "\n")
        before = (folder / row["out"]).stat().st_ino if (folder / row["out"]).exists() else 0
        code, said = command("dub", "--jobs", file, "--model", model, "--device", "cpu")
        same = (folder / row["out"]).stat().st_ino == before
        assert (code, "is kept: same files, same settings" in said, "1 of 1 dub done (1 by an earlier run)" in said) \
            == (0, same, same)  # fmt: skip
        return same

    assert [kept(), kept()] == [False, True]
    assert [kept(crf="30"), kept(crf="30")] == [False, True]
    assert [kept(silence="keep"), kept(silence="keep", faces="all")] == [False, False]
    assert [kept(report="page.html"), kept(report="page.html"), kept()] == [False, True, True]
    assert [kept(crf="30"), kept(), kept(report="page.html")] == [False, False, False]  # the page is of an earlier dub
    out, voice = folder / "1.mp4", folder / "voice.wav"
    out.write_bytes(out.read_bytes()[:-200])  # as a copy that was cut off
    assert [kept(), kept()] == [False, True]
    assert [kept(out="1.mkv"), kept(out="1.mkv")] == [False, True]
    voice.write_bytes(voice.read_bytes()[:-2] + b"ab")
    assert [kept(), kept()] == [False, True]
    other = Job(folder / "film.mp4", voice, out, model=str(model), crf=20)
    assert [other.is_made(), replace(other, adapt=1.0).is_made()] == [True, False]
    (folder / "film.mp4").unlink()  # what is not there any more is told as by a first run
    assert command("dub", "--jobs", folder / "list.csv", "--model", model)[0] == 1


@pytest.mark.parametrize("name", ["cut.mkv", "cut.mp4"])
def test_what_was_cut_off_while_it_was_copied_is_not_kept(tmp_path: Path, name: str) -> None:
    job = noisy(tmp_path, name, 100, Fraction(25))
    finish(job)
    assert job.is_made()
    job.out.write_bytes(job.out.read_bytes()[: job.out.stat().st_size // 2])
    assert not job.is_made()


@pytest.mark.parametrize("name", ["slow.mkv", "slow.mp4"])
def test_a_dub_whose_last_picture_is_shown_for_long_is_kept(tmp_path: Path, name: str) -> None:
    job = noisy(tmp_path, name, 3, Fraction(1, 4))
    finish(job)
    assert job.is_made()


def test_a_dub_with_networks_that_a_list_does_not_make_is_not_kept(tmp_path: Path) -> None:
    job = noisy(tmp_path, "own.mp4", 3, Fraction(25))
    finish(job, adapted=("ab" * 32,))
    assert not job.is_made()
    adapting = replace(job, adapt=1.0)
    finish(adapting, adapted=("ab" * 32,))
    assert (adapting.is_made(), job.is_made()) == (True, False)
    finish(adapting)  # where no network came out better, none is used
    assert adapting.is_made()


def test_a_dub_of_another_version_is_not_kept(tmp_path: Path) -> None:
    job = noisy(tmp_path, "old.mp4", 3, Fraction(25))
    for change in ({"sidgan": "0.0.9"}, {"settings": ""}):
        finish(job, **change)
        assert not job.is_made()


def test_an_output_that_cannot_be_judged_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = SimpleNamespace(dubbed=1, frames=1, notes=(), passed=(), damaged=())
    monkeypatch.setattr(Job, "is_made", lambda job: 1 // 0)
    monkeypatch.setattr(Job, "run", lambda *_: (report, []))
    assert attempt(Job(tmp_path, tmp_path, tmp_path / "a.mp4")).done


def noisy(folder: Path, name: str, count: int, rate: Fraction) -> Job:
    """A job for a film of so many frames of noise."""
    pictures = [np.random.default_rng(k).integers(0, 255, (64, 64, 3), np.uint8) for k in range(count)]
    media.write_clip(folder / "film.mp4", pictures, rate)
    media.write_wav(folder / "voice.wav", np.ones(64_000, np.float32) / 9, 16_000)
    model, _ = save_networks(folder, 64)
    return Job(folder / "film.mp4", folder / "voice.wav", folder / name, model=str(model))


def finish(job: Job, **change: Any) -> None:
    """Write the output of a job: its film, marked as a dub; ``change`` is what its mark says otherwise."""
    files = Inputs(job.video, job.voice, {}, job.out).digests(None)
    mark = Mark(
        model="m", weights=Weights.of(job.model).digest, source=digest_of(job.video), voice=digest_of(job.spoken),
        edited=Stretches(), settings=settings_digest(job, files, None),
    )  # fmt: skip
    with media.Writer(job.out, media.probe(job.video), audio=job.voice) as writer:
        writer.tags = replace(mark, **change).tags()
        for frame in media.read_frames(media.probe(job.video)):
            writer.write(frame)

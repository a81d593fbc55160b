"""The command line: each verb is one typed call into the package. Nothing is computed here."""

from __future__ import annotations

import errno
import io
import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

import typer
from rich.console import Console

from sidgan.config import FPS, require
from sidgan.errors import ConfigError, SidganError, counted, plain
from sidgan.files import look_first, writing
from sidgan.paper.cli import app as paper_app
from sidgan.progress import bar, say
from sidgan.study.cli import app as study_app
from sidgan.threads import ready_for_dubs
from sidgan.version import __version__
from sidgan.web.cli import serve, serve_worker

if TYPE_CHECKING:
    from sidgan.jobs import Job

app = typer.Typer(
    no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
    help="Dub video: redraw the mouth of a talking face so that it speaks a new audio track.",
)  # fmt: skip
train_app = typer.Typer(no_args_is_help=True, help="Train experts, generators, ears, or what sees hands before faces.")
DUB, TRAIN, JUDGE = "Dub", "Train", "Judge"  #: what the help groups commands by
app.add_typer(train_app, name="train", rich_help_panel=TRAIN)
app.add_typer(paper_app, name="paper", rich_help_panel=JUDGE)
app.add_typer(study_app, name="study", rich_help_panel=JUDGE)
console = Console(stderr=True)
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  #: errors of writing alone, whatever was written

Which = Literal["largest", "all", "speaking"]
Hush = Literal["close", "keep", "draw"]
Ends = Literal["cut", "hold", "loop", "pingpong", "keep"]
Damage = Literal["stop", "pass"]
Mask = Literal["query", "lower"]
Reference = Literal["first", "last", "pair"]
Kind = Literal["torch", "onnx", "openvino", "auto"]
Source = Literal["folder", "avspeech", "hdtf", "lrw", "lrs2", "voxceleb2"]
Video = Annotated[Path, typer.Argument(help="video with the face to be dubbed", show_default=False)]
Model = Annotated[str, typer.Option(help="weights file of a generator, or 'bundled'", metavar="FILE")]
Runnable = Annotated[str, typer.Option("--model", help="weights file of a generator, 'bundled', or a file of sidgan "
                                       "export", metavar="FILE")]  # fmt: skip
EngineKind = Annotated[Kind, typer.Option("--engine", help="what runs the network; auto measures which is fastest")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]
Start = Annotated[str | None, typer.Option(help="weights file to go on from, or 'bundled'", metavar="FILE")]
Ears = Annotated[str | None, typer.Option(help="weights to take the audio encoder from, or 'bundled'", metavar="FILE")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="change a setting: a.b=value", metavar="KEY=VALUE")]
Steps = Annotated[int | None, typer.Option(min=1, help="updates; without it what the preset or file says, or else some "
                                                       "thousand (see --dry-run)", show_default=False)]
Minutes = Annotated[float | None, typer.Option(help="stop after so long, to be resumed")]
RunFolder = Annotated[Path | None, typer.Option("--run", help="run folder; an existing one is resumed")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="print the resolved settings and stop")]


@app.command(rich_help_panel=DUB)
def dub(
    video: Annotated[Path | None, typer.Argument(help="video with the face to be dubbed", show_default=False)] = None,
    voice: Annotated[Path | None, typer.Argument(
        help="the new voice: any file with sound; with --speaker, what is heard (if left out, their voices mixed)",
        show_default=False,
    )] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="result: .mp4, .mov or .mkv", show_default=False)
    ] = None,
    jobs: Annotated[
        Path | None, typer.Option(help="many dubs at once instead: a CSV file with the columns video, voice and out, "
                                  "and one for any option that differs by line", metavar="CSV", show_default=False)
    ] = None,
    model: Runnable = "bundled",
    faces: Annotated[Which, typer.Option(help="whose mouth to redraw: the most prominent of each moment, everybody, or "
                                         "whoever speaks in the video's own sound")] = "largest",
    face: Annotated[str | None, typer.Option(help="only this person: a number as sidgan faces shows it, or a photo",
                                             metavar="N|PHOTO")] = None,
    speaker: Annotated[list[str] | None, typer.Option(
        help="a voice for one person, by their number; once for each", metavar="N=AUDIO")] = None,
    background: Annotated[str | None, typer.Option(
        help="sound to put under the voice, which moves no mouth: a file with music and effects, or 'original', the "
        "video's own sound without its speech (needs pip install 'sidgan\\[separate]')",
        metavar="AUDIO|original")] = None,
    silence: Annotated[Hush, typer.Option(help="where the voice pauses: close the mouth, keep it as filmed, or draw "
                                          "whatever the network makes of the background noise")] = "close",
    adapt: Annotated[
        float | None, typer.Option(help="first learn the face from the video, for so many minutes", metavar="MINUTES")
    ] = None,
    length: Annotated[
        Ends, typer.Option(help="a longer voice: cut it, or hold the last frame, loop or pingpong the video until it "
                           "ends; a shorter voice: keep the original sound after it")
    ] = "cut",
    emphasis: Annotated[
        float, typer.Option(help="how strongly the mouth moves with the voice; 1 is what suits the model", min=0, max=3)
    ] = 1.0,
    encoder: Annotated[str, typer.Option(help="x264, x265, or FFmpeg's name of another, such as h264_nvenc",
                                         metavar="NAME")] = "x264",
    crf: Annotated[int, typer.Option(help="quality, 0 (best) to 51", min=0, max=51)] = 16,
    lossless: Annotated[bool, typer.Option("--lossless", help="encode without loss: a large file, exactly the "
                                           "source where nothing was redrawn")] = False,
    steady: Annotated[float, typer.Option(help="how much flicker of redrawn skin is calmed; lips are left alone", min=0,
                                          max=1)] = 0.5,
    on_damage: Annotated[Damage, typer.Option(help="where the video is damaged or cut off: stop, or pass over it, "
                                              "showing the last good picture that much longer")] = "stop",
    strip: Annotated[Path | None, typer.Option(help="also write a before/after picture", metavar="PNG")] = None,
    report_to: Annotated[
        Path | None, typer.Option("--report", help="also write a page that says what to check, and where and how well "
                                  "mouths were redrawn", metavar="HTML")
    ] = None,
    sign: Annotated[
        Path | None, typer.Option(help="also sign the result with this certificate (C2PA)", metavar="PEM")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="the certificate's private key", metavar="PEM")] = None,
    workers: Annotated[int, typer.Option(help="processes that draw; with --jobs, dubs done at a time", min=1)] = 1,
    ray: Annotated[
        str | None, typer.Option(help="draw, or do --jobs, on a Ray cluster: HOST:PORT, auto, local", metavar="ADDRESS")
    ] = None,
    device: Device = "auto",
    engine: EngineKind = "torch",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Dub VIDEO with VOICE. Example: sidgan dub talk.mp4 german.wav -o talk-german.mp4 --adapt 5.

    Two people: sidgan dub two.mp4 -o out.mp4 --speaker 1=anna.wav --speaker 2=ben.wav; sidgan faces shows who is who.

    If it is stopped or killed, the same command continues where it was, and ends with the same result.

    Use it on footage of yourself or of people who agreed. The result says that it was altered; see sidgan verify.
    """
    ready_for_dubs()
    if jobs is None:
        given = None not in (video, voice or speaker, out)
        require(given, "give VIDEO, VOICE and -o OUT, or --jobs with a list of them; --speaker stands in for VOICE")
        named = [text.partition("=") for text in speaker or ()]  # what is no NUMBER=FILE is told below
        voices = [Path(file) for number, _, file in named if number.isdecimal() and file]
        photo = None if face is None or face.isdecimal() else Path(face)
        below = None if background in (None, "original") else Path(background)
        signing = (sign, key) if sign and key else ()  # that one is missing is told below
        look_first([video, voice, *voices, photo, below, *signing], [out, strip, report_to], [model])
    else:
        require(video is None and out is None, "give VIDEO, VOICE and -o, or --jobs with a list of them, not both")
        look_first([jobs], [], [model])
    from sidgan.dubbing.settings import background_of, face_of
    from sidgan.jobs import Job, left, made, speakers_of

    nothing = Path()
    job = Job(
        video=video or nothing, voice=voice, out=out or nothing, model=model, faces=faces,
        face=face_of(face), speakers=speakers_of(speaker or ()),
        background=background_of(background), silence=silence, adapt=adapt, length=length,
        encoder=encoder, crf=crf, lossless=lossless, steady=steady, emphasis=emphasis,
        on_damage=on_damage, strip=strip, report=report_to, sign=sign, key=key, device=device, engine=engine,
        workers=workers, ray=ray,
    )  # fmt: skip
    if jobs is not None:
        _dub_all(jobs, job, ray, as_json)
        return
    try:
        with bar(console) as show:
            report, adapted = job.run(show, _say)
    except KeyboardInterrupt:
        _say(f"sidgan: stopped; run the same command again to continue {job.out} where it was")
        raise typer.Exit(130) from None
    facts = {} if adapt is None else {"adapted": [one.to_dict() for one in adapted]}
    _print(report.to_dict() | facts, as_json, made(job, report))
    if engine != "torch":
        _say(f"  drawn by {report.engine}")
    for line in report.notes:
        _say(f"  {line}")
    for line in left(report, few=5):
        _say(f"  {line}")
    for begin, end in report.damaged:
        _say(f"  {begin:.2f}-{end:.2f} s damaged: the last good picture is shown that long")


def _dub_all(file: Path, like: Job, ray: str | None, as_json: bool) -> None:
    from sidgan import executors
    from sidgan import jobs as dubs

    wanted, ended = dubs.read(file, like), list[dubs.Outcome]()
    executor = executors.on_ray(ray, Path.cwd(), like.workers) if ray else executors.local(like.workers)
    for line in dubs.absent(wanted):
        _say(f"  {line}")
    try:
        with bar(console) as show:
            for outcome in dubs.run_all(wanted, executor):
                ended.append(outcome)
                show(len(ended) / len(wanted), f"{len(ended)} of {len(wanted)} dubs")
                _say(f"  {outcome.line}" if outcome.done else f"  failed: {outcome.line}")
                for line in outcome.notes:
                    _say(f"    {line}")
    except KeyboardInterrupt:
        done = ", and makes anew what is done: take those lines out" if ended else ""
        _say(f"sidgan: stopped after {len(ended)} of {counted(len(wanted), 'dub')}; the same command goes on{done}")
        raise typer.Exit(130) from None
    failed = [outcome for outcome in ended if not outcome.done]
    told = [{"out": str(o.job.out), "done": o.done, "line": o.line, "notes": o.notes} for o in ended]
    _print({"jobs": told}, as_json, f"{len(ended) - len(failed)} of {counted(len(ended), 'dub')} done, "
                                    f"{len(failed)} failed")  # fmt: skip
    if failed:
        raise typer.Exit(1)


@app.command(rich_help_panel=DUB)
def faces(
    video: Annotated[Path, typer.Argument(help="any video", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="also write a sheet with pictures of everybody", metavar="PNG")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Who is in VIDEO: numbers for --face and --speaker. Example: sidgan faces talk.mp4 -o people.png.

    1 is the most prominent. It also says when each can be seen, in how many frames they can be redrawn, and why not.
    """
    look_first([video], [out])
    from dataclasses import asdict

    from sidgan import dubbing

    with bar(console) as show:
        people = dubbing.faces(
            video, sheet=out, progress=lambda stage, done, total: show(done / max(total, 1), stage)
        )  # fmt: skip
    lines = [line for one in people for line in (one.line(), f"     seen {one.when()}")]
    lines += [] if out is None else [f"see {out}"]
    _print({"people": [asdict(one) for one in people]}, as_json, "\n".join(lines))


@app.command(rich_help_panel=DUB)
def verify(
    file: Annotated[Path, typer.Argument(help="any video", show_default=False)],
    source: Annotated[
        Path | None, typer.Option(help="was it made from this video?", metavar="VIDEO", show_default=False)
    ] = None,
    voice: Annotated[
        Path | None, typer.Option(help="and with this voice?", metavar="AUDIO", show_default=False)
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="certificates to trust: was it signed by one of theirs?", metavar="PEM")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Was FILE altered by sidgan, where, with what, and from what? Example: sidgan verify talk-german.mp4.

    Exit code 0: it says so, and everything you gave agrees.
    1: it does not say so, or something does not agree. This does not prove that nobody altered it.
    2: it is no video, or another file cannot be used.
    """
    from sidgan import provenance

    verdict = provenance.verify(file, source=source, voice=voice, trust=trust)
    _print(verdict.to_dict(), as_json, "\n".join(verdict.lines()))
    if not verdict.holds:
        raise typer.Exit(1)


@app.command(rich_help_panel=DUB)
def adapt(
    video: Video,
    out: Annotated[Path, typer.Option("-o", "--out", help="weights file to write: .safetensors", show_default=False)],
    minutes: Annotated[float, typer.Option(help="how long to learn", min=0.05)] = 5.0,
    face: Annotated[int, typer.Option(help="whose face; 1 is the most prominent", min=1)] = 1,
    model: Model = "bundled",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Teach the model one person's face from VIDEO. Example: sidgan adapt talk.mp4 -o me.safetensors --minutes 5.

    The file it writes holds what changed; give it as --model whenever you dub that person.
    """
    look_first([video], [out], [model])
    from sidgan import adaptation

    with bar(console) as show:
        _, report = adaptation.adapt(
            video, model=model, minutes=minutes, out=out, face=face, device=device, progress=show
        )  # fmt: skip
    _print(report.to_dict(), as_json, f"{report.line()} -> {out}")


@app.command(rich_help_panel=DUB)
def demo(
    out: Annotated[Path, typer.Argument(help="folder for the result")] = Path("demo"),
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Dub the clip that comes with the package and write a before/after picture beside it."""
    ready_for_dubs()
    from importlib import resources

    from sidgan import dubbing
    from sidgan.jobs import left

    assets = Path(str(resources.files("sidgan") / "assets"))
    video, (voice,) = assets / "demo.mp4", list(assets.glob("demo_voice.*"))
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
    with bar(console) as show:
        report = dubbing.dub(video, voice, out / "dubbed.mp4", device=device,
                             progress=lambda stage, done, total: show(done / max(total, 1), stage))  # fmt: skip
    dubbing.strip(video, out / "dubbed.mp4", out / "before_after.png")
    for line in left(report):
        _say(line)
    _print(report.to_dict(), as_json, f"{report.dubbed} of {report.frames} frames dubbed in {report.wall:.0f} s; "
           f"see {out / 'dubbed.mp4'} and {out / 'before_after.png'}")  # fmt: skip


@app.command(rich_help_panel=DUB)
def export(
    out: Annotated[Path, typer.Option("-o", "--out", help="file to write: .onnx", show_default=False)],
    weights: Annotated[str, typer.Argument(help="weights file of a generator, or 'bundled'")] = "bundled",
    size: Annotated[int | None, typer.Option(help="side of the faces, px; the generator's if not given")] = None,
    batch: Annotated[int, typer.Option(help="faces at a time", min=1)] = 8,
    as_json: AsJson = False,
) -> None:
    """Write a generator for ONNX Runtime and others. Example: sidgan export bundled -o model.onnx --size 256.

    OUT says in its metadata what it was made from and what it may be used for; docs/engines.md tells its inputs.
    """
    look_first([], [out], [weights])
    from sidgan import engine

    line = engine.export(weights, out, size=size, batch=batch)
    _print({"file": str(out), "says": line}, as_json, line)


@app.command("import", rich_help_panel=TRAIN)
def import_weights(
    file: Annotated[Path, typer.Argument(help="Wav2Lip's wav2lip_gan.pth, LipGAN's lipgan_residual_mel.h5, or PC-AVS's "
                                         "latest_net_G.pth", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="weights file to write: .safetensors", show_default=False)],
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Take over published weights of a compared system. Example: sidgan import wav2lip_gan.pth -o wav2lip.safetensors.

    OUT is then a --model like any other. Its authors' terms stay; this prints them.
    """
    from sidgan import published

    line = published.convert(file, out)
    _print({"file": str(out), "says": line}, as_json, line)


@app.command(rich_help_panel=TRAIN)
def prepare(
    folder: Annotated[Path, typer.Argument(help="folder with videos, or of a data set", show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for the packed clips", show_default=False)],
    size: Annotated[int, typer.Option(help="crop side, px")] = 128,
    source: Annotated[Source, typer.Option(help="layout of FOLDER; data sets bring their lists and limits")] = "folder",
    splits: Annotated[Path | None, typer.Option(help="TOML file with split rules", metavar="FILE")] = None,
    cut: Annotated[float | None, typer.Option(help="cut longer clips into pieces", min=1, metavar="SECONDS")] = None,
    max_failures: Annotated[float, typer.Option(help="share of unreadable clips or lines that stops", min=0)] = 0.2,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 1,
    ray: Annotated[
        str | None,
        typer.Option(
            help="work on a Ray cluster: HOST:PORT, 'auto' for the one this machine is in, 'local' to try it; FOLDER "
            "and OUT must be on a file system that all its machines share", metavar="ADDRESS",
        ),
    ] = None,
    settings: Settings = None,
    as_json: AsJson = False,
) -> None:
    """Cut faces, mels, landmarks and masks out of videos. Example: sidgan prepare clips data --size 128."""
    from sidgan import executors
    from sidgan.config import from_dict, override
    from sidgan.data import prepare as making
    from sidgan.data import survey as looking

    executor = executors.on_ray(ray, out, workers) if ray else executors.local(workers)
    config = from_dict(making.PrepareConfig, override(making.DEFAULTS[source] | {"size": size}, settings or []))
    with bar(console) as show:
        making.prepare(
            folder, out, config, source=source, splits=splits, executor=executor, cut=cut, max_failures=max_failures,
            progress=lambda done, total: show(done / total, f"{done} of {total} clips"),
            report=lambda line: _say(f"  skipped {line}"),
        )  # fmt: skip
    found = looking.survey(out)
    _print(found.to_dict(), as_json, "\n".join(found.lines()))


@app.command(rich_help_panel=TRAIN)
def shards(
    data: Annotated[Path, typer.Argument(help="prepared folder", show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for the shards; those in it are replaced", show_default=False)],
    size_mb: Annotated[float, typer.Option(help="size of a shard, MB; each GPU needs one or more", min=0.01)] = 256,
    as_json: AsJson = False,
) -> None:
    """Pack a prepared folder into tar files that many GPUs can read. Example: sidgan shards data shards."""
    from sidgan.data import shards as packing

    with bar(console) as show:
        packing.write_shards(data, out, size_mb, lambda done, total: show(done / total, f"{done} of {total} clips"))
    _print({"splits": packing.held(out)}, as_json, "\n".join(packing.described(out)))


@app.command(rich_help_panel=TRAIN)
def inspect(
    data: Annotated[Path, typer.Argument(help="prepared folder, or shards", show_default=False)],
    out: Annotated[Path | None, typer.Option("-o", "--out", help="folder for the pictures; DATA/inspect if not given",
                                             show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Show what a prepared folder holds and why: counts, histograms, sheets of faces. Example: sidgan inspect data.

    Of shards, every byte is checked, and what is damaged is named.
    """
    from sidgan.data import shards, sheets
    from sidgan.data import survey as looking

    if shards.is_shards(data):
        with bar(console) as show:
            shards.check(data, lambda done, total: show(done / total, f"{done} of {total} shards checked"))
        _print({"splits": shards.held(data)}, as_json, "\n".join(shards.described(data)))
        return
    found = looking.survey(data)
    pictures = sheets.draw(found, out or data / "inspect")
    lines = [*found.lines(), *(f"see {path}" for path in pictures)]
    _print(found.to_dict() | {"pictures": [str(p) for p in pictures]}, as_json, "\n".join(lines))


@app.command(rich_help_panel=TRAIN)
def multiply(
    data: Annotated[Path, typer.Argument(help="prepared folder", show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for the made clips", show_default=False)],
    count: Annotated[int, typer.Option(help="clips to make", min=1)] = 250,
    seed: Annotated[int, typer.Option(help="of all that is drawn", min=0)] = 0,
    blend: Annotated[float, typer.Option(help="share of the clips whose face is two people's", min=0, max=1)] = 0.0,
    draw: Annotated[float, typer.Option(help="share of the clips whose face is a drawn one", min=0, max=1)] = 0.0,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 1,
    as_json: AsJson = False,
) -> None:
    """Let people speak with others' mouths, in sync: more speakers to train on. Example: sidgan multiply data more.

    Stopped, the same command goes on; with a larger --count it adds to what is there.
    """
    from sidgan.data import transfer

    with bar(console) as show:
        made = transfer.multiply(
            data, out, count, seed, blend=blend, draw=draw, workers=workers,
            progress=lambda done, total: show(done / total, f"{done} of {total} clips"),
        )  # fmt: skip
    people = len({record["identity"] for record in made})
    frames = sum(record["frames"] for record in made)
    facts = {"clips": len(made), "people": people, "frames": frames}
    _print(facts, as_json, f"{counted(len(made), 'clip')} of {counted(people, 'person', 'people')}, "
                           f"{frames / FPS / 60:.1f} min -> {out}")  # fmt: skip


@app.command(rich_help_panel=TRAIN)
def label(
    folder: Annotated[Path, typer.Argument(help="folder of recordings, a folder in it for each voice",
                                           show_default=False)],
    out: Annotated[Path, typer.Argument(help="folder for what is found", show_default=False)],
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 1,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Find the speech sounds in recordings, to train listeners on. Example: sidgan label recordings speech."""
    from sidgan import executors
    from sidgan.data import labelling

    with bar(console) as show:
        voices = labelling.label(
            folder, out, executor=executors.local(workers),
            progress=lambda done, total: show(done / total, f"{done} of {total} recordings"),
            report=lambda line: _say(f"  skipped {line}"),
        )  # fmt: skip
    facts = {"voices": len(voices), "minutes": round(sum(voices.values()) / 60, 1)}
    _print(facts, as_json, f"{facts['minutes']} min of {counted(len(voices), 'voice')} -> {out}")


@train_app.command("listener")
def train_listener(
    speech: Annotated[list[Path], typer.Argument(help="folders from sidgan label", show_default=False)],
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "listener",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train ears on speech sounds, for --ears of the others. Example: sidgan train listener speech --steps 3000."""
    look_first([], [], [start])
    from sidgan.train import runs as training

    resolved = training.listener_config(config, steps, minutes, settings or [])
    _dry(resolved) if dry_run else print(training.train_listener(speech, resolved, run, device, start))


@train_app.command("occlusion")
def train_occlusion(
    data: Annotated[list[Path], typer.Argument(help="prepared folders", show_default=False)],
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "occlusion",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train what sees hands and things before faces. Example: sidgan train occlusion data --steps 4000."""
    look_first([], [], [start])
    from sidgan.train import runs as training

    resolved = training.occlusion_config(config, steps, minutes, settings or [])
    _dry(resolved) if dry_run else print(training.train_occlusion(data, resolved, run, device, start))


@train_app.command("syncnet")
def train_syncnet(
    data: Annotated[list[Path], typer.Argument(help="prepared folders, or folders of shards", show_default=False)],
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "syncnet",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    ears: Ears = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train a sync expert (APS-SyncNet). Example: sidgan train syncnet data --steps 2000."""
    look_first([], [], [start, ears])
    from sidgan.train import runs as training

    resolved = training.sync_config(config, steps, minutes, settings or [])
    _dry(resolved) if dry_run else print(training.train_syncnet(data, resolved, run, device, start, ears))


@train_app.command("gan")
def train_gan(
    data: Annotated[list[Path], typer.Argument(help="prepared folders, or folders of shards", show_default=False)],
    expert: Annotated[str, typer.Option(help="weights file of a sync expert, or 'bundled'")] = "bundled",
    config: Annotated[str, typer.Option(help="preset name or TOML file")] = "tiny128",
    steps: Steps = None,
    minutes: Minutes = None,
    run: RunFolder = None,
    start: Start = None,
    ears: Ears = None,
    device: Device = "auto",
    settings: Settings = None,
    dry_run: DryRun = False,
) -> None:
    """Train a generator. Example: sidgan train gan data --config tiny128 --steps 2000."""
    look_first([], [], [expert, start, ears])
    from sidgan.train import runs as training

    resolved = training.gan_config(config, steps, minutes, settings or [])
    _dry(resolved) if dry_run else print(training.train_gan(data, resolved, expert, run, device, start, ears))


@app.command("eval", rich_help_panel=JUDGE)
def evaluate(
    model: Annotated[str, typer.Argument(help="weights file of a generator, or 'bundled'", metavar="MODEL")] = "",
    data: Annotated[list[Path] | None, typer.Argument(help="prepared folders", metavar="DATA...")] = None,
    out: Annotated[Path | None, typer.Option("-o", "--out", help="result folder; gone on with if it is there")] = None,
    split: Annotated[list[str] | None, typer.Option(help="splits to judge (heldout), each a table of its own")] = None,
    clips: Annotated[str | None, typer.Option(help="test list: avspeech, hdtf, lrw, or a file with one name a line",
                                              metavar="LIST")] = None,
    spans: Annotated[Path | None, typer.Option(help="for --clips lrw: an aligner's lines NAME START END")] = None,
    videos: Annotated[Path | None, typer.Option(help="judge the videos of this folder, made by any tool")] = None,
    truth: Annotated[Path | None, typer.Option(help="the true videos of the same names")] = None,
    size: Annotated[int, typer.Option(help="with --videos: side of the crops that are compared, px")] = 512,
    expert: Annotated[str, typer.Option(help="weights file of a sync expert, or 'bundled'")] = "bundled",
    published: Annotated[bool, typer.Option("--published", help="also FID and LSE; fetches two published files, "
                                            "151 MB: see sidgan info --downloads")] = False,
    inception: Annotated[Path | None, typer.Option(help="TorchScript file for FID; FD custom if not the published one",
                                                   metavar="FILE")] = None,
    lag_expert: Annotated[Path | None, typer.Option(help="SyncNet weights for LSE; lag custom if not the published "
                                                    "ones", metavar="FILE")] = None,
    fid_every: Annotated[int, typer.Option(help="FID looks at every n-th frame", min=1)] = 1,
    sounds: Annotated[Path | None, typer.Option(help="for LSE of prepared clips: the folder that was prepared, "
                                        "if it was moved since")] = None,
    mask: Annotated[Mask, typer.Option(help="mouth region: between cheeks and below nose, or lower half")] = "query",
    first: Annotated[bool, typer.Option("--first", help="also judge the first frame, which is the reference")] = False,
    reference: Annotated[Reference, typer.Option(help="which frame shows the person; pair: lips closed, lips open, as "
                                                 "dubbing does")] = "first",
    rows: Annotated[str | None, typer.Option(help="who dubs: some of all rows, with commas", metavar="A,B")] = None,
    revoice: Annotated[bool, typer.Option("--revoice", help="also give each clip another one's voice")] = False,
    max_frames: Annotated[int | None, typer.Option(help="judge at most so many frames of each clip")] = None,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 1,
    report: Annotated[bool, typer.Option(help="write report.html into the result folder")] = True,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Judge a model on prepared clips, or anybody's videos. Example: sidgan eval bundled data --out judged."""
    if out is None:
        raise ConfigError("give --out, a folder for the results")
    given = {"--split": split, "--clips": clips, "--spans": spans, "--sounds": sounds, "--rows": rows,
             "--revoice": revoice, "--reference": reference != "first"}  # fmt: skip
    useless = [name for name, value in given.items() if value] if videos else ["--size"] if size != 512 else []
    require(not useless, f"{', '.join(useless)}: for {'prepared clips' if videos else '--videos'} only; leave it out")
    require(spans is None or clips is not None, "--spans goes with --clips lrw only")
    look_first([inception, lag_expert], [], [model, expert])
    from functools import partial

    from sidgan import evaluation as judging
    from sidgan.engine import choose_device
    from sidgan.evaluation.lists import choose

    where = str(choose_device(device))
    with bar(console) as show:
        own = judging.NetworkFiles(inception, lag_expert, fid_every)
        fetched = partial(own.or_published, lambda done, total: show(done / max(total, 1), "published networks"))
        shared: dict[str, Any] = {"expert": expert, "workers": workers, "networks": fetched if published else own,
                                  "progress": lambda done, total: show(done / total, f"{done} of {total} clips")}
        if videos is not None and truth is not None and not model:
            look = judging.VideoSettings(size, mask, score_reference=first, max_frames=max_frames, device=where)
            results = judging.evaluate_videos(out, videos, truth, settings=look, **shared)
        elif model and data and videos is None and truth is None:
            how = judging.Settings(
                reference=reference, mask=mask, score_reference=first, max_frames=max_frames, revoice=revoice,
                device=where,
                rows=tuple(rows.split(",")) if rows else judging.ROWS,
            )  # fmt: skip
            listed = None if clips is None else partial(choose, clips=clips, splits=split or (), spans=spans)
            results = judging.evaluate_to(out, model, data, splits=split or ["heldout"], choose=listed, settings=how,
                                          sounds=sounds, **shared)  # fmt: skip
        else:
            raise ConfigError("give MODEL (a weights file or 'bundled') and prepared folders, or --videos and --truth")
    lines = [judging.table(results)]
    facts: dict[str, Any] = {"results": {name: result.to_dict() for name, result in results.items()}}
    for line in judging.notes(out):
        _say(f"  {line}")
    if report:
        facts["report"] = str(judging.write_report(out))
        lines.append(f"see {facts['report']}")
    _print(facts, as_json, "\n".join(lines))


@app.command(rich_help_panel=JUDGE)
def robustness(
    model: Annotated[str, typer.Argument(help="weights file of a generator, or 'bundled'", show_default=False)],
    data: Annotated[list[Path], typer.Argument(help="prepared folders", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="result folder; gone on with if it is there",
                                      show_default=False)],
    split: Annotated[list[str] | None, typer.Option(help="splits to judge (heldout), in one table")] = None,
    clips: Annotated[int | None, typer.Option(help="judge only so many clips, drawn by their names")] = None,
    factors: Annotated[str | None, typer.Option(help="some of yaw, side, size, white, pink, babble and rate; else all",
                                                metavar="A,B")] = None,
    expert: Annotated[str, typer.Option(help="weights file of a sync expert, or 'bundled'")] = "bundled",
    mask: Annotated[Mask, typer.Option(help="mouth region: between cheeks and below nose, or lower half")] = "query",
    max_frames: Annotated[int | None, typer.Option(help="judge at most so many frames of each clip")] = None,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = 1,
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Where a model gets worse: pose, size, noise, speed. Example: sidgan robustness bundled data --out limits."""
    look_first([], [], [model, expert])
    from sidgan import evaluation as judging
    from sidgan.engine import choose_device
    from sidgan.evaluation.factors import notes
    from sidgan.evaluation.remarks import left_out, narrow

    how = judging.RobustnessSettings(
        tuple(factors.split(",")) if factors else judging.FACTORS, mask, max_frames, clips, str(choose_device(device))
    )
    with bar(console) as show:
        tables = judging.robustness_to(
            out, model, data, splits=split or ["heldout"], expert=expert, settings=how, workers=workers,
            progress=lambda done, total: show(done / total, f"{done} of {total} clips"),
        )  # fmt: skip
    _print({"factors": [one.to_dict() for one in tables]}, as_json, "\n\n".join(one.text() for one in tables))
    for line in [*left_out(out), *narrow(out), *notes(tables)]:
        _say(f"  {line}")
    _say(f"see {out / 'robustness.svg'}")


@app.command(rich_help_panel=DUB)
def info(
    downloads: Annotated[
        bool, typer.Option("--downloads", help="list the files that others publish, and where to put them by hand")
    ] = False,
    fetch: Annotated[str | None, typer.Option(help="download one of them, by its file's name", metavar="FILE",
                                              show_default=False)] = None,
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """What is installed: bundled weights, and files that can be fetched. Example: sidgan info --downloads.

    With --json, also what the bundled weights say about themselves.
    """
    if fetch is not None:
        from sidgan import downloads as published

        with bar(console) as show:
            path = published.fetch(published.named(fetch), lambda done, total: show(done / max(total, 1), fetch))
        _print({"file": str(path)}, as_json, str(path))
        return
    if downloads:
        from sidgan.downloads import survey

        found = survey()
        lines = "\n".join(line for one in found for line in one.lines())
        _print({"downloads": [one.to_dict() for one in found]}, as_json, lines)
        return
    from sidgan.doctor import inventory

    there = inventory.take()
    _print(there.to_dict(), as_json, "\n".join(there.lines()))


@app.command(rich_help_panel=DUB)
def doctor(
    device: Device = "auto",
    timed: Annotated[bool, typer.Option(help="also dub some frames, to tell how fast this computer is")] = True,
    as_json: AsJson = False,
) -> None:
    """Can this computer dub, with what, and how fast? Example: sidgan doctor.

    It names what is missing and the command that adds it.

    Exit code 0: it can dub, whatever else is missing.
    1: something that dubbing needs is missing or broken.
    """
    from sidgan import doctor as medicine

    with bar(console) as show:
        checkup = medicine.examine(device=device, timed=timed, progress=show)
    _print(checkup.to_dict(), as_json, "\n".join(checkup.lines()))
    if not checkup.fit:
        raise typer.Exit(1)


app.command(rich_help_panel=DUB)(serve)
app.command(rich_help_panel=DUB)(serve_worker)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="print the version and stop")] = False) -> None:
    if version:
        print(__version__)
        raise typer.Exit


def _dry(config: Any) -> None:
    from sidgan.config import to_dict

    print(json.dumps(to_dict(config), indent=1))


def _say(line: str) -> None:
    say(console, line)


def _print(values: dict[str, Any], as_json: bool, line: str) -> None:
    print(json.dumps(values, indent=1) if as_json else line)


def _fail(line: str, code: int = SidganError.exit_code) -> NoReturn:
    console.print(f"sidgan: {plain(line)}", style="bold red", markup=False, highlight=False, soft_wrap=True)
    sys.exit(code)


@contextmanager
def _written() -> Iterator[None]:
    """Have what was printed written when the block ends: Python would do it at the very end, and complain itself."""
    try:
        yield
    finally:
        try:
            if sys.stdout is not None:
                sys.stdout.flush()
        except OSError as error:
            with suppress(OSError):  # what is left is of no use, and would be tried once more
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if not isinstance(error, BrokenPipeError):
                raise
            sys.exit(1)  # who reads has seen enough


def main() -> None:
    """Entry point: one clear line and exit code 2 for everything a user can mend."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a name that a console cannot show must not end the work
    try:
        with _written():
            app(standalone_mode=True)
    except SystemExit as end:
        if isinstance(getattr(end.__context__, "__cause__", None), KeyboardInterrupt):  # typer leaves without a word
            console.print("sidgan: stopped")
        raise
    except SidganError as error:
        _fail(str(error), error.exit_code)
    except OSError as error:
        if error.filename is None and error.errno not in FULL:
            raise
        reason = (error.strerror or str(error)).lower()
        if error.filename is None:
            _fail(f"the output cannot be written: {reason}; free space or send it elsewhere")
        # Whether there is a file of too long a name, or in a folder that may not be looked into, systems do not say.
        _fail(f"{error.filename} cannot be used: {reason}; check the name, and who may read and write it")
    except KeyboardInterrupt:
        console.print("sidgan: stopped")
        sys.exit(130)

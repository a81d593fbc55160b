"""`sidgan dub` and what goes with it: who is in a video, what a file says of itself, the clip that comes along."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sidgan.cli.options import AsJson, Device, EngineKind, Runnable
from sidgan.cli.output import answer, bar, say
from sidgan.config import require
from sidgan.errors import counted
from sidgan.files import look_first, writing
from sidgan.threads import ready_for_dubs

if TYPE_CHECKING:
    from sidgan.jobs import Job

Which = Literal["largest", "all", "speaking"]
Hush = Literal["close", "keep", "draw"]
Ends = Literal["cut", "hold", "loop", "pingpong", "keep"]
Damage = Literal["stop", "pass"]


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
        with bar() as show:
            report, adapted = job.run(show, say)
    except KeyboardInterrupt:
        say(f"sidgan: stopped; run the same command again to continue {job.out} where it was")
        raise typer.Exit(130) from None
    facts = {} if adapt is None else {"adapted": [one.to_dict() for one in adapted]}
    answer(report.to_dict() | facts, as_json, made(job, report))
    if engine != "torch":
        say(f"  drawn by {report.engine}")
    for line in report.notes:
        say(f"  {line}")
    for line in left(report, few=5):
        say(f"  {line}")
    for begin, end in report.damaged:
        say(f"  {begin:.2f}-{end:.2f} s damaged: the last good picture is shown that long")


def _dub_all(file: Path, like: Job, ray: str | None, as_json: bool) -> None:
    from sidgan import executors
    from sidgan import jobs as dubs

    wanted, ended = dubs.read(file, like), list[dubs.Outcome]()
    executor = executors.on_ray(ray, Path.cwd(), like.workers) if ray else executors.local(like.workers)
    for line in dubs.absent(wanted):
        say(f"  {line}")
    try:
        with bar() as show:
            for outcome in dubs.run_all(wanted, executor):
                ended.append(outcome)
                show(len(ended) / len(wanted), f"{len(ended)} of {len(wanted)} dubs")
                say(f"  {outcome.line}" if outcome.done else f"  failed: {outcome.line}")
                for line in outcome.notes:
                    say(f"    {line}")
    except KeyboardInterrupt:
        done = ", and makes anew what is done: take those lines out" if ended else ""
        say(f"sidgan: stopped after {len(ended)} of {counted(len(wanted), 'dub')}; the same command goes on{done}")
        raise typer.Exit(130) from None
    failed = [outcome for outcome in ended if not outcome.done]
    told = [{"out": str(o.job.out), "done": o.done, "line": o.line, "notes": o.notes} for o in ended]
    answer({"jobs": told}, as_json, f"{len(ended) - len(failed)} of {counted(len(ended), 'dub')} done, "
                                     f"{len(failed)} failed")  # fmt: skip
    if failed:
        raise typer.Exit(1)


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

    with bar() as show:
        people = dubbing.faces(
            video, sheet=out, progress=lambda stage, done, total: show(done / max(total, 1), stage)
        )  # fmt: skip
    lines = [line for one in people for line in (one.line(), f"     seen {one.when()}")]
    lines += [] if out is None else [f"see {out}"]
    answer({"people": [asdict(one) for one in people]}, as_json, "\n".join(lines))


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
    answer(verdict.to_dict(), as_json, "\n".join(verdict.lines()))
    if not verdict.holds:
        raise typer.Exit(1)


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
    with bar() as show:
        report = dubbing.dub(video, voice, out / "dubbed.mp4", device=device,
                             progress=lambda stage, done, total: show(done / max(total, 1), stage))  # fmt: skip
    dubbing.strip(video, out / "dubbed.mp4", out / "before_after.png")
    for line in left(report):
        say(line)
    answer(report.to_dict(), as_json, f"{report.dubbed} of {report.frames} frames dubbed in {report.wall:.0f} s; "
           f"see {out / 'dubbed.mp4'} and {out / 'before_after.png'}")  # fmt: skip

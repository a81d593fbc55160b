"""`sidgan dub`, and its companions `faces`, `verify` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from sidgan.cli.options import DEVICE, ENGINE, RUNNABLE, AsJson, Device, Kind
from sidgan.cli.output import answer, bar, say
from sidgan.errors import counted, some
from sidgan.files import look_first, writing
from sidgan.settings import require, require_minutes
from sidgan.threads import ready_for_dubs

if TYPE_CHECKING:
    from sidgan.jobs import Job

Which = Literal["largest", "all", "speaking"]
Hush = Literal["close", "keep", "draw"]
Ends = Literal["cut", "hold", "loop", "pingpong", "keep"]
Damage = Literal["stop", "pass"]
OUTPUT, PEOPLE, SOUND, PICTURE, SPEED = (  #: panels of the help
    "Output", "Who is dubbed", "Voice and sound", "Picture", "Speed and machines",
)  # fmt: skip


def dub(
    video: Annotated[Path | None, typer.Argument(
        help="the video, or photo, with the face to dub", show_default=False)] = None,
    voice: Annotated[Path | None, typer.Argument(
        help="the new voice: any file with sound. With --speaker: the sound of the dub (default: a mix of the "
        "speakers' voices)", show_default=False,
    )] = None,
    out: Annotated[Path | None, typer.Option(
        "-o", "--out", help="the dubbed video to write: .mp4, .mov or .mkv", show_default=False, rich_help_panel=OUTPUT,
    )] = None,
    strip: Annotated[Path | None, typer.Option(
        help="also write a before/after picture", metavar="PNG", rich_help_panel=OUTPUT)] = None,
    report_to: Annotated[Path | None, typer.Option(
        "--report", help="also write a page that shows what to check, and where and how well mouths were redrawn",
        metavar="HTML", rich_help_panel=OUTPUT)] = None,
    encoder: Annotated[str, typer.Option(
        help="video encoder: x264, x265, or FFmpeg's name of another, such as h264_nvenc", metavar="NAME",
        rich_help_panel=OUTPUT)] = "x264",
    crf: Annotated[int, typer.Option(
        help="quality of the encoding, from 0 (best) to 51", min=0, max=51, rich_help_panel=OUTPUT)] = 16,
    lossless: Annotated[bool, typer.Option(
        "--lossless", help="encode without loss: a large file, identical to the video where nothing was redrawn",
        rich_help_panel=OUTPUT)] = False,
    sign: Annotated[Path | None, typer.Option(
        help="sign the result with this certificate (C2PA); needs --key", metavar="PEM",
        rich_help_panel=OUTPUT)] = None,
    key: Annotated[Path | None, typer.Option(
        help="the private key of the certificate", metavar="PEM", rich_help_panel=OUTPUT)] = None,
    faces: Annotated[Which, typer.Option(
        help="whose mouth to redraw: of the most prominent person at each moment, of everybody, or of the person who "
        "speaks in the video's own sound", rich_help_panel=PEOPLE)] = "largest",
    face: Annotated[str | None, typer.Option(
        help="redraw only this person: a number that sidgan faces prints, or a photo", metavar="N|PHOTO",
        rich_help_panel=PEOPLE)] = None,
    speaker: Annotated[list[str] | None, typer.Option(
        help="the voice of person N; give the option once for each speaker", metavar="N=AUDIO",
        rich_help_panel=PEOPLE)] = None,
    background: Annotated[str | None, typer.Option(
        help="sound under the voice, which moves no mouth: a file with music and effects, or 'original', which is the "
        "video's own sound without its speech (needs pip install 'sidgan\\[separate]')",
        metavar="AUDIO|original", rich_help_panel=SOUND)] = None,
    silence: Annotated[Hush, typer.Option(
        help="while the voice pauses: close the mouth, keep it as filmed, or draw it from the background noise",
        rich_help_panel=SOUND)] = "close",
    length: Annotated[Ends, typer.Option(
        help="if the voice is longer than the video: cut it, hold the last frame, or play the video again (loop) or "
        "backwards and forwards (pingpong). If the voice is shorter: keep plays the original sound after it",
        rich_help_panel=SOUND)] = "cut",
    model: Annotated[str, typer.Option(
        help=RUNNABLE, metavar="FILE", rich_help_panel=PICTURE)] = "bundled",
    adapt: Annotated[float | None, typer.Option(
        help="first train the model on the face in the video, for this many minutes", metavar="MINUTES",
        rich_help_panel=PICTURE)] = None,
    emphasis: Annotated[float, typer.Option(
        help="how strongly the mouth moves; 1 is what suits the model", min=0, max=3, rich_help_panel=PICTURE)] = 1.0,
    steady: Annotated[float, typer.Option(
        help="how much to reduce flicker of redrawn skin (not of lips)", min=0, max=1, rich_help_panel=PICTURE)] = 0.5,
    on_damage: Annotated[Damage, typer.Option(
        help="where the video is damaged or cut off: stop, or pass over the damage and repeat the last good frame",
        rich_help_panel=PICTURE)] = "stop",
    jobs: Annotated[Path | None, typer.Option(
        help="dub many videos: a CSV file with the columns video, voice and out, and one for each option that differs "
        "between lines", metavar="CSV", show_default=False, rich_help_panel=SPEED)] = None,
    workers: Annotated[int, typer.Option(
        help="number of processes that draw; with --jobs, number of dubs at the same time", min=1,
        rich_help_panel=SPEED)] = 1,
    ray: Annotated[str | None, typer.Option(
        help="draw the faces, or process --jobs, on a Ray cluster: HOST:PORT, auto or local", metavar="ADDRESS",
        rich_help_panel=SPEED)] = None,
    device: Annotated[str, typer.Option(help=DEVICE, rich_help_panel=SPEED)] = "auto",
    engine: Annotated[Kind, typer.Option(help=ENGINE, rich_help_panel=SPEED)] = "torch",
    as_json: AsJson = False,
) -> None:  # fmt: skip
    """Dub VIDEO with VOICE. Example: sidgan dub talk.mp4 german.wav -o talk-german.mp4 --adapt 1.

    Two speakers: sidgan dub two.mp4 -o out.mp4 --speaker 1=anna.wav --speaker 2=ben.wav; sidgan faces lists people.

    If it is interrupted, run the same command again: it resumes, and the result is the same.

    Only dub yourself or people who agreed to it. The result is marked as altered; see sidgan verify.
    """
    ready_for_dubs()
    require_minutes(adapt)
    if jobs is None:
        given = None not in (video, voice or speaker, out)
        require(given, "give VIDEO, VOICE (or --speaker) and -o OUT, or --jobs with a list of dubs")
        speakers = [text.partition("=") for text in speaker or ()]  # speakers_of refuses anything but NUMBER=FILE
        voices = [Path(file) for number, _, file in speakers if number.isdecimal() and file]
        photo = None if face is None or face.isdecimal() else Path(face)
        music = None if background in (None, "original") else Path(background)
        signing = (sign, key) if sign and key else ()  # the job refuses one without the other
        look_first([video, voice, *voices, photo, music, *signing], [out, strip, report_to], [model])
    else:
        require(video is None and out is None, "give VIDEO, VOICE and -o, or --jobs with a list of dubs, not both")
        look_first([jobs], [], [model])
    from sidgan.dubbing.settings import background_of, face_of
    from sidgan.jobs import Job, made, remarks, speakers_of

    missing = Path()  # with --jobs, the list gives video and out
    job = Job(
        video=video or missing, voice=voice, out=out or missing, model=model, faces=faces,
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
        say(f"sidgan: stopped; run the same command again to resume {job.out}")
        raise typer.Exit(130) from None
    facts = {} if adapt is None else {"adapted": [one.to_dict() for one in adapted]}
    answer(report.to_dict() | facts, as_json, made(job, report))
    if engine != "torch":
        say(f"  drawn by {report.engine}")
    for line in remarks(report, few=5):
        say(f"  {line}")


def _dub_all(file: Path, defaults: Job, ray: str | None, as_json: bool) -> None:
    """Work through a CSV list of dubs, whose empty fields are taken from ``defaults``; exit code 1 if one fails."""
    from sidgan import executors
    from sidgan import jobs as dubs

    wanted, ended = dubs.read(file, defaults), list[dubs.Outcome]()
    executor = executors.on_ray(ray, Path.cwd(), defaults.workers) if ray else executors.local(defaults.workers)
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
        done = f"{len(ended)} of {counted(len(wanted), 'dub')}"
        say(f"sidgan: stopped after {done}; run the same command again to resume")
        raise typer.Exit(130) from None
    failed = [outcome for outcome in ended if not outcome.done]
    facts = [{"out": str(o.job.out), "done": o.done, "kept": o.kept, "line": o.line, "notes": o.notes} for o in ended]
    kept = sum(outcome.kept for outcome in ended)
    before = f" ({kept} by an earlier run)" if kept else ""
    which = f": {some([str(outcome.job.out) for outcome in failed], 20)}" if failed else ""
    answer({"jobs": facts}, as_json, f"{len(ended) - len(failed)} of {counted(len(ended), 'dub')} done{before}, "
                                      f"{len(failed)} failed{which}")  # fmt: skip
    if failed:
        raise typer.Exit(1)


def faces(
    video: Annotated[Path, typer.Argument(help="any video, or a photo", show_default=False)],
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="also write a picture that shows everybody", metavar="PNG")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List the people in VIDEO, for --face and --speaker of dub. Example: sidgan faces talk.mp4 -o people.png.

    Person 1 is the most prominent. Each line says when a person is seen and how many frames can be redrawn, or why not.
    """
    look_first([video], [out])
    from dataclasses import asdict

    from sidgan import dubbing

    with bar() as show:
        people = dubbing.faces(
            video, sheet=out, progress=lambda stage, done, total: show(done / max(total, 1), stage)
        )  # fmt: skip
    lines = [line for one in people for line in (one.line(), *([f"     seen {one.when()}"] if one.seen else []))]
    lines += [] if out is None else [f"see {out}"]
    answer({"people": [asdict(one) for one in people]}, as_json, "\n".join(lines))


def verify(
    file: Annotated[Path, typer.Argument(help="any video", show_default=False)],
    source: Annotated[
        Path | None, typer.Option(help="check that FILE was made from this video", metavar="VIDEO", show_default=False)
    ] = None,
    voice: Annotated[
        Path | None, typer.Option(help="check that FILE was made with this voice", metavar="AUDIO", show_default=False)
    ] = None,
    trust: Annotated[
        Path | None, typer.Option(help="check that FILE was signed with one of these certificates, or with one that "
                                  "they issued", metavar="PEM")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Read the mark that sidgan leaves in every dubbed video. Example: sidgan verify talk-german.mp4.

    Exit code 0: FILE is marked as altered by sidgan, and all checks that you asked for hold.
    1: there is no mark, or a check fails. A missing mark does not prove that nobody altered FILE.
    2: FILE is not a video, or another file cannot be used.
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
    """Dub the bundled demo clip and write a before/after picture. Example: sidgan demo."""
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

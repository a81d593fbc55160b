"""Weights: adapted to a person, written for other engines, taken over from other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidgan.cli.options import AsJson, Device, Model
from sidgan.cli.output import answer, bar
from sidgan.files import look_first


def adapt(
    video: Annotated[Path, typer.Argument(help="video with the face to be dubbed", show_default=False)],
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

    with bar() as show:
        _, report = adaptation.adapt(
            video, model=model, minutes=minutes, out=out, face=face, device=device, progress=show
        )  # fmt: skip
    answer(report.to_dict(), as_json, f"{report.line()} -> {out}")


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
    answer({"file": str(out), "says": line}, as_json, line)


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
    answer({"file": str(out), "says": line}, as_json, line)

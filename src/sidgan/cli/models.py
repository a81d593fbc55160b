"""Commands that adapt weights to a person, export them to other engines, and import those of other systems."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sidgan.cli.options import AsJson, Device, Model
from sidgan.cli.output import answer, bar
from sidgan.files import look_first, require_ending
from sidgan.settings import require_minutes


def adapt(
    video: Annotated[Path, typer.Argument(help="the video with the face to dub", show_default=False)],
    out: Annotated[Path, typer.Option("-o", "--out", help="weights file to write: .safetensors", show_default=False)],
    minutes: Annotated[float, typer.Option(help="how long to train", min=0.05)] = 5.0,
    face: Annotated[int, typer.Option(help="number of the face; 1 is the most prominent", min=1)] = 1,
    model: Model = "bundled",
    device: Device = "auto",
    as_json: AsJson = False,
) -> None:
    """Adapt the model to a person seen in VIDEO. Example: sidgan adapt talk.mp4 -o me.safetensors --minutes 5.

    Use the file with --model whenever you dub this person. It holds only the weights that changed.
    """
    require_minutes(minutes)
    require_ending(out, ".safetensors")
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
    size: Annotated[int | None, typer.Option(help="side of the faces, px (default: the generator's own)")] = None,
    batch: Annotated[int, typer.Option(help="faces per batch", min=1)] = 8,
    as_json: AsJson = False,
) -> None:
    """Export a generator as ONNX. Example: sidgan export bundled -o model.onnx --size 256.

    The metadata of the file names the weights it was made from, and their terms. docs/engines.md lists the inputs.
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
    """Import published weights of another system. Example: sidgan import wav2lip_gan.pth -o wav2lip.safetensors.

    Use the file with --model. The terms of its authors still apply; they are printed.
    """
    from sidgan import published

    line = published.convert(file, out)
    answer({"file": str(out), "says": line}, as_json, line)

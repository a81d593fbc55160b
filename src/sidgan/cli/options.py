"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Kind = Literal["torch", "onnx", "openvino", "auto"]
Model = Annotated[str, typer.Option(help="weights file of a generator, or 'bundled'", metavar="FILE")]
Runnable = Annotated[str, typer.Option("--model", help="weights file of a generator, 'bundled', or a file of sidgan "
                                       "export", metavar="FILE")]  # fmt: skip
Expert = Annotated[str, typer.Option(help="weights file of a sync expert, or 'bundled'")]
EngineKind = Annotated[Kind, typer.Option("--engine", help="what runs the network; auto measures which is fastest")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N")]
Settings = Annotated[list[str] | None, typer.Option("--set", help="change a setting: a.b=value", metavar="KEY=VALUE")]
Processes = Annotated[int, typer.Option("--workers", help="processes", min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]
NumbersAsJson = Annotated[bool, typer.Option("--json", help="print the numbers as JSON on standard output")]

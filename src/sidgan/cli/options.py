"""Options that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

Kind = Literal["torch", "onnx", "openvino", "auto"]

# Help texts, for commands that put an option into a panel of its own.
RUNNABLE = "weights file of a generator, 'bundled', or a file from sidgan export"
ENGINE = "what runs the network; auto measures which is fastest"
EXPERT = "weights file of a sync expert, or 'bundled'"
PROCESSES = "number of processes"
DEVICE = "auto, cpu, cuda or cuda:N"

Model = Annotated[str, typer.Option(help="weights file of a generator, or 'bundled'", metavar="FILE")]
Expert = Annotated[str, typer.Option(help=EXPERT)]
Device = Annotated[str, typer.Option(help=DEVICE)]
Settings = Annotated[list[str] | None, typer.Option("--set", help="change a setting: a.b=value", metavar="KEY=VALUE")]
Processes = Annotated[int, typer.Option("--workers", help=PROCESSES, min=1)]
AsJson = Annotated[bool, typer.Option("--json", help="print the result as JSON on standard output")]

"""Deliberate breaks of the product, and which invariant must notice each.

A break is one edit of one function's source: compiled and put in the function's place while the check runs. Run this
file for the table of docs/invariants.md::

    python tests/sabotage.py > breaks.md
"""

from __future__ import annotations

import __future__

import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any, NamedTuple

import pytest
import torch

from invariants import shifts
from sidgan.nn import layers, syncnet


class Break(NamedTuple):
    """One edit that breaks one promise."""

    promise: str  #: its name in docs/invariants.md
    what: str  #: what is wrong now
    check: Callable[..., None]  #: must raise AssertionError
    function: Callable[..., Any]  #: of the product
    old: str  #: in its source, once
    new: str
    arguments: tuple[Any, ...] = ()  #: of the check


APS, VIDEO, UNIT = layers.AdaptivePolyphase, syncnet.VideoEncoder, layers.ConvUnit

BREAKS = [
    Break("T1", "always the same grid", shifts.shifts_travel, APS.phase, ".argmax(1)", ".argmax(1) * 0"),
    Break("T1", "weakest grid", shifts.strongest_grid, APS.phase, ".argmax(1)", ".argmin(1)"),
    Break("T1", "grids numbered by columns", shifts.shifts_travel, APS.forward, "permute(0, 3, 5, ", "permute(0, 5, 3, "),
    Break("T1", "stride turned", shifts.shifts_travel, APS.__init__, "self.stride = stride", "self.stride = stride[::-1]",
          ((1, 2),)),
    Break("T2", "zero padding", shifts.feature_ignores_shifts, UNIT.__init__, '"circular" if circular', '"zeros" if circular'),
]


def broken(function: Callable[..., Any], old: str, new: str) -> tuple[Callable[..., Any], CodeType]:
    """The undecorated function, and the code it would have after the edit."""
    function = inspect.unwrap(function)
    source = textwrap.dedent(inspect.getsource(function))
    found = source.count(old)
    if found != 1:
        raise LookupError(f"{function.__qualname__} holds {old!r} {found} times, not once: adapt this break")
    source = source[source.index("def ") :].replace(old, new)
    outer = function.__code__.co_freevars  # among them __class__, for super()
    maker = f"def make({', '.join(outer)}):\n{textwrap.indent(source, '    ')}\n    return {function.__name__}"
    scope: dict[str, Any] = {}
    exec(compile(maker, "<broken>", "exec", __future__.annotations.compiler_flag), function.__globals__, scope)
    return function, scope["make"](*outer).__code__


def caught(case: Break) -> str:
    """What the check says about the broken product.

    Raises:
        LookupError: the edit no longer fits the product's source.
        Failed: the check passed.
    """
    function, code = broken(case.function, case.old, case.new)
    torch.manual_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(function, "__code__", code)  # whoever has imported the function is affected
        with pytest.raises(AssertionError) as said:
            case.check(*case.arguments)
    return str(said.value).splitlines()[0]


def table() -> str:
    """Markdown: every break and what the test said."""
    rows = ["| promise | broken so | edit | what the test said |", "|---|---|---|---|"]
    for case in BREAKS:
        edit = f"`{case.function.__qualname__}`: `{case.old}` → `{case.new}`"
        rows.append(f"| {case.promise} | {case.what} | {edit} | {caught(case)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(table())

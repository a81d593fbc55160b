"""What a caller from Python gave by mistake, told by the argument's name instead of from deep inside."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from sidgan.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")
#: What may be given for these, and what they are called.
PLAIN: dict[Any, tuple[Any, str]] = {
    Path: (str | os.PathLike, "a path"), str: (str, "text"), bool: (bool, "True or False"),
    int: (Integral, "a whole number"), float: (Real, "a number"), types.NoneType: (types.NoneType, "None"),
    Mapping: (Mapping, "a mapping, such as {1: 'anna.wav'}"), Sequence: (Sequence, "a list"),
    collections.abc.Callable: (collections.abc.Callable, "a function"),
    Literal: (str, "text"),  # which of its values is told elsewhere
}  # fmt: skip
OTHER = (str, bytes, Real, Mapping, Sequence, types.NoneType)  #: what is no object of a class of our own


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """A function that says in one line which of its arguments is of another type than its hint.

    Raises:
        InputError: one is.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        with suppress(TypeError):  # what Python says of names and numbers of arguments is clear
            require_types(signature.bind(*args, **kwargs).arguments, function)
        return function(*args, **kwargs)

    return checking


def require_types(values: Mapping[str, Any], owner: Any) -> None:
    """Raise an `InputError` where one of some values is not of the type that ``owner``, function or class, hints at."""
    hints = _hints(owner)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            told = repr(value)
            shown = told if len(told) <= 60 else f"{told[:57]}..."
            *most, last = _words(hints[name])
            raise InputError(f"{name} cannot be {shown}; give {', '.join(most)}{' or ' * bool(most)}{last}")


@functools.cache
def _hints(owner: Any) -> dict[str, Any]:
    return typing.get_type_hints(owner)


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if kind not in PLAIN:  # of our own classes: anything that does what they do
        return kind is Any or kind in type(value).__mro__ or not isinstance(value, OTHER)
    misread = (isinstance(value, bool) and kind in (int, float)) or (isinstance(value, str) and kind is Sequence)
    if misread or not isinstance(value, PLAIN[kind][0]):
        return False
    return not isinstance(value, Mapping) or all(_fits(one, parts[1]) for one in value.values())


def _words(hint: Any) -> dict[str, None]:
    """What to give, each once."""
    kind = typing.get_origin(hint) or hint
    if kind in (typing.Union, types.UnionType):
        return {word: None for part in typing.get_args(hint) for word in _words(part)}
    return {PLAIN[kind][1] if kind in PLAIN else f"a {kind.__name__}": None}

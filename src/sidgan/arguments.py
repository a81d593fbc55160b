"""Type checks of the arguments of public functions, so that a mistake is reported by the argument's name."""

from __future__ import annotations

import collections.abc
import functools
import inspect
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, ParamSpec, TypeVar

from sidgan.errors import InputError

P = ParamSpec("P")
R = TypeVar("R")
#: Type hint -> (types that are accepted for it, its name in messages).
ACCEPTED: dict[Any, tuple[Any, str]] = {
    Path: (str | os.PathLike, "a path"), str: (str, "text"), bool: (bool, "True or False"),
    int: (Integral, "a whole number"), float: (Real, "a number"), types.NoneType: (types.NoneType, "None"),
    Mapping: (Mapping, "a mapping, such as {1: 'anna.wav'}"), Sequence: (Sequence, "a list"),
    Iterable: (Iterable, "an iterable"),
    collections.abc.Callable: (collections.abc.Callable, "a function"),
    Literal: (str, "text"),  # its values are checked by the settings themselves
}  # fmt: skip
BUILTIN = (str, bytes, Real, Mapping, Sequence, types.NoneType)  #: never accepted for a class of this package


def checked(function: Callable[P, R]) -> Callable[P, R]:
    """Decorator: check the types of a function's arguments against its hints on every call.

    Raises:
        InputError: an argument has another type; the message names it in one line.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        with suppress(TypeError):  # unknown or missing arguments: the call itself raises Python's own clear message
            require_types(signature.bind(*args, **kwargs).arguments, function)
        return function(*args, **kwargs)

    return checking


def require_types(values: Mapping[str, Any], owner: Any) -> None:
    """Raise an `InputError` unless the named values have the types that ``owner``, a function or class, hints at."""
    hints = _hints(owner)
    for name, value in values.items():
        if name in hints and not _fits(value, hints[name]):
            text = repr(value)
            shown = text if len(text) <= 60 else f"{text[:57]}..."
            *most, last = _names(hints[name])
            raise InputError(f"{name} cannot be {shown}; give {', '.join(most)}{' or ' * bool(most)}{last}")


@functools.cache
def _hints(owner: Any) -> dict[str, Any]:
    return typing.get_type_hints(owner)


def _fits(value: Any, hint: Any) -> bool:
    kind, parts = typing.get_origin(hint) or hint, typing.get_args(hint)
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, part) for part in parts)
    if kind not in ACCEPTED:  # a class of this package: other classes with the same methods are accepted too
        return kind is Any or kind in type(value).__mro__ or not isinstance(value, BUILTIN)
    misread = (isinstance(value, bool) and kind in (int, float)) or (isinstance(value, str) and kind is Sequence)
    if misread or not isinstance(value, ACCEPTED[kind][0]):
        return False
    return not isinstance(value, Mapping) or all(_fits(one, parts[1]) for one in value.values())


def _names(hint: Any) -> dict[str, None]:
    """Names of the accepted types, without duplicates and in order, as keys."""
    kind = typing.get_origin(hint) or hint
    if kind in (typing.Union, types.UnionType):
        return {name: None for part in typing.get_args(hint) for name in _names(part)}
    return {ACCEPTED[kind][1] if kind in ACCEPTED else f"a {kind.__name__}": None}

"""Settings as frozen dataclasses: checked, converted to and from plain values, read from TOML and changed by ``--set``.

Unknown keys are errors that name the nearest known one; nothing is ignored.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import math
import tomllib
import types
import typing
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar

from sidgan.errors import ConfigError

C = TypeVar("C")


def require(condition: bool, message: str) -> None:
    """Raise `ConfigError` with ``message`` unless ``condition``."""
    if not condition:
        raise ConfigError(message)


def require_between(config: Any, low: float, high: float, *names: str) -> None:
    """Raise `ConfigError` unless these fields are finite and from ``low`` to ``high``; those that are ``None`` pass."""
    limits = f"{low:g} or more" if high == math.inf else f"{low:g} to {high:g}"
    for name in names:
        value = getattr(config, name)
        fits = value is None or (low <= value <= high and math.isfinite(value))
        require(fits, f"{name} must be {limits}, not {value}")


def require_minutes(adapt: float | None) -> None:
    """Raise `ConfigError` unless a model can be adapted for so many minutes; ``None``, not at all, passes."""
    possible = adapt is None or 0 < adapt < math.inf
    require(possible, f"minutes of adaptation must be more than 0, not {adapt}")


def require_same(found: Any, wanted: Any) -> None:
    """Raise `ConfigError`, naming the fields that differ, unless two configs of one type are equal."""
    differ = [f.name for f in dataclasses.fields(wanted) if getattr(found, f.name) != getattr(wanted, f.name)]
    text = ", ".join(f"{name} is {getattr(found, name)}, not {getattr(wanted, name)}" for name in differ)
    require(not differ, f"the weights to start from do not fit the settings: {text}")


def to_dict(config: Any) -> dict[str, Any]:
    """A config as plain JSON-able values."""
    return typing.cast("dict[str, Any]", json.loads(json.dumps(dataclasses.asdict(config))))


def from_dict(kind: type[C], values: Mapping[str, Any], where: str = "") -> C:
    """Build a config of type ``kind``; nested dataclasses come from nested tables.

    Raises:
        ConfigError: unknown key (the nearest known one is named) or a value of the wrong type.
    """
    hints = typing.get_type_hints(kind)
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    arguments: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise ConfigError(f"unknown key '{where}{key}'; {meant(key, sorted(known))}")
        arguments[key] = _convert(hints[key], value, f"{where}{key}")
    return kind(**arguments)


def meant(name: str, known: Sequence[str]) -> str:
    """A hint for an unknown name: the nearest known one, or all known ones."""
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'?" if near else f"known are {', '.join(known)}"


def _convert(hint: Any, value: Any, where: str) -> Any:
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if dataclasses.is_dataclass(hint) and isinstance(value, Mapping):
        return from_dict(typing.cast("type[Any]", hint), value, f"{where}.")
    if origin in (typing.Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        kinds = [a for a in args if a is not type(None)]
        kind = next((a for a in kinds if isinstance(a, type) and isinstance(value, a)), kinds[0])
        return _convert(kind, value, where)
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_convert(args[0], v, where) for v in value)
    if origin in (dict, Mapping) and isinstance(value, Mapping):
        return {_convert(args[0], k, where): _convert(args[1], v, f"{where}.{k}") for k, v in value.items()}
    if origin is Literal:
        require(value in args, f"'{where}' must be one of {', '.join(map(str, args))}, not {value!r}")
        return value
    if hint is int and isinstance(value, str) and value.removeprefix("-").isdecimal():
        return int(value)
    if hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    containers = {tuple: "a list", dict: "a table", Mapping: "a table"}
    name = "a table" if dataclasses.is_dataclass(hint) else containers.get(origin) or getattr(hint, "__name__", hint)
    raise ConfigError(f"'{where}' must be {name}, not {value!r}")


def read_toml(path_or_name: str | Path, builds_on_it: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read a TOML file, or a preset that comes with the package, by its bare name (``tiny128``).

    With a line ``base = "other"``, that preset or file is read first, and the values of this one replace its values.

    Args:
        path_or_name: a file if it ends in ``.toml``, else a preset.
        builds_on_it: names of the files that refer to this one by ``base``, to detect cycles.

    Raises:
        ConfigError: there is no such file or preset, it is not TOML, or its ``base`` refers back to it or is not text.
    """
    path = Path(path_or_name)
    if path.suffix != ".toml":
        preset = resources.files("sidgan") / "configs" / f"{path}.toml"
        if not preset.is_file():
            near = meant(str(path_or_name), presets())
            raise ConfigError(f"no preset '{path_or_name}' (a file of settings must end in .toml); {near}")
        data = preset.read_bytes()
    elif path.is_file():
        data = path.read_bytes()
    else:
        raise ConfigError(f"no config file {path}")
    try:
        values = tomllib.loads(data.decode("utf-8"))
    except ValueError as error:  # invalid TOML or invalid UTF-8
        raise ConfigError(f"{path_or_name}: not valid TOML ({error})") from None
    base = values.pop("base", None)
    if base is None:
        return values
    require(isinstance(base, str), f"'base' of {path_or_name} must be the name of a preset or TOML file, not {base!r}")
    chain = (*builds_on_it, str(path_or_name))
    require(base not in chain, f"'base' of {path_or_name} refers back to itself through {base}; name another preset")
    return merge(read_toml(base, chain), values)


def presets() -> list[str]:
    """Names of the presets that come with the package."""
    folder = resources.files("sidgan") / "configs"
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """``base`` updated with the values of ``change``; nested tables are merged recursively."""
    merged = dict(base)
    for key, value in change.items():
        both = isinstance(value, Mapping) and isinstance(merged.get(key), Mapping)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def by_full_name(tables: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The values of nested tables as ``table.name``, which is how ``--set`` takes settings."""
    flat: dict[str, Any] = {}
    for name, value in tables.items():
        flat |= by_full_name(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {f"{prefix}{name}": value}
    return flat


def override(values: Mapping[str, Any], assignments: list[str]) -> dict[str, Any]:
    """Apply ``--set a.b=value`` assignments; values are parsed as TOML, or taken as text if they are not TOML."""
    result = dict(values)
    for assignment in assignments:
        key, sep, text = assignment.partition("=")
        require(bool(sep) and bool(key), f"--set must be key=value, not '{assignment}'")
        try:
            value = tomllib.loads(f"v = {text}")["v"]
        except tomllib.TOMLDecodeError:
            value = text
        change: dict[str, Any] = {key.split(".")[-1]: value}
        for part in reversed(key.split(".")[:-1]):
            change = {part: change}
        result = merge(result, change)
    return result

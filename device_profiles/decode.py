"""From a parsed TOML table to frozen dataclasses and back, with errors that name key and file."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeVar, Union

from device_profiles.errors import ProfileError
from device_profiles.nearest import hint

T = TypeVar("T")

_WORDS = {str: "a string", int: "a whole number", float: "a number", bool: "true or false"}


def decode(cls: type[T], table: Mapping[str, Any], where: str) -> T:
    """Return a `cls` made of `table`; ProfileError begins with `where` and names the key.

    Refused are unknown and missing keys, wrong types, and values that a field's rule refuses.
    """
    values = _values(cls, table, where, complete=True)
    for field in dataclasses.fields(cls):  # type: ignore[arg-type]
        if field.name not in values and _required(field):
            raise ProfileError(f"{where}: the key {_key(field)!r} is missing; add it")
    try:
        return cls(**values)
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from error


def check(cls: type[Any], table: Mapping[str, Any], where: str) -> None:
    """Raise what `decode` would raise, except that keys may be missing: part of a whole."""
    _values(cls, table, where, complete=False)


def encode(value: Any) -> Any:
    """Return a dataclass as JSON-ready values under its TOML file's keys; a None is left out."""
    if dataclasses.is_dataclass(value):
        found = ((_key(f), getattr(value, f.name)) for f in dataclasses.fields(value))
        return {key: encode(item) for key, item in found if item is not None}
    return [encode(item) for item in value] if isinstance(value, tuple) else value


def _key(field: dataclasses.Field[Any]) -> str:
    return str(field.metadata.get("key", field.name))


def _required(field: dataclasses.Field[Any]) -> bool:
    missing = dataclasses.MISSING
    return field.default is missing and field.default_factory is missing


@lru_cache
def _kinds(cls: type[Any]) -> dict[str, Any]:
    """Return the types of the fields: to look them up takes as long as all the rest."""
    return typing.get_type_hints(cls)


def _values(
    cls: type[Any], table: Mapping[str, Any], where: str, *, complete: bool
) -> dict[str, Any]:
    known = {_key(field): field for field in dataclasses.fields(cls)}
    kinds = _kinds(cls)  # type: ignore[arg-type] # classes are hashable
    values: dict[str, Any] = {}
    for key, raw in table.items():
        field = known.get(key)
        if field is None:
            raise ProfileError(f"{where}: there is no key {key!r}; {hint(key, known)}")
        value = _value(kinds[field.name], raw, f"{where}: {key}", complete)
        rule = field.metadata.get("rule")
        complaint = rule(value) if rule else ""
        if complaint:
            raise ProfileError(f"{where}: {key} = {raw!r} {complaint}")
        values[field.name] = value
    return values


def _value(kind: Any, raw: Any, where: str, complete: bool) -> Any:
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (Union, types.UnionType):
        kind = next(a for a in arguments if a is not type(None))
    if origin is tuple:
        if not isinstance(raw, list):
            raise ProfileError(f"{where} must be a list, not {raw!r}")
        # A list replaces an inherited one, so that its items are always complete.
        items = enumerate(raw, start=1)
        return tuple(_value(arguments[0], item, f"{where}[{n}]", True) for n, item in items)
    if dataclasses.is_dataclass(kind):
        if not isinstance(raw, Mapping):
            raise ProfileError(f"{where} must be a table, not {raw!r}")
        return decode(kind, raw, where) if complete else check(kind, raw, where)  # type: ignore
    if kind is float and type(raw) is int:
        return float(raw)
    if type(raw) is not kind:
        raise ProfileError(f"{where} must be {_WORDS[kind]}, not {raw!r}")
    return raw

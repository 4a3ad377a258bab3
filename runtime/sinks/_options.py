"""The query of a sink's URI (`shots/?every=10`) as a frozen dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar
from urllib.parse import unquote

from device_profiles.errors import OutputError
from device_profiles.nearest import hint

Options = TypeVar("Options")


def read_options(where: str, query: str, kind: type[Options]) -> Options:
    """Return `query` as `kind`, a dataclass whose fields are int or str, as their defaults are.

    `where` stands for the sink in messages: a URI without its secrets. Raises OutputError for an
    unknown key and for what is not a whole number; values of strings are in no message.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    for part in query.split("&") if query else ():
        key, equals, text = part.partition("=")
        if not equals:  # it may be a secret, so that it is not repeated
            raise OutputError(f"{where}: every option has a value; known: {', '.join(defaults)}")
        if key not in defaults:
            raise OutputError(f"{where}: there is no option {key!r}; {hint(key, defaults)}")
        values[key] = unquote(text)
        if not isinstance(defaults[key], str):
            if not (text.isascii() and text.isdecimal()):
                raise OutputError(f"{where}: option {key} must be a whole number, not {text!r}")
            values[key] = int(text)
    return kind(**values)


def check_range(where: str, name: str, value: int, limits: tuple[int, int]) -> None:
    """Raise OutputError unless `value` lies within `limits`, both included."""
    low, high = limits
    if not low <= value <= high:
        raise OutputError(f"{where}: option {name} must be {low} to {high}, not {value}")

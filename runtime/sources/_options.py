"""The query of a source URI (`camera:0?width=640`) as a frozen dataclass."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar
from urllib.parse import unquote

from device_profiles.errors import SourceError
from device_profiles.nearest import hint

Options = TypeVar("Options")


def read_options(uri: str, kind: type[Options]) -> Options:
    """Return the query of `uri` as `kind`, a dataclass whose fields are int, float, bool or str.

    A field's type is that of its default. Raises SourceError for an unknown key, for a value of
    another type and for a negative number.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    values: dict[str, Any] = {}
    query = uri.partition("?")[2]
    for part in query.split("&") if query else ():
        key, _, text = part.partition("=")
        if key not in defaults:
            raise SourceError(f"{uri}: there is no option {key!r}; {hint(key, defaults)}")
        values[key] = _value(uri, key, unquote(text), type(defaults[key]))
    return kind(**values)


def _value(uri: str, key: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text not in ("0", "1"):
            raise SourceError(f"{uri}: option {key} must be 0 or 1, not {text!r}")
        return text == "1"
    try:
        number = kind(text)
    except ValueError as error:
        raise SourceError(f"{uri}: option {key} must be a number, not {text!r}") from error
    if not number >= 0:
        raise SourceError(f"{uri}: option {key} must not be negative")
    return number

"""What stands in a source's URI besides its address: the options, and what nobody else may see.

camera:0?width=1280&height=720#stale=2&policy=drop-oldest:4
         query: asked of the camera     fragment: how it is read and watched
"""

from __future__ import annotations

import dataclasses
import glob
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import unquote

from device_profiles.errors import SourceError
from device_profiles.nearest import hint

Options = TypeVar("Options")

# Up to the last @ before a space: a password may hold an @ or a slash that nobody has escaped.
_USER = re.compile(r"(://[^/\s:@?#]*):[^\s]*@")
_SECRET = re.compile(
    r"(?i)((?:^|[/=?&;#\s])[\w.-]*(?:pass|pwd|pw|pas|token|key|secret|auth|sig|credential)[\w.-]*\s*=\s*)"
    r"(\"[^\"]*\"|'[^']*'|(?!\*\*\*)[^&;#\s]+)"
)
_HEADER = re.compile(r"(?i)(authorization\W.{0,40}?\b(?:basic|bearer|digest)\s+)[^\s\"']+")
_ISOLATION = ("thread", "process")
_MODES = ("latest", "block", "drop-oldest:N")


def redacted(text: str) -> str:
    """Return `text`, a URI or a message that holds some, without its passwords and tokens."""
    return _SECRET.sub(r"\1***", _USER.sub(r"\1:***@", _HEADER.sub(r"\1***", text)))


@dataclass(frozen=True)
class Policy:
    """What happens when frames come faster than they are worked on.

    With `drops`, the newest `depth` frames wait and older ones are dropped; without, the source
    waits (`depth` 0: as many frames wait as the pipeline likes).
    """

    drops: bool
    depth: int


@dataclass(frozen=True)
class SourceOptions:
    """How a source is read and watched: the fragment of its URI; times in seconds.

    `stale`: age at which the newest frame is too old, 0: 1 s or three frame intervals, whichever
    is longer. `open`: longest time until a first frame; `grab`: longest time for a single read.
    `retry_cap`: longest pause between two attempts to connect. `isolate`: `thread`, or `process`,
    which can be killed when it hangs. `wait`: do not fail when the source is not there at the
    start, wait for it. `policy`: None leaves the choice to the pipeline. `reduce`: decode a JPEG
    to a half (2), quarter (4) or eighth (8) of its size.
    """

    stale: float = 0.0
    open: float = 5.0
    grab: float = 3.0
    retry_cap: float = 1.0
    isolate: str = "thread"
    wait: bool = False
    policy: Policy | None = None
    reduce: int = 1


def split_fragment(uri: str) -> tuple[str, SourceOptions]:
    """Return `uri` without its fragment, and the fragment's options.

    The name of a file, or a glob that finds some, is taken whole, and so is an address with a # in
    its password or path. Raises SourceError for an unknown option or a value it cannot have.
    """
    address, mark, fragment = uri.rpartition("#")
    if (
        not mark
        or set(fragment) & set("@/")
        or os.path.exists(uri)
        or (glob.has_magic(uri) and glob.glob(uri))
    ):
        return uri, SourceOptions()
    defaults = dataclasses.asdict(SourceOptions()) | {"policy": ""}
    values = _values(uri, fragment, defaults)
    values["policy"] = _policy(uri, values.get("policy", ""))
    options = SourceOptions(**values)
    for name, allowed in (("isolate", _ISOLATION), ("reduce", (1, 2, 4, 8))):
        if getattr(options, name) not in allowed:
            either = " or ".join(map(str, allowed))
            raise SourceError(f"{redacted(uri)}: option {name} must be {either}")
    if options.isolate == "process" and options.policy and not options.policy.drops:
        raise SourceError(f"{redacted(uri)}: a process of its own drops frames; not policy=block")
    for name in ("open", "grab"):
        if not getattr(options, name) > 0:
            raise SourceError(f"{redacted(uri)}: option {name} must be positive")
    return address, options


def read_options(uri: str, kind: type[Options]) -> Options:
    """Return the query of `uri` as `kind`, a dataclass whose fields are int, float, bool or str.

    A field's type is that of its default. Raises SourceError for an unknown key, for a value of
    another type and for a negative number.
    """
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    return kind(**_values(uri, uri.partition("?")[2], defaults))


def _values(uri: str, text: str, defaults: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for part in text.split("&") if text else ():
        key, _, value = part.partition("=")
        if key not in defaults:
            raise SourceError(f"{redacted(uri)}: there is no option {key!r}; {hint(key, defaults)}")
        values[key] = _value(redacted(uri), key, unquote(value), type(defaults[key]))
    return values


def _value(uri: str, key: str, text: str, kind: type) -> Any:
    if kind is str:
        return text
    if kind is bool:
        if text not in ("0", "1"):
            raise SourceError(f"{uri}: option {key} must be 0 or 1, not {redacted(text)!r}")
        return text == "1"
    try:
        number = kind(text)
    except ValueError as error:
        shown = redacted(text)
        raise SourceError(f"{uri}: option {key} must be a number, not {shown!r}") from error
    if not 0 <= number < float("inf"):
        raise SourceError(f"{uri}: option {key} must not be negative or infinite")
    return number


def _policy(uri: str, text: str) -> Policy | None:
    if not text:
        return None
    fixed = {"latest": Policy(drops=True, depth=1), "block": Policy(drops=False, depth=0)}
    mode, _, depth = text.partition(":")
    if text in fixed:
        return fixed[text]
    if mode != "drop-oldest" or not depth.isdecimal() or int(depth) < 1:
        raise SourceError(f"{redacted(uri)}: option policy must be {', '.join(_MODES)}")
    return Policy(drops=True, depth=int(depth))

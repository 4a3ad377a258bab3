"""Decoders: how the outputs of one family of detectors become boxes, one file per family.

Each file has `OPTIONS`, its options with their defaults, and `decode(outputs, context, options)`
(`base.DecodeHead`). A user's own is a function of that form in a Python file, `head.py:decode`,
where `OPTIONS` of the file, if any, are its options:

    from runtime.decoders.base import Candidates

    OPTIONS = {"stride": 8}

    def decode(outputs, context, options):
        boxes, scores = outputs[0][0, :, :4], outputs[0][0, :, 4]
        return Candidates(boxes * options["stride"], scores, np.zeros(len(boxes), int))

Such a file is code: a bundle holds no more than its name, and it is run only for a name that is
`Given` by the user of the device.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from device_profiles.errors import EdgeError, RequestError
from runtime.decoders.base import Candidates, DecodeHead, Options
from runtime.plugins import load, names
from runtime.tasks.base import Array, TaskContext

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = [
    "Candidates",
    "DecodeHead",
    "Given",
    "Head",
    "find",
    "known",
    "merged",
    "said",
    "written",
]

_PACKAGE = "runtime.decoders"


class Given(str):
    """The name of a decoder as the user gave it, not a bundle: it may be a Python file to run."""

    __slots__ = ()


@dataclass(frozen=True)
class Head:
    """A decoder: its `name`, what it does, and its options with their defaults."""

    name: str
    decode: DecodeHead
    options: Mapping[str, Any]


def find(name: str) -> Head:
    """Return the decoder called `name`, or the function of a file that is `Given`.

    Raises RequestError when there is none, or the file does not run.
    """
    if not isinstance(name, str):
        raise RequestError(f"a decoder's name must be a text, not {name!r:.50}")
    if ":" not in name:
        module = load(_PACKAGE, name)
        return Head(name, module.decode, module.OPTIONS)
    if not isinstance(name, Given):
        raise RequestError(
            f"decoder {name} is a Python file, which a bundle cannot bring along; give the file "
            f"yourself, as path/to/{name}"
        )
    place, _, function = name.rpartition(":")
    module = _import_file(Path(place))
    decode = getattr(module, function, None)
    if not callable(decode):
        raise RequestError(f"decoder {name}: the file has no function {function!r}; mend the name")
    head = Head(name, decode, dict(getattr(module, "OPTIONS", {})))
    return replace(head, decode=_guarded(head))


def known() -> list[str]:
    """Return the names of all decoders."""
    return names(_PACKAGE)


def said(spec: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what a user says of a decoder as the manifest would: its name and options.

    A text is a name or `file.py:function`, an option `key=value`, or several of them with commas
    between: `yolov8,score=0.3`, `matte=true`. Values are those of TOML; a word needs no quotes.
    The name is `Given`, so that it may be a file. Raises RequestError for text of another form.
    """
    if not isinstance(spec, str):
        found = dict(spec or {})
    else:
        head, _, rest = spec.partition(",")
        named = "=" not in head
        found = {"name": head.strip()} if named else {}
        found |= _options(spec, rest if named else spec)
    if isinstance(found.get("name"), str):
        found["name"] = Given(found["name"])
    return found


def merged(own: Mapping[str, Any], spec: str | Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the decoder of a bundle with what the user says of it; as for `said`.

    What the bundle says holds where the user says nothing, unless they name another decoder. A
    file is the same wherever it lies.
    """
    given = said(spec)
    same = "name" not in given or Path(given["name"]).name == own.get("name")
    return {**own, **given} if same else given


def written(spec: Mapping[str, Any]) -> dict[str, Any]:
    """Return `spec` as a bundle says it: of a file only the name, which has no place there."""
    name = {"name": Path(spec["name"]).name} if isinstance(spec.get("name"), Given) else {}
    return {**spec, **name}


def _options(spec: str, text: str) -> dict[str, Any]:
    quoted = re.sub(r"=\s*(?!(?:true|false|inf|nan)\b)([A-Za-z_][\w-]*)\s*(?=,|$)", r'="\1"', text)
    try:
        return dict(tomllib.loads(f"said = {{{quoted}}}")["said"])
    except (ValueError, TypeError) as error:
        raise RequestError(
            f"decoder {spec!r:.80} cannot be read ({error}); write for example yolov8,score=0.3"
        ) from error


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"edge_decoder_{path.stem}", path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise RequestError(
            f"no decoder file at {path}; give the path of a .py file and its function, as "
            "head.py:decode"
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise RequestError(f"decoder file {path} does not import: {_line(error)}") from error
    return module


def _guarded(head: Head) -> DecodeHead:
    """Return the user's function, whose faults become one line that names it."""

    def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
        try:
            found = head.decode(outputs, context, options)
        except EdgeError:
            raise
        except Exception as error:
            raise RequestError(f"decoder {head.name} failed: {_line(error)}") from error
        if not isinstance(found, Candidates):
            raise RequestError(
                f"decoder {head.name} returned {type(found).__name__}; return Candidates of "
                "runtime.decoders.base"
            )
        _check_shapes(head.name, found)
        return found

    return decode


def _check_shapes(name: str, found: Candidates) -> None:
    shapes = [np.shape(part) for part in (found.boxes, found.scores, found.classes)]
    count = shapes[1][0] if len(shapes[1]) == 1 else -1
    points = (count, 0, 2) if found.points is None else np.shape(found.points)
    if shapes != [(count, 4), (count,), (count,)] or points[::2] != (count, 2):
        raise RequestError(
            f"decoder {name} returned boxes, scores, classes of shapes {shapes}, points {points}; "
            "return (n, 4), (n,), (n,), and (n, k, 2) or None"
        )


def _line(error: Exception) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0] if words else 'without a message'}"

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
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from device_profiles.errors import EdgeError, RequestError
from runtime.decoders.base import Candidates, DecodeHead, Options
from runtime.plugins import load, names
from runtime.tasks.base import Array, TaskContext

__all__ = ["Candidates", "DecodeHead", "Given", "Head", "find"]

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
        return found

    return decode


def _line(error: Exception) -> str:
    words = str(error).strip().splitlines()
    return f"{type(error).__name__}: {words[0] if words else 'without a message'}"

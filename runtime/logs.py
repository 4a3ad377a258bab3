"""Logs of the product: lines for people, or one JSON object a line for machines; never a secret.

Everything is logged below the logger `edge_sdk`, with `extra={"event": ..., ...}`. Nothing is set
up unless asked: a program that uses the library has its own logging.
"""

from __future__ import annotations

import json
import logging
import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Literal, TextIO

from runtime.sources import redacted

Kind = Literal["text", "json"]
KINDS: tuple[Kind, ...] = ("text", "json")
_LEVELS: Mapping[Kind, int] = {"text": logging.WARNING, "json": logging.INFO}

_ROOT = "edge_sdk"
# What every record has; all else came in as `extra`.
_OWN = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_DEEPEST = 6


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time` (ISO 8601, UTC), `level`, `logger`, `message`, `exception`
    where there is one, and what was given as `extra`. What is no JSON value is its text."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line."""
        moment = datetime.fromtimestamp(record.created, timezone.utc)
        line: dict[str, Any] = {
            "time": moment.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": redacted(record.getMessage()),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = redacted(self.formatException(record.exc_info))
        for key, value in vars(record).items():
            if key not in _OWN:
                line.setdefault(key, _plain(key, value))
        return json.dumps(line, allow_nan=False)


class TextFormatter(logging.Formatter):
    """A line a person reads, as `warning: ...`; a traceback below it where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as a line; what could move a terminal's cursor is a question mark."""
        text = redacted(f"{record.levelname.lower()}: {super().format(record)}")
        return "".join(c if c.isprintable() or c in "\n\t" else "?" for c in text)


if TYPE_CHECKING:
    _StreamHandler = logging.StreamHandler[TextIO]
else:  # which Python 3.10 cannot subscript
    _StreamHandler = logging.StreamHandler


class _Lines(_StreamHandler):
    """Writes above what is being drawn on the last line of a terminal, which draws itself again."""

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        return f"\r\x1b[K{text}" if self.stream.isatty() else text


@contextmanager
def logging_to(kind: Kind, stream: TextIO | None = None) -> Iterator[None]:
    """Write what is logged inside the `with` to `stream` (default: standard error).

    As JSON that is all from INFO on, as text what is at least a WARNING.
    """
    logger = logging.getLogger(_ROOT)
    handler = _Lines(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if kind == "json" else TextFormatter())
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(_LEVELS[kind])
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


def _plain(key: str, value: Any, depth: int = 0) -> Any:
    """Return the value of `key` in the types of JSON, without secrets."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {str(k): _plain(str(k), v, depth + 1) for k, v in value.items()}
        if isinstance(value, (list, tuple, set, frozenset)):
            return [_plain(key, item, depth + 1) for item in value]
    # A name may be what says that this is a secret.
    named = redacted(f"{key}=x") != f"{key}=x"
    return "***" if named else redacted(str(value))

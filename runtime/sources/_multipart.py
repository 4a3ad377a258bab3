"""The parts of an endless multipart body, as cameras send them rather than as RFC 2046 has them."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass

from device_profiles.errors import SourceError

MAX_PART_BYTES = 32 * 2**20
"""More than any camera's JPEG."""

_MAX_HEAD_BYTES = 16 * 2**10
_BLANK = re.compile(rb"\r?\n\r?\n")
# A line that is a boundary by its dashes, or by the headers that follow it.
_BOUNDARY = re.compile(
    rb"(?:^|\n)(?:(--\S+)\r?\n(?:[\w-]+:[^\r\n]*\r?\n)*|([^\s:]+)\r?\n(?:[\w-]+:[^\r\n]*\r?\n)+)\r?\n"
)
_MAX_DIGITS = 10
_JPEG_START, _JPEG_END = b"\xff\xd8", b"\xff\xd9"


@dataclass(frozen=True)
class Part:
    """A part: its headers by lower-case name, its content, `time.monotonic_ns` of its start."""

    headers: Mapping[str, str]
    content: bytes
    begun_ns: int


class Multipart:
    """Cuts what it is fed into parts.

    A part ends after its Content-Length, or without one at the JPEG's end or at the next boundary.
    The boundary may be declared with the two dashes that precede it or without, wrongly, or not at
    all: then it is learned from the first part that has headers. What stands between the parts is
    skipped. Raises SourceError for a part without an end.
    """

    def __init__(self, boundary: str) -> None:
        name = boundary.strip().strip('"').lstrip("-")
        self._sure = False  # a part has begun with the delimiter
        self._delimiter = b"--" + name.encode("latin-1", "replace")
        self._data = bytearray()
        self._headers: dict[str, str] | None = None
        self._begun_ns = 0
        self._searched = 0

    def feed(self, data: bytes) -> list[Part]:
        """Take more of the body and return the parts that it completes."""
        self._data += data
        parts = []
        while self._headers is not None or self._find_headers():
            part = self._take_content()
            if part is None:
                break
            parts.append(part)
        if len(self._data) > MAX_PART_BYTES:
            raise SourceError(f"a part of the stream has no end within {MAX_PART_BYTES} bytes")
        return parts

    def _find_headers(self) -> bool:
        """Read up to the content of the next part; False when more is needed."""
        if not self._sure and not self._learn():
            return False
        start = self._data.find(self._delimiter)
        if start < 0:
            # All but a delimiter of which only the first bytes are there is of no use.
            del self._data[: max(0, len(self._data) - len(self._delimiter))]
            return False
        line = self._data.find(b"\n", start)
        # A blank line may follow at once: a part without headers.
        blank = _BLANK.search(self._data, max(start, line - 1)) if line >= 0 else None
        if blank is None:
            if len(self._data) - start > _MAX_HEAD_BYTES:
                raise SourceError("the headers of a part of the stream have no end")
            return False
        # Not at the boundary: some servers send that as the end of the part before.
        self._begun_ns = time.monotonic_ns()
        self._headers = _headers(bytes(self._data[line : blank.start()]))
        del self._data[: blank.end()]
        self._searched = 0
        return True

    def _learn(self) -> bool:
        """Make sure of the delimiter by the first part; False when more is needed."""
        declared = len(self._delimiter) > 2 and self._delimiter in self._data
        found = None if declared else _BOUNDARY.search(self._data)
        if found is not None:
            self._delimiter = found[1] or found[2]
        elif not declared:
            del self._data[: max(0, len(self._data) - _MAX_HEAD_BYTES)]
        self._sure = declared or found is not None
        return self._sure

    def _take_content(self) -> Part | None:
        assert self._headers is not None
        length = self._headers.get("content-length", "")
        if length.isdecimal() and length.strip("0"):
            if len(length) > _MAX_DIGITS or int(length) > MAX_PART_BYTES:
                raise SourceError(f"a part of the stream states {length[: _MAX_DIGITS + 1]} bytes")
            end: int | None = int(length) if len(self._data) >= int(length) else None
        else:
            end = self._find_end()
        if end is None:
            return None
        with memoryview(self._data) as data:  # a slice would be copied twice
            part = Part(self._headers, bytes(data[:end]), self._begun_ns)
        del self._data[:end]
        self._headers = None
        return part

    def _find_end(self) -> int | None:
        """Return the length of a content without a stated one, None when its end is not there."""
        found = self._data.find(self._delimiter, self._searched)
        if found >= 0:
            return len(self._data[:found].rstrip(b"-").removesuffix(b"\n").removesuffix(b"\r"))
        # Waiting for the next boundary would cost a frame's time: a JPEG says where it ends.
        content = self._data.rstrip(b"\r\n") if self._data[-1:] in b"\r\n" else self._data
        if content.startswith(_JPEG_START) and content.endswith(_JPEG_END):
            return len(content)
        self._searched = max(0, len(self._data) - len(self._delimiter))
        return None


def _headers(text: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in text.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}

"""Flatbuffers read with every offset checked: what is damaged or hostile is one ModelError.

The format: https://flatbuffers.dev/internals. Only what readers of this package need, and no
generated classes, which not every interpreter's package brings along.
"""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import ModelError

# Offsets may point at one place again and again, which would make a small file take hours. Honest
# writers share little: what is read may be this many times the file.
_MAX_READS = 8


class Flatbuffer:
    """The bytes of a flatbuffer, and how much more of them may be read."""

    def __init__(self, data: bytes, identifier: bytes, what: str) -> None:
        self.data = data
        self._what = what
        self._left = _MAX_READS * len(data)
        if data[4:8] != identifier:
            raise self.broken(f"it does not begin as one (no {identifier.decode()!r} at byte 4)")

    def broken(self, why: str) -> ModelError:
        """Return the error for this buffer."""
        return ModelError(f"not a whole {self._what}: {why}; get the file again from its maker")

    def root(self) -> Table:
        """Return the outermost table."""
        return Table(self, self.offset(0))

    def scalar(self, code: str, at: int) -> Any:
        """Return the little-endian number at `at`; `code` as in module struct."""
        try:
            return struct.unpack_from("<" + code, self.data, self.inside(at))[0]
        except struct.error as error:
            raise self.broken(f"it ends before byte {at}") from error

    def inside(self, at: int, size: int = 1) -> int:
        """Return `at`, after `size` bytes from there were found to exist and counted as read."""
        self._left -= size
        if at < 0 or size < 0 or at + size > len(self.data):
            raise self.broken(f"it points outside itself (byte {at}, of {len(self.data)})")
        if self._left < 0:
            raise self.broken("its parts overlap without end")
        return at

    def offset(self, at: int) -> int:
        """Return where the offset stored at `at` points to."""
        return at + int(self.scalar("I", at))


class Table:
    """One table; fields by their number in the schema, and what a missing field means."""

    def __init__(self, buffer: Flatbuffer, at: int) -> None:
        self._buffer = buffer
        self._at = at
        self._fields = at - int(buffer.scalar("i", at))
        self._count = (int(buffer.scalar("H", self._fields)) - 4) // 2

    def number(self, field: int, code: str, default: Any = 0) -> Any:
        """Return a number (`code` as in module struct), or `default`."""
        at = self._place(field)
        return default if at is None else self._buffer.scalar(code, at)

    def table(self, field: int) -> Table | None:
        """Return a table, or None."""
        at = self._place(field)
        return None if at is None else Table(self._buffer, self._buffer.offset(at))

    def tables(self, field: int) -> list[Table]:
        """Return a vector of tables, empty when missing."""
        return [Table(self._buffer, at) for at in self._offsets(field)]

    def text(self, field: int) -> str:
        """Return a string, empty when missing; bytes that are not UTF-8 become U+FFFD."""
        at = self._place(field)
        return "" if at is None else self._text(self._buffer.offset(at))

    def numbers(self, field: int, dtype: str) -> NDArray[Any]:
        """Return a vector of numbers of a numpy dtype, empty when missing; a view of the data."""
        at = self._place(field)
        if at is None:
            return np.zeros(0, dtype)
        kind = np.dtype(dtype).newbyteorder("<")
        start, size = self._vector(self._buffer.offset(at), kind.itemsize)
        return np.frombuffer(self._buffer.data, kind, size // kind.itemsize, start)

    def _text(self, at: int) -> str:
        start, size = self._vector(at, 1)
        return self._buffer.data[start : start + size].decode("utf-8", "replace")

    def _offsets(self, field: int) -> list[int]:
        at = self._place(field)
        if at is None:
            return []
        start, size = self._vector(self._buffer.offset(at), 4)
        return [self._buffer.offset(place) for place in range(start, start + size, 4)]

    def _vector(self, at: int, item: int) -> tuple[int, int]:
        """Return first byte and size in bytes of the vector at `at`."""
        size = int(self._buffer.scalar("I", at)) * item
        return self._buffer.inside(at + 4, size), size

    def _place(self, field: int) -> int | None:
        if field >= self._count:
            return None
        offset = int(self._buffer.scalar("H", self._fields + 4 + 2 * field))
        return self._at + offset if offset else None

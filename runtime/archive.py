"""One canonical form of zip: stored, in one order, without dates; what differs is refused.

Any zip tool reads these archives, but only this file's own bytes are accepted: the headers are a
function of the names, sizes and checksums, so each byte of an archive is either checked content
or determined by it. Nothing can hide between entries, and nothing is unpacked to know its size.
Record layouts: PKWARE APPNOTE 6.3.10, sections 4.3.7, 4.3.12 and 4.3.16.
"""

from __future__ import annotations

import hashlib
import re
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import BinaryIO

from device_profiles.errors import BundleError

MAX_ENTRIES = 256
MAX_BYTES = 2 << 30
MAX_NAME = 240

_LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_VERSION = 20
_UNIX = 3 << 8
_DATE = 0x21  # 1980-01-01, the earliest that a zip can say
_MODE = (stat.S_IFREG | 0o644) << 16
_BLOCK = 1 << 20

# Plain names only: relative, `/` between parts, no part begins or ends with a dot.
_PART = r"[A-Za-z0-9_]([A-Za-z0-9_.+-]*[A-Za-z0-9_+-])?"
_NAME = re.compile(rf"{_PART}(/{_PART})*")


@dataclass(frozen=True)
class Member:
    """One file of an archive; `offset` is where its local header begins."""

    name: str
    crc: int
    size: int
    offset: int

    @property
    def start(self) -> int:
        """Offset of the content."""
        return self.offset + _LOCAL.size + len(self.name)

    @property
    def end(self) -> int:
        """Offset after the content."""
        return self.start + self.size

    def local(self) -> bytes:
        """Return the header before the content."""
        sizes = (self.crc, self.size, self.size, len(self.name), 0)
        return _LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _DATE, *sizes) + self.name.encode()

    def central(self) -> bytes:
        """Return the record in the directory at the end."""
        sizes = (self.crc, self.size, self.size, len(self.name), 0, 0)
        head = (b"PK\1\2", _UNIX | _VERSION, _VERSION, 0, 0, 0, _DATE)
        return _CENTRAL.pack(*head, *sizes, 0, 0, _MODE, self.offset) + self.name.encode()


def pack(files: Mapping[str, bytes]) -> Iterator[bytes]:
    """Yield the bytes of an archive of `files`, in their order; BundleError when over a limit."""
    directory = b""
    position = 0
    seen: set[str] = set()
    for name, data in files.items():
        if fault := _name_fault(name, seen):
            raise BundleError(f"a file cannot be called {name[:60]!r}: {fault}")
        member = Member(name, zlib.crc32(data), len(data), position)
        directory += member.central()
        position = member.end
        if len(seen) > MAX_ENTRIES or position + len(directory) + _END.size > MAX_BYTES:
            raise BundleError(
                f"more than {MAX_ENTRIES} files or {MAX_BYTES} bytes; make it smaller"
            )
        yield member.local()
        yield data
    yield directory + _end(len(files), len(directory), position)


class Archive:
    """An open archive whose structure is verified; contents are verified as they are read.

    `where` begins every message. Raises BundleError for anything that `pack` would not write.
    """

    def __init__(self, file: BinaryIO, where: str) -> None:
        self._file = file
        self._where = where
        self._size = file.seek(0, 2)
        self.members: dict[str, Member] = {m.name: m for m in self._read_directory()}

    def digest(self, name: str) -> str:
        """Return the SHA-256, in hex, of one file, read in blocks."""
        sha = hashlib.sha256()
        for block in self._blocks(self.members[name]):
            sha.update(block)
        return sha.hexdigest()

    def read(self, name: str) -> bytes:
        """Return the content of one file."""
        return b"".join(self._blocks(self.members[name]))

    def _blocks(self, member: Member) -> Iterator[bytes]:
        crc, position = 0, member.start
        while position < member.end:
            block = self._at(position, min(_BLOCK, member.end - position))
            crc = zlib.crc32(block, crc)
            position += len(block)
            yield block
        if crc != member.crc:
            raise self._error(f"{member.name} is damaged (its checksum is wrong)")

    def _read_directory(self) -> Iterator[Member]:
        size = self._size
        if size > MAX_BYTES:
            raise self._error(f"it has {size} bytes, the limit is {MAX_BYTES}")
        if size < _END.size:
            raise self._error("it is not a zip (too short)")
        tail = self._at(size - _END.size, _END.size)
        mark, *_, count, length, offset, _ = _END.unpack(tail)
        if mark != b"PK\5\6":
            raise self._error("it is not a zip, was cut short, or has bytes added at its end")
        if count > MAX_ENTRIES:
            raise self._error(f"it has {count} entries, the limit is {MAX_ENTRIES}")
        if tail != _end(count, length, offset) or offset + length + _END.size != size:
            raise self._error("its end record is wrong (bytes added in front, or sizes that lie)")
        if length > MAX_ENTRIES * (_CENTRAL.size + MAX_NAME):
            raise self._error(f"its directory has {length} bytes, more than names can need")
        yield from self._members(self._at(offset, length), count)

    def _members(self, directory: bytes, count: int) -> Iterator[Member]:
        position, expected = 0, 0
        seen: set[str] = set()
        for _ in range(count):
            head = directory[position : position + _CENTRAL.size]
            if len(head) < _CENTRAL.size:
                raise self._error("its directory is cut short")
            fields = _CENTRAL.unpack(head)
            name_at, name_size = position + _CENTRAL.size, fields[10]
            name = directory[name_at : name_at + name_size].decode("latin-1")
            if fault := _record_fault(fields) or _name_fault(name, seen):
                raise self._error(f"entry {name[:60]!r} is refused: {fault}")
            member = Member(name, fields[7], fields[8], expected)
            if member.end > self._size:
                raise self._error(f"entry {name!r} is refused: its size lies")
            record = member.central()
            if directory[position : position + len(record)] != record:
                raise self._error(f"entry {name!r} is refused: its directory record is not ours")
            if self._at(member.offset, len(member.local())) != member.local():
                raise self._error(f"entry {name!r} is refused: its local header says otherwise")
            yield member
            position, expected = position + len(record), member.end
        if position != len(directory) or expected + position + _END.size != self._size:
            raise self._error("there are bytes beside its entries")

    def _at(self, offset: int, size: int) -> bytes:
        try:
            self._file.seek(offset)
            data = self._file.read(size)
        except OSError as error:
            raise self._error(f"it cannot be read: {error.strerror}") from error
        if len(data) != size:
            raise self._error("it is cut short")
        return data

    def _error(self, what: str) -> BundleError:
        return BundleError(f"{self._where}: {what}; get it again from where it was made")


def _end(count: int, length: int, offset: int) -> bytes:
    return _END.pack(b"PK\5\6", 0, 0, count, count, length, offset, 0)


def _record_fault(fields: tuple[int, ...]) -> str:
    """Say what is wrong with a directory record, where there is a word for it; else nothing."""
    _, _, _, flags, method, _, _, _, packed, size, *_, attributes, _ = fields
    mode = attributes >> 16
    if flags & 1:
        return "it is encrypted"
    if method:
        return "it is compressed"
    if packed != size:
        return "its sizes contradict each other"
    if stat.S_ISLNK(mode):
        return "it is a link"
    if stat.S_ISDIR(mode):
        return "it is a folder"
    return ""


def _name_fault(name: str, seen: set[str]) -> str:
    """Say what is wrong with a name, and remember it in `seen`; nothing when it is fine."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        return "names are relative, with letters, digits and _ . + - in parts divided by /"
    folded = name.lower()
    if folded in seen:
        return "there are two of that name"
    seen.add(folded)
    return ""

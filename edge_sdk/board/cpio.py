"""Archives that the kernel unpacks at boot (initramfs), owned by root whoever makes them.

The format is `newc`: Documentation/driver-api/early-userspace/buffer-format.rst of the kernel.
Archives may be joined: the kernel unpacks one after the other.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass

_TRAILER = "TRAILER!!!"
_ALIGNED = 4


@dataclass(frozen=True)
class Entry:
    """A file or folder: `path` without a leading slash, `mode` with its kind (stat.S_IFREG...)."""

    path: str
    mode: int
    content: bytes = b""


def file(path: str, content: bytes, mode: int = 0o644) -> Entry:
    """Return a plain file."""
    return Entry(path, stat.S_IFREG | mode, content)


def folder(path: str, mode: int = 0o755) -> Entry:
    """Return a folder; it comes before what is in it."""
    return Entry(path, stat.S_IFDIR | mode)


def archive(entries: Iterable[Entry]) -> bytes:
    """Return the archive of `entries`, in their order."""
    packed = [_packed(number, entry) for number, entry in enumerate(entries, start=1)]
    return b"".join([*packed, _packed(0, Entry(_TRAILER, 0))])


def _packed(number: int, entry: Entry) -> bytes:
    name = entry.path.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    # inode, mode, uid, gid, links, mtime, size, device (4 numbers), length of the name, check
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.content), 0, 0, 0, 0, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % value for value in fields) + name
    return _padded(head) + _padded(entry.content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNED)

"""A file or folder as it is sent to a device: what it holds is its name there."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from device_profiles.errors import RequestError

BYTECODE = re.compile(r"__pycache__|.*\.pyc")


@dataclass(frozen=True)
class Parcel:
    """A `path` called `name`; `digest` is a short SHA-256 of names and bytes, `size` in bytes.

    `members` are the paths of files and folders under `name` with where they are here. Links are
    followed: what they lead to is sent.
    """

    name: str
    digest: str
    size: int
    members: tuple[tuple[str, Path], ...]

    def write(self, sink: IO[bytes]) -> None:
        """Write it as a tar archive."""
        with tarfile.open(fileobj=sink, mode="w|", dereference=True) as archive:
            for name, path in self.members:
                archive.add(path, name, recursive=False, filter=_plain)


def wrap(path: Path, name: str | None = None, skip: re.Pattern[str] | None = None) -> Parcel:
    """Read `path` for sending, called `name` or as here, without the names that `skip` matches.

    RequestError where it does not exist, cannot be read or holds what is neither file nor folder.
    """
    digest = hashlib.sha256()
    size = 0
    name = name or Path(os.path.abspath(path)).name or "root"
    members = []
    try:
        for member, place in _walk(name, path, skip):
            mode = place.stat().st_mode
            digest.update(os.fsencode(member) + b"\0")
            if stat.S_ISREG(mode):
                with place.open("rb") as file:
                    content = _sha256(file)
                digest.update(b"x" if mode & stat.S_IXUSR else b"-")
                digest.update(content)
                size += place.stat().st_size
            elif not stat.S_ISDIR(mode):
                raise RequestError(f"{place} is neither a file nor a folder; it cannot be sent")
            members.append((member, place))
    except OSError as error:
        raise RequestError(f"{error.filename or path} cannot be read: {error.strerror}") from error
    return Parcel(name, digest.hexdigest()[:32], size, tuple(members))


def _walk(name: str, path: Path, skip: re.Pattern[str] | None) -> Iterator[tuple[str, Path]]:
    yield name, path
    if path.is_dir():
        for inner in sorted(os.listdir(path)):
            if skip is None or not skip.fullmatch(inner):
                yield from _walk(f"{name}/{inner}", path / inner, skip)


def _sha256(file: IO[bytes]) -> bytes:
    digest = hashlib.sha256()
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.digest()


def _plain(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return it without whose it is here."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    member.mode |= stat.S_IRUSR | stat.S_IWUSR
    return member

"""What is in a wheel, and putting it into a folder that Python imports from (PEP 427).

No script and no data file outside the packages is unpacked: nothing of a device starts or reads
one.
"""

from __future__ import annotations

import hashlib
import re
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from device_profiles.errors import RequestError

#: Modules that nothing imports on a device, and a third of numpy's files.
TESTS = re.compile(r"/tests?/")
_BLOCK = 1 << 20
#: What the smallest file takes on a disk.
DISK_BLOCK = 4096
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Contents:
    """What came of a wheel: the SHA-256 of each file, in hex, by its path in the folder; and the
    names of what was left out."""

    files: Mapping[str, str]
    left_out: Sequence[str]


def unpack(wheel: Path, place: Path) -> Contents:
    """Put the packages of a wheel into a folder, and return what came of it.

    A file that is there already is replaced, never written into. RequestError for a file that is no
    wheel, or one that would write outside of the folder; OSError, of the system, when that cannot
    be written.
    """
    files: dict[str, str] = {}
    left_out: list[str] = []
    with _opened(wheel) as archive:
        for member in archive.infolist():
            target = _target(member, wheel.name)
            if member.is_dir():
                continue
            if target is None:
                left_out.append(member.filename)
                continue
            path = place / target
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)  # it may be a link, and so a file of another folder too
            files[str(target)] = _put(archive, member, path)
            if member.external_attr >> 16 & 0o111:  # a program that a package brings
                path.chmod(0o755)
    return Contents(files, left_out)


def _put(archive: zipfile.ZipFile, member: zipfile.ZipInfo, path: Path) -> str:
    """Write a member to a file, and return its SHA-256."""
    digest = hashlib.sha256()
    with archive.open(member) as source, path.open("xb") as sink:
        while block := source.read(_BLOCK):
            digest.update(block)
            sink.write(block)
    return digest.hexdigest()


def unpacked_bytes(wheel: Path) -> int:
    """Return what a wheel takes on a disk once it is unpacked and its modules are compiled.

    Bytecode is about as large as its source, and lies in a folder beside it. Raises as `unpack`
    does.
    """
    total = 0
    folders: set[PurePosixPath] = set()
    with _opened(wheel) as archive:
        for member in archive.infolist():
            target = _target(member, wheel.name)
            if target is None or member.is_dir():
                continue
            compiled = target.suffix == ".py" and not TESTS.search(f"/{target}")
            total += (1 + compiled) * -(-member.file_size // DISK_BLOCK) * DISK_BLOCK
            folders.update(target.parents)
            if compiled:
                folders.add(target.with_name("__pycache__"))
    return total + len(folders) * DISK_BLOCK


@contextmanager
def _opened(wheel: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(wheel) as archive:
            yield archive
    except _DAMAGED as error:
        raise RequestError(f"{wheel.name} is not a wheel: {error}; get it again") from error


def _target(member: zipfile.ZipInfo, wheel: str) -> PurePosixPath | None:
    """Return where a file of a wheel goes; None for scripts, headers and data."""
    path = PurePosixPath(member.filename)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in member.filename or not path.parts
    if unsafe or stat.S_ISLNK(member.external_attr >> 16):
        raise RequestError(f"{wheel} holds {member.filename!r}, which leaves its folder; refused")
    if path.parts[0].endswith(".data"):
        inside = path.parts[1:2]
        if inside in (("purelib",), ("platlib",)):
            return PurePosixPath(*path.parts[2:])
        return None
    return path

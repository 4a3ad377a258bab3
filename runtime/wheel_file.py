"""What is in a wheel, and putting it into a folder that Python imports from (PEP 427).

No script and no data file outside the packages is unpacked: nothing of a device starts or reads
one.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from device_profiles.errors import RequestError

#: Modules that nothing imports on a device, and a third of numpy's files.
TESTS = re.compile(r"/tests?/")
_BLOCK = 1 << 20
_DISK_BLOCK = 4096
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError)


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def unpack(wheel: Path, place: Path) -> list[str]:
    """Put the packages of a wheel into a folder, and return the names of what was left out.

    RequestError for a file that is no wheel, or one that would write outside of the folder;
    OSError, of the system, when that cannot be written.
    """
    left_out = []
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
            with archive.open(member) as source, path.open("wb") as sink:
                shutil.copyfileobj(source, sink, _BLOCK)
            if member.external_attr >> 16 & 0o111:  # a program that a package brings
                path.chmod(0o755)
    return left_out


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
            total += (1 + compiled) * -(-member.file_size // _DISK_BLOCK) * _DISK_BLOCK
            folders.update(target.parents)
            if compiled:
                folders.add(target.with_name("__pycache__"))
    return total + len(folders) * _DISK_BLOCK


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

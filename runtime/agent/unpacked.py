"""Wheels as they lie unpacked in environments, so that another one takes what did not change.

Beside its packages an environment has a file `wheels/SHA256` for each of its wheels: the files that
came of it, the bytecode too, with their hashes. (The wheel's own RECORD knows of no bytecode, and
of files that were left out.) The same file in two environments is one, by a hard link: nothing
here or later writes into it, and what replaces it is a new file.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from runtime.wheel_file import DISK_BLOCK, sha256

_RECORDS = "wheels"
_MODES = (0o644, 0o755)
_NO_LINKS = (errno.EPERM, errno.EXDEV, errno.EMLINK, errno.ENOSYS, errno.EOPNOTSUPP)


@dataclass(frozen=True)
class Unpacked:
    """A wheel in an environment: the SHA-256 of each of its files, by the path in `site`, and what
    these take on a disk, in bytes."""

    site: Path
    record: Path
    files: Mapping[str, str]
    taken: int


def site_of(environment: Path) -> Path:
    """Return the folder of an environment that its packages are in."""
    return environment / "lib" / "python{}.{}".format(*sys.version_info) / "site-packages"


def find(environments: Iterable[Path], wheels: Collection[str]) -> dict[str, Unpacked]:
    """Return which of some wheels (by the SHA-256 of each) lie in environments of this Python.

    Every file is read: disks err, and the error is not to spread. A wheel about which anything is
    odd counts as not there.
    """
    found: dict[str, Unpacked] = {}
    for place in environments:
        for wheel in wheels:
            if wheel not in found and (here := _whole(place, wheel)) is not None:
                found[wheel] = here
    return found


def note(environment: Path, wheel: str, files: Mapping[str, str]) -> None:
    """Write down which files (their SHA-256 by their path) came of a wheel, once its modules are
    compiled."""
    site = site_of(environment)
    every = dict(files)
    for name in filter(is_module, files):
        source = PurePosixPath(name)
        compiled = (
            source.parent / "__pycache__" / f"{source.stem}.{sys.implementation.cache_tag}.pyc"
        )
        if (site / compiled).is_file():
            every[str(compiled)] = sha256(site / compiled)
    fields = {"python": sys.implementation.cache_tag, "files": every}
    data = json.dumps(fields, sort_keys=True).encode()
    record = environment / _RECORDS / wheel
    record.parent.mkdir(exist_ok=True)
    record.write_bytes(hashlib.sha256(data).hexdigest().encode() + b"\n" + data)


def take(here: Unpacked, environment: Path) -> None:
    """Give another environment the files of a wheel: the very same ones where the disk has links,
    or copies. Raises OSError."""
    site = site_of(environment)
    for name in here.files:
        _link(here.site / name, site / name)
    _link(here.record, environment / _RECORDS / here.record.name)


def is_module(name: str) -> bool:
    """Say whether a file is the source of a module."""
    return name.endswith(".py")


def _whole(environment: Path, wheel: str) -> Unpacked | None:
    record, site, taken = environment / _RECORDS / wheel, site_of(environment), 0
    try:
        files = _read(record)
        for name in files:
            about = (site / name).lstat()
            if not stat.S_ISREG(about.st_mode) or stat.S_IMODE(about.st_mode) not in _MODES:
                return None
            taken += -(-about.st_size // DISK_BLOCK) * DISK_BLOCK
        if not files or any(sha256(site / name) != digest for name, digest in files.items()):
            return None
    except OSError:  # missing, or a sector that cannot be read
        return None
    return Unpacked(site, record, files, taken)


def _read(record: Path) -> dict[str, str]:
    """Return the files that a record names; none for one that is damaged or of another Python."""
    digest, _, data = record.read_bytes().partition(b"\n")
    if hashlib.sha256(data).hexdigest().encode() != digest:
        return {}
    fields = json.loads(data)
    same = fields["python"] == sys.implementation.cache_tag
    return dict(fields["files"]) if same else {}


def _link(source: Path, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.unlink(missing_ok=True)  # of a wheel that brings the same file: the later one has it
    try:
        os.link(source, place)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        shutil.copy(source, place)

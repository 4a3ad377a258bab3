"""Keep files on a device, each whole under its name or not at all.

Arguments: the root of an installation, and a folder below it that shall appear whole, or none.
Standard input is a tar archive in gzip, whose names are below the root, or below that folder.
"""

from __future__ import annotations

import os
import shutil
import sys
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from typing import IO

PARTIAL = ".part"
"""A folder in that of files which rsync was sending when it was cut; it goes on from there."""

Files = Iterable["tuple[str, IO[bytes]]"]


def make(folder: str) -> None:
    """Make a folder that others may read, and those above it, and bring their names to the disk."""
    if os.path.isdir(folder):
        return
    above = os.path.dirname(folder)
    make(above)
    try:
        os.mkdir(folder)
    except FileExistsError:  # somebody was quicker
        return
    os.chmod(folder, 0o755)  # whatever the umask
    sync(above)


def sync(path: str) -> None:
    """Bring a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write(content: IO[bytes], path: str) -> None:
    """Write a new file and bring it to the disk."""
    with open(path, "xb") as file:
        shutil.copyfileobj(content, file, 1 << 20)
        os.fchmod(file.fileno(), 0o644)
        file.flush()
        os.fsync(file.fileno())


def put(root: str, files: Files) -> None:
    """Put each file under its name below `root` when it is whole."""
    folders = set()
    drafts: dict[str, str] = {}
    try:
        for name, content in files:
            place = os.path.join(root, name)
            # Not beside it: a folder that is complete holds nothing else, whatever was cut.
            top = os.path.join(root, os.path.dirname(name).partition("/")[0])
            make(os.path.dirname(place))
            if top not in drafts:
                drafts[top] = tempfile.mkdtemp(prefix=".put-", dir=top)
            draft = os.path.join(drafts[top], "file")
            write(content, draft)
            os.replace(draft, place)
            folders.add(os.path.dirname(place))
        for folder in folders:
            shutil.rmtree(os.path.join(folder, PARTIAL), ignore_errors=True)
            sync(folder)
    finally:
        for draft in drafts.values():
            shutil.rmtree(draft, ignore_errors=True)


def settle(root: str, folder: str, files: Files) -> None:
    """Let a folder with these files appear whole; of one that is there, replace each file."""
    place = os.path.join(root, folder)
    above = os.path.dirname(place)
    make(above)
    draft = tempfile.mkdtemp(prefix=".put-", dir=above)
    try:
        names = []
        for name, content in files:
            write(content, os.path.join(draft, name))
            names.append(name)
        os.chmod(draft, 0o755)
        sync(draft)
        try:
            os.rename(draft, place)
        except OSError:
            if not os.path.isdir(place):
                raise
            for name in names:
                os.replace(os.path.join(draft, name), os.path.join(place, name))
            sync(place)
        sync(above)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def members(stream: IO[bytes]) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield the files of an archive."""
    with tarfile.open(fileobj=stream, mode="r|gz") as archive:
        for member in archive:
            content = archive.extractfile(member)
            if content is None:
                raise tarfile.ReadError(f"{member.name} is no file")
            yield member.name, content


def main(root: str, folder: str = "") -> None:
    """Keep what comes."""
    if folder:
        settle(root, folder, members(sys.stdin.buffer))
    else:
        put(root, members(sys.stdin.buffer))


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except (tarfile.TarError, EOFError, zlib.error) as error:
        sys.exit(f"what came is not whole ({error})")
    except OSError as error:
        sys.exit(error.strerror or str(error))

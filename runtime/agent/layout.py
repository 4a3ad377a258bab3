"""Where things lie on a device, and the few ways in which they change: whole, or not at all.

A power cut leaves of a file that was not synced anything, and of a renamed one the old or the new
name (rename(2), fsync(2)): so a file is synced before it is renamed, and its folder after.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from device_profiles.errors import OutputError, ReleaseError

READY = "ready.json"
"""Written last into `incoming` of what was delivered without a connection."""

DRAFT = ".draft-"
"""Begins the name of what is not complete."""
_FINISHERS = ("judges", "boots", "guards")


@dataclass(frozen=True)
class Layout:
    """The folder `root` of an installation, and what lies in it."""

    root: Path

    @property
    def state(self) -> Path:
        """The journal."""
        return self.root / "state.json"

    @property
    def current(self) -> Path:
        """The link to the release that runs: the one thing that a switch changes."""
        return self.root / "current"

    @property
    def agent(self) -> Path:
        """The link to the resident agent."""
        return self.root / "agent"

    @property
    def agents(self) -> Path:
        """Agents by their digest."""
        return self.root / "agents"

    @property
    def releases(self) -> Path:
        """Releases by their id."""
        return self.root / "releases"

    @property
    def environments(self) -> Path:
        """Virtual environments by the key of their lock."""
        return self.root / "environments"

    @property
    def incoming(self) -> Path:
        """What is being sent."""
        return self.root / "incoming"

    @property
    def wheels(self) -> Path:
        """The wheels among what is being sent."""
        return self.incoming / "wheels"

    @property
    def keys(self) -> Path:
        """The public keys that are trusted."""
        return self.root / "keys"

    @property
    def cache(self) -> Path:
        """What a golden replay found of the engines here, for the service to read."""
        return self.root / "cache"

    def current_id(self) -> str | None:
        """Return the id of the release that `current` names; None where there is none."""
        try:
            return os.path.basename(os.readlink(self.current))
        except FileNotFoundError:
            return None

    def switch(self, release: str | None) -> None:
        """Let `current` name another release, or none, in one step."""
        if release is None:
            remove(self.current)
            sync_folder(self.root)
        else:
            point(self.current, f"releases/{release}")

    @contextlib.contextmanager
    def alone(
        self, wait: bool = False, what: str = "flashes", patient: bool = True
    ) -> Iterator[None]:
        """Be the one that changes this installation; ReleaseError where another one is.

        The kernel lets go of the lock when the process ends, however it does. One that `flashes`
        waits for one that finishes what another began, which takes as long as a release may take
        to show its health, unless it is not `patient`; another that flashes is not waited for
        without being asked to (`wait`).
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            lock = (self.root / "lock").open("a+")
        except OSError as error:
            raise unwritable(self.root, error) from error
        with lock:
            while not _taken(lock, wait):
                who = _holder(lock)
                if not (patient and who.startswith(_FINISHERS)):
                    raise ReleaseError(
                        f"another flash is at work on {self.root} ({who or 'just begun'}); try "
                        "again when it is done"
                    )
                time.sleep(0.05)
            lock.seek(0)
            lock.truncate()
            with contextlib.suppress(OSError):  # of a full disk: it holds without a name, too
                os.write(lock.fileno(), f"{what}, process {os.getpid()}\n".encode())
            try:
                yield
            finally:
                lock.truncate(0)


def _taken(lock: IO[str], wait: bool) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    return lock.read(80).strip()


def unwritable(path: Path, error: OSError) -> OutputError:
    """Return the error for a folder that the system does not let us write."""
    remedies = {
        errno.ENOSPC: "free some space there",
        errno.EDQUOT: "free some space there",
        errno.EROFS: "mount it writable, or name another folder in the address",
        errno.EACCES: "log in as its owner, or name another folder in the address",
    }
    remedy = remedies.get(error.errno or 0, "see the disk and its permissions")
    return OutputError(f"{path} cannot be written: {error.strerror or error}; {remedy}")


def sync_file(path: Path | str) -> None:
    """Bring what a file holds to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(path: Path) -> None:
    """Bring the names in a folder to the disk."""
    folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def write_whole(path: Path, data: bytes, mode: int = 0o644) -> None:
    """Write a file that is at any instant what it was or what it becomes."""
    draft = path.with_name(f"{DRAFT}{path.name}")
    remove(draft)
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        os.fchmod(descriptor, mode)  # whatever the umask
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.rename(draft, path)
    sync_folder(path.parent)


def point(link: Path, target: str) -> None:
    """Let a symbolic link name something else, in one step."""
    draft = link.with_name(f"{DRAFT}{link.name}")
    remove(draft)
    os.symlink(target, draft)
    os.rename(draft, link)
    sync_folder(link.parent)


def settle(draft: Path, path: Path) -> None:
    """Give a folder that is complete its name, with all that it holds on the disk before."""
    sync_tree(draft)
    os.rename(draft, path)
    sync_folder(path.parent)


def sync_tree(path: Path) -> None:
    """Bring every file and every name below `path` to the disk."""
    for folder, _, files in os.walk(path, topdown=False):
        for name in files:
            file = os.path.join(folder, name)
            if not os.path.islink(file):
                sync_file(file)
        sync_folder(Path(folder))


def remove(path: Path) -> None:
    """Remove a file, a link or a folder with all that it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        if sys.version_info >= (3, 12):
            shutil.rmtree(path, onexc=_gone)
        else:
            shutil.rmtree(path, onerror=lambda call, name, found: _gone(call, name, found[1]))
    else:
        path.unlink(missing_ok=True)


def _gone(_call: object, _name: str, error: BaseException) -> None:
    """Somebody else removed it meanwhile: so be it. Anything else is told."""
    if not isinstance(error, FileNotFoundError):
        raise error

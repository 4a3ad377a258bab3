"""What is built once and used again, in the user's cache: whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from device_profiles.errors import OutputError
from runtime.progress import step


def cache_root() -> Path:
    """Return `EDGE_SDK_CACHE`, else `edge-sdk` in the user's cache (XDG)."""
    own = os.environ.get("EDGE_SDK_CACHE")
    if own:
        return Path(own).absolute()
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "edge-sdk")


def folder(kind: str, key: str) -> Path:
    """Return where the thing of a kind with that key lies; it may not be there yet."""
    return cache_root() / kind / key


def built(path: Path, build: Callable[[Path], None]) -> Path:
    """Return `path`, which `build` makes where it is not there yet.

    `build` is given a path beside it, where nothing is and where it makes a file or a folder; that
    is renamed when it is whole. One process (and thread) builds at a time, others wait for it; what
    a killed one left behind is removed by the next. OutputError when the cache cannot be written.
    """
    if path.exists():
        return path
    draft = path.parent / f".{path.name}.draft"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _alone(path):
            if not path.exists():
                _remove(draft)
                try:
                    build(draft)
                    os.sync()  # a rename must not reach the disk before what it names
                    os.rename(draft, path)
                finally:
                    _remove(draft)
    except OutputError:
        raise
    except OSError as error:
        if error.errno is None:  # an error of ours that is one of the system's kind as well
            raise
        raise OutputError(
            f"the cache {path.parent} cannot be written: {error.strerror}; free some space there "
            "or name another folder by EDGE_SDK_CACHE"
        ) from error
    return path


def size_mb(path: Path) -> float:
    """Return what the files below `path` take on the disk, in 10^6 bytes."""
    stats = (os.lstat(found) for found in (path, *path.rglob("*")))
    return sum(stat.st_blocks * 512 for stat in stats) / 1e6


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Hold the lock of `path`. Its file stays: whoever waits for it must find the same one."""
    with (path.parent / f".{path.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            step(f"another process builds {path}; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

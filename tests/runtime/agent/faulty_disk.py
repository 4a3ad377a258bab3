"""A disk that loses power: at any system call, and with what was not synced lost in part.

Python's own calls are wrapped while a `Disk` is in use. At call number `dies_at` the process
"dies": that call, and every one after it, raises PowerCut, before or after it took effect. Then
`lose` leaves the disk as a power cut may: of a file whose content was not synced, any prefix stays;
of the changes of names in a folder that was not synced since, any number of the last ones are gone
(fsync(2): "does not necessarily ensure that the entry in the directory has also reached disk").
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock


class PowerCut(BaseException):
    """The process is no more."""


@dataclass
class Change:
    """A change of a name in `folder` that is not on the disk yet, and what takes it back."""

    folder: str
    undo: Callable[[], None]


@dataclass
class Disk:
    """Wraps the calls below `root`; `attic` is outside of it, for what may have to be put back."""

    root: Path
    attic: Path
    dies_at: int = -1
    after: bool = False
    calls: int = 0
    dead: bool = False
    names: list[str] = field(default_factory=list)
    _changes: list[Change] = field(default_factory=list)
    _dirty: dict[int, str] = field(default_factory=dict)

    @contextlib.contextmanager
    def in_use(self) -> Iterator[None]:
        """Wrap the calls."""
        wrapped = ("open", "write", "fsync", "rename", "replace", "symlink", "link", "unlink",
                   "remove", "mkdir", "rmdir", "chmod", "fchmod")  # fmt: skip
        real = {name: getattr(os, name) for name in wrapped}
        real["fsync"] = lambda descriptor: None  # what it would do is kept account of here
        self._real = real
        with contextlib.ExitStack() as stack:
            for name in wrapped:
                wrapper = self._wrapper(name, real[name])
                stack.enter_context(mock.patch.object(os, name, wrapper))
            yield

    def lose(self, chance: random.Random) -> None:
        """Take back what had not reached the disk, as far as `chance` will have it."""
        for folder in sorted({change.folder for change in self._changes}):
            mine = [change for change in self._changes if change.folder == folder]
            for change in reversed(mine[chance.randint(0, len(mine)) :]):
                with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                    change.undo()
        for path in [p for p in self.root.rglob("*") if p.is_file() and not p.is_symlink()]:
            if path.stat().st_ino in self._dirty:
                size = path.stat().st_size
                path.chmod(0o600)
                os.truncate(path, chance.choice([0, chance.randint(0, size), size]))

    def _wrapper(self, name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **keywords: Any) -> Any:
            if not self._ours(name, arguments, keywords):
                return real(*arguments, **keywords)
            if self.dead:
                raise PowerCut
            number, self.calls = self.calls, self.calls + 1
            self.names.append(name)
            if number == self.dies_at and not self.after:
                self.dead = True
                raise PowerCut
            undo = self._before(name, arguments, keywords)
            try:
                result = real(*arguments, **keywords)
            except OSError as error:  # such as of a folder that is there already
                if number == self.dies_at:
                    self.dead = True
                    raise PowerCut from error
                raise
            self._note(name, arguments, keywords, undo)
            if number == self.dies_at:
                self.dead = True
                if name == "open":
                    os.close(result)
                raise PowerCut
            return result

        return call

    def _ours(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> bool:
        if name == "open" and not arguments[1] & os.O_CREAT:
            return False  # reading changes nothing
        return self._path(name, arguments, keywords).startswith(str(self.root))

    def _path(self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]) -> str:
        """Return the path that a call changes."""
        if name in ("write", "fsync", "fchmod"):
            return os.readlink(f"/proc/self/fd/{arguments[0]}")
        path = os.fspath(arguments[1] if name in ("rename", "replace", "symlink", "link") else
                         arguments[0])  # fmt: skip
        folder = keywords.get("dir_fd")
        if folder is not None and not os.path.isabs(path):
            path = os.path.join(os.readlink(f"/proc/self/fd/{folder}"), path)
        return os.path.abspath(path)

    def _before(
        self, name: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> Callable[[], None] | None:
        """Return what would take a change of names back, made while that can be known."""
        path = self._path(name, arguments, keywords)
        if name in ("rename", "replace"):
            old, kept = os.path.abspath(arguments[0]), self._put_by(path)
            return lambda: (self._real["rename"](path, old), kept())[0]
        if name == "mkdir":
            return lambda: shutil.rmtree(path, ignore_errors=True)
        if name in ("symlink", "link") or (name == "open" and not os.path.lexists(path)):
            return lambda: self._real["unlink"](path)
        if name in ("unlink", "remove"):
            return self._put_by(path)
        if name == "rmdir":
            return lambda: self._real["mkdir"](path)
        return None

    def _put_by(self, path: str) -> Callable[[], None]:
        """Return what puts back that which lies at `path` now."""
        if not os.path.lexists(path):
            return lambda: None
        if os.path.islink(path):
            target = os.readlink(path)
            return lambda: self._real["symlink"](target, path)
        if stat.S_ISDIR(os.lstat(path).st_mode):
            return lambda: self._real["mkdir"](path)
        kept = str(self.attic / str(len(os.listdir(self.attic))))
        self._real["link"](path, kept)
        return lambda: self._real["link"](kept, path)

    def _note(
        self,
        name: str,
        arguments: tuple[Any, ...],
        keywords: dict[str, Any],
        undo: Callable[[], None] | None,
    ) -> None:
        path = self._path(name, arguments, keywords)
        if name == "write":
            self._dirty[os.fstat(arguments[0]).st_ino] = path
        elif name == "fsync":
            self._dirty.pop(os.fstat(arguments[0]).st_ino, None)
            self._changes = [change for change in self._changes if change.folder != path]
        elif undo is not None:
            self._changes.append(Change(os.path.dirname(path), undo))
            if name in ("rename", "replace"):
                before = os.path.dirname(os.path.abspath(arguments[0]))
                if before != os.path.dirname(path):
                    # The old name may come back alone, when only the new folder was synced.
                    self._changes.append(Change(before, lambda: None))

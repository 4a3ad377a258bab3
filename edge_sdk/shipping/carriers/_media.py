"""Writing a parcel to a medium: complete under another name first, then in place by renames.

    ROOT/agents/DIGEST/      the agent that will install it
    ROOT/incoming/           what it installs: RELEASE/, wheels/, and ready.json

A medium may be of FAT, which has neither links nor modes.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from device_profiles.errors import OutputError
from edge_sdk.shipping.carriers.base import Delivered, Parcel, agent_files, agent_folder, size_of
from edge_sdk.targets._there import seat
from edge_sdk.targets._there.take import sync
from runtime.agent.layout import READY, unwritable
from runtime.progress import step

DRAFT = ".draft-delivery"
_OLD = ".old-delivery"

# What a file takes at the most beside its bytes: a cluster of FAT32, and its names.
_FILE_BYTES = 40 << 10
MARGIN_BYTES = 4 << 20
"""What is left free on the medium."""


def deliver(root: Path, parcel: Parcel, uri: str, dress: Callable[[], Sequence[str]]) -> Delivered:
    """Write a parcel below `root`; `dress` writes what else there is to it, and returns notes.

    What was there of a former one is replaced at the very end. OutputError where the medium cannot
    be written or has no room, RequestError where a file cannot be read here.
    """
    start = time.monotonic()
    contents = {**_incoming(parcel), **agent_files(parcel.wheel)}
    size = sum(map(size_of, contents.values()))
    _require_room(root, size + _FILE_BYTES * len(contents) + MARGIN_BYTES, uri)
    step(f"writing {len(contents)} files ({size / 1e6:.1f} MB) to {root}")
    with _errors(root):
        _write_agent(root, parcel)
        with _drafting(root) as draft:
            for name, what in _incoming(parcel).items():
                _write(draft / name, what)
            _sync_tree(draft)
            notes = tuple(dress())
            _rename(draft, root / "incoming")
    return Delivered(root, len(contents), size, time.monotonic() - start, notes)


def write(path: Path, text: str) -> None:
    """Write a text that is whole at any instant; OutputError where it cannot be written."""
    with _errors(path):
        draft = path.with_name(f"{DRAFT}-{path.name}")
        _remove(draft)
        _write(draft, text.encode())
        os.replace(draft, path)
        sync(str(path.parent))


def keep_one_agent(root: Path, parcel: Parcel) -> None:
    """Remove the agents of former parcels, where nothing else starts them."""
    ours = root / agent_folder(parcel.wheel)
    with _errors(root):
        for path in ours.parent.iterdir():
            if path != ours:
                _remove(path)


def _incoming(parcel: Parcel) -> dict[str, Path | bytes]:
    """Return what the folder `incoming` will hold, by path, `ready.json` last."""
    contents = {f"{parcel.release}/{name}": what for name, what in parcel.files.items()}
    contents |= {f"wheels/{path.name}": path for path in parcel.wheels}
    ready = json.dumps(dict(parcel.ready), sort_keys=True, indent=1) + "\n"
    return {**contents, READY: ready.encode()}


def _require_room(root: Path, needed: int, uri: str) -> None:
    with _errors(root):
        fault = seat.fault(str(root))
        place = next(path for path in (root, *root.parents) if path.exists())
        found = os.statvfs(place)
    if fault:
        raise OutputError(f"{uri}: {fault}")
    free = found.f_bavail * found.f_frsize
    if needed > free:
        raise OutputError(
            f"{uri} has {free / 1e6:.0f} MB free and the release takes {needed / 1e6:.0f} MB, "
            "beside a former one until it is complete; free some space there"
        )


def _write_agent(root: Path, parcel: Parcel) -> None:
    """Write the agent unless it is there, whole."""
    place = root / agent_folder(parcel.wheel)
    contents = agent_files(parcel.wheel)
    if all(_holds(place / name, what) for name, what in contents.items()):
        return
    with _drafting(place.parent) as draft:
        for name, what in contents.items():
            _write(draft / name, what)
        _rename(draft, place)


def _sync_tree(path: Path) -> None:
    """Bring the names in all folders below `path` to the disk."""
    for folder, _, _ in os.walk(path, topdown=False):
        sync(folder)


@contextmanager
def _errors(root: Path) -> Iterator[None]:
    try:
        yield
    except OutputError:
        raise
    except OSError as error:
        raise unwritable(root, error) from error


@contextmanager
def _drafting(folder: Path) -> Iterator[Path]:
    """Give a folder that is new and is gone after, whatever happens."""
    _make(folder)
    draft = folder / DRAFT
    _remove(draft)
    draft.mkdir()
    _chmod(draft, 0o755)
    try:
        yield draft
    finally:
        _remove(draft)


def _rename(draft: Path, place: Path) -> None:
    """Put a folder in the place of another one, which cannot be done in one step."""
    old = place.with_name(_OLD)
    _remove(old)
    with contextlib.suppress(FileNotFoundError):
        os.rename(place, old)
    try:
        os.rename(draft, place)
    except OSError:
        with contextlib.suppress(OSError):  # what failed before is what is told
            os.rename(old, place)
        raise
    sync(str(place.parent))
    _remove(old)


def _write(path: Path, what: Path | bytes) -> None:
    _make(path.parent)
    with path.open("xb") as file:
        if isinstance(what, bytes):
            file.write(what)
        else:
            with what.open("rb") as source:
                shutil.copyfileobj(source, file, 1 << 20)
        file.flush()
        os.fsync(file.fileno())
    _chmod(path, 0o644)


def _make(folder: Path) -> None:
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir()
        _chmod(folder, 0o755)


def _chmod(path: Path, mode: int) -> None:
    with contextlib.suppress(PermissionError):  # FAT has no modes to set
        path.chmod(mode)


def _holds(path: Path, what: Path | bytes) -> bool:
    try:
        return path.read_bytes() == (what if isinstance(what, bytes) else what.read_bytes())
    except OSError:
        return False


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)

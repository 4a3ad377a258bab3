"""From a lock to a folder that a device's Python imports from; every wheel is fetched once.

Both the wheels and the unpacked folders lie in the user's cache under what they hold (SHA-256), so
that a device that is there already needs no network.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import zipfile
from pathlib import Path, PurePosixPath

from device_profiles.errors import OutputError, RequestError
from edge_sdk.emulation.bytecode import compile_modules
from edge_sdk.emulation.cache import built, folder
from edge_sdk.wheels import _pip
from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.tags import Platform
from runtime.progress import track


def site_folder(lock: Lock) -> Path:
    """Return the folder with the wheels of `lock` unpacked, for PYTHONPATH; make it when needed.

    Its modules are compiled where there is a Python of the device's minor version. Otherwise that
    one compiles what it imports, which it may leave there for its next start. No script and no data
    file outside the packages is installed. Raises RequestError, MissingError or OutputError, each
    one line, when a wheel cannot be had or does not have its hash, or the disk is full.
    """

    def build(place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        files = [_cached(wheel, lock.platform) for wheel in track(lock.wheels, "fetching wheels")]
        for file in track(files, "unpacking wheels"):
            _unpack(file, place)
        compile_modules(place, lock.platform.python)

    return built(folder("sites", lock.digest), build)


def download(lock: Lock, into: Path) -> list[Path]:
    """Put the wheels of `lock` into a folder and return their paths; those there already stay.

    Raises as `site_folder` does.
    """
    paths = []
    for wheel in track(lock.wheels, "fetching wheels"):
        path = into / wheel.file
        if not (path.is_file() and _sha256(path) == wheel.sha256):
            _copy(_cached(wheel, lock.platform), path)
        paths.append(path)
    return paths


def _copy(source: Path, path: Path) -> None:
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, beside)
            beside.replace(path)
        finally:
            beside.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}") from error


def _cached(wheel: Wheel, platform: Platform) -> Path:
    def build(place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        _pip.fetch(str(wheel), platform, place)
        got = [path.name for path in place.iterdir()]
        if got != [wheel.file]:
            raise RequestError(f"the index gave {', '.join(got)} instead of {wheel.file}")
        if _sha256(place / wheel.file) != wheel.sha256:
            raise RequestError(f"{wheel.file} does not have the SHA-256 of the lock")

    return built(folder("wheels", wheel.sha256), build) / wheel.file


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _unpack(wheel: Path, place: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive:
            for member in archive.infolist():
                target = _target(member, wheel.name)
                if target is None or member.is_dir():
                    continue
                path = place / target
                path.parent.mkdir(parents=True, exist_ok=True)
                with archive.open(member) as source, path.open("wb") as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
    except zipfile.BadZipFile as error:
        raise RequestError(f"{wheel.name} is not a wheel: {error}") from error
    except OSError as error:
        raise OutputError(f"{wheel.name} cannot be unpacked: {error.strerror}") from error


def _target(member: zipfile.ZipInfo, wheel: str) -> PurePosixPath | None:
    """Return where a file of a wheel goes; None for scripts, headers and data (PEP 427)."""
    path = PurePosixPath(member.filename)
    unsafe = path.is_absolute() or ".." in path.parts or "\\" in member.filename
    if unsafe or stat.S_ISLNK(member.external_attr >> 16):
        raise RequestError(f"{wheel} holds {member.filename!r}, which leaves its folder; refused")
    if path.parts and path.parts[0].endswith(".data"):
        inside = path.parts[1:2]
        return PurePosixPath(*path.parts[2:]) if inside in (("purelib",), ("platlib",)) else None
    return path

"""From a lock to a folder that a device's Python imports from; every wheel is fetched once.

Both the wheels and the unpacked folders lie in the user's cache under what they hold (SHA-256), so
that a device that is there already needs no network.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

from device_profiles.errors import OutputError, RequestError
from edge_sdk.emulation.bytecode import compile_modules
from edge_sdk.emulation.cache import built, folder
from edge_sdk.wheels import _pip
from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.tags import Platform
from runtime.progress import track
from runtime.wheel_file import sha256, unpack


def site_folder(lock: Lock) -> Path:
    """Return the folder with the wheels of `lock` unpacked, for PYTHONPATH; make it when needed.

    Its modules are compiled where there is a Python of the device's minor version. Otherwise that
    one compiles what it imports, which it may leave there for its next start. No script and no data
    file outside the packages is installed. Raises RequestError, MissingError or OutputError, each
    one line, when a wheel cannot be had or does not have its hash, or the disk is full.
    """

    def build(place: Path) -> None:
        place.mkdir(parents=True, exist_ok=True)
        for file in track(fetched(lock), "unpacking wheels"):
            unpack(file, place)
        compile_modules(place, lock.platform.python)

    return built(folder("sites", lock.digest), build)


def fetched(lock: Lock) -> list[Path]:
    """Return where the wheels of `lock` lie in the cache; raises as `site_folder` does."""
    return [_cached(wheel, lock.platform) for wheel in track(lock.wheels, "fetching wheels")]


def download(lock: Lock, into: Path) -> list[Path]:
    """Put the wheels of `lock` into a folder and return their paths; those there already stay.

    Nothing is put there before all are had. Raises as `site_folder` does.
    """
    lacking = tuple(wheel for wheel in lock.wheels if not _is_there(into / wheel.file, wheel))
    for source in fetched(replace(lock, wheels=lacking)):
        _copy(source, into / source.name)
    return [into / wheel.file for wheel in lock.wheels]


def _is_there(path: Path, wheel: Wheel) -> bool:
    return path.is_file() and sha256(path) == wheel.sha256


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
        if sha256(place / wheel.file) != wheel.sha256:
            raise RequestError(f"{wheel.file} does not have the SHA-256 of the lock")

    return built(folder("wheels", wheel.sha256), build) / wheel.file

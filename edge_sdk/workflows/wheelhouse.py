"""Wheelhouse: a folder with all that is installed on a device, for one without a network.

It holds the wheels of the device's engines, the device wheel, and `lock.txt`, which names each by
its hash. pip installs it, and so does `flash`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from device_profiles.errors import OutputError, RequestError
from device_profiles.profile import Profile
from edge_sdk.shipping.device_wheel import NAME, DeviceWheel, device_wheel
from edge_sdk.shipping.parcel import Furniture
from edge_sdk.wheels import Lock, Wheel, device_lock, download, load_lock, resolve
from edge_sdk.wheels._packaging import canonicalize_name
from edge_sdk.wheels.site import fetched
from edge_sdk.wheels.tags import platform_of
from runtime.progress import step, track
from runtime.wheel_file import sha256, unpacked_bytes

LOCK = "lock.txt"


@dataclass(frozen=True)
class Wheelhouse:
    """A folder that is whole: `lock` names its wheels, `others` lie in it and are not of it."""

    folder: Path
    lock: Lock
    others: tuple[str, ...] = ()

    @property
    def lock_path(self) -> Path:
        """The file that pip installs from."""
        return self.folder / LOCK

    @property
    def wheels(self) -> dict[str, Path]:
        """Where each wheel lies, by its file's name."""
        return {wheel.file: self.folder / wheel.file for wheel in self.lock.wheels}

    @property
    def size(self) -> int:
        """What the wheels take, in bytes."""
        return sum(path.stat().st_size for path in self.wheels.values())

    @property
    def unpacked(self) -> int:
        """What they take once they are installed, in bytes."""
        return sum(map(unpacked_bytes, self.wheels.values()))


def wheelhouse(
    profile: Profile,
    into: Path,
    requirements: Sequence[str] = (),
    python: str | None = None,
    lock: Path | None = None,
) -> Wheelhouse:
    """Collect what a device of `profile` needs in a folder, which is made where there is none.

    `requirements` (`onnxruntime==1.20.1`) narrow the choice or add packages, and the profile's pins
    hold for them; `lock` is a file that says it all instead; `python` is another of the profile's
    versions than its first. What lies there already is not fetched again, and files of others stay.
    `lock.txt` is written last, when all is there; where that fails, nothing that is new stays.

    Raises RequestError when a requirement contradicts a pin (with its reason) or no wheel fits,
    MissingError when an index is needed and none answers, OutputError when the disk is full.
    """
    if lock is not None and requirements:
        raise RequestError("a lock says all that is wanted; leave it or the requirements out")
    wanted, _ = _with_device_wheel(_chosen(profile, requirements, python, lock))
    with _undone_if_it_fails(into, wanted):
        files = download(wanted, into)
        whole = _sized(wanted, {path.name: path for path in files})
        _write(into / LOCK, whole.to_text())
    return Wheelhouse(into, whole, _others(into, whole))


def open_wheelhouse(folder: Path, profile: Profile, python: str | None = None) -> Wheelhouse:
    """Return a wheelhouse whose every file is verified; uses no network.

    RequestError, one line, for a folder that is none or not whole, and for one of another device or
    of another Python than `python`.
    """
    remedy = f"make it: edge-sdk wheelhouse --profile {profile.name} -o {folder}"
    path = folder / LOCK
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{folder} is no wheelhouse, its {LOCK} cannot be read; {remedy}") from (
            error
        )
    lock = Lock.from_text(text, str(path))
    _check_device(lock, folder, profile, python)
    for wheel in track(lock.wheels, "verifying wheels"):
        file = folder / wheel.file
        if not file.is_file():
            raise RequestError(f"{folder} lacks {wheel.file}; {remedy}")
        if sha256(file) != wheel.sha256:
            raise RequestError(f"{file} is not what {LOCK} says; remove it, and {remedy}")
    return Wheelhouse(folder, lock, _others(folder, lock))


def device_environment(
    profile: Profile, python: str | None, wheelhouse: Path | None = None, lock: Path | None = None
) -> Furniture:
    """Return what is installed on a device of `profile`, every wheel of it here, in the cache or in
    the folder `wheelhouse`.

    The device wheel is always the one of what runs here: it is the agent as well, which must
    understand this host. Raises as `wheelhouse` and `open_wheelhouse` do.
    """
    if wheelhouse is None:
        whole, device = _with_device_wheel(_chosen(profile, (), python, lock))
        files = {path.name: path for path in fetched(whole)}
    else:
        house = open_wheelhouse(wheelhouse, profile, python)
        whole, device = _with_device_wheel(house.lock)
        files = {**house.wheels, device.file: device.path}
    wheels = {wheel.file: files[wheel.file] for wheel in whole.wheels}
    unpacked = sum(map(unpacked_bytes, wheels.values()))
    return Furniture(_sized(whole, wheels), wheels, unpacked, device)


def pin_reasons(profile: Profile) -> dict[str, str]:
    """Return why the profile pins a package, by the package's name in a lock."""
    reasons: dict[str, list[str]] = {}
    for pin in profile.software.pins:
        said = f"pinned to {pin.specifier}: {pin.reason}"
        reasons.setdefault(canonicalize_name(pin.package), []).append(said)
    return {name: "; ".join(said) for name, said in reasons.items()}


def _chosen(
    profile: Profile, requirements: Sequence[str], python: str | None, lock: Path | None
) -> Lock:
    if lock is not None:
        return load_lock(lock, profile, python)
    if requirements:
        return resolve(profile, requirements, python)
    return device_lock(profile, python)


def _with_device_wheel(lock: Lock) -> tuple[Lock, DeviceWheel]:
    """Return a lock with the device wheel of what runs here, in place of one that it has."""
    device = device_wheel()
    wheel = Wheel(NAME, device.version, device.file, device.sha256, device.size)
    before = lock.version_of(NAME)
    if before not in (None, device.version):
        step(f"{NAME} {before} of the lock gives way to {device.version}, which is what runs here")
    kept = (other for other in lock.wheels if other.name != NAME)
    return replace(lock, wheels=(*kept, wheel)), device


def _sized(lock: Lock, files: Mapping[str, Path]) -> Lock:
    """Return a lock that says the size of each wheel, which an index need not tell."""
    sized = (replace(wheel, size=files[wheel.file].stat().st_size) for wheel in lock.wheels)
    return replace(lock, wheels=tuple(sized))


def _check_device(lock: Lock, folder: Path, profile: Profile, python: str | None) -> None:
    elsewhere = f"make one for it: edge-sdk wheelhouse --profile {profile.name} -o DIR"
    if lock.profile != profile.name:
        raise RequestError(f"{folder} is for {lock.profile}, not {profile.name}; {elsewhere}")
    if python is not None and python != lock.platform.python:
        raise RequestError(
            f"{folder} is for Python {lock.platform.python}, not {python}; {elsewhere} --python "
            f"{python}"
        )
    platform = platform_of(profile, lock.platform.python)
    for wheel in lock.wheels:
        if not platform.fits(wheel.file):
            raise RequestError(f"{wheel.file} in {folder} does not fit {platform}; {elsewhere}")


def _others(folder: Path, lock: Lock) -> tuple[str, ...]:
    ours = {wheel.file for wheel in lock.wheels}
    return tuple(sorted(path.name for path in folder.glob("*.whl") if path.name not in ours))


@contextlib.contextmanager
def _undone_if_it_fails(into: Path, lock: Lock) -> Iterator[None]:
    """Take what is new out of a folder again, and the folder too, where it cannot be completed."""
    was_there = into.exists()
    new = [path for wheel in lock.wheels if not (path := into / wheel.file).exists()]
    try:
        yield
    except BaseException:
        for path in new:
            with contextlib.suppress(OSError):  # the first fault is the one to tell
                path.unlink(missing_ok=True)
        if not was_there:
            with contextlib.suppress(OSError):  # somebody else's file may be there by now
                into.rmdir()
        raise


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.draft")
    try:
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            draft.unlink(missing_ok=True)
        raise OutputError(
            f"{path} cannot be written: {error.strerror}; free some space or name another folder"
        ) from error

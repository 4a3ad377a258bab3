"""What a device is to install, read there: complete locks only, by the standard library alone.

# edge-sdk lock 1
# profile: raspberry-pi-4b
# arch: aarch64
# python: 3.11
# libc: glibc 2.36
numpy==2.4.6 --hash=sha256:0ab0... # numpy-2.4.6-cp311-cp311-manylinux_2_28_aarch64.whl 16051029
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from device_profiles.errors import RequestError

MARK = "# edge-sdk lock 1"
_ONE = ("profile", "arch", "python", "libc")
_WHEEL = re.compile(
    r"(?P<name>[A-Za-z0-9][\w.-]*)==(?P<version>[\w.+!-]+) --hash=sha256:(?P<sha256>[0-9a-f]{64})"
    r" # (?P<file>[A-Za-z0-9][\w.+!-]*\.whl) (?P<size>[0-9]{1,12})",
    re.ASCII,
)


@dataclass(frozen=True)
class LockedWheel:
    """One file to install; `size` in bytes."""

    name: str
    version: str
    file: str
    sha256: str
    size: int


@dataclass(frozen=True)
class LockText:
    """Wheels for a device called `profile`, and packages of its own `system` (Debian's names)."""

    profile: str
    arch: str
    python: str
    libc: str
    wheels: tuple[LockedWheel, ...]
    system: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256, in hex, of what is unpacked for which Python: equal sets are equal here."""
        lines = [self.python, *(f"{wheel.sha256} {wheel.file}" for wheel in self.wheels)]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_lock(text: str, where: str = "the lock") -> LockText:
    """Read a lock of which every line names its file; RequestError names the line that does not."""
    lines = text.splitlines()
    if lines[:1] != [MARK]:
        raise RequestError(
            f"{where} does not begin with {MARK!r}; make it with edge-sdk wheelhouse"
        )
    head: dict[str, str] = {}
    system: list[str] = []
    wheels: dict[str, LockedWheel] = {}
    for number, line in enumerate(lines[1:], start=2):
        if line.startswith("#"):
            key, _, value = line[1:].strip().partition(": ")
            if key == "system":
                system.append(value)
            elif key in _ONE:
                head[key] = value
            continue
        wheel = _wheel(line)
        if wheel is None or _plain(wheel.name) in wheels:
            fault = "names no file" if wheel is None else "is there twice"
            raise RequestError(
                f"{where}, line {number}: {line[:80]!r} {fault}; make the lock again"
            )
        wheels[_plain(wheel.name)] = wheel
    for key in _ONE:
        if key not in head:
            raise RequestError(f"{where} lacks the line '# {key}: ...'; make the lock again")
    profile, arch, python, libc = (head[key] for key in _ONE)
    chosen = tuple(wheels[name] for name in sorted(wheels))
    return LockText(profile, arch, python, libc, chosen, tuple(system))


def _wheel(line: str) -> LockedWheel | None:
    found = _WHEEL.fullmatch(line)
    if found is None or _plain(found["file"].partition("-")[0]) != _plain(found["name"]):
        return None
    name, version, sha256, file, size = found.group("name", "version", "sha256", "file", "size")
    return LockedWheel(name, version, file, sha256, int(size))


def _plain(name: str) -> str:
    """Return a package's name in its one form (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

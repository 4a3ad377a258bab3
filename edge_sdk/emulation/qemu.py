"""QEMU's user-mode emulators: where they are, and which CPUs they have."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from device_profiles.errors import MissingError, RequestError
from device_profiles.nearest import hint

_CALLED = {"aarch64": "aarch64", "armv7l": "arm", "x86_64": "x86_64"}
# What `-cpu` takes besides CPUs: none of them is one that is sold.
_NO_CPU = ("any", "base", "host", "max")


@dataclass(frozen=True)
class Qemu:
    """An emulator of a CPU for single programs; `version` such as `(7, 2, 22)`."""

    path: Path
    version: tuple[int, ...]

    @property
    def takes_plugins(self) -> bool:
        """Whether it can load a plugin; one that is linked statically cannot, and says so."""
        return re.search(r"^-plugin\b", _said(self.path, "-help"), re.MULTILINE) is not None

    def check_cpu(self, cpu: str) -> None:
        """Raise RequestError where it has no such CPU (`name`, or `name,+feature,-feature`)."""
        name, known = cpu.partition(",")[0], _cpus(self.path)
        if name not in known:
            version = ".".join(map(str, self.version))
            raise RequestError(
                f"QEMU {version} ({self.path}) has no CPU {name!r}; {hint(name, known)}; install a "
                "newer QEMU or set emulation.cpu in a profile of your own that inherits from this"
            )


def find_qemu(arch: str) -> Qemu:
    """Return the emulator for `arch` (as in a profile): of `EDGE_SDK_QEMU`, a folder, or of PATH.

    The dynamically linked one comes first, as it takes plugins. MissingError where there is none.
    """
    own = os.environ.get("EDGE_SDK_QEMU")
    name = f"qemu-{_CALLED[arch]}"
    for called in (name, f"{name}-static"):
        found = shutil.which(called, path=own)
        if found:
            path = Path(found).absolute()
            return Qemu(path, _version(path))
    where = f"the folder EDGE_SDK_QEMU names ({own})" if own else "PATH"
    raise MissingError(
        f"{name}, the emulator of this device's CPU, is not in {where}; install it with: "
        "sudo apt-get install qemu-user"
    )


@lru_cache
def _version(path: Path) -> tuple[int, ...]:
    found = re.search(r"version (\d+(?:\.\d+)+)", _said(path, "--version"))
    if found is None:
        raise MissingError(f"{path} does not tell its version; install qemu-user again")
    return tuple(map(int, found[1].split(".")))


@lru_cache
def _cpus(path: Path) -> tuple[str, ...]:
    """Return the CPUs that it lists: lines of a name, behind `x86 ` and before a description."""
    lines = (line.removeprefix("x86 ").split() for line in _said(path, "-cpu", "help").splitlines())
    names = (words[0] for words in lines if words and not words[0].endswith(":"))
    return tuple(name for name in names if name not in _NO_CPU)


def _said(path: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            [path, *arguments],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,  # a list of CPUs ends with code 1
        )
    except OSError as error:
        raise MissingError(f"{path} does not run ({error}); install qemu-user again") from error
    return done.stdout

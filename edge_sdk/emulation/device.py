"""An emulated device: its profile's CPU, the Python of its system, its wheels and its files."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from edge_sdk.emulation.cache import built, folder
from edge_sdk.emulation.cpu_files import NOT_HERE, cpu_files
from edge_sdk.emulation.debian import DebianRoot, debian_root
from edge_sdk.emulation.qemu import Qemu, find_qemu

_LAYOUT = "1"  # of what is made here: raise it with any change
# Of this machine: what makes its own programs find libraries and modules.
_NOT_PASSED = ("LD_", "PYTHON", "QEMU_", "VIRTUAL_ENV")
_PYTHON = "python"


@dataclass(frozen=True)
class EmulatedDevice:
    """A device whose programs run here, emulated, one process at a time and as this user.

    `home` is a folder in the cache. In it lies `root`, the device's file system as far as it
    differs from this machine's: an emulated program that opens a path gets the file in there where
    there is one, and this machine's otherwise. `modules` are put before those of the system.
    """

    profile: Profile
    qemu: Qemu
    debian: DebianRoot
    home: Path
    modules: tuple[Path, ...] = ()

    @property
    def root(self) -> Path:
        """What takes the place of this machine's files."""
        return self.home / "root"

    @property
    def python(self) -> Path:
        """A program of this machine that is the device's Python, emulated.

        It is `sys.executable` there, so that the device's programs can start it themselves: the
        kernel of this machine, which does it for them, does not know the device's own programs.
        """
        return self.home / _PYTHON

    def command(self, arguments: Sequence[str], plugin: str | None = None) -> list[str]:
        """Return what runs the device's Python with `arguments`, in the environment that
        `environment` returns. `plugin` is QEMU's, and not passed on to child processes.

        A program that dies of a signal takes QEMU along by the same one.
        """
        options = [] if plugin is None else ["-plugin", plugin]
        return [*_command(self.profile, self.qemu, self.home, self.debian, options), *arguments]

    def environment(self, given: Mapping[str, str] | None = None) -> dict[str, str]:
        """Return the environment of its programs: this process's, without what is about this
        machine's programs, and with `given`."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(_NOT_PASSED)}
        ours = {
            "PYTHONHOME": str(self.debian.path / "usr"),
            "PYTHONPATH": os.pathsep.join(map(str, self.modules)),
            "PYTHONNOUSERSITE": "1",
            "PYTHONHASHSEED": "0",
        }
        return {**kept, **ours, **(given or {})}

    def path(self, path: Path) -> str:
        """Return what a file or folder of this machine is called there.

        That is its absolute path. Where the device has something of its own at that place, or a
        folder that would hide this one's files, it is reached past it: the kernel's
        `/proc/self/root` is this machine's root for an emulated program as well.
        """
        whole = os.path.abspath(path)
        hidden = os.path.lexists(f"{self.root}{whole}")
        return f"/proc/self/root{whole}" if hidden else whole


def emulated_device(
    profile: Profile, system: Sequence[str] = (), modules: Sequence[Path] = ()
) -> EmulatedDevice:
    """Return the emulated device of a profile, which is built where it is not there yet.

    `system` are packages of its system that it needs beside Python, by Debian's names; `modules`
    folders that its Python imports from. RequestError for a profile without a CPU to emulate or
    one whose CPU this QEMU does not have, MissingError where QEMU, apt or the network is missing,
    OutputError where the cache cannot be written.
    """
    qemu = emulator(profile)
    debian = debian_root(profile.hardware.arch, profile.emulation.debian, system)
    files = cpu_files(profile)
    facts = [_LAYOUT, str(qemu.path), profile.emulation.cpu, str(debian.path), files]
    key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]
    home = folder("devices", f"{profile.name}-{key}")

    def build(draft: Path) -> None:
        _lay_out(draft / "root", debian, files)
        command = shlex.join(_command(profile, qemu, home, debian, ()))
        program = draft / _PYTHON
        program.write_text(f'#!/bin/sh\nulimit -c 0\nexec {command} "$@"\n')
        program.chmod(0o755)

    return EmulatedDevice(profile, qemu, debian, built(home, build), tuple(modules))


def emulator(profile: Profile) -> Qemu:
    """Return the QEMU that has the CPU of a profile; raises as `emulated_device` does."""
    cpu = profile.emulation.cpu
    if cpu is None:
        raise RequestError(
            f"nothing emulates a {profile.title}: its profile names no CPU; set emulation.cpu in a "
            "profile of your own that inherits from it, or use the device itself"
        )
    qemu = find_qemu(profile.hardware.arch)
    qemu.check_cpu(cpu)
    return qemu


def _command(
    profile: Profile, qemu: Qemu, home: Path, debian: DebianRoot, options: Sequence[str]
) -> list[str]:
    emulator = [str(qemu.path), "-cpu", str(profile.emulation.cpu), "-L", str(home / "root")]
    return [*emulator, "-0", str(home / _PYTHON), *options, str(debian.python)]


def _lay_out(root: Path, debian: DebianRoot, files: Mapping[str, str]) -> None:
    root.mkdir(parents=True)
    for path in debian.path.iterdir():
        (root / path.name).symlink_to(path)
    for name, text in files.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    for name in NOT_HERE:
        (root / name).mkdir(parents=True)

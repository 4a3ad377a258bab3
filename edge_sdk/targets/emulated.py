"""An emulated device, with the wheels of its profile: `emulated:PROFILE[,lock=FILE]`.

PROFILE is a name or the path of a TOML file; FILE says which wheels are installed in place of those
that the profile asks for. It is built at the first start, once for all.
"""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from device_profiles.errors import EngineError, ProfileError
from device_profiles.nearest import hint
from device_profiles.profile import Profile, load
from edge_sdk.emulation.debian import RELEASES
from edge_sdk.emulation.device import EmulatedDevice, emulated_device, emulator
from edge_sdk.targets._code import packages
from edge_sdk.targets._options import named
from edge_sdk.targets.base import Start
from edge_sdk.wheels import Lock, device_lock, load_lock, site_folder


def open_target(rest: str) -> EmulatedTarget:
    """Return the emulated device that `rest` names; RequestError where it names none."""
    name, lock = named("emulated", rest)
    return EmulatedTarget(f"emulated:{rest}", load(name), lock)


class EmulatedTarget:
    """A device that is emulated on this machine; `lock_file` overrides its wheels.

    It sees the files of this machine as they are, except where it has its own. Wall time there
    says nothing of the device.
    """

    emulated = True
    shares_files = True

    def __init__(self, uri: str, profile: Profile, lock_file: Path | None = None) -> None:
        self.uri, self.profile = uri, profile
        self.lanes = len(os.sched_getaffinity(0))
        self._lock_file = lock_file
        self._building = threading.Lock()

    @property
    def notes(self) -> tuple[str, ...]:
        """What is not the same on the device."""
        emulation, device = self.profile.emulation, self.profile.software.python
        notes = [] if emulation.stands_in is None else [emulation.stands_in]
        here, _ = _software(self.profile)
        if here not in device:
            notes.append(
                f"Python {here} of Debian {emulation.debian} stands for the device's "
                f"{' and '.join(device)}"
            )
        return tuple(notes)

    @cached_property
    def lock(self) -> Lock:
        """Return which wheels are installed there; RequestError or MissingError as of `wheels`."""
        python, glibc = _software(self.profile)
        profile = self.profile
        if python not in profile.software.python:  # wheels for the one that stands for it
            software = replace(profile.software, python=(python,), libc=f"glibc {glibc}")
            profile = replace(profile, software=software)
        if self._lock_file is None:
            return device_lock(profile, python)
        return load_lock(self._lock_file, profile, python)

    @property
    def device(self) -> EmulatedDevice:
        """The device, built where it is not there yet; raises as `emulated_device` does."""
        with self._building:
            return self._device

    @cached_property
    def _device(self) -> EmulatedDevice:
        # What is quick to tell comes first: without QEMU nothing is resolved or fetched.
        emulator(self.profile)
        device = emulated_device(self.profile, self.lock.system)
        return replace(device, modules=(packages(), site_folder(self.lock)))

    def start(self, arguments: Sequence[str], given: Start = Start()) -> subprocess.Popen[bytes]:  # noqa: B008
        """Start the device's Python; EngineError when the system does not let us."""
        device = self.device
        try:
            process = subprocess.Popen(
                device.command(arguments, given.plugin),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=device.environment(given.env),
                start_new_session=given.apart,
                cwd=packages(),  # with -m, Python looks there first
            )
        except OSError as error:
            raise EngineError(
                f"cannot start {device.qemu.path} ({error.strerror}); see the limits on processes, "
                "open files and memory"
            ) from error
        with contextlib.suppress(ProcessLookupError):  # QEMU writes a core file of its guest
            resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        return process

    def send(self, path: Path) -> str:
        """Return what the file or folder is called there: it is there already."""
        return self.device.path(path)

    def close(self) -> None:
        """Hold nothing."""


def _software(profile: Profile) -> tuple[str, str]:
    release = profile.emulation.debian
    if release not in RELEASES:
        raise ProfileError(
            f"{profile.name}: emulation.debian = {release!r} has no Python that runs edge-sdk; "
            f"{hint(release, RELEASES)}"
        )
    return RELEASES[release]

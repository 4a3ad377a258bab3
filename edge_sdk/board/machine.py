"""QEMU's command line for a board: the machine of a profile, as far as this one can be it."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from device_profiles.errors import MissingError, RequestError
from device_profiles.nearest import hint
from device_profiles.profile import Profile

MOST_CORES = 8
"""QEMU's `virt` has no more with its usual interrupt controller."""

MOST_MEMORY_MB = 2048
"""Of the host's; a board takes what it touches. Devices with more are given this much."""

_USUAL_MEMORY_MB = 1024


@dataclass(frozen=True)
class Architecture:
    """How QEMU and Debian call an architecture, and what its boards have."""

    program: str
    package: str
    kernel: str
    machine: str
    console: str
    bus: str


_ARCHITECTURES = {
    "aarch64": Architecture(
        "qemu-system-aarch64", "qemu-system-arm", "linux-image-cloud-arm64", "virt", "ttyAMA0",
        "device",
    ),
    "armv7l": Architecture(
        "qemu-system-arm", "qemu-system-arm", "linux-image-armmp", "virt", "ttyAMA0", "device"
    ),
    "x86_64": Architecture(
        "qemu-system-x86_64", "qemu-system-x86", "linux-image-cloud-amd64", "q35", "ttyS0", "pci"
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Machine:
    """The virtual hardware of a board: QEMU's program and CPU, cores, and MiB of memory."""

    arch: Architecture
    program: str
    cpu: str
    cores: int
    memory_mb: int
    accelerated: bool = False

    def command(self, name: str, folder: Path, kernel: Path, port: int) -> list[str]:
        """Return QEMU's command line, to run in the board's `folder`; it goes to the background.

        The network is cut off but for ssh, which is at `port` of this machine's loopback. Writes
        reach the disk when the board syncs them; what it did not is lost when QEMU is killed.
        """
        bus = self.arch.bus
        return [
            self.program, "-name", f"edge-board-{name}", "-daemonize",
            "-pidfile", str(folder / "qemu.pid"),
            "-nodefaults", "-no-user-config", "-display", "none",
            "-machine", self.arch.machine, "-cpu", self.cpu,
            "-accel", "kvm" if self.accelerated else "tcg,thread=multi",
            "-smp", str(self.cores), "-m", str(self.memory_mb), "-rtc", "base=utc,clock=host",
            "-kernel", str(kernel), "-initrd", "initrd",
            "-append", f"console={self.arch.console} quiet panic=5 edge.name={name}",
            "-chardev", "file,id=console,path=console.log,append=on", "-serial", "chardev:console",
            "-qmp", "unix:monitor,server=on,wait=off",
            "-drive", "file=disk,format=raw,if=none,id=disk,cache=writeback,discard=unmap",
            "-device", f"virtio-blk-{bus},drive=disk",
            "-netdev", f"user,id=net,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22",
            "-device", f"virtio-net-{bus},netdev=net",
            "-device", f"virtio-rng-{bus}",
        ]  # fmt: skip


def architecture(profile: Profile) -> Architecture:
    """Return how the architecture of a profile is called; RequestError where no board has it."""
    found = _ARCHITECTURES.get(profile.hardware.arch)
    if found is None:
        raise RequestError(f"{profile.name}: no board can be made of {profile.hardware.arch}")
    return found


def machine(profile: Profile) -> Machine:
    """Return the machine of a profile; MissingError without QEMU, RequestError without its CPU.

    KVM is used where this machine is of the same architecture and lets us: with the profile's CPU
    on x86, and elsewhere only where the profile names none, as a KVM guest has the host's there.
    """
    arch = architecture(profile)
    program = shutil.which(arch.program)
    if program is None:
        raise MissingError(
            f"{arch.program}, which a board runs in, is not here; install it with: sudo apt-get "
            f"install {arch.package}"
        )
    cpu = profile.emulation.cpu
    native = os.uname().machine == profile.hardware.arch and os.access("/dev/kvm", os.W_OK)
    accelerated = native and (cpu is None or profile.hardware.arch == "x86_64")
    if cpu is None and not accelerated:
        raise RequestError(
            f"nothing emulates a {profile.title}: its profile names no CPU; set emulation.cpu in a "
            "profile of your own that inherits from it"
        )
    if cpu is not None:
        _check_cpu(program, arch.machine, cpu)
    memory = min(profile.hardware.memory_mb or _USUAL_MEMORY_MB, MOST_MEMORY_MB)
    cores = min(profile.hardware.cores, MOST_CORES)
    return Machine(arch, program, cpu or "host", cores, memory, accelerated)


def _check_cpu(program: str, board: str, cpu: str) -> None:
    name, known = cpu.partition(",")[0], _cpus(program, board)
    if known and name not in known:
        raise RequestError(
            f"{program} has no CPU {name!r}; {hint(name, known)}; install a newer QEMU or set "
            "emulation.cpu in a profile of your own that inherits from this"
        )


@lru_cache
def _cpus(program: str, board: str) -> Sequence[str]:
    done = subprocess.run(
        [program, "-machine", board, "-cpu", "help"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    lines = (line.removeprefix("x86 ").split() for line in done.stdout.splitlines())
    return tuple(words[0] for words in lines if words and not words[0].endswith(":"))

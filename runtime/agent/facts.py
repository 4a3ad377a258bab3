"""What a device is, as far as a release asks for it; and what it lacks of that."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from runtime.agent.release import Needs
from runtime.host import host, libc

MARGIN_BYTES = 32 << 20
"""What is left free on the disk: a device without any room stops logging, and more."""


@dataclass(frozen=True)
class Facts:
    """A device: its Python's architecture and minor version, its CPU's features (none where the
    system does not tell), C library, and memory in MiB (0 where it does not tell)."""

    arch: str
    features: frozenset[str]
    python: str
    libc: str
    memory_mb: int


def facts(cpuinfo: Path = Path("/proc/cpuinfo")) -> Facts:
    """Return the facts of this machine."""
    cpu = host(cpuinfo)
    narrow = sys.maxsize < 1 << 32 and cpu.arch == "aarch64"  # a 32-bit system on a 64-bit kernel
    return Facts(
        arch="armv7l" if narrow else cpu.arch,
        features=cpu.features,
        python="{}.{}".format(*sys.version_info),
        libc=libc(),
        memory_mb=_memory_mb(),
    )


def unmet(needs: Needs, here: Facts) -> list[str]:
    """Return what a device lacks, a phrase each; nothing where it has all that is needed."""
    return list(_unmet(needs, here))


def _unmet(needs: Needs, here: Facts) -> Iterator[str]:
    if needs.arch != here.arch:
        yield f"it is for {needs.arch} and this device is {here.arch}"
        return  # all else would follow from it
    lacking = [name for name in needs.features if name not in here.features]
    if lacking and here.features:
        has = " ".join(sorted(here.features))
        yield f"it needs a CPU with {' '.join(lacking)}, this one has {has}"
    if needs.python != here.python:
        yield (
            f"its wheels are for Python {needs.python} and this device has {here.python}: flash "
            f"with --python {here.python}"
        )
    if needs.libc and here.libc and not _new_enough(here.libc, needs.libc):
        yield f"its wheels need {needs.libc} or newer, this device has {here.libc}"
    if 0 < here.memory_mb < needs.memory_mb:
        yield f"it needs {needs.memory_mb} MiB of memory, this device has {here.memory_mb}"


def _new_enough(here: str, needed: str) -> bool:
    """Compare such as `glibc 2.36` and `glibc 2.28`."""
    kinds = here.partition(" ")[0], needed.partition(" ")[0]
    numbers = [tuple(map(int, re.findall(r"\d+", text)))[:2] for text in (here, needed)]
    return kinds[0] == kinds[1] and numbers[0] >= numbers[1]


def _memory_mb() -> int:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
    except (ValueError, OSError):
        return 0


def free_bytes(path: Path) -> int:
    """Return how much an ordinary user may still write where `path` will be."""
    while not path.exists():
        path = path.parent
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize

"""Modules of a kernel, and what each needs before it: read from the modules themselves."""

from __future__ import annotations

import lzma
import re
from collections.abc import Sequence
from pathlib import Path

from device_profiles.errors import EdgeError

DRIVERS = (
    "virtio_mmio",
    "virtio_pci",
    "virtio_blk",
    "virtio_net",
    "virtio_rng",
    "crc32c_generic",
    "ext4",
)
"""What a board of QEMU's needs to find its disk and network; a kernel may have some built in."""


def modules(folder: Path, wanted: Sequence[str] = DRIVERS) -> list[tuple[str, bytes]]:
    """Return names and contents of modules below `folder` in the order to load them in.

    A module that is not there counts as built in.
    """
    files = {_name(path): path for path in folder.rglob("*.ko*")}
    found: dict[str, bytes] = {}

    def add(name: str) -> None:
        path = files.get(name)
        if path is not None and name not in found:
            content = _content(path)
            for needed in _needs(content):
                add(needed)
            found[name] = content

    for name in wanted:
        add(name)
    return list(found.items())


def _name(path: Path) -> str:
    # Files may have dashes where the kernel says underscores.
    return path.name.partition(".ko")[0].replace("-", "_")


def _content(path: Path) -> bytes:
    if path.suffix == ".ko":
        return path.read_bytes()
    if path.suffix == ".xz":
        return lzma.decompress(path.read_bytes())
    raise EdgeError(f"{path} is compressed in a way that is not known; use another release")


def _needs(content: bytes) -> list[str]:
    """Return what the section .modinfo says of a module: `depends=a,b`, ended by a zero byte."""
    found = re.search(rb"(?<![\w-])depends=([\w,-]*)\0", content)
    names = found[1].decode().split(",") if found else []
    return [name.replace("-", "_") for name in names if name]

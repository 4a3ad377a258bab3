"""Wheels of one module, for tests."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Tiny:
    name: str
    version: str
    tag: str = "py3-none-any"
    requires: tuple[str, ...] = ()
    files: Mapping[str, str] = field(default_factory=dict)


def write_wheel(folder: Path, tiny: Tiny) -> Path:
    """Write the wheel; the same contents give the same bytes."""
    module = tiny.name.replace("-", "_")
    info = f"{module}-{tiny.version}.dist-info"
    metadata = ["Metadata-Version: 2.1", f"Name: {tiny.name}", f"Version: {tiny.version}"]
    metadata += [f"Requires-Dist: {line}" for line in tiny.requires]
    wheel = ["Wheel-Version: 1.0", "Generator: tests", "Root-Is-Purelib: false"]
    path = folder / f"{module}-{tiny.version}-{tiny.tag}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {
            f"{module}.py": f"VERSION = {tiny.version!r}\n",
            **tiny.files,
            f"{info}/METADATA": "\n".join(metadata) + "\n",
            f"{info}/WHEEL": "\n".join([*wheel, f"Tag: {tiny.tag}"]) + "\n",
            f"{info}/RECORD": "",
        }.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path

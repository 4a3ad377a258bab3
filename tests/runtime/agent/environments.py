"""Environments of tiny wheels, for tests of the agent."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.tags import Platform
from runtime.wheel_file import sha256

HERE = "{}.{}".format(*sys.version_info)
RUNTIME = {"runtime/__init__.py": "", "runtime/bundle.py": "", "runtime/tests/test_it.py": "1\n"}


def lock_of(folder: Path, python: str = HERE, system: tuple[str, ...] = ()) -> Lock:
    wheels = []
    for path in sorted(folder.glob("*.whl")):
        name, version = path.name.split("-")[:2]
        size = path.stat().st_size
        wheels.append(Wheel(name.replace("_", "-"), version, path.name, sha256(path), size))
    return Lock("some-board", Platform("aarch64", python, "glibc 2.36"), tuple(wheels), system)


def ask(place: Path, code: str) -> str:
    command: list[str | Path] = [place / "bin" / "python", "-I", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def silent(_: str) -> None:
    pass

"""The plugin that counts guest instructions, compiled for the QEMU that is here on first use."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
from functools import lru_cache
from pathlib import Path

from device_profiles.errors import EngineError, MissingError
from edge_sdk.emulation.cache import built, folder
from edge_sdk.emulation.qemu import Qemu

_FLAGS = ("-O2", "-std=c11", "-D_DEFAULT_SOURCE", "-fPIC", "-shared", "-fvisibility=hidden")
_SOURCE = Path(__file__).with_name("instructions.c")


def sources() -> tuple[Path, ...]:
    """Return the files that the plugin is made of, the one to compile first."""
    return (_SOURCE, *sorted(_SOURCE.parent.glob("instructions*.h")))


def api(version: tuple[int, ...]) -> int:
    """Return the plugin interface of a QEMU, as instructions.c numbers it.

    1 is tried with QEMU 7.2; 2 (QEMU 9.0) and 3 (9.1 on) follow the documented interface and are
    only compiled.
    """
    if version < (9,):
        return 1
    return 2 if version < (9, 1) else 3


def instruction_plugin(qemu: Qemu) -> Path:
    """Return the compiled plugin for `qemu`, from the cache where it was compiled before.

    MissingError where this QEMU takes no plugin, or there is no C compiler (the one that `CC`
    names, else cc); EngineError when it does not compile.
    """
    if not qemu.takes_plugins:
        raise MissingError(
            f"{qemu.path} is linked statically and takes no plugin, which counts instructions; "
            "install the other one with: sudo apt-get install qemu-user"
        )
    compiler = find_compiler()
    digest = hashlib.sha256()
    for part in (compiler_version(compiler), platform.machine(), *_FLAGS, str(api(qemu.version))):
        digest.update(part.encode() + b"\0")
    for source in sources():
        digest.update(source.read_bytes() + b"\0")
    path = folder("plugins", f"instructions-{digest.hexdigest()[:32]}.so")
    define = f"-DAPI={api(qemu.version)}"
    return built(path, lambda draft: compile_c(compiler, [*_FLAGS, define], draft))


def find_compiler() -> str:
    """Return the C compiler: the program that `CC` names, else cc or gcc; MissingError: none."""
    for name in (os.environ.get("CC"), "cc", "gcc"):
        found = shutil.which(name) if name else None
        if found:
            return found
    raise MissingError(
        "there is no C compiler, which the counter of instructions is compiled with; install one "
        "with: sudo apt-get install gcc libc6-dev"
    )


@lru_cache
def compiler_version(compiler: str) -> str:
    """Return the first line of what `compiler` says of itself."""
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, check=False)
    return done.stdout.partition("\n")[0]


def compile_c(compiler: str, flags: list[str], output: Path) -> None:
    """Compile instructions.c to `output`; EngineError with the compiler's first complaint."""
    command = [compiler, *flags, str(_SOURCE), "-o", str(output)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        lines = done.stderr.splitlines() or ["it said nothing"]
        first = next((line for line in lines if "error" in line), lines[0])
        raise EngineError(
            f"{compiler} cannot compile {_SOURCE.name}, the counter of instructions: {first}; see "
            "that the C library's headers are installed: sudo apt-get install libc6-dev"
        )

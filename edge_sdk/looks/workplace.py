"""Looks at where models are converted and devices emulated: what that needs beside the engines."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from device_profiles.errors import MissingError
from edge_sdk.looks.base import HOST, Finding, Scene
from edge_sdk.looks.packages import Wanted, broken, install

_ONNX = Wanted("onnx", "onnx", "convert", "converts models; not needed on a device", "onnx")
_TORCH = Wanted("torch", "torch", "convert", "converts models; not needed on a device", "torch")
# Debian's package with the keys that its archive is signed by, for a host of another system.
_KEYRINGS = "usr/share/keyrings/debian-archive-keyring.*"


def look_at_converters(scene: Scene) -> list[Finding]:
    """Say whether PyTorch and onnx are there and load.

    Of PyTorch only the libraries are loaded: importing all of it takes seconds.
    """
    found = []
    for wanted, module, ask in (
        (_TORCH, "edge_sdk.looks.workplace", _load_torch),
        (_ONNX, "onnx", str),
    ):
        remedy = install(scene, wanted)
        if wanted.package not in scene.packages:
            detail = f"not installed ({wanted.why})"
            found.append(Finding(wanted.package, "note", detail, remedy))
            continue
        trial = scene.attempt(module, ask)
        if trial.failure or not trial.found:
            found.append(broken(scene, wanted.package, trial))
        else:
            found.append(Finding(wanted.package, "ok", scene.packages[wanted.package].version))
    return found


def _load_torch(ours: Any) -> str:
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        raise ImportError("its folder is missing")
    ctypes.CDLL(str(Path(spec.origin).parent / "lib" / "libtorch_cpu.so"))
    return ""


def look_at_emulators(scene: Scene) -> list[Finding]:
    """Say which of the emulators that the profiles need are there."""
    from device_profiles.profile import load, names
    from edge_sdk.emulation.qemu import find_qemu

    profiles = [scene.profile] if scene.profile else list(map(load, names()))
    archs = sorted({p.hardware.arch for p in profiles if p.emulation.cpu})
    found, missing = [], []
    for arch in archs:
        try:
            qemu = find_qemu(arch)
        except MissingError as error:
            missing.append((arch, str(error)))
            continue
        version = ".".join(map(str, qemu.version))
        able = "takes plugins" if qemu.takes_plugins else "static: it counts no instructions"
        level = "ok" if qemu.takes_plugins else "note"
        remedy = "" if qemu.takes_plugins else "sudo apt-get install qemu-user"
        found.append(Finding(qemu.path.name, level, f"{version}, {able}", remedy))
    if missing:
        detail = f"no emulator of {', '.join(arch for arch, _ in missing)}, for emulated:PROFILE"
        found.append(Finding("qemu", "note", detail, "sudo apt-get install qemu-user"))
    return found


def look_at_programs(scene: Scene) -> list[Finding]:
    """Say which programs are missing that emulated devices, boards and devices afar need."""
    programs = (
        (("gcc", "cc"), "gcc", "counts instructions of an emulated device (--cost)"),
        (("apt-get",), "apt", "makes an emulated device's system"),
        (("qemu-system-aarch64",), "qemu-system-arm", "runs board:PROFILE"),
        (("ssh",), "openssh-client", "reaches ssh://user@host"),
        (("rsync",), "rsync", "sends files to a device"),
        (("mke2fs", "/sbin/mke2fs"), "e2fsprogs", "makes the disk of board:PROFILE"),
        (("cpio",), "cpio", "makes the start of board:PROFILE"),
    )
    lacking = [
        Finding(package, "note", f"not installed ({why})", f"sudo apt-get install {package}")
        for commands, package, why in programs
        if not any(map(shutil.which, commands))
    ]
    there = len(programs) - len(lacking)
    return [Finding("programs", "ok", f"{there} of {len(programs)} for devices"), *lacking]


def look_at_keyring(scene: Scene) -> list[Finding]:
    """Say whether the keys of Debian's archive are there: systems are made of signed packages."""
    if any(scene.root.glob(_KEYRINGS)):
        return []
    detail = "Debian's is missing: an emulated device's system cannot be verified"
    remedy = "sudo apt-get install debian-archive-keyring"
    return [Finding("keyring", "note", detail, remedy)]


def look_at_cache(scene: Scene) -> list[Finding]:
    """Say where emulated devices and fetched wheels are kept, how much that is, and its room."""
    from edge_sdk.emulation.cache import cache_root

    cache = cache_root()
    above = next(path for path in (cache, *cache.parents) if path.exists())
    if not os.access(above, os.W_OK):
        remedy = "export EDGE_SDK_CACHE=/a/folder/of/yours"
        return [Finding("cache", "fault", f"{cache} cannot be written", remedy)]
    size = _size_mb(cache) if cache.exists() else 0.0
    return [Finding("cache", "ok", f"{cache}, {size:.0f} MB (it can be removed at any time)")]


def _size_mb(folder: Path) -> float:
    """Return what lies below a folder, in 10^6 bytes; what vanishes meanwhile does not count."""
    total = 0
    waiting = [os.fspath(folder)]
    while waiting:
        with contextlib.suppress(OSError), os.scandir(waiting.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    waiting.append(entry.path)
                else:
                    total += 512 * entry.stat(follow_symlinks=False).st_blocks
    return total / 1e6


OF = HOST
LOOKS = (
    look_at_converters,
    look_at_emulators,
    look_at_programs,
    look_at_keyring,
    look_at_cache,
)

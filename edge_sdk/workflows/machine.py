"""What a machine is, read where it is: `python -m edge_sdk.workflows.machine` writes it as JSON.

Nothing is required: what is missing, closed or nonsense is left out. Sources, below a root:

    proc/cpuinfo                                       cores: implementer, part, features, model
    sys/devices/system/cpu/cpu*/{cpufreq,cache,topology}   ABI/testing/sysfs-devices-system-cpu
    proc/meminfo, etc/os-release, proc/device-tree/model, sys/class/dmi/id/product_name
    dev/apex_*, sys/bus/usb/devices/*/id*              Google's Edge TPU
"""

from __future__ import annotations

import contextlib
import json
import platform
import re
import struct
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import packages_distributions, version
from pathlib import Path
from typing import Any

from edge_sdk.looks.base import Try, attempt
from runtime.host import libc
from runtime.plugins import names
from runtime.sysfs import Sysfs

_LONGEST = 1 << 20  # bytes of a file: /proc/cpuinfo of a server of 256 threads has half as many
_MOST_CORES = 1024
_ARCHES = {"amd64": "x86_64", "arm64": "aarch64", "armv8l": "armv7l"}
_NARROW = {"aarch64": "armv7l"}  # what a 32-bit system sees of a 64-bit kernel's CPU
_CORE = {
    "CPU implementer": "implementer",
    "CPU part": "part",
    "CPU variant": "variant",
    "CPU revision": "revision",
    "Features": "features",
    "flags": "features",
    "model name": "name",
    "cpu MHz": "mhz",
}
_EDGE_TPU = {("1a6e", "089a"), ("18d1", "9302")}  # before and after its firmware is loaded
_PATIENCE_S = 20.0


def read_machine(
    root: Path = Path("/"), machine: str | None = None, trial: Try = attempt
) -> dict[str, Any]:
    """Return what the machine below `root` is, as JSON-ready values.

    `machine` is its architecture as `uname -m` names it (None: this one's). Engines are those of
    this Python; each is tried by `trial`, in a process that may crash of it.
    """
    files = Sysfs(root)
    told = {
        "name": platform.node(),
        "model": files.text("proc/device-tree/model")
        or files.text("sys/class/dmi/id/product_name"),
        "arch": _arch(machine),
        "cores": _cores(root, files),
        "memory_mb": _memory(files.text("proc/meminfo") or ""),
        "os": _os(root),
        "libc": libc() or None,
        "python": "{}.{}".format(*sys.version_info[:2]),
        "accelerators": [*_nvidia(), *_edge_tpus(files)],
        "engines": _engines(trial),
    }
    return {key: value for key, value in told.items() if value is not None}


def _arch(machine: str | None) -> str:
    found = (machine or platform.machine()).lower()
    found = _ARCHES.get(found, found)
    narrow = machine is None and struct.calcsize("P") == 4
    return _NARROW.get(found, found) if narrow else found


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_LONGEST).decode(errors="replace")
    except (OSError, ValueError):
        return ""


def _cores(root: Path, files: Sysfs) -> list[dict[str, Any]]:
    """Return what each logical CPU is, in the kernel's order."""
    found: list[dict[str, Any]] = []
    for line in _text(root / "proc/cpuinfo").splitlines():
        key, _, value = (part.strip() for part in line.partition(":"))
        if key == "processor" and value.isdecimal() and len(found) < _MOST_CORES:
            found.append({"cpu": int(value)})
        elif key in _CORE and found:
            found[-1][_CORE[key]] = value
    return [core | _core(files, f"sys/devices/system/cpu/cpu{core['cpu']}") for core in found]


def _core(files: Sysfs, folder: str) -> dict[str, Any]:
    told = {
        "max_khz": files.number(f"{folder}/cpufreq/cpuinfo_max_freq"),
        "min_khz": files.number(f"{folder}/cpufreq/cpuinfo_min_freq"),
        "siblings": files.text(f"{folder}/topology/thread_siblings_list"),
        "caches": list(_caches(files, folder)),
    }
    return {key: value for key, value in told.items() if value is not None}


def _caches(files: Sysfs, folder: str) -> Iterator[dict[str, Any]]:
    for path in files.find(f"{folder}/cache/index[0-9]*"):
        size = re.fullmatch(r"(\d{1,9})K", files.text(f"{path}/size") or "")
        level = files.number(f"{path}/level")
        if size and level:
            kind = files.text(f"{path}/type") or ""
            shared = files.text(f"{path}/shared_cpu_list") or ""
            yield {"level": int(level), "type": kind, "kb": int(size[1]), "shared": shared}


def _memory(meminfo: str) -> int | None:
    found = re.search(r"^MemTotal:\s*(\d{1,15}) kB", meminfo, re.MULTILINE)
    return int(found[1]) // 1024 if found else None


def _os(root: Path) -> str | None:
    text = _text(root / "etc/os-release")
    found = re.search(r"^PRETTY_NAME=[\"']?(.*?)[\"']?$", text, re.MULTILINE)
    return found[1] if found else None


def _nvidia() -> list[dict[str, Any]]:
    """Return NVIDIA's GPUs, where its tool is there; Jetsons before JetPack 6 have none."""
    command = ["nvidia-smi", "--query-gpu=name,compute_cap", "--format=csv,noheader"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_PATIENCE_S, check=True
        )
        lines = [line.rpartition(",") for line in done.stdout.splitlines() if "," in line]
        return [{"name": name.strip(), "compute_capability": c.strip()} for name, _, c in lines]
    return []


def _edge_tpus(files: Sysfs) -> list[dict[str, Any]]:
    usb = [path.rpartition("/")[0] for path in files.find("sys/bus/usb/devices/*/idVendor")]
    ids = [(files.text(f"{path}/idVendor"), files.text(f"{path}/idProduct")) for path in usb]
    count = len(files.find("dev/apex_[0-9]*")) + sum(pair in _EDGE_TPU for pair in ids)
    return [{"name": "Google Edge TPU"}] * count


def _engines(trial: Try) -> list[dict[str, Any]] | None:
    """Return the engines that are installed, with the providers that were seen to work; None
    without numpy, which all of them need."""
    try:
        known = names("runtime.engines")
    except ModuleNotFoundError:
        return None
    return [told for name in known if (told := _engine(name, trial))]


def _engine(name: str, trial: Try) -> dict[str, Any] | None:
    from runtime.engines import traits

    packages = [package for package in traits(name).packages if trial(package, _nothing).found]
    if not packages:
        return None
    module = f"runtime.engines.{name}"
    heard = trial(module, lambda engine: json.dumps([*getattr(engine, "PROVIDERS", ())]))
    tried = json.loads(heard.answer or "[]")
    results = {p: trial(module, lambda engine, p=p: _run(engine, p)).failure for p in tried}  # type: ignore[misc]
    works = [provider for provider, failure in results.items() if not failure]
    return {
        "engine": name,
        "version": _version(packages[0]),
        "tried": bool(tried),
        "providers": works if tried else ["cpu"],
        "failed": {p: failure for p, failure in results.items() if failure},
    }


def _nothing(module: Any) -> str:
    return ""


def _run(engine: Any, provider: str) -> str:
    from edge_sdk.looks._samples import onnx_sample
    from runtime.engines import EngineOptions
    from runtime.engines._check import sample_inputs

    opened = engine.open_engine(onnx_sample(), EngineOptions(provider, threads=1, alone=True))
    opened.run(sample_inputs(opened.inputs))
    return "ran"


def _version(package: str) -> str | None:
    for distribution in packages_distributions().get(package, []):
        return version(distribution)
    return None


if __name__ == "__main__":
    sys.stdout.write(f"\n{json.dumps(read_machine())}\n")

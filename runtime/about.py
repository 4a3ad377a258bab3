"""What a machine is, as plain facts: its CPU, system, Python and engines."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from runtime.board import Board
from runtime.host import cores, host, libc

# What results and timings depend on.
_PACKAGES = (
    "numpy",
    "onnxruntime",
    "onnxruntime-gpu",
    "ai-edge-litert",
    "tflite-runtime",
    "opencv-python-headless",
    "opencv-python",
)


def about() -> dict[str, Any]:
    """Return the facts of this machine as JSON-ready values; memory in MiB.

    Two machines of equal facts may be compared; `name` says which of several equal ones it is.
    """
    here = host()
    return {
        "name": platform.node(),
        "model": Board().read().model,
        "arch": here.arch,
        "features": sorted(here.features),
        "cpu": cores(),
        "cores": os.cpu_count(),
        "memory_mb": _memory_mb(),
        "system": platform.platform(),
        "libc": libc(),
        "python": platform.python_version(),
        "byteorder": sys.byteorder,
        "packages": {name: found for name in _PACKAGES if (found := _version(name))},
    }


def _memory_mb() -> int | None:
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20
    except (ValueError, OSError):
        return None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None

"""Looks at memory: how much there is against the profile, what is free, and swap."""

from __future__ import annotations

import re

from edge_sdk.looks.base import MACHINE, Finding, Scene
from runtime.sysfs import Sysfs

LOW_MEMORY_MB = 256
"""MiB: onnxruntime with a small net holds 177 MB, LiteRT 107 MB."""

_SMALL_MB = 1100  # boards of 1 GB; below it, loading a net and a camera's buffers may not fit
# What firmware and a GPU take of a board's memory before the kernel counts.
_COUNTED = 0.8


def look_at_memory(scene: Scene) -> list[Finding]:
    """Say how much memory there is, and whether what is free is enough for a net."""
    files = Sysfs(scene.root)
    told = dict(re.findall(r"^(\w+):\s+(\d+) kB", files.text("proc/meminfo") or "", re.MULTILINE))
    if "MemTotal" not in told:
        return []
    total, free = int(told["MemTotal"]) / 1024, int(told.get("MemAvailable", 0)) / 1024
    limit = files.number("sys/fs/cgroup/memory.max", 2.0**-20)
    detail = f"{total:.0f} MiB, {free:.0f} free"
    if limit is not None and limit < total:
        detail, total = f"{detail}, of which this process may use {limit:.0f}", limit
    return [_total(scene, total, free, detail), *_swap(told, total)]


def _total(scene: Scene, total: float, free: float, detail: str) -> Finding:
    """Judge memory, in MiB."""
    wanted = scene.profile.hardware.memory_mb if scene.profile else None
    if wanted is not None and total < _COUNTED * wanted:
        detail = f"{detail}; the profile has {wanted} MiB"
        remedy = "take the profile of this device: edge-sdk profiles --detect"
        return Finding("memory", "note", detail, remedy)
    if free < LOW_MEMORY_MB:
        remedy = "end what is not needed (ps aux --sort=-rss | head), such as a desktop"
        return Finding("memory", "note", detail, remedy)
    return Finding("memory", "ok", detail)


def _swap(told: dict[str, str], total: float) -> list[Finding]:
    if total >= _SMALL_MB:
        return []
    swap = int(told.get("SwapTotal", 0)) / 1024
    if swap:
        return [Finding("swap", "ok", f"{swap:.0f} MiB")]
    detail = "none: where memory runs out, the kernel ends the program"
    # Compressed memory wears no card out, as a swap file does.
    return [Finding("swap", "note", detail, "sudo apt install zram-tools")]


OF = MACHINE
LOOKS = (look_at_memory,)

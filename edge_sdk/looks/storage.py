"""Looks at the disk: space, whether it can be written and keeps what is written, its wear."""

from __future__ import annotations

import os
import re
from pathlib import Path

from edge_sdk.looks.base import MACHINE, Finding, Scene
from runtime.sysfs import Sysfs

LOW_DISK_MB = 500
"""Below this a bundle, its copy and the logs of a device no longer fit comfortably."""


def look_at_disk(scene: Scene) -> list[Finding]:
    """Say how much is free where `scene.folder` is, and whether it can be written at all."""
    try:
        found = os.statvfs(scene.folder)
    except OSError as error:
        detail = f"{scene.folder} cannot be looked at: {error.strerror}"
        return [Finding("disk", "fault", detail, f"mkdir -p '{scene.folder}'")]
    if found.f_flag & os.ST_RDONLY:
        detail = f"{scene.folder} is on a read-only file system"
        remedy = "sudo mount -o remount,rw / (if it was not meant: sudo dmesg | grep -i error; a "
        return [Finding("disk", "fault", detail, remedy + "worn-out card turns read-only)")]
    free = found.f_bavail * found.f_frsize / 2**20
    if free < LOW_DISK_MB:
        remedy = "sudo apt clean; sudo journalctl --vacuum-size=50M; pip cache purge"
        return [Finding("disk", "fault", f"{free:.0f} MiB free at {scene.folder}", remedy)]
    if found.f_files and found.f_favail < 1000:
        detail = f"{found.f_favail} files more fit at {scene.folder}: it has too many small ones"
        return [Finding("disk", "fault", detail, "find / -xdev -printf '%h\\n' | sort | uniq -c")]
    return [Finding("disk", "ok", f"{free / 1024:.1f} GiB free at {scene.folder}")]


def look_at_overlay(scene: Scene) -> list[Finding]:
    """Say where what is written is forgotten at the next start."""
    started = Sysfs(scene.root).text("proc/cmdline") or ""
    if not re.search(r"\b(boot=overlay|overlayroot=(?!disabled))", started):
        return []
    detail = "the system is read-only under an overlay: what is installed now is gone at a restart"
    remedy = "sudo raspi-config nonint disable_overlayfs, restart, install, and enable it again"
    return [Finding("overlay", "note", detail, remedy)]


def look_at_wear(scene: Scene) -> list[Finding]:
    """Say how worn flash memory is, where it tells: eMMC does (JEDEC JESD84-B51, EXT_CSD 267-269;
    Documentation/ABI/testing/sysfs-bus-mmc of the kernel), SD cards do not."""
    files = Sysfs(scene.root)
    found = []
    for path in files.find("sys/block/mmcblk[0-9]*/device/life_time"):
        name = Path(path).parts[-3]
        used = [int(value, 16) for value in (files.text(path) or "").split() if _is_hex(value)]
        reserve = files.bits(f"sys/block/{name}/device/pre_eol_info") or 0
        worst = max(used, default=0)  # in steps of a tenth of its life; 11 is more than all
        if worst >= 10 or reserve >= 2:
            detail = f"{name} is worn out: {min(worst, 10) * 10}% of its life or more is used"
            found.append(Finding("wear", "fault", detail, "copy the system to a new one"))
        elif worst >= 8:
            remedy = "log to memory: Storage=volatile in /etc/systemd/journald.conf"
            found.append(Finding("wear", "note", f"{name}: {worst * 10}% of its life used", remedy))
        elif worst:
            found.append(Finding("wear", "ok", f"{name}: up to {worst * 10}% of its life used"))
    return found


def _is_hex(text: str) -> bool:
    return re.fullmatch(r"0x[0-9a-fA-F]+", text) is not None


OF = MACHINE
LOOKS = (look_at_disk, look_at_overlay, look_at_wear)

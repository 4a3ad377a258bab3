"""The doctor on devices: cameras, the board, its clocks and its time, below any root."""

from __future__ import annotations

import grp
import importlib.util
import os
import pwd
import time
from pathlib import Path

from edge_sdk.workflows.finding import Finding
from runtime.board import Board
from runtime.sysfs import Sysfs
from runtime.throttle import of_supply

# Where Debian keeps what its own Python sees, and a virtual environment does not.
_SYSTEM_PACKAGES = "usr/lib/python3/dist-packages"
SYSTEM_SITE = "python3 -m venv --system-site-packages VENV"

_SUPPLY = "use the supply that was made for the board, with a short cable and nothing else on it"
_HEAT = "give it a heat sink or a fan, or run with --governor"


def look_at_cameras(root: Path) -> list[Finding]:
    """Find the V4L2 nodes, what they are, and whether this user may open them."""
    files = Sysfs(root)
    nodes = [Path(path) for path in files.find("dev/video[0-9]*")]
    known = files.find("sys/class/video4linux/video[0-9]*")
    if not nodes and known:
        names = ", ".join(filter(None, (files.text(f"{path}/name") for path in known)))
        remedy = "start the container with --device /dev/video0 (and so on), or mount /dev"
        return [Finding("camera", "fault", f"the kernel has {names}, but /dev has no node", remedy)]
    if not nodes:
        return [Finding("camera", "note", "no /dev/video*", "plug a camera in, or use a file")]
    closed = [node for node in nodes if not os.access(node, os.R_OK | os.W_OK)]
    if closed:
        names = ", ".join(f"/dev/{node.name}" for node in closed)
        return [Finding("camera", "fault", f"no permission for {names}", _admission(closed[0]))]
    told = [f"/dev/{node.name}{_named(files, node.name)}" for node in nodes]
    return [Finding("camera", "ok", ", ".join(told))]


def _named(files: Sysfs, node: str) -> str:
    name = files.text(f"sys/class/video4linux/{node}/name")
    return f" ({name})" if name else ""


def _admission(node: Path) -> str:
    """Return what lets this user open a node: to be in its group, or to log in as one who is."""
    try:
        group = grp.getgrgid(node.stat().st_gid)
        user = pwd.getpwuid(os.getuid()).pw_name
    except (KeyError, OSError):  # a container knows neither the groups nor the users outside
        return "start the container with --group-add video, or as a user who may"
    if user in group.gr_mem:
        return f"log in again: you are in the group {group.gr_name}, this session is not yet"
    return f"sudo usermod -aG {group.gr_name} {user}, then log in again"


def look_at_libcamera(root: Path) -> list[Finding]:
    """Say whether picamera2 is installed for the system's Python and visible here."""
    if importlib.util.find_spec("picamera2") is not None:
        return [Finding("picamera2", "ok", "visible")]
    if (root / _SYSTEM_PACKAGES / "picamera2").exists():
        detail = "installed for the system's Python, not visible in this environment"
        return [Finding("picamera2", "note", detail, SYSTEM_SITE)]
    if Sysfs(root).find(f"{_SYSTEM_PACKAGES}/libcamera"):
        detail = "libcamera is there without picamera2, which picamera:// needs"
        return [Finding("picamera2", "note", detail, "sudo apt install python3-picamera2")]
    return []


def look_at_board(root: Path) -> list[Finding]:
    """Say how hot the board is and whether something holds it down, now or before."""
    board = Board(root)
    health = board.read()
    heat = "" if health.temperature_c is None else f", {health.temperature_c:.0f} °C"
    name = f"{health.model or 'unknown model'}{heat}"
    if health.throttled is None:
        return [Finding("board", "ok", f"{name}; it does not say whether it is throttled")]
    if health.throttle_reasons:
        detail = f"{name}; slowed down now: {', '.join(health.throttle_reasons)}"
        weak = of_supply(health.throttle_reasons)
        return [Finding("board", "fault", detail, _SUPPLY if weak else _HEAT)]
    if health.throttle_past:
        detail = f"{name}; was slowed down before: {', '.join(health.throttle_past)}"
        weak = of_supply(health.throttle_past)
        return [Finding("board", "note", detail, _SUPPLY if weak else _HEAT)]
    return [Finding("board", "ok", f"{name}, not throttled")]


def look_at_clocks(root: Path) -> list[Finding]:
    """Say how the CPU's clock is chosen, and whether it may rise to what the hardware can do."""
    files = Sysfs(root)
    policies = files.find("sys/devices/system/cpu/cpufreq/policy*")
    found = []
    for policy in policies[:1]:
        governor = files.text(f"{policy}/scaling_governor") or "unknown"
        driver = files.text(f"{policy}/scaling_driver") or ""
        # Drivers of x86 that choose by themselves call their ordinary choice powersave.
        held = governor in ("powersave", "userspace") and "pstate" not in driver
        remedy = f"echo schedutil | sudo tee /{os.path.relpath(policies[0], root)}/scaling_governor"
        detail = f"{governor}{': the clock stays low' if held else ''}"
        found.append(Finding("governor", "note" if held else "ok", detail, remedy if held else ""))
    for policy in policies:
        now = files.number(f"{policy}/scaling_max_freq", 1e-3)
        top = files.number(f"{policy}/cpuinfo_max_freq", 1e-3)
        if now and top and now < 0.99 * top:
            detail = f"{Path(policy).name} may use {now:.0f} of {top:.0f} MHz"
            remedy = (
                f"echo {top * 1e3:.0f} | sudo tee /{os.path.relpath(policy, root)}/scaling_max_freq"
            )
            found.append(Finding("clock limit", "note", detail, f"{remedy} (a Jetson: nvpmodel)"))
            break
    return found


def look_at_time(root: Path) -> list[Finding]:
    """Say whether the time of day can be right: many boards have no battery for theirs."""
    remedy = "sudo timedatectl set-ntp true, and see that the network is up"
    now = time.time()
    if now < Path(__file__).stat().st_mtime - 86400:
        said = time.strftime("%Y-%m-%d", time.gmtime(now))
        return [Finding("time", "fault", f"it says {said}, before this was installed", remedy)]
    sync = root / "run/systemd/timesync"
    if sync.is_dir() and not (sync / "synchronized").exists():
        return [Finding("time", "note", "not synchronised since the start", remedy)]
    return [Finding("time", "ok", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)))]

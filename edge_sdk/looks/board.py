"""Looks at the board: its heat and supply, its clocks, the time of day, its watchdog."""

from __future__ import annotations

import os
import time
from pathlib import Path

from edge_sdk.looks.base import MACHINE, Finding, Scene
from runtime.board import Board
from runtime.sysfs import Sysfs
from runtime.throttle import of_supply

_SUPPLY = "use the supply that was made for the board, with a short cable and nothing else on it"
_HEAT = "give it a heat sink or a fan, or run with --governor"
_NEAR_C = 5.0  # so far below its limit, a board that now idles will be slowed down by a net


def look_at_board(scene: Scene) -> list[Finding]:
    """Say how hot the board is and whether something holds it down, now or before."""
    health = Board(scene.root).read()
    heat = "" if health.temperature_c is None else f", {health.temperature_c:.0f} °C"
    name = f"{health.model or 'unknown model'}{heat}"
    if health.throttle_reasons:
        detail = f"{name}; slowed down now: {', '.join(health.throttle_reasons)}"
        weak = of_supply(health.throttle_reasons)
        return [Finding("board", "fault", detail, _SUPPLY if weak else _HEAT)]
    if health.throttle_past:
        detail = f"{name}; was slowed down before: {', '.join(health.throttle_past)}"
        weak = of_supply(health.throttle_past)
        return [Finding("board", "note", detail, _SUPPLY if weak else _HEAT)]
    limit = health.limit_c
    if limit and health.temperature_c and health.temperature_c > limit - _NEAR_C:
        return [Finding("board", "note", f"{name}, slowed down from {limit:.0f} °C", _HEAT)]
    if health.throttled is None:
        return [Finding("board", "ok", f"{name}; it does not say whether it is throttled")]
    return [Finding("board", "ok", f"{name}, not throttled")]


def look_at_clocks(scene: Scene) -> list[Finding]:
    """Say how the CPU's clock is chosen, and whether it may rise to what the hardware can do."""
    files = Sysfs(scene.root)
    policies = files.find("sys/devices/system/cpu/cpufreq/policy*")
    found = []
    for policy in policies[:1]:
        governor = files.text(f"{policy}/scaling_governor") or "unknown"
        driver = files.text(f"{policy}/scaling_driver") or ""
        # Drivers of x86 that choose by themselves call their ordinary choice powersave.
        held = governor in ("powersave", "userspace") and "pstate" not in driver
        remedy = f"echo schedutil | sudo tee {_shown(scene, policy)}/scaling_governor"
        detail = f"{governor}{': the clock stays low' if held else ''}"
        found.append(Finding("governor", "note" if held else "ok", detail, remedy if held else ""))
    for policy in policies:
        now = files.number(f"{policy}/scaling_max_freq", 1e-3)
        top = files.number(f"{policy}/cpuinfo_max_freq", 1e-3)
        if now and top and now < 0.99 * top:
            detail = f"{Path(policy).name} may use {now:.0f} of {top:.0f} MHz"
            remedy = f"echo {top * 1e3:.0f} | sudo tee {_shown(scene, policy)}/scaling_max_freq"
            found.append(Finding("clock limit", "note", detail, f"{remedy} (a Jetson: nvpmodel)"))
            break
    return found


def _shown(scene: Scene, path: str) -> str:
    return "/" + os.path.relpath(path, scene.root)


def look_at_cores(scene: Scene) -> list[Finding]:
    """Say where cores are switched off, or this process may not use them all."""
    files = Sysfs(scene.root)
    off = files.text("sys/devices/system/cpu/offline")
    there = files.find("sys/devices/system/cpu/cpu[0-9]*/online")
    # A kernel lists numbers that the machine never had as well; those have no folder.
    idle = [Path(path).parent.name for path in there if files.text(path) == "0"]
    if not off or not idle:
        return []
    remedy = f"echo 1 | sudo tee /sys/devices/system/cpu/{idle[0]}/online (a Jetson: nvpmodel)"
    return [Finding("cores", "note", f"{', '.join(idle)} switched off", remedy)]


def look_at_time(scene: Scene) -> list[Finding]:
    """Say whether the time of day can be right: many boards have no battery for theirs."""
    remedy = "sudo timedatectl set-ntp true, and see that the network is up"
    now = time.time()
    if now < Path(__file__).stat().st_mtime - 86400:
        said = time.strftime("%Y-%m-%d", time.gmtime(now))
        return [Finding("time", "fault", f"it says {said}, before this was installed", remedy)]
    sync = scene.root / "run/systemd/timesync"
    if sync.is_dir() and not (sync / "synchronized").exists():
        return [Finding("time", "note", "not synchronised since the start", remedy)]
    return [Finding("time", "ok", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(now)))]


def look_at_watchdog(scene: Scene) -> list[Finding]:
    """Say where a board has a watchdog that nobody feeds: it would restart a board that hangs.

    The kernel tells whether it runs (Documentation/ABI/testing/sysfs-class-watchdog); what feeds it
    is systemd (systemd-system.conf(5), RuntimeWatchdogSec).
    """
    files = Sysfs(scene.root)
    board = files.text("proc/device-tree/model")
    state = files.text("sys/class/watchdog/watchdog0/state")
    if not board or state != "inactive" or not (scene.root / "run/systemd/system").is_dir():
        return []
    folder = "/etc/systemd/system.conf.d"
    remedy = (
        f"sudo mkdir -p {folder} && printf '[Manager]\\nRuntimeWatchdogSec=15s\\n' | "
        f"sudo tee {folder}/watchdog.conf, then restart"
    )
    detail = "the board has one that nobody feeds: if it hangs, it stays so"
    return [Finding("watchdog", "note", detail, remedy)]


OF = MACHINE
LOOKS = (look_at_board, look_at_clocks, look_at_cores, look_at_time, look_at_watchdog)

from __future__ import annotations

from pathlib import Path

import pytest

from edge_sdk.looks import board as looks
from edge_sdk.looks.base import Finding
from tests.edge_sdk.looks.scenes import only, scene
from tests.runtime.boards import (
    LAPTOP,
    ORIN_NANO,
    PI_4_FIRMWARE,
    PI_4_HOT,
    PI_5,
    Tree,
    plant,
    policy,
    zone,
)

POLICY = "/sys/devices/system/cpu/cpufreq/policy0"


def board(root: Path, tree: Tree) -> Finding:
    return only(looks.look_at_board, scene(plant(root, tree)))


def test_boards(tmp_path: Path) -> None:
    model = "Raspberry Pi 5 Model B Rev 1.0"
    found = board(tmp_path / "well", PI_5)
    assert found == Finding("board", "ok", f"{model}, 51 °C, not throttled")
    found = board(tmp_path / "hot", PI_4_HOT)
    assert found.level == "fault"
    assert "83 °C; slowed down now: frequency capped, throttled" in found.detail
    assert "heat sink" in found.remedy
    found = board(tmp_path / "weak", {**PI_4_HOT, PI_4_FIRMWARE: "1"})
    assert "slowed down now: under-voltage" in found.detail
    assert "supply" in found.remedy
    found = board(tmp_path / "orin", ORIN_NANO)
    assert (found.level, "before: peak over-current" in found.detail) == ("note", True)
    found = only(looks.look_at_board, scene(tmp_path))
    assert found.level == "ok"
    assert "unknown model; it does not say" in found.detail


def test_a_board_that_is_hot_before_it_works(tmp_path: Path) -> None:
    found = board(tmp_path, zone(0, "cpu-thermal", 77000, passive=80000))
    assert (found.level, "77 °C, slowed down from 80 °C" in found.detail) == ("note", True)
    assert "heat sink" in found.remedy


def test_clocks(tmp_path: Path) -> None:
    found = only(looks.look_at_clocks, scene(plant(tmp_path / "well", PI_5)))
    assert found == Finding("governor", "ok", "ondemand")
    slow = policy(0, 600000, 1800000, "powersave")
    found = only(looks.look_at_clocks, scene(plant(tmp_path / "slow", slow)))
    assert (found.level, found.detail) == ("note", "powersave: the clock stays low")
    assert found.remedy == f"echo schedutil | sudo tee {POLICY}/scaling_governor"
    driver = {f"{POLICY[1:]}/scaling_driver": "intel_pstate\n"}
    found = only(looks.look_at_clocks, scene(plant(tmp_path / "laptop", {**LAPTOP, **driver})))
    assert found.level == "ok"
    capped = {**PI_5, f"{POLICY[1:]}/scaling_max_freq": "1500000\n"}
    found = looks.look_at_clocks(scene(plant(tmp_path / "capped", capped)))[1]
    assert (found.name, found.detail) == ("clock limit", "policy0 may use 1500 of 2400 MHz")
    assert found.remedy.startswith(f"echo 2400000 | sudo tee {POLICY}/scaling_max_freq")
    assert looks.look_at_clocks(scene(tmp_path)) == []


def test_cores_that_are_switched_off(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu"
    # cpu0 cannot be switched off on many boards, and has no such file; 6-7 were never there.
    tree = {f"{cpu}/cpu1/online": "1\n", f"{cpu}/cpu4/online": "0\n", f"{cpu}/offline": "4,6-7\n"}
    found = only(looks.look_at_cores, scene(plant(tmp_path, tree)))
    assert (found.level, found.detail) == ("note", "cpu4 switched off")
    assert found.remedy.startswith("echo 1 | sudo tee /sys/devices/system/cpu/cpu4/online")
    plant(tmp_path, {f"{cpu}/cpu4/online": "1\n", f"{cpu}/offline": "6-7\n"})
    assert looks.look_at_cores(scene(tmp_path)) == []


def test_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    where = scene(tmp_path)
    assert only(looks.look_at_time, where).level == "ok"
    sync = tmp_path / "run/systemd/timesync"
    sync.mkdir(parents=True)
    assert only(looks.look_at_time, where).level == "note"
    (sync / "synchronized").touch()
    assert only(looks.look_at_time, where).level == "ok"
    monkeypatch.setattr(looks.time, "time", lambda: 3600.0)
    found = only(looks.look_at_time, where)
    assert (found.level, found.detail) == (
        "fault", "it says 1970-01-01, before this was installed",
    )  # fmt: skip
    assert "timedatectl" in found.remedy


def test_a_watchdog_that_nobody_feeds(tmp_path: Path) -> None:
    state = "sys/class/watchdog/watchdog0/state"
    (tmp_path / "run/systemd/system").mkdir(parents=True)
    plant(tmp_path, {state: "inactive\n"})
    assert looks.look_at_watchdog(scene(tmp_path)) == []  # a desk, not a board
    plant(tmp_path, PI_5)
    found = only(looks.look_at_watchdog, scene(tmp_path))
    assert (found.level, "RuntimeWatchdogSec" in found.remedy) == ("note", True)
    plant(tmp_path, {state: "active\n"})
    assert looks.look_at_watchdog(scene(tmp_path)) == []

"""The board's health, from trees of files as real boards show them."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from runtime.board import Board, BoardHealth, Cluster
from tests.runtime.boards import (
    AMD_DESKTOP,
    JETSON_NANO,
    LAPTOP,
    ORIN_NANO,
    PI_4_FIRMWARE,
    PI_4_HOT,
    PI_5,
    Tree,
    cooling,
    plant,
    policy,
    zone,
)

THERMAL = "sys/class/thermal"
HWMON = "sys/class/hwmon"


def test_a_pi_5_that_is_well(tmp_path: Path) -> None:
    assert Board(plant(tmp_path, PI_5)).read() == BoardHealth(
        model="Raspberry Pi 5 Model B Rev 1.0",
        temperature_c=51.25,
        throttled=False,
        under_voltage=False,
        governor="ondemand",
        fan_rpm=2881,
        fan_percent=29.4,
        memory_available_mb=7168.0,
        clusters=(Cluster(2400, 2400),),
        temperatures={"cpu-thermal": 51.25},
    )


def test_a_pi_4_that_is_throttled(tmp_path: Path) -> None:
    found = Board(plant(tmp_path, PI_4_HOT)).read()
    assert (found.temperature_c, found.clusters) == (82.764, (Cluster(1000, 1800),))
    assert found.throttled is True
    assert found.under_voltage is False  # it was before
    assert found.throttle_reasons == ("frequency capped", "throttled")
    assert found.throttle_past == ("frequency capped", "throttled", "under-voltage")


def test_sticky_bits_that_another_reader_cleared_are_remembered(tmp_path: Path) -> None:
    board = Board(plant(tmp_path, PI_4_HOT))
    board.read()
    plant(tmp_path, {PI_4_FIRMWARE: "8\n"})
    assert board.read().throttle_reasons == ("soft temperature limit",)
    plant(tmp_path, {PI_4_FIRMWARE: "0\n"})
    found = board.read()
    assert (found.throttled, found.throttle_reasons) == (False, ())
    assert found.throttle_past == (
        "frequency capped", "soft temperature limit", "throttled", "under-voltage",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        ("1", ("under-voltage",)),
        ("50005", ("under-voltage", "throttled")),
        ("0x8", ("soft temperature limit",)),
        ("f", ("under-voltage", "frequency capped", "throttled", "soft temperature limit")),
        ("f0000", ()),
    ],
)
def test_bits_of_the_firmware(bits: str, reasons: tuple[str, ...], tmp_path: Path) -> None:
    found = Board(plant(tmp_path, {PI_4_FIRMWARE: bits})).read()
    assert found.throttle_reasons == reasons
    assert found.under_voltage is ("under-voltage" in reasons)


def test_an_alarm_of_the_supply(tmp_path: Path) -> None:
    board = Board(plant(tmp_path, {**PI_5, f"{HWMON}/hwmon1/in0_lcrit_alarm": "1\n"}))
    found = board.read()
    assert (found.throttled, found.under_voltage) == (True, True)
    assert found.throttle_reasons == ("under-voltage",)


def test_a_jetson_orin(tmp_path: Path) -> None:
    board = Board(plant(tmp_path, ORIN_NANO))
    found = board.read()
    assert found.model == "NVIDIA Jetson Orin Nano Developer Kit"
    assert found.temperature_c == 53.125
    assert found.limit_c == 99.0
    assert "cv0-thermal" not in found.temperatures  # it is switched off and reads -256
    assert found.power_w == pytest.approx(5.064 * 1.2, abs=1e-3)
    assert (found.gpu_load_percent, found.gpu_clock_mhz) == (43.7, 624.75)
    assert found.clusters == (Cluster(1510.4, 1510.4), Cluster(729.6, 1510.4))
    assert found.fan_percent == 60.0
    # A fan, and a warning for hands, slow nothing down; events of the past are not of now.
    assert (found.throttled, found.under_voltage) == (False, False)
    assert found.throttle_past == ("peak over-current",)


def test_events_counted_between_two_reads_are_of_now(tmp_path: Path) -> None:
    board = Board(plant(tmp_path, ORIN_NANO))
    board.read()
    plant(tmp_path, {f"{HWMON}/hwmon3/oc1_event_cnt": "1\n", f"{HWMON}/hwmon3/oc3_event_cnt": "38"})
    found = board.read()
    assert (found.throttled, found.under_voltage) == (True, True)
    assert found.throttle_reasons == ("under-voltage", "peak over-current")
    assert board.read().throttled is False


def test_a_jetson_nano(tmp_path: Path) -> None:
    found = Board(plant(tmp_path, JETSON_NANO)).read()
    assert found.temperature_c == 34.0  # its PMIC always says 100
    assert found.temperatures["PMIC-Die"] == 100.0
    assert found.power_w == 2.47
    assert found.gpu_clock_mhz == 76.8
    assert found.gpu_load_percent is None
    assert (found.throttled, found.throttle_reasons) == (True, ("thermal",))
    assert found.under_voltage is None  # nothing here tells


def test_a_laptop(tmp_path: Path) -> None:
    board = Board(plant(tmp_path, LAPTOP))
    found = board.read()
    assert found.model == "20XW Gen 9"
    assert found.temperature_c == 61.0
    assert found.limit_c is None  # a trip at 0 is none
    assert list(found.temperatures) == ["acpitz", "acpitz 2", "iwlwifi_1", "x86_pkg_temp"]
    assert len(found.clusters) == 8  # and no more, however many cores there are
    assert found.fan_rpm == 0.0
    assert (found.throttled, found.throttle_past) == (False, ("thermal",))
    count = "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count"
    plant(tmp_path, {count: "13\n"})
    assert board.read().throttled is True


def test_silicon_without_a_zone(tmp_path: Path) -> None:
    found = Board(plant(tmp_path, AMD_DESKTOP)).read()
    assert found.temperature_c == 44.125
    assert found.temperatures == {"k10temp": 44.125, "k10temp 2": 38.0}


def test_rails_are_summed_where_none_feeds_all(tmp_path: Path) -> None:
    tree = {**ORIN_NANO, f"{HWMON}/hwmon1/in1_label": "VDD_GPU_SOC\n"}
    found = Board(plant(tmp_path, tree)).read()
    assert found.power_w == pytest.approx(5.064 * 1.2 + 5.056 * 0.4, abs=1e-3)


def test_a_container_without_anything(tmp_path: Path) -> None:
    board = Board(tmp_path)
    assert board.read() == BoardHealth()
    assert board.read().to_json() == {}
    assert Board(tmp_path / "not here").read() == BoardHealth()


@pytest.mark.parametrize("content", ["", "\n", "garbage", "\0\0", "nan", "inf", "-1e999", "9" * 99,
                                     "1 2", "\x1b[2J", "ü" * 5000])  # fmt: skip
@pytest.mark.parametrize("tree", [PI_5, ORIN_NANO, JETSON_NANO, LAPTOP],
                         ids=["pi", "orin", "nano", "laptop"])  # fmt: skip
def test_nonsense_is_nothing(content: str, tree: Tree, tmp_path: Path) -> None:
    found = Board(plant(tmp_path, dict.fromkeys(tree, content))).read()
    assert found.temperature_c is None
    assert found.memory_available_mb is None
    json.dumps(found.to_json(), allow_nan=False)


def test_what_turns_bad_or_vanishes_later_is_nothing(tmp_path: Path) -> None:
    board = Board(plant(tmp_path, ORIN_NANO))
    assert board.read().power_w is not None
    for path in ORIN_NANO:
        (tmp_path / path).unlink()
        (tmp_path / path).mkdir()
    found = board.read()
    assert (found.temperature_c, found.power_w, found.throttled) == (None, None, None)
    assert found.clusters == (Cluster(None, None),) * 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_closed_files(tmp_path: Path) -> None:
    plant(tmp_path, PI_5)
    for path in PI_5:
        (tmp_path / path).chmod(0)
    assert Board(tmp_path).read().temperature_c is None


def test_a_file_that_answers_with_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As a sensor does that is asleep (EAGAIN), or a file of another user (EACCES)."""
    board = Board(plant(tmp_path, ORIN_NANO))

    def fail(*rest: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patch:
        patch.setattr("runtime.sysfs.os.read", fail)
        assert board.read().temperature_c is None
    with monkeypatch.context() as patch:
        patch.setattr("runtime.sysfs.os.open", fail)
        assert board.read().temperature_c is None
    open_files = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(100):
        board.read()
    assert len(list(Path("/proc/self/fd").iterdir())) == open_files


def test_a_fifo_in_the_way_does_not_hang(tmp_path: Path) -> None:
    plant(tmp_path, {f"{THERMAL}/thermal_zone0/type": "cpu-thermal"})
    os.mkfifo(tmp_path / THERMAL / "thermal_zone0/temp")
    assert Board(tmp_path).read().temperature_c is None


def test_a_root_with_letters_of_patterns(tmp_path: Path) -> None:
    assert Board(plant(tmp_path / "a[b]*", PI_5)).read().temperature_c == 51.25


def test_json_is_flat_and_says_units(tmp_path: Path) -> None:
    told = Board(plant(tmp_path, {**ORIN_NANO, **cooling(1, "cpu-throttle-alert", 2)})).read()
    facts = told.to_json()
    assert facts["throttled"] is True
    assert facts["throttle_reasons"] == "thermal"
    assert facts["throttle_past"] == "peak over-current, thermal"
    assert (facts["cpu1_clock_mhz"], facts["cpu1_max_mhz"]) == (729.6, 1510.4)
    assert facts["tj_thermal_c"] == 53.125
    assert all(isinstance(value, (str, bool, int, float)) for value in facts.values())
    assert all(key.isidentifier() for key in facts)
    one = Board(plant(tmp_path / "one", policy(0, 600000, 1800000))).read().to_json()
    assert (one["clock_mhz"], one["max_mhz"]) == (600, 1800)


def test_a_zone_cannot_hide_a_fact(tmp_path: Path) -> None:
    tree = {**zone(0, "cpu", 40000), **zone(1, "temperature", 90000)}
    assert Board(plant(tmp_path, tree)).read().to_json()["temperature_c"] == 40.0


def test_this_machine() -> None:
    found = Board().read()
    assert found.memory_available_mb is None or found.memory_available_mb > 0
    json.dumps(found.to_json(), allow_nan=False)

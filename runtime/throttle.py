"""Whether something holds the board's clocks down, and what, from whatever the kernel tells of it.

sys/devices/platform/soc*/*firmware/get_throttled   hexadecimal bits of the firmware of a Pi
    (drivers/firmware/raspberrypi.c of github.com/raspberrypi/linux; the bits: "vcgencmd
    get_throttled" in raspberrypi.com/documentation). The upper ones are sticky; whoever reads,
    the kernel itself every two seconds, clears them.
hwmon*/in0_lcrit_alarm          supply voltage too low in the last two seconds
    (Documentation/hwmon/raspberrypi-hwmon.rst)
hwmon*/ocN_event_cnt            events of a Jetson's supply, counted (Jetson Linux Developer
    Guide, "Platform Power and Performance")
cpu0/thermal_throttle/*_count   thermal events of an Intel CPU, counted
    (Documentation/ABI/testing/sysfs-devices-system-cpu)
thermal/cooling_device*         what the kernel does against heat: its state is above 0
    (Documentation/ABI/testing/sysfs-class-thermal)
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from runtime.sysfs import Sysfs

UNDER_VOLTAGE = "under-voltage"
_FIRMWARE = {
    0: UNDER_VOLTAGE,
    1: "frequency capped",
    2: "throttled",
    3: "soft temperature limit",
}
_STICKY = 16
_SUPPLY = {1: UNDER_VOLTAGE, 2: "average over-current", 3: "peak over-current"}
# Fans cool without slowing anything; other types (charging, modems) do not concern us.
_SLOWS = re.compile("cpufreq|devfreq|processor|throttle|balanced|emergency", re.IGNORECASE)


@dataclass(frozen=True)
class Throttle:
    """Reasons: `now`, None where nothing here could tell; `past`, whatever was seen since this
    program watches or was still held by counters and sticky bits. `under_voltage` is of now, None
    where nothing tells of the supply."""

    now: tuple[str, ...] | None
    past: tuple[str, ...]
    under_voltage: bool | None


class ThrottleWatch:
    """Reads the reasons again and again; a count that grew between two reads is of now."""

    def __init__(self, files: Sysfs) -> None:
        self._files = files
        self._firmware = files.first(
            "sys/devices/platform/soc*/*firmware/get_throttled",
            "sys/devices/platform/*firmware/get_throttled",
        )
        self._alarms = files.find("sys/class/hwmon/hwmon*/in0_lcrit_alarm")
        self._cooling = [
            f"{device}/cur_state"
            for device in files.find("sys/class/thermal/cooling_device*")
            if _SLOWS.search(files.text(f"{device}/type") or "")
        ]
        self._counters = {**_supply_counters(files), **_heat_counters(files)}
        self._counts = {path: files.number(path) for path in self._counters}
        self._past: set[str] = set()

    def read(self) -> Throttle:
        """Return the reasons now, and all that were ever seen."""
        firmware, alarms = self._read_firmware(), self._any(self._alarms, UNDER_VOLTAGE)
        counted = [(why, self._read_counter(path, why)) for path, why in self._counters.items()]
        supply = [firmware, alarms, *(now for why, now in counted if why == UNDER_VOLTAGE)]
        heat = [self._any(self._cooling, "thermal")]
        heat += [now for why, now in counted if why != UNDER_VOLTAGE]
        told = [reasons for reasons in (*supply, *heat) if reasons is not None]
        now = tuple(dict.fromkeys(reason for reasons in told for reason in reasons))
        self._past.update(now)
        low = UNDER_VOLTAGE in now if any(s is not None for s in supply) else None
        return Throttle(now if told else None, tuple(sorted(self._past)), low)

    def _read_firmware(self) -> list[str] | None:
        bits = self._files.bits(self._firmware)
        if bits is None:
            return None
        self._past.update(_reasons(bits >> _STICKY))
        return _reasons(bits)

    def _any(self, paths: list[str], reason: str) -> list[str] | None:
        """Return the reason when one of the files holds more than 0; None when none can be read."""
        values = [v for v in map(self._files.number, paths) if v is not None]
        if not values:
            return None
        return [reason] if max(values) > 0 else []

    def _read_counter(self, path: str, reason: str) -> list[str] | None:
        before, count = self._counts[path], self._files.number(path)
        self._counts[path] = count
        if count is None:
            return None
        if count > 0:
            self._past.add(reason)
        return [reason] if before is not None and count > before else []


def of_supply(reasons: Iterable[str]) -> bool:
    """Whether any of the reasons is the board's supply, which no cooling mends."""
    return not set(_SUPPLY.values()).isdisjoint(reasons)


def _reasons(bits: int) -> list[str]:
    return [reason for bit, reason in _FIRMWARE.items() if bits >> bit & 1]


def _supply_counters(files: Sysfs) -> dict[str, str]:
    return {
        path: reason
        for number, reason in _SUPPLY.items()
        for path in files.find(f"sys/class/hwmon/hwmon*/oc{number}_event_cnt")
    }


def _heat_counters(files: Sysfs) -> dict[str, str]:
    found = files.find("sys/devices/system/cpu/cpu0/thermal_throttle/*_throttle_count")
    return dict.fromkeys(found, "thermal")

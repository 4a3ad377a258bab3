"""Health of the board: temperature, throttling, clocks and power, from files of the kernel.

Nothing is required: a file that is missing, closed or nonsense is a None. What is read follows
from the files that are there, never from the board's name.

    proc/device-tree/model, class/dmi/id/product_name  what it is
    thermal/thermal_zone*/{type,temp,trip_point_*}     driver-api/thermal/sysfs-api.rst
    cpu/cpufreq/policy*/...                            admin-guide/pm/cpufreq.rst
    hwmon*/{temp,in,curr,fan}N_input, pwmN, inN_label  hwmon/sysfs-interface.rst, hwmon/ina3221.rst
    devfreq/*/cur_freq                                 ABI/testing/sysfs-class-devfreq
    devfreq/*/device/load, in_powerN_input             NVIDIA's kernels (tenths of a percent; mW)
    proc/meminfo                                       proc(5)

The documents are of the kernel's Documentation/.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runtime.sysfs import Sysfs
from runtime.throttle import ThrottleWatch

# Zones and sensors of the silicon that computes, as the kernels' drivers name them. Others are of
# batteries, modems or disks, or not real at all: the PMIC-Die of a Jetson Nano is always 100 °C.
_SILICON = re.compile(r"cpu|gpu|soc|tj|pkg|core|k10|zen", re.IGNORECASE)
_PLAUSIBLE_C = (-55.0, 150.0)  # what is switched off reads -256 °C
_FEED = re.compile(r"^(VDD_IN|VIN|POM_5V_IN)$", re.IGNORECASE)
_MOST_CLUSTERS = 8  # a server has a policy for each of its hundred cores


@dataclass(frozen=True)
class Cluster:
    """Cores that share a clock: what it is, and the most that the hardware can do."""

    clock_mhz: float | None
    max_mhz: float | None


@dataclass(frozen=True)
class BoardHealth:
    """What the board tells of itself at one moment; None is what it does not tell.

    `temperature_c` is the hottest of the silicon, `limit_c` where the kernel begins to slow it
    down; `temperatures` are all zones. `throttled` and `under_voltage` are of now, for the reasons
    `throttle_reasons`; `throttle_past` were seen since the start or, where the firmware keeps
    them, before. `clusters` are in the kernel's order, `governor` is the first one's.
    `memory_available_mb` is in 10^6 bytes.
    """

    model: str | None = None
    temperature_c: float | None = None
    limit_c: float | None = None
    throttled: bool | None = None
    under_voltage: bool | None = None
    throttle_reasons: tuple[str, ...] = ()
    throttle_past: tuple[str, ...] = ()
    governor: str | None = None
    power_w: float | None = None
    fan_rpm: float | None = None
    fan_percent: float | None = None
    gpu_load_percent: float | None = None
    gpu_clock_mhz: float | None = None
    memory_available_mb: float | None = None
    clusters: tuple[Cluster, ...] = ()
    temperatures: Mapping[str, float] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return what is known as flat JSON-ready values; a name ends with the value's unit."""
        facts = {**vars(self)}
        clusters: tuple[Cluster, ...] = facts.pop("clusters")
        zones: Mapping[str, float] = facts.pop("temperatures")
        for key in ("throttle_reasons", "throttle_past"):
            facts[key] = ", ".join(facts[key]) or None
        for index, cluster in enumerate(clusters):
            name = f"cpu{index}_" if len(clusters) > 1 else ""
            facts |= {f"{name}{key}": value for key, value in vars(cluster).items()}
        zones = {f"{re.sub('[^a-z0-9]+', '_', z.lower())}_c": c for z, c in zones.items()}
        facts = {**zones, **facts}
        return {key: value for key, value in facts.items() if value is not None}


class Board:
    """The board below `root`. What there is to read is looked up once, when it is made.

    A read took 0.15 to 0.3 ms on a core of an x86 server for trees of 20 to 50 files; a sensor on a
    slow bus (a power monitor's I2C) adds its own time. From one thread at a time.
    """

    def __init__(self, root: Path = Path("/")) -> None:
        files = self._files = Sysfs(root)
        self._model = files.text("proc/device-tree/model") or files.text(
            "sys/class/dmi/id/product_name"
        )
        self._throttle = ThrottleWatch(files)
        self._sensors = _sensors(files)
        silicon = frozenset(name for name in self._sensors if _SILICON.search(name))
        self._silicon = silicon or frozenset(self._sensors)
        self._limit_c = _limit(files)
        self._policies = files.find("sys/devices/system/cpu/cpufreq/policy*")[:_MOST_CLUSTERS]
        self._rails = _rails(files)
        self._fans = files.find("sys/class/hwmon/hwmon*/fan[0-9]_input")
        self._pwms = files.find("sys/class/hwmon/hwmon*/pwm[0-9]")
        loaded = files.first("sys/class/devfreq/*/device/load")
        named = files.first("sys/class/devfreq/*gpu*")
        self._gpu = loaded.removesuffix("/device/load") if loaded else named

    def read(self) -> BoardHealth:
        """Return the board's health now."""
        files, throttle = self._files, self._throttle.read()
        first = self._policies[0] if self._policies else None
        pwm = self._most(self._pwms)
        zones = self._read_temperatures()
        return BoardHealth(
            model=self._model,
            temperature_c=max((zones[name] for name in self._silicon & zones.keys()), default=None),
            limit_c=self._limit_c,
            throttled=None if throttle.now is None else bool(throttle.now),
            under_voltage=throttle.under_voltage,
            throttle_reasons=throttle.now or (),
            throttle_past=throttle.past,
            governor=files.text(f"{first}/scaling_governor") if first else None,
            power_w=self._read_power(),
            fan_rpm=self._most(self._fans),
            fan_percent=None if pwm is None else round(pwm / 2.55, 1),
            gpu_load_percent=files.number(f"{self._gpu}/device/load", 0.1) if self._gpu else None,
            gpu_clock_mhz=files.number(f"{self._gpu}/cur_freq", 1e-6) if self._gpu else None,
            memory_available_mb=_memory(files.text("proc/meminfo") or ""),
            clusters=tuple(map(self._read_cluster, self._policies)),
            temperatures=zones,
        )

    def _read_temperatures(self) -> dict[str, float]:
        low, high = _PLAUSIBLE_C
        read = {name: self._files.number(path, 1e-3) for name, path in self._sensors.items()}
        return {name: c for name, c in read.items() if c is not None and low < c < high}

    def _read_cluster(self, policy: str) -> Cluster:
        clock, most = f"{policy}/scaling_cur_freq", f"{policy}/cpuinfo_max_freq"
        return Cluster(self._files.number(clock, 1e-3), self._files.number(most, 1e-3))

    def _read_power(self) -> float | None:
        watts = [_watts(self._files, rail) for rail in self._rails]
        known = [value for value in watts if value is not None]
        return round(sum(known), 3) if known else None

    def _most(self, paths: list[str]) -> float | None:
        values = map(self._files.number, paths)
        return max((value for value in values if value is not None), default=None)


def _sensors(files: Sysfs) -> dict[str, str]:
    """Return the file of each zone; where no zone is of the silicon, sensors of it that are."""
    zones = files.find("sys/class/thermal/thermal_zone*")
    found = [(files.text(f"{zone}/type") or "zone", f"{zone}/temp") for zone in zones]
    if not any(_SILICON.search(name) for name, _ in found):
        # The CPUs of AMD have no zone; the drivers of disks, which may wake one, are left alone.
        for path in files.find("sys/class/hwmon/hwmon*/temp[0-9]_input"):
            name = files.text(f"{path.rpartition('/')[0]}/name") or ""
            if _SILICON.search(name):
                found.append((name, path))
    named: dict[str, str] = {}
    for name, path in found:
        again = sum(other == name or other.startswith(f"{name} ") for other in named)
        named[f"{name} {again + 1}" if again else name] = path
    return named


def _limit(files: Sysfs) -> float | None:
    """Return the lowest temperature at which the kernel slows silicon down (a passive trip)."""
    limits = []
    for kind in files.find("sys/class/thermal/thermal_zone*/trip_point_*_type"):
        zone = files.text(f"{kind.rpartition('/')[0]}/type") or ""
        if files.text(kind) == "passive" and _SILICON.search(zone):
            limits.append(files.number(kind.removesuffix("type") + "temp", 1e-3))
    return min((c for c in limits if c is not None and 0 < c < _PLAUSIBLE_C[1]), default=None)


def _rails(files: Sysfs) -> list[str]:
    """Return the beginnings of the paths of the rails that make up the board's power.

    Where one is that by which the board is fed, it is the whole; else they are summed.
    """
    rails: dict[str, str] = {}  # beginning of the path -> name
    for label in files.find("sys/class/hwmon/hwmon*/in[0-9]_label"):
        folder, _, name = label.rpartition("/")
        number = name.removeprefix("in").removesuffix("_label")
        monitor = (files.text(f"{folder}/name") or "").startswith("ina")
        if monitor and files.number(f"{folder}/curr{number}_input") is not None:  # no sum of shunts
            rails[f"{folder}/#{number}"] = files.text(label) or ""
    # Before hwmon, the same chip was an industrial I/O device.
    for label in files.find("sys/bus/i2c/drivers/ina3221x/*/iio:device*/rail_name_[0-9]"):
        folder, _, name = label.rpartition("/")
        rails[f"{folder}/in_power{name[-1]}_input"] = files.text(label) or ""
    whole = [path for path, name in rails.items() if _FEED.search(name)]
    return whole or list(rails)


def _watts(files: Sysfs, rail: str) -> float | None:
    folder, _, number = rail.rpartition("/#")
    if not folder:
        return files.number(rail, 1e-3)
    volts = files.number(f"{folder}/in{number}_input", 1e-3)
    amperes = files.number(f"{folder}/curr{number}_input", 1e-3)
    return None if volts is None or amperes is None else volts * amperes


def _memory(meminfo: str) -> float | None:
    found = re.search(r"^MemAvailable:\s*(\d+) kB", meminfo, re.MULTILINE)
    return int(found[1]) * 1024 / 1e6 if found else None

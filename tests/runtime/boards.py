"""Trees of files as boards show them, below any folder: path -> content."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

Tree = Mapping[str, str]

_CPUFREQ = "sys/devices/system/cpu/cpufreq"
_HWMON = "sys/class/hwmon"
_THERMAL = "sys/class/thermal"
_MEMORY = (
    "MemTotal:        8245652 kB\nMemFree:         6183068 kB\nMemAvailable:    7000000 kB\n"
    "Buffers:           57848 kB\n"
)


def policy(number: int, clock_khz: int, max_khz: int, governor: str = "ondemand") -> Tree:
    folder = f"{_CPUFREQ}/policy{number}"
    return {
        f"{folder}/scaling_cur_freq": f"{clock_khz}\n",
        f"{folder}/scaling_max_freq": f"{max_khz}\n",
        f"{folder}/cpuinfo_max_freq": f"{max_khz}\n",
        f"{folder}/scaling_governor": f"{governor}\n",
    }


def zone(number: int, kind: str, temperature: int, **trips: int) -> Tree:
    folder = f"{_THERMAL}/thermal_zone{number}"
    tree = {f"{folder}/type": f"{kind}\n", f"{folder}/temp": f"{temperature}\n"}
    for index, (trip, at) in enumerate(trips.items()):
        tree[f"{folder}/trip_point_{index}_type"] = f"{trip}\n"
        tree[f"{folder}/trip_point_{index}_temp"] = f"{at}\n"
    return tree


def cooling(number: int, kind: str, state: int) -> Tree:
    folder = f"{_THERMAL}/cooling_device{number}"
    return {f"{folder}/type": f"{kind}\n", f"{folder}/cur_state": f"{state}\n"}


PI_5: Tree = {
    "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
    "proc/meminfo": _MEMORY,
    **zone(0, "cpu-thermal", 51250, critical=110000, active=50000),
    **cooling(0, "pwm-fan", 1),
    **policy(0, 2400000, 2400000),
    "sys/devices/platform/soc@107c000000/107c000000.soc:firmware/get_throttled": "0\n",
    f"{_HWMON}/hwmon0/name": "cpu_thermal\n",
    f"{_HWMON}/hwmon0/temp1_input": "51250\n",
    f"{_HWMON}/hwmon1/name": "rpi_volt\n",
    f"{_HWMON}/hwmon1/in0_lcrit_alarm": "0\n",
    f"{_HWMON}/hwmon2/name": "pwmfan\n",
    f"{_HWMON}/hwmon2/fan1_input": "2881\n",
    f"{_HWMON}/hwmon2/pwm1": "75\n",
}

PI_4_FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
PI_4_HOT: Tree = {
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/meminfo": _MEMORY,
    **zone(0, "cpu-thermal", 82764, critical=110000),
    **policy(0, 1000000, 1800000),
    # now: frequency capped, throttled; before: under-voltage, capped, throttled
    PI_4_FIRMWARE: "70006\n",
}

ORIN_NANO: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson Orin Nano Developer Kit\0",
    "proc/meminfo": _MEMORY,
    **zone(0, "cpu-thermal", 52500, critical=104500, passive=99000),
    **zone(1, "gpu-thermal", 53125, passive=99000),
    **zone(2, "cv0-thermal", -256000),
    **zone(8, "tj-thermal", 53125, active=46000),
    **cooling(0, "pwm-fan", 3),
    **cooling(1, "cpu-throttle-alert", 0),
    **cooling(2, "hot-surface-alert", 1),
    **policy(0, 1510400, 1510400, "schedutil"),
    **policy(4, 729600, 1510400, "schedutil"),
    f"{_HWMON}/hwmon1/name": "ina3221\n",
    f"{_HWMON}/hwmon1/in1_label": "VDD_IN\n",
    f"{_HWMON}/hwmon1/in1_input": "5064\n",
    f"{_HWMON}/hwmon1/curr1_input": "1200\n",
    f"{_HWMON}/hwmon1/in2_label": "VDD_CPU_GPU_CV\n",
    f"{_HWMON}/hwmon1/in2_input": "5056\n",
    f"{_HWMON}/hwmon1/curr2_input": "400\n",
    f"{_HWMON}/hwmon1/in7_label": "sum of shunt voltages\n",
    f"{_HWMON}/hwmon1/in7_input": "12\n",
    f"{_HWMON}/hwmon3/name": "soctherm_oc\n",
    f"{_HWMON}/hwmon3/oc1_event_cnt": "0\n",
    f"{_HWMON}/hwmon3/oc2_event_cnt": "0\n",
    f"{_HWMON}/hwmon3/oc3_event_cnt": "37\n",
    f"{_HWMON}/hwmon4/pwm1": "153\n",
    "sys/class/devfreq/17000000.gpu/cur_freq": "624750000\n",
    "sys/class/devfreq/17000000.gpu/device/load": "437\n",
    "sys/class/devfreq/15340000.vic/cur_freq": "115200000\n",
}

_INA_NANO = "sys/bus/i2c/drivers/ina3221x/6-0040/iio:device0"
JETSON_NANO: Tree = {
    "proc/device-tree/model": "NVIDIA Jetson Nano Developer Kit\0",
    "proc/meminfo": _MEMORY,
    **zone(0, "AO-therm", 41500),
    **zone(1, "CPU-therm", 34000, passive=97000, critical=102500),
    **zone(2, "GPU-therm", 31000),
    **zone(4, "PMIC-Die", 100000),
    **zone(5, "thermal-fan-est", 33000),
    **cooling(3, "cpu-balanced", 2),
    **policy(0, 1479000, 1479000, "schedutil"),
    f"{_INA_NANO}/rail_name_0": "POM_5V_IN\n",
    f"{_INA_NANO}/in_power0_input": "2470\n",
    f"{_INA_NANO}/rail_name_1": "POM_5V_GPU\n",
    f"{_INA_NANO}/in_power1_input": "160\n",
    "sys/class/devfreq/57000000.gpu/cur_freq": "76800000\n",
}

LAPTOP: Tree = {
    "sys/class/dmi/id/product_name": "20XW Gen 9\n",
    "proc/meminfo": _MEMORY,
    **zone(0, "acpitz", 95000),
    **zone(1, "acpitz", 20000),
    **zone(9, "iwlwifi_1", 41000),
    **zone(10, "x86_pkg_temp", 61000, passive=0),
    **cooling(0, "Processor", 0),
    **cooling(1, "intel_powerclamp", -1),
    **{k: v for n in range(12) for k, v in policy(n, 800000 + n, 4800000, "powersave").items()},
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "0\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "12\n",
    f"{_HWMON}/hwmon3/name": "nvme\n",
    f"{_HWMON}/hwmon3/temp1_input": "48850\n",
    f"{_HWMON}/hwmon5/fan1_input": "0\n",
}

AMD_DESKTOP: Tree = {
    f"{_HWMON}/hwmon0/name": "nvme\n",
    f"{_HWMON}/hwmon0/temp1_input": "90000\n",
    f"{_HWMON}/hwmon1/name": "k10temp\n",
    f"{_HWMON}/hwmon1/temp1_input": "44125\n",
    f"{_HWMON}/hwmon1/temp3_input": "38000\n",
}


def plant(root: Path, tree: Tree) -> Path:
    """Write the files of a board below `root`, which is returned."""
    for path, content in tree.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    return root

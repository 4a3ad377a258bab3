from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import EngineError, OutputError, RequestError
from device_profiles.profile import Profile, load, own_names
from edge_sdk.looks.base import Trial
from edge_sdk.workflows import detect as workflow
from edge_sdk.workflows.detect import detect
from edge_sdk.workflows.machine import read_machine
from edge_sdk.workflows.machine_cores import clusters, cpus
from edge_sdk.workflows.profile_file import Fact, toml
from tests.edge_sdk.cli_cases import Run

A53 = "fp asimd evtstrm crc32 cpuid"
A76 = (
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp"
)
BOTH = [
    {"engine": "onnxruntime", "version": "1.32.0", "tried": True, "providers": ["cpu"]},
    {"engine": "litert", "version": "2.3.0", "tried": False, "providers": ["cpu"]},
]


def no_engine(module: str, ask: Callable[[Any], str]) -> Trial:
    return Trial(found=False)


class Machine:
    """A machine's files below a folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blocks: list[str] = []

    def file(self, path: str, text: str) -> None:
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)

    def arm(self, count: int, part: str, hwcaps: str, khz: int, **more: str) -> None:
        ids = {"implementer": "0x41", "variant": "0x0", "revision": "3"} | more
        for _ in range(count):
            number = len(self.blocks)
            self.blocks.append(
                f"processor\t: {number}\nBogoMIPS\t: 108.00\nFeatures\t: {hwcaps}\n"
                f"CPU implementer\t: {ids['implementer']}\nCPU architecture: 8\n"
                f"CPU variant\t: {ids['variant']}\nCPU part\t: {part}\n"
                f"CPU revision\t: {ids['revision']}\n"
            )
            if khz:
                self.file(
                    f"sys/devices/system/cpu/cpu{number}/cpufreq/cpuinfo_max_freq", f"{khz}\n"
                )
                self.file(
                    f"sys/devices/system/cpu/cpu{number}/cpufreq/cpuinfo_min_freq", "600000\n"
                )
        self.file("proc/cpuinfo", "\n".join(self.blocks) + "\nHardware\t: BCM2835\n")

    def cache(self, cpu: int, index: int, level: int, kind: str, size: str, shared: str) -> None:
        folder = f"sys/devices/system/cpu/cpu{cpu}/cache/index{index}"
        for name, text in {"level": level, "type": kind, "size": size}.items():
            self.file(f"{folder}/{name}", f"{text}\n")
        self.file(f"{folder}/shared_cpu_list", f"{shared}\n")

    def told(self, arch: str = "aarch64", engines: Any = (), **more: Any) -> dict[str, Any]:
        found = read_machine(self.root, arch, no_engine)
        # What follows from the Python that runs here is not of the root.
        own = {"name": "board", "python": "3.11", "libc": "glibc 2.36", "engines": list(engines)}
        return {**found, **own, "accelerators": [], **more}


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "root")


@pytest.fixture(autouse=True)
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return tmp_path / "config" / "edge-sdk" / "profiles"


@pytest.fixture
def written(monkeypatch: pytest.MonkeyPatch) -> Callable[[Mapping[str, Any]], Profile]:
    def written(told: Mapping[str, Any]) -> Profile:
        monkeypatch.setattr(workflow, "read_machine", lambda: told)
        found = detect()
        assert load(found.address) == load(found.path)
        return load(found.path)

    return written


def pi_4(machine: Machine) -> None:
    machine.arm(4, "0xd08", A53, 1800000)
    machine.file("proc/device-tree/model", "Raspberry Pi 4 Model B Rev 1.5\0")
    machine.file("proc/meminfo", "MemTotal:        3884372 kB\nMemFree: 1 kB\n")
    machine.file("etc/os-release", 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n')


def test_a_board_that_says_its_name_inherits_its_profile(
    machine: Machine, written: Any, own: Path
) -> None:
    pi_4(machine)
    profile = written(machine.told(engines=BOTH))
    parent = load("raspberry-pi-4b")
    assert profile.title == "Raspberry Pi 4 Model B Rev 1.5"
    assert profile.hardware.memory_mb == 3793
    assert profile.hardware.clusters[0].max_mhz == 1800
    # What the kernel does not tell is what is known of this board.
    assert profile.hardware.clusters[0].l1i_kb == 48
    assert profile.quantization == parent.quantization
    assert profile.engines == parent.engines
    assert profile.emulation == parent.emulation
    text = (own / "board.toml").read_text()
    assert 'inherits = "raspberry-pi-4b"' in text
    assert "# MemTotal of /proc/meminfo.\nmemory_mb = 3793\n" in text
    assert not any(word in text for word in ("big_cores", "features", "[quantization]", "pin"))


def test_the_ladder_is_what_works_there(machine: Machine, written: Any) -> None:
    pi_4(machine)
    profile = written(machine.told(engines=BOTH[1:]))
    assert [(rung.engine, rung.provider) for rung in profile.engines] == [("litert", "cpu")]


def test_without_an_engine_the_ladder_is_that_of_its_like(
    machine: Machine, written: Any, own: Path
) -> None:
    pi_4(machine)
    assert written(machine.told()).engines == load("raspberry-pi-4b").engines
    (own / "board.toml").unlink()
    machine.file("proc/device-tree/model", "Some other board\0")
    assert len(written(machine.told()).engines) == 2
    assert (
        "No engine is installed there yet: the ladder of raspberry-pi-4b"
        in (own / "board.toml").read_text()
    )


def test_a_newer_system_is_stood_for_by_its_own_release(machine: Machine, written: Any) -> None:
    pi_4(machine)
    profile = written(machine.told(engines=BOTH, python="3.13", libc="glibc 2.41"))
    assert profile.software.python == ("3.13",)
    assert profile.emulation.debian == "trixie"


def test_big_and_little_cores(machine: Machine, written: Any) -> None:
    machine.arm(4, "0xd05", A76, 1800000, variant="0x2", revision="0")
    machine.arm(2, "0xd0b", A76, 2256000, variant="0x4", revision="0")
    machine.arm(2, "0xd0b", A76, 2304000, variant="0x4", revision="0")
    for cpu in range(8):
        size = "128K" if cpu < 4 else "512K"
        machine.cache(cpu, 0, 1, "Data", "32K" if cpu < 4 else "64K", str(cpu))
        machine.cache(cpu, 1, 1, "Instruction", "32K" if cpu < 4 else "64K", str(cpu))
        machine.cache(cpu, 2, 2, "Unified", size, str(cpu))
        machine.cache(cpu, 3, 3, "Unified", "3072K", "0-7")
    machine.file("proc/device-tree/model", "A board nobody shipped\0")
    hardware = written(machine.told(engines=BOTH)).hardware
    assert (hardware.big_cores, hardware.little_cores) == (4, 4)
    big, little = hardware.clusters
    assert (big.name, big.max_mhz, big.l2_kb, big.l3_kb) == ("Cortex-A76", 2304, 512, 3072)
    assert (big.l2_cores, big.l3_cores) == (1, None)
    assert (little.name, little.max_mhz, little.l1d_kb) == ("Cortex-A55", 1800, 32)
    assert hardware.features == ("neon", "dotprod", "fp16")


def test_a_board_that_nobody_shipped_states_everything(
    machine: Machine, written: Any, own: Path
) -> None:
    machine.arm(4, "0xd0b", A76, 2400000, variant="0x4", revision="1")
    profile = written(machine.told(engines=BOTH))
    text = (own / "board.toml").read_text()
    assert "inherits" not in text
    assert "As in raspberry-pi-5, whose CPU is most like this one." in text
    assert profile.quantization == load("raspberry-pi-5").quantization
    assert profile.emulation.cpu == "cortex-a76"
    assert profile.emulation.stands_in is None
    # What others measured or published of their board is not true of this one.
    assert profile.cost.figures == ()
    assert profile.cost.memory_gb_s is None


def test_a_core_that_nobody_knows_is_stood_for_by_its_features(
    machine: Machine, written: Any
) -> None:
    machine.arm(4, "0xd4b", A76, 2400000)
    profile = written(machine.told(engines=BOTH))
    assert profile.hardware.clusters[0].name == "Arm core 0x41/0xd4b"
    assert profile.emulation.cpu == "cortex-a76"
    assert "0xd4b" in str(profile.emulation.stands_in)


def test_no_feature_is_taken_that_is_missing(machine: Machine, written: Any) -> None:
    machine.arm(4, "0xd0b", A53, 2400000)  # as a hypervisor may hide them
    profile = written(machine.told(engines=BOTH))
    assert profile.hardware.features == ("neon",)
    assert profile.emulation.cpu not in ("cortex-a76", None)


def test_a_container_shows_no_sysfs(machine: Machine, written: Any) -> None:
    machine.arm(4, "0xd08", A53, 0)
    profile = written(machine.told(engines=BOTH))
    assert profile.hardware.cores == 4
    assert profile.hardware.clusters == ()
    assert profile.hardware.memory_mb is None


def test_a_gpu_that_works_brings_its_rungs(machine: Machine, written: Any) -> None:
    machine.arm(6, "0xd42", f"{A76} uscat ilrcpc flagm paca pacg", 1510000)
    engine = {**BOTH[0], "providers": ["cpu", "cuda", "tensorrt"]}
    gpu = {"name": "Orin (nvgpu)", "compute_capability": "[N/A]"}
    profile = written(machine.told(engines=[engine], accelerators=[gpu]))
    assert [rung.provider for rung in profile.engines] == ["tensorrt", "cuda", "cpu"]
    assert profile.quantization.symmetric_activations
    (accelerator,) = profile.hardware.accelerators
    assert (accelerator.name, accelerator.compute_capability) == ("Orin (nvgpu)", None)


def test_threads_of_one_core_are_one_core(machine: Machine, written: Any) -> None:
    text = "".join(
        f"processor : {n}\nmodel name : A CPU\ncpu MHz : 2400.5\nflags : sse4_1 avx2 fma\n\n"
        for n in range(4)
    )
    machine.file("proc/cpuinfo", text)
    for cpu in range(4):
        machine.file(
            f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list",
            f"{cpu % 2},{cpu % 2 + 2}",
        )
    hardware = written(machine.told("amd64", engines=BOTH)).hardware
    assert (hardware.arch, hardware.cores) == ("x86_64", 2)
    assert hardware.features == ("sse4.1", "avx2", "fma")
    assert (hardware.clusters[0].cores, hardware.clusters[0].max_mhz) == (2, 2400)


def test_an_old_pc_is_like_none_and_has_what_is_installed(machine: Machine, written: Any) -> None:
    machine.file("proc/cpuinfo", "processor : 0\nmodel name : Atom\ncpu MHz : 1600\nflags : sse4_1")
    profile = written(machine.told("x86_64", engines=BOTH))
    assert profile.hardware.features == ("sse4.1",)
    assert profile.saturates_int8_pairs
    assert {rung.engine for rung in profile.engines} == {"onnxruntime", "litert"}


def test_an_old_pc_without_an_engine_is_refused(machine: Machine, written: Any) -> None:
    machine.file("proc/cpuinfo", "processor : 0\nmodel name : Atom\nflags : sse4_1")
    with pytest.raises(RequestError, match="no engine; install one there"):
        written(machine.told("x86_64"))


@pytest.mark.parametrize("arch", ["riscv64", "i686", "", None])
def test_a_cpu_that_profiles_do_not_know_is_refused(
    machine: Machine, written: Any, arch: Any
) -> None:
    with pytest.raises(RequestError, match="profiles do not know"):
        written({**machine.told(), "arch": arch})


def test_this_machine(edge: Run, own: Path) -> None:
    found = edge("profiles", "--detect", "--json").json
    profile = load(found["name"])
    assert found["path"] == str(own / f"{found['name']}.toml")
    assert profile.to_json() == found["profile"]
    assert own_names() == [found["name"]]
    listed = [p["name"] for p in edge("profiles", "--json").json["profiles"]]
    assert found["name"] in listed
    again = edge("profiles", "--detect")
    assert again.code == 2
    assert "--force" in again.err
    assert edge("profiles", "--detect", "--force", "-o", own / "other.toml").code == 0
    assert [path.name for path in own.iterdir() if path.name.startswith(".")] == []


def test_over_a_target(edge: Run, tmp_path: Path) -> None:
    found = edge("profiles", "--detect", "--on", "local", "-o", tmp_path / "m.toml", "--json").json
    here = read_machine()
    assert {**found["facts"], "cores": 0} == {**here, "cores": 0}  # the clock is of the moment
    assert load(tmp_path / "m.toml").hardware.arch == here["arch"]


def test_a_target_that_does_not_tell_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess

    from edge_sdk import targets

    class Mute:
        emulated = False

        def start(self, arguments: list[str]) -> subprocess.Popen[bytes]:
            pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
            return subprocess.Popen(["sh", "-c", "echo hello; echo no python >&2; exit 3"], **pipes)

        def close(self) -> None: ...

    monkeypatch.setattr(targets, "open_target", lambda uri: Mute())
    with pytest.raises(EngineError, match=r"mute: .*code 3\): no python"):
        detect("mute:")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["--force"], "--force belongs to --detect"),
        (["raspberry-pi-5", "--on", "local"], "--on belongs to --detect"),
        (["raspberry-pi-5", "--detect"], "name it by --on"),
        (["--detect", "-o", "here.json"], "a profile is a .toml file"),
    ],
)
def test_words_that_do_not_go_together(edge: Run, words: list[str], says: str) -> None:
    said = edge("profiles", *words)
    assert said.code == 2
    assert says in said.err


def test_a_machine_called_as_a_shipped_profile_gets_a_name_of_its_own(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi_4(machine)
    told = {**machine.told(engines=BOTH), "name": "raspberry-pi-5"}
    monkeypatch.setattr(workflow, "read_machine", lambda: told)
    assert detect().address == "my-raspberry-pi-5"


def test_a_folder_that_cannot_be_written(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pi_4(machine)
    told = machine.told(engines=BOTH)
    monkeypatch.setattr(workflow, "read_machine", lambda: told)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        detect(output=tmp_path / "file" / "p.toml")


NASTY = 'x"\n]\n[hardware]\x7f\x00\x1b[31m\\ \N{SNOWMAN} ' + "y" * 500


def test_what_a_machine_says_cannot_break_the_file(machine: Machine, written: Any) -> None:
    pi_4(machine)
    told = machine.told(engines=[{**BOTH[0], "version": NASTY}])
    told |= {"model": NASTY, "os": NASTY, "libc": NASTY, "name": f"../../{NASTY}"}
    told["accelerators"] = [{"name": NASTY, "compute_capability": NASTY}]
    told["cores"] = [
        {**core, "features": f"{A53} {NASTY}", "part": NASTY} for core in told["cores"]
    ]
    profile = written(told)
    assert "\n" not in profile.title
    assert profile.hardware.features == ("neon",)
    assert profile.hardware.clusters[0].part is None


VALUES: list[Any] = [None, -1, float("inf"), True, "9" * 40, {}, [1], [{}]]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_facts_of_the_wrong_kind_are_left_out(machine: Machine, written: Any, value: Any) -> None:
    pi_4(machine)
    whole = machine.told(engines=BOTH)
    for key in [key for key in whole if key not in ("arch", "name")]:
        assert written({**whole, key: value, "name": key}).hardware.cores >= 1
    for key in BOTH[0]:
        assert written({**whole, "engines": [{**BOTH[0], key: value}], "name": f"engine-{key}"})
    first, *others = whole["cores"]
    for key in first:
        cores = [{**first, key: value}, *others]
        assert written({**whole, "cores": cores, "name": f"core-{key}"}).hardware.cores >= 1


def test_a_root_with_nothing_in_it(machine: Machine) -> None:
    found = read_machine(machine.root, "aarch64", no_engine)
    assert found["cores"] == []
    assert "memory_mb" not in found
    assert clusters([], arm=True) == []
    json.dumps(found)


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("0-3,8", {0, 1, 2, 3, 8}),
        ("5", {5}),
        ("", set()),
        ("3-1", set()),
        ("a-b", set()),
        (7, set()),
    ],
)
def test_lists_of_the_kernel(text: object, numbers: set[int]) -> None:
    assert cpus(text) == numbers


def test_an_edge_tpu_on_the_usb_bus_is_seen(machine: Machine) -> None:
    machine.file("sys/bus/usb/devices/1-1/idVendor", "18d1\n")
    machine.file("sys/bus/usb/devices/1-1/idProduct", "9302\n")
    machine.file("sys/bus/usb/devices/1-2/idVendor", "18d1\n")
    found = read_machine(machine.root, "aarch64", no_engine)["accelerators"]
    assert {"name": "Google Edge TPU"} in found


def test_a_fact_stands_below_its_source() -> None:
    text = toml([Fact("a", "b", [{"c": 1}], "where from"), Fact("a", "d", True)], "head")
    assert text == "# head\n\n[a]\nd = true\n\n[[a.b]]\n# where from\nc = 1\n"

"""Emulated targets: what an address may say, and what runs on one as on the device."""

from __future__ import annotations

import json
import shutil
import signal
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from device_profiles.errors import MissingError, ProfileError, RequestError
from device_profiles.profile import load
from edge_sdk.looks._samples import onnx_sample
from edge_sdk.targets import Start, open_target
from edge_sdk.targets._session import Session
from edge_sdk.targets.emulated import EmulatedTarget
from runtime.engines import EngineOptions, open_engine
from runtime.engines._check import sample_inputs


def emulated(uri: str) -> EmulatedTarget:
    target = open_target(uri)
    assert isinstance(target, EmulatedTarget)
    return target


def test_an_address_names_a_profile(tmp_path: Path) -> None:
    own = tmp_path / "mine.toml"
    own.write_text('inherits = "raspberry-pi-4b"\n')
    assert emulated("emulated:raspberry-pi-4b").profile == load("raspberry-pi-4b")
    assert emulated(f"emulated:{own}").profile.name == "mine"
    assert emulated("emulated:raspberry-pi-4b").uri == "emulated:raspberry-pi-4b"
    assert emulated("emulated:raspberry-pi-4b").emulated


@pytest.mark.parametrize(
    ("rest", "words"),
    [
        ("", "names no device"),
        ("raspberry-pi-9", "no profile is called 'raspberry-pi-9'"),
        ("raspberry-pi-4b,look=x", "no option is called 'look=x'; did you mean lock"),
        ("raspberry-pi-4b,lock=", "no option is called 'lock='"),
    ],
)
def test_an_address_that_means_nothing_is_refused(rest: str, words: str) -> None:
    with pytest.raises((ProfileError, RequestError), match=words):
        open_target(f"emulated:{rest}")


def test_a_lock_that_is_not_there_is_said_before_anything_is_fetched() -> None:
    target = open_target("emulated:raspberry-pi-4b,lock=/nonexistent/lock.txt")
    if shutil.which("qemu-aarch64") is None:
        pytest.skip("needs qemu-user")
    with pytest.raises(RequestError, match=r"/nonexistent/lock\.txt"):
        target.start(["-c", "pass"])


def test_what_is_not_the_same_on_the_device_is_noted() -> None:
    assert emulated("emulated:raspberry-pi-4b").notes == ()
    there = load("raspberry-pi-4b")
    software = replace(there.software, python=("3.10",))
    emulation = replace(there.emulation, stands_in="an older core")
    other = replace(there, software=software, emulation=emulation)
    assert EmulatedTarget("emulated:x", other).notes == (
        "an older core",
        "Python 3.11 of Debian bookworm stands for the device's 3.10",
    )


def test_wheels_are_for_the_python_that_runs_there(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = {}
    target = emulated("emulated:raspberry-pi-4b")
    software = replace(target.profile.software, python=("3.10",), libc="glibc 2.35")
    target.profile = replace(target.profile, software=software)

    def device_lock(profile: object, python: str) -> str:
        asked.update(profile=profile, python=python)
        return "lock"

    monkeypatch.setattr("edge_sdk.targets.emulated.device_lock", device_lock)
    assert target.lock == "lock"
    assert asked["python"] == "3.11"
    assert asked["profile"].software.python == ("3.11",)
    assert asked["profile"].software.libc == "glibc 2.36"


def test_a_release_without_a_python_for_us_is_refused() -> None:
    target = emulated("emulated:raspberry-pi-4b")
    emulation = replace(target.profile.emulation, debian="bullseye")
    target.profile = replace(target.profile, emulation=emulation)
    with pytest.raises(ProfileError, match=r"emulation\.debian = 'bullseye' has no Python"):
        _ = target.notes


# One process for many facts: each start is a second of Python's own.
FACTS = """
import json, os, platform, sys
import numpy as np
from device_profiles.errors import EngineError
from runtime.engines import EngineOptions
from runtime.engines.null import null_model
from runtime.manifest import TensorSpec
from runtime.worker import Worker

specs = [TensorSpec("x", "uint8", (1, 8, 8, 3))], [TensorSpec("y", "float32", (1, 10))]
worker = Worker("null", null_model(*specs, crash_after=1), EngineOptions())
inputs = [np.ones((1, 8, 8, 3), np.uint8)]
shape = worker.run(inputs)[0].shape
try:
    worker.run(inputs)
    crash = ""
except EngineError as error:
    crash = str(error)
print(json.dumps({
    "machine": platform.machine(), "cores": os.cpu_count(), "python": sys.version_info[:2],
    "cpuinfo": open("/proc/cpuinfo").read().count("0xd08"), "given": os.environ["GIVEN"],
    "first bytes": open(sys.argv[1], "rb").read(20).hex(),
    "worker": shape, "crash": crash,
}))
"""


@pytest.fixture(scope="module")
def target() -> Iterator[EmulatedTarget]:
    opened = emulated("emulated:raspberry-pi-4b")
    try:
        _ = opened.device
    except MissingError as error:
        pytest.skip(str(error))
    yield opened
    opened.close()


@pytest.mark.emulated
def test_a_program_sees_the_device_and_starts_others_there(target: EmulatedTarget) -> None:
    hidden = Path("/usr/bin/tar")  # the device has its own
    arguments = ["-c", FACTS, target.send(hidden)]
    with target.start(arguments, Start(env={"GIVEN": "here"})) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    facts = json.loads(out)
    assert (facts["machine"], facts["cores"], facts["cpuinfo"]) == ("aarch64", 4, 4)
    assert (facts["python"], facts["given"]) == ([3, 11], "here")
    assert facts["first bytes"] == hidden.read_bytes()[:20].hex()
    assert facts["worker"] == [1, 10]
    assert "crashed (SIGABRT)" in facts["crash"]


@pytest.mark.emulated
def test_a_program_that_dies_dies_here_of_the_same_signal(target: EmulatedTarget) -> None:
    with target.start(["-c", "import os; os.kill(os.getpid(), 4)"]) as process:
        process.communicate()
    assert process.returncode == -signal.SIGILL


@pytest.mark.emulated
def test_an_engine_there_computes_what_it_does_here(target: EmulatedTarget) -> None:
    here = open_engine("onnxruntime", onnx_sample(), EngineOptions(threads=1))
    inputs = sample_inputs(here.inputs)
    with Session(target) as session:
        there = session.open("onnxruntime", onnx_sample(), EngineOptions(threads=1))
        got, wanted = there.run(inputs)[0], here.run(inputs)[0]
    np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-5)

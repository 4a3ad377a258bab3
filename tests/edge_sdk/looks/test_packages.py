from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.profile import load
from edge_sdk.looks import packages as looks
from edge_sdk.looks.base import Trial
from tests.edge_sdk.looks.scenes import only, pinned, scene

WORKS = Trial(answer="1")
SIGILL = Trial(failure="dies of SIGILL (illegal instruction)", signal=4)
LITERT, OLDER = "ai_edge_litert.interpreter", "tflite_runtime.interpreter"
PIN = ("onnxruntime", "!=1.21.0", "1.21.0 stops at import")


def test_numpy() -> None:
    found = only(looks.look_at_numpy, scene(tried={"numpy": WORKS}, packages={"numpy": "2.4.6"}))
    assert (found.level, found.detail) == ("ok", "2.4.6")
    found = only(looks.look_at_numpy, scene())
    assert (found.level, found.detail) == ("fault", "not installed (needed by everything)")
    assert found.remedy == "pip install 'numpy'"
    mixture = Trial(failure="numpy.core.multiarray failed to import")
    found = only(looks.look_at_numpy, scene(tried={"numpy": mixture}, packages={"numpy": "2.4.6"}))
    assert found.detail == f"installed, but does not work: {mixture.failure}"
    assert found.remedy == "pip install --force-reinstall --no-cache-dir numpy"


def test_engines_that_are_missing() -> None:
    found = list(looks.look_at_engines(scene(packages={"edge-sdk": "0.1.0"})))
    assert [(f.name, f.level, f.remedy) for f in found] == [
        ("onnxruntime", "note", "pip install 'edge-sdk[onnx]'"),
        ("ai-edge-litert", "note", "pip install 'edge-sdk[tflite]'"),
    ]
    # Only those that the device is meant to have, as its profile pins them.
    armv7 = load("raspberry-pi-2b")
    found = list(looks.look_at_engines(scene(profile=armv7)))
    assert [finding.name for finding in found] == ["ai-edge-litert"]
    found = list(looks.look_at_engines(scene(profile=pinned(PIN))))
    assert found[0].remedy == "pip install 'onnxruntime!=1.21.0'"


def test_the_older_package_stands_in_for_litert() -> None:
    tried = {OLDER: WORKS, "onnxruntime": WORKS}
    packages = {"tflite-runtime": "2.14.0", "onnxruntime-gpu": "1.31.1"}
    found = list(looks.look_at_engines(scene(tried=tried, packages=packages)))
    assert [(f.name, f.level, f.detail) for f in found] == [
        ("onnxruntime", "ok", "1.31.1"),
        ("tflite-runtime", "ok", "2.14.0"),
    ]


@pytest.mark.parametrize(
    "trial",
    [
        Trial(failure="SystemError", words="A module that was compiled using NumPy 1.x cannot be"),
        Trial(failure="AttributeError: _ARRAY_API not found"),
        Trial(failure="numpy.dtype size changed, may indicate binary incompatibility."),
    ],
)
@pytest.mark.parametrize(
    ("numpy", "built", "remedy"),
    [("2.4.6", "1", "pip install 'numpy<2'"), ("1.26.4", "2", "pip install 'numpy>=2'")],
)
def test_packages_for_another_numpy(trial: Trial, numpy: str, built: str, remedy: str) -> None:
    where = scene(tried={OLDER: trial}, packages={"numpy": numpy, "tflite-runtime": "2.14.0"})
    found = next(f for f in looks.look_at_engines(where) if f.name == "tflite-runtime")
    assert found.level == "fault"
    assert found.detail == f"compiled for numpy {built}, beside numpy {numpy}: it does not work"
    assert found.remedy == remedy


def test_an_engine_that_crashes() -> None:
    where = scene(tried={"onnxruntime": SIGILL}, packages={"onnxruntime": "1.21.0"})
    found = next(iter(looks.look_at_engines(where)))
    assert (found.level, found.detail) == (
        "fault", "1.21.0: dies of SIGILL (illegal instruction)",
    )  # fmt: skip
    assert found.remedy == "pip install 'onnxruntime!=1.21.0'"


def test_an_engine_that_lacks_a_library() -> None:
    lacking = Trial(failure="libgomp.so.1: cannot open shared object file: No such file")
    found = next(iter(looks.look_at_engines(scene(tried={"onnxruntime": lacking}))))
    assert found.remedy == "sudo apt-get install libgomp1"
    odd = Trial(failure="libodd.so.1: cannot open shared object file: No such file")
    found = next(iter(looks.look_at_engines(scene(tried={"onnxruntime": odd}))))
    assert (found.level, "--force-reinstall" in found.remedy) == ("fault", True)


def test_two_onnxruntimes() -> None:
    alone = {"onnxruntime-gpu": "1.31.1", "onnxruntime-extensions": "0.14"}
    assert looks.look_at_two_onnxruntimes(scene(packages=alone)) == []
    both = {**alone, "onnxruntime": "1.32.0"}
    found = only(looks.look_at_two_onnxruntimes, scene(packages=both))
    assert found.level == "fault"
    assert found.remedy == (
        "pip uninstall -y onnxruntime onnxruntime-gpu && pip install onnxruntime-gpu"
    )


def test_pins_of_the_profile() -> None:
    profile = pinned(PIN, ("ai-edge-litert", ">=2.3,<3", "int8 differs"))
    bad = {"onnxruntime": "1.21.0", "ai-edge-litert": "2.3.0"}
    found = only(looks.look_at_pins, scene(profile=profile, packages=bad))
    assert (found.name, found.level) == ("onnxruntime", "fault")
    assert found.detail == "1.21.0; raspberry-pi-4b wants !=1.21.0: 1.21.0 stops at import"
    assert found.remedy == "pip install 'onnxruntime!=1.21.0'"
    assert looks.look_at_pins(scene(profile=profile, packages={"onnxruntime": "1.20.1"})) == []
    assert looks.look_at_pins(scene(profile=profile)) == []


def test_pins_of_the_cpu(tmp_path: Path) -> None:
    """Nobody said which device it is: its cores tell which profiles it could be."""
    (tmp_path / "proc").mkdir()
    core = "processor\t: 0\nFeatures\t: fp asimd\nCPU implementer\t: 0x41\nCPU part\t: {}\n\n"
    (tmp_path / "proc/cpuinfo").write_text(core.format("0xd08") * 4)
    packages = {"onnxruntime": "1.21.0"}
    found = only(looks.look_at_pins, scene(tmp_path, packages=packages))
    assert (found.name, found.level) == ("onnxruntime", "note")
    assert "raspberry-pi-4b wants !=1.21.0" in found.detail
    (tmp_path / "proc/cpuinfo").write_text(core.format("0xfff"))
    assert looks.look_at_pins(scene(tmp_path, packages=packages)) == []
    assert looks.look_at_pins(scene(packages=packages)) == []


def test_python_3_10_needs_tomli(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks.sys, "version_info", (3, 10, 6))
    assert only(looks.look_at_tomli, scene()).remedy == "pip install tomli"
    assert looks.look_at_tomli(scene(packages={"tomli": "2.0.1"})) == []
    monkeypatch.setattr(looks.sys, "version_info", (3, 11, 2))
    assert looks.look_at_tomli(scene()) == []


def test_on_an_emulated_device_a_lock_says_what_is_there() -> None:
    where = replace(scene(profile=pinned(PIN)), emulated=True)
    found = next(iter(looks.look_at_engines(where)))
    assert found.remedy.startswith("write onnxruntime!=1.21.0 into the lock")
    crash = replace(where, attempt=lambda module, ask: SIGILL)
    assert next(iter(looks.look_at_engines(crash))).remedy == found.remedy

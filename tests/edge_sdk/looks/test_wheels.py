from __future__ import annotations

import sys

import pytest

from edge_sdk.looks import wheels as looks
from edge_sdk.looks.base import Package, Scene
from tests.edge_sdk.looks.scenes import only, scene

OURS = f"cp{sys.version_info[0]}{sys.version_info[1]}"


@pytest.fixture(autouse=True)
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 64-bit Raspberry Pi with Debian 12."""
    monkeypatch.setattr(looks.platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(looks, "libc", lambda: "glibc 2.36")


def wheel(*tags: str) -> Scene:
    return scene(packages={"onnxruntime": Package("onnxruntime", "1.32.0", tags=tags)})


@pytest.mark.parametrize(
    "tag",
    [
        "py3-none-any",
        f"{OURS}-{OURS}-manylinux_2_28_aarch64",
        f"{OURS}-{OURS}-linux_aarch64",
        f"{OURS}-{OURS}-manylinux_2_99_aarch64.manylinux2014_aarch64",
        "cp37-abi3-manylinux2014_aarch64",
    ],
)
def test_wheels_that_fit(tag: str) -> None:
    assert looks.look_at_tags(wheel(tag)) == []


@pytest.mark.parametrize(
    ("tag", "why"),
    [
        (f"{OURS}-{OURS}-manylinux_2_28_x86_64", "x86_64, this is aarch64"),
        (f"{OURS}-{OURS}-manylinux_2_39_aarch64", "glibc 2.39, this is glibc 2.36"),
        ("cp39-cp39-manylinux2014_aarch64", f"Python 3.9, this is 3.{sys.version_info[1]}"),
        ("cp37-abi3-macosx_11_0_arm64", "macosx_11_0_arm64, this is aarch64"),
    ],
)
def test_wheels_for_something_else(tag: str, why: str) -> None:
    found = only(looks.look_at_tags, wheel(tag))
    assert (found.name, found.level) == ("onnxruntime", "fault")
    assert found.detail == f"the installed wheel is for {why}"
    assert found.remedy == "pip install --force-reinstall --no-cache-dir 'onnxruntime'"
    assert looks.look_at_tags(wheel(tag, "py3-none-any")) == []


def test_a_32_bit_python_loads_32_bit_wheels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looks.struct, "calcsize", lambda code: 4)
    assert looks.look_at_tags(wheel(f"{OURS}-{OURS}-manylinux2014_armv7l")) == []
    assert looks.look_at_tags(wheel(f"{OURS}-{OURS}-linux_armv6l")) == []
    found = only(looks.look_at_tags, wheel(f"{OURS}-{OURS}-linux_aarch64"))
    assert "is for aarch64, this is" in found.detail


@pytest.mark.parametrize(
    ("have", "wish", "level"),
    [
        ("2.4.6", "numpy (<2,>=1.23) ; python_version >= '3.8'", "fault"),
        ("1.26.4", "numpy>=2", "fault"),
        ("2.4.6", "numpy<2.3", "note"),
        ("2.4.6", "numpy>=1.21; sys_platform == 'linux'", None),
        ("2.4.6", "numpy<2; extra == 'old'", None),
        ("2.4.6", "numpy<2; python_version < '3.9'", None),
        ("2.4.6", "numpy<2; platform_machine != 'aarch64'", None),
        ("2.4.6", "numpy<2; sys_platform == 'linux' and platform_machine == 'aarch64'", "fault"),
        ("2.4.6", "numpy<2; (what == 'ever' or no == 'thing')", None),
    ],
)
def test_packages_for_another_numpy(have: str, wish: str, level: str | None) -> None:
    package = Package("tflite-runtime", "2.14.0", requires=(wish,))
    found = looks.look_at_numpy_wanted(scene(packages={"numpy": have, "tflite-runtime": package}))
    assert [finding.level for finding in found] == ([level] if level else [])
    for finding in found:
        assert finding.detail.startswith("tflite-runtime 2.14.0 asks for numpy")
        assert finding.remedy.startswith("pip install 'numpy")
    assert looks.look_at_numpy_wanted(scene(packages={"tflite-runtime": package})) == []


def test_packages_older_than_what_was_tried() -> None:
    requires = (
        "numpy>=1.26",
        "onnxruntime>=1.20; extra == 'onnx'",
        "ruff>=99; extra == 'dev'",
    )
    packages = {
        "edge-sdk": Package("edge-sdk", "0.1.0", requires),
        "numpy": "1.25.0", "onnxruntime": "1.32.0", "ruff": "1.0",
    }  # fmt: skip
    found = only(looks.look_at_requirements, scene(packages=packages))
    assert (found.name, found.level, found.remedy) == (
        "numpy", "note", "pip install -U 'numpy>=1.26'",
    )  # fmt: skip

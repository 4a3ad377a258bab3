"""A cache of its own for each test, and a folder of tiny wheels that pip takes for its index."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.profile import Profile, load
from tests.edge_sdk.wheels.tiny import Tiny, write_wheel


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv("EDGE_SDK_CACHE", str(folder))
    return folder


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An index without a network: what the test writes here."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def filled(index: Path) -> Path:
    """What a 64-bit Raspberry Pi needs; of onnxruntime also the version that it must not have."""
    arm = "cp311-cp311-manylinux_2_28_aarch64"
    for tiny in (
        Tiny("onnxruntime", "1.20.1", arm, ("numpy>=1.21.6",)),
        Tiny("onnxruntime", "1.21.0", arm, ("numpy>=1.21.6",)),
        Tiny("ai-edge-litert", "2.3.0", arm, ("numpy>=1.23.2", "flatbuffers")),
        Tiny("numpy", "2.4.6", arm),
        Tiny("opencv-python-headless", "5.0.0", arm, ('numpy>=2; python_version >= "3.9"',)),
    ):
        write_wheel(index, tiny)
    return index


@pytest.fixture
def board() -> Profile:
    return load("raspberry-pi-4b")

"""The device wheel: the same bytes for the same code, installable, and an agent from the zip."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import fields
from pathlib import Path

import pytest

from edge_sdk.shipping import device_wheel as module
from edge_sdk.shipping.device_wheel import PACKAGES, REQUIRES, SUFFIXES, DeviceWheel, device_wheel
from edge_sdk.wheels.lock import Wheel

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small packages in a folder, which a test may change."""
    home = tmp_path / "home"
    for name in PACKAGES:
        (home / name / "part").mkdir(parents=True)
        (home / name / "__init__.py").write_text(f"NAME = {name!r}\n")
        (home / name / "part" / "data.toml").write_text("a = 1\n")
    monkeypatch.setattr(module, "package_home", home.joinpath)
    return home


def test_it_is_a_wheel_of_what_runs_here() -> None:
    wheel = device_wheel()
    assert wheel.path.name == wheel.file and wheel.path.stat().st_size == wheel.size
    assert str(Wheel("edge-sdk", wheel.version, wheel.file, wheel.sha256, wheel.size))
    with zipfile.ZipFile(wheel.path) as archive:
        names = archive.namelist()
        assert {name.partition("/")[0] for name in names} == {
            *PACKAGES,
            f"edge_sdk-{wheel.version}.dist-info",
        }
        assert {item.compress_type for item in archive.infolist()} == {zipfile.ZIP_STORED}
        for name in ("runtime/plugins.py", "device_profiles/raspberry-pi-4b.toml"):
            assert archive.read(name) == (ROOT / name).read_bytes()
    assert [f.name for f in fields(DeviceWheel)] == ["path", "file", "sha256", "size", "version"]
    assert wheel.size < 5_000_000, "a flash over a slow line sends it whole at first"


def test_it_says_what_the_project_says() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    assert sorted(REQUIRES) == sorted(
        line.replace('"', "'") for line in project["project"]["dependencies"]
    )
    kept = {f"*{suffix}" for suffix in SUFFIXES} - {"*.py"} | {"py.typed"}
    assert kept == set(project["tool"]["setuptools"]["package-data"]["*"])


def test_the_same_code_is_the_same_wheel(copied: Path, cache: Path) -> None:
    first = device_wheel()
    kept = first.path.read_bytes()
    shutil.rmtree(cache)
    for path in copied.rglob("*"):
        os.utime(path, (1e9, 1e9))
        path.chmod(0o700)
    for stray in ("runtime/.hidden.py", "runtime/__pycache__/x.py", "runtime/x.py~", "runtime/x.o"):
        (copied / stray).parent.mkdir(exist_ok=True)
        (copied / stray).write_text("stray")
    again = device_wheel()
    assert again == first and again.path.read_bytes() == kept
    (copied / "runtime" / "part" / "data.toml").write_text("a = 2\n")
    other = device_wheel()
    assert other.version != first.version and other.sha256 != first.sha256
    assert other.version.startswith("0.1.0+device.")


def test_pip_installs_it(copied: Path, tmp_path: Path) -> None:
    """Whole and unchanged, as its RECORD says; with the program that it declares."""
    wheel = device_wheel()
    target = tmp_path / "target"
    options = ["--no-index", "--no-deps", "--no-compile", "--target", str(target)]
    subprocess.run(
        [sys.executable, "-m", "pip", "-q", "install", *options, str(wheel.path)],
        check=True,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )
    code = (
        "import importlib.metadata as m, runtime, edge_sdk, hashlib, base64\n"
        "d = m.distribution('edge-sdk')\n"
        "bad = [f for f in d.files if f.hash and f.parts[0] != '..' and base64.urlsafe_b64encode("
        "hashlib.sha256(f.read_binary()).digest()).rstrip(b'=').decode() != f.hash.value]\n"
        "print(d.version, bad, [e.value for e in d.entry_points])\n"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        env={"PYTHONPATH": str(target)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == f"{wheel.version} [] ['edge_sdk.cli:main']\n"


AGENT = """
import sys
sys.path.insert(0, sys.argv[1])
for heavy in ("numpy", "cv2", "edge_sdk", "converters"):
    sys.modules[heavy] = None
import importlib, pkgutil, runtime.agent
found = pkgutil.walk_packages(runtime.agent.__path__, "runtime.agent.")
names = sorted(module.name for module in found)
for name in names:
    importlib.import_module(name)
assert runtime.agent.__file__.startswith(sys.argv[1])
print(len(names))
"""


def test_the_agent_is_imported_from_it_by_a_bare_python() -> None:
    wheel = device_wheel()
    command = [sys.executable, "-I", "-S", "-c", AGENT, str(wheel.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    with zipfile.ZipFile(wheel.path) as archive:
        inside = [n for n in archive.namelist() if n.startswith("runtime/agent/")]
    assert int(done.stdout) == len(inside) - 1

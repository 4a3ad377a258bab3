"""A device without a network installs from a wheelhouse: by pip, and by its own bare Python.

Real wheels, fetched once: pytest -m 'slow and (network or emulated)' FILE
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from device_profiles.errors import MissingError
from device_profiles.profile import load
from edge_sdk.targets import open_target
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.workflows.wheelhouse import Wheelhouse, wheelhouse
from runtime.lock_text import LockText, read_lock

pytestmark = pytest.mark.slow

HERE = "{}.{}".format(*sys.version_info)
ALONE = ["unshare", "-rn"]
# What a device does: the agent is imported from the wheel by a Python without any package.
BUILD = """
import sys
wheel, house, places = sys.argv[1:]
sys.path.insert(0, wheel)
from pathlib import Path
from runtime.agent.environment import Wanted, build, complete, key
text = Path(house, "lock.txt").read_text()
place = Path(places, key(text))
build(Wanted(text, Path(house), place), lambda said: print(said, file=sys.stderr))
assert complete(place) and "numpy" not in sys.modules
print(place)
"""
VERSIONS = (
    "import importlib.metadata as m, platform, sys, numpy, onnxruntime, runtime.bundle\n"
    "packages = ('edge-sdk', 'numpy', 'onnxruntime')\n"
    "print(platform.machine(), *map(m.version, packages))"
)


def output(command: list[str | Path]) -> str:
    """Return what a program prints that runs in a network namespace of its own: without any."""
    if subprocess.run([*ALONE, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system gives nobody a network namespace")
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "PYTHON"))}
    words = [*ALONE, *map(str, command)]
    done = subprocess.run(words, env=variables, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def agent(house: Wheelhouse) -> Path:
    return next(path for name, path in house.wheels.items() if name.startswith("edge_sdk-"))


def expected(arch: str, lock: LockText) -> str:
    found = {wheel.name: wheel.version for wheel in lock.wheels}
    return " ".join([arch, *(found[name] for name in ("edge-sdk", "numpy", "onnxruntime"))])


@pytest.mark.network
@pytest.mark.skipif(os.uname().machine != "x86_64", reason="wheels for x86")
def test_this_machine_installs_without_a_network(tmp_path: Path) -> None:
    house = wheelhouse(load("generic-x86"), tmp_path / "house", python=HERE)
    wanted = expected("x86_64", read_lock(house.lock_path.read_text()))
    output([sys.executable, "-m", "venv", tmp_path / "by-pip"])
    pip = ["-m", "pip", "install", "--no-index", "--find-links", house.folder, "--no-deps"]
    python = tmp_path / "by-pip" / "bin" / "python"
    output([python, *pip, "--require-hashes", "-r", house.lock_path])
    assert output([python, "-I", "-c", VERSIONS]) == wanted

    bare = [sys.executable, "-I", "-S", "-c", BUILD, agent(house)]
    place = output([*bare, house.folder, tmp_path / "environments"])
    assert output([Path(place, "bin", "python"), "-I", "-c", VERSIONS]) == wanted


@pytest.mark.emulated
def test_a_raspberry_pi_installs_without_a_network(tmp_path: Path) -> None:
    """Its own Python, emulated, makes the environment and imports the engine from it."""
    with closing(open_target("emulated:raspberry-pi-4b")) as target:
        assert isinstance(target, EmulatedTarget)
        try:
            device = target.device
        except MissingError as error:
            pytest.skip(str(error))
    house = wheelhouse(load("raspberry-pi-4b"), tmp_path / "house")
    # An environment's Python is a link to this, and is to see by which name it was called.
    python = tmp_path / "python"
    command = shlex.join(device.command([])).replace(f"-0 {device.python} ", '-0 "$0" ')
    assert '"$0"' in command
    python.write_text(f'#!/bin/sh\nexec {command} "$@"\n')
    python.chmod(0o755)
    bare = [python, "-I", "-S", "-c", BUILD, agent(house)]
    place = output([*bare, house.folder, tmp_path / "environments"])
    found = output([Path(place, "bin", "python"), "-I", "-c", VERSIONS])
    assert found == expected("aarch64", read_lock(house.lock_path.read_text()))
    shutil.rmtree(place)

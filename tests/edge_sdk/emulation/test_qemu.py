"""QEMU is found where it is, and what it cannot do is said in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import MissingError, RequestError
from edge_sdk.emulation.qemu import find_qemu

FAKE = """#!/bin/sh
if [ "$1" = --version ]; then
  echo "qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7)"
elif [ "$1" = -help ]; then
  printf '%s\n' '-g port  wait gdb connection' '-plugin  [file=]<file>[,<argname>=<argvalue>]'
else
  printf 'Available CPUs:\\n  cortex-a53\\n  cortex-a72\\n  max\\n  neoverse-n1\\n'
  exit 1
fi
"""


def put(folder: Path, name: str, text: str = FAKE) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)
    return folder / name


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EDGE_SDK_QEMU", str(tmp_path / "qemu"))
    return tmp_path / "qemu"


def test_the_one_that_takes_plugins_comes_first(programs: Path) -> None:
    put(programs, "qemu-aarch64-static", FAKE.replace("-plugin", "-p"))
    static = find_qemu("aarch64")
    assert (static.path.name, static.takes_plugins) == ("qemu-aarch64-static", False)
    put(programs, "qemu-aarch64")
    found = find_qemu("aarch64")
    assert (found.path, found.version) == (programs / "qemu-aarch64", (7, 2, 22))
    assert found.takes_plugins


def test_without_qemu_the_package_is_named(programs: Path) -> None:
    with pytest.raises(MissingError, match=r"qemu-arm, .* install qemu-user") as caught:
        find_qemu("armv7l")
    assert caught.value.exit_code == 3


def test_a_program_that_is_no_qemu_is_refused(programs: Path) -> None:
    put(programs, "qemu-arm", "#!/bin/sh\necho hello\n")
    with pytest.raises(MissingError, match="does not tell its version"):
        find_qemu("armv7l")
    put(programs, "qemu-x86_64", "no program\n")
    with pytest.raises(MissingError, match="does not run"):
        find_qemu("x86_64")


def test_a_cpu_that_it_does_not_have_brings_the_nearest(programs: Path) -> None:
    put(programs, "qemu-aarch64")
    qemu = find_qemu("aarch64")
    qemu.check_cpu("cortex-a72")
    qemu.check_cpu("cortex-a72,-pmu")
    with pytest.raises(
        RequestError, match=r"QEMU 7\.2\.22 .*'cortex-a78'; did you mean cortex-a72"
    ):
        qemu.check_cpu("cortex-a78")


def test_max_is_no_cpu(programs: Path) -> None:
    put(programs, "qemu-aarch64")
    with pytest.raises(RequestError, match="has no CPU 'max'"):
        find_qemu("aarch64").check_cpu("max")

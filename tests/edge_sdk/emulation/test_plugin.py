"""The counter of instructions: compiled for the QEMU that is here, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from device_profiles.errors import EngineError, MissingError
from edge_sdk.emulation import plugin as module
from edge_sdk.emulation.plugin import api, compile_c, find_compiler, instruction_plugin
from edge_sdk.emulation.qemu import Qemu

QEMU = Qemu(Path("/usr/bin/qemu-aarch64"), (7, 2, 22))


def test_the_interface_follows_the_version() -> None:
    versions = ((4, 2), (7, 2, 22), (8, 2), (9, 0, 1), (9, 1), (10, 2))
    assert [api(version) for version in versions] == [1, 1, 1, 2, 3, 3]


def test_without_a_compiler_the_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(MissingError, match="apt-get install gcc") as caught:
        find_compiler()
    assert caught.value.exit_code == 3


def test_a_static_qemu_is_told_apart() -> None:
    with pytest.raises(MissingError, match="install qemu-user"):
        instruction_plugin(Qemu(Path("/usr/bin/qemu-aarch64-static"), (7, 2)))


@pytest.mark.parametrize("version", [(7, 2), (9, 0), (9, 2)], ids=str)
def test_it_compiles_once_for_every_interface(
    version: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _need_compiler()
    monkeypatch.setenv("EDGE_SDK_CACHE", str(tmp_path))
    qemu = Qemu(QEMU.path, version)
    path = instruction_plugin(qemu)
    assert path.read_bytes()[:4] == b"\x7fELF"
    monkeypatch.setattr(module, "compile_c", lambda *given: pytest.fail("compiled again"))
    assert instruction_plugin(qemu) == path


def test_what_does_not_compile_says_why(tmp_path: Path) -> None:
    compiler = _need_compiler()
    with pytest.raises(EngineError, match="error"):
        compile_c(compiler, ["-include", "no-such-header.h", "-shared"], tmp_path / "out.so")
    assert not (tmp_path / "out.so").exists()


def _need_compiler() -> str:
    try:
        return find_compiler()
    except MissingError as error:
        pytest.skip(str(error))

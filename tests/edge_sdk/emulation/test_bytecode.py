"""Bytecode is made beforehand, by a Python of the right version, or not at all."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from edge_sdk.emulation.bytecode import compile_modules

OURS = "{}.{}".format(*sys.version_info[:2])


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "tests/site"  # whose own name leaves nothing out
    for name in ("a.py", "pkg/b.py", "pkg/tests/test_b.py"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text("x = 1\n")
    (place / "template.py").write_text("def {{ name }}")
    return place


def test_what_is_imported_is_compiled_and_not_checked(place: Path) -> None:
    compile_modules(place, OURS)
    found = sorted(place.rglob("*.pyc"))
    assert [path.name.split(".")[0] for path in found] == ["a", "b"]
    assert all(path.read_bytes()[4:8] == b"\1\0\0\0" for path in found)  # PEP 552: unchecked


def test_another_python_does_it_where_it_is(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYTHONSTARTUP", "/of/this/one")
    compile_modules(place, "3.999")
    assert not list(place.rglob("*.pyc"))
    other = tmp_path / "python3.999"
    other.write_text('#!/bin/sh\necho "$PWD $* [$PYTHONSTARTUP]" > said\n')
    other.chmod(0o755)
    compile_modules(place, "3.999")
    said = (place / "said").read_text()
    assert said.startswith(f"{place} -E -s -m compileall")
    assert said.endswith(" . []\n")

"""What a device lacks of what a release needs: a phrase each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from runtime.agent.facts import Facts, facts, free_bytes, unmet
from runtime.agent.release import Needs

NEEDS = Needs("board", "aarch64", "3.11", ("neon", "dotprod"), "glibc 2.28", 1024)
HERE = Facts("aarch64", frozenset(("neon", "dotprod", "fp16")), "3.11", "glibc 2.36", 1024)


def test_a_device_that_has_it_all() -> None:
    assert unmet(NEEDS, HERE) == []


@pytest.mark.parametrize(
    ("change", "phrase"),
    [
        ({"arch": "armv7l"}, "it is for aarch64 and this device is armv7l"),
        ({"features": frozenset(("neon",))}, "it needs a CPU with dotprod, this one has neon"),
        ({"python": "3.13"}, "its wheels are for Python 3.11 and this device has 3.13: flash with"),
        ({"libc": "glibc 2.27"}, "its wheels need glibc 2.28 or newer, this device has glibc 2.27"),
        ({"libc": "musl 1.2"}, "its wheels need glibc 2.28 or newer, this device has musl 1.2"),
        ({"memory_mb": 1023}, "it needs 1024 MiB of memory, this device has 1023"),
    ],
)
def test_what_a_device_lacks(change: dict[str, Any], phrase: str) -> None:
    (found,) = unmet(NEEDS, replace(HERE, **change))
    assert found.startswith(phrase)


@pytest.mark.parametrize(
    "change", [{"features": frozenset()}, {"libc": ""}, {"memory_mb": 0}, {"libc": "glibc 3.0"}]
)
def test_what_a_system_does_not_tell_is_no_lack(change: dict[str, Any]) -> None:
    assert unmet(NEEDS, replace(HERE, **change)) == []


def test_all_that_lacks_is_told_at_once() -> None:
    poor = Facts("aarch64", frozenset(("fp16",)), "3.9", "glibc 2.17", 512)
    assert len(unmet(NEEDS, poor)) == 4


def test_this_machine() -> None:
    here = facts()
    assert here.memory_mb > 64
    assert here.python.startswith("3.")
    assert here.arch
    assert free_bytes(Path("/nowhere/that/is/yet")) == pytest.approx(free_bytes(Path("/")), rel=0.1)

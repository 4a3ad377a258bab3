"""The text of a release: what a device holds stays readable, under the same name."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import pytest

from device_profiles.errors import BundleError
from runtime.agent.release import Release, canonical

STORED = (
    b'{"bundle":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","enviro'
    b'nment":"00000000000000000000000000000000","files":[{"path":"bundle.edge","sha256":"1'
    b'111111111111111111111111111111111111111111111111111111111111111","size":5},{"path":"'
    b'lock.txt","sha256":"2222222222222222222222222222222222222222222222222222222222222222'
    b'","size":6}],"golden_s":600.0,"health":{"results":5,"within_s":60.0},"name":"cam","n'
    b'eeds":{"arch":"aarch64","features":["neon"],"libc":"glibc 2.36","memory_mb":768,"pro'
    b'file":"p","python":"3.11"},"run":{"watchdog_s":30.0,"words":["--source","camera:0"]}'
    b',"schema":"1.0","system_site":false,"unpacked":0}'
)
"""As version 1.0 writes it."""
ID = "30878f48ac6d0fa81be64b25745f60d7"


@dataclass(frozen=True)
class Later(Release):
    """A release of a later version, with a field more."""

    more: int | None = None


@pytest.mark.parametrize("kind", [Release, Later])
def test_one_that_was_stored_is_read_under_its_name(kind: type[Release]) -> None:
    release = kind.from_bytes(STORED)
    assert (release.id, release.to_bytes(), release.name) == (ID, STORED, "cam")
    assert release.run.watchdog_s == 30.0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema": "2.0"}, "flash with another edge-sdk"),
        ({"files": []}, "its files are not bundle.edge and lock.txt"),
        ({"environment": "../../etc"}, "its environment is called"),
        ({"bundle": "x"}, "its bundle's id is no SHA-256"),
        ({"golden_s": 0}, "is not positive"),
        ({"health": {"results": 0, "within_s": 60.0}}, "its health asks for no result"),
        ({"run": {"words": ["a\nb"]}}, "a word of its run has a line break"),
        ({"run": {"words": 5}}, "words"),
        ({"unknown": 1}, "there is no key 'unknown'"),
    ],
)
def test_what_no_host_would_send(change: dict[str, Any], said: str) -> None:
    with pytest.raises(BundleError, match=said):
        Release.from_bytes(canonical({**json.loads(STORED), **change}))


@pytest.mark.parametrize(
    "text", [b"", b"[]", b"[" * 100_000, STORED + b"\n", STORED.replace(b":", b": ", 1), b"\xff"]
)
def test_another_text_than_the_canonical_one(text: bytes) -> None:
    with pytest.raises(BundleError):
        Release.from_bytes(text)

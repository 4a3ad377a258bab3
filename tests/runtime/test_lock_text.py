"""Locks as a device reads them: what `edge_sdk.wheels.lock` writes, and nothing else."""

from __future__ import annotations

import pytest

from device_profiles.errors import RequestError
from edge_sdk.wheels.lock import Lock, Wheel
from edge_sdk.wheels.tags import Platform
from runtime.lock_text import LockedWheel, read_lock

LOCK = Lock(
    "some-board",
    Platform("aarch64", "3.11", "glibc 2.36"),
    (
        Wheel("some-engine", "1.0+cpu", "some_engine-1.0+cpu-py3-none-any.whl", "a" * 64, 10),
        Wheel("numpy", "2.4.6", "numpy-2.4.6-py3-none-any.whl", "b" * 64, 20),
    ),
    system=("python3-opencv",),
    notes=("# python: 3.9 is not what this line says",),
)
TEXT = LOCK.to_text()
NUMPY = str(LOCK.wheels[0])


def test_it_reads_what_the_host_writes() -> None:
    read = read_lock(TEXT)
    assert (read.profile, read.arch, read.python, read.libc, read.system) == (
        "some-board",
        "aarch64",
        "3.11",
        "glibc 2.36",
        ("python3-opencv",),
    )
    assert read.wheels == tuple(
        LockedWheel(w.name, w.version, w.file, w.sha256, w.size or 0) for w in LOCK.wheels
    )
    assert read.digest == LOCK.digest
    backwards = "\n".join([*TEXT.splitlines()[:-2], *reversed(TEXT.splitlines()[-2:])])
    assert read_lock(backwards) == read, "the same set in another order is the same"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "does not begin with '# edge-sdk lock 1'"),
        (TEXT.replace("lock 1", "lock 2"), "does not begin with"),
        (TEXT.replace("# python: 3.11\n", ""), "lacks the line '# python: ...'"),
        (TEXT + NUMPY, "line 12: .* is there twice"),
        (TEXT + "other==1.0", "line 12: 'other==1.0' names no file"),
        (TEXT.replace("b" * 64, "B" * 64), "names no file"),
        (TEXT.replace("b" * 64, "b" * 63), "names no file"),
        (TEXT.replace("whl 20", "whl"), "names no file"),
        (TEXT.replace("whl 20", "whl -1"), "names no file"),
        (TEXT.replace("# numpy-2", "# ../numpy-2"), "names no file"),
        (TEXT.replace("# numpy-2", "# .numpy-2"), "names no file"),
        (TEXT.replace("# numpy-2", "# scipy-2"), "names no file"),
        (TEXT.replace("numpy==2.4.6", "numpy>=2"), "names no file"),
        (TEXT + "--index-url http://example.org", "names no file"),
        (TEXT + "\n\n", "names no file"),
    ],
)
def test_anything_else_is_refused(text: str, why: str) -> None:
    with pytest.raises(RequestError, match=why) as caught:
        read_lock(text)
    assert "\n" not in str(caught.value)

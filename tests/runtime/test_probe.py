"""The cold start, measured in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def probe(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "runtime.probe", *arguments],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


@pytest.mark.parametrize("rung", [(), ("1",)])
def test_a_cold_start(null_bundle: Path, rung: tuple[str, ...]) -> None:
    began = time.perf_counter()
    done = probe(str(null_bundle), *rung)
    took_ms = 1e3 * (time.perf_counter() - began)
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(done.stdout)
    assert set(found) == {
        "start_to_first_result_ms",
        "open_and_load_ms",
        "first_inference_ms",
        "peak_memory_mb",
    }
    assert all(value > 0 for value in found.values())
    inside = found["open_and_load_ms"] + found["first_inference_ms"]
    # The kernel tells the start of a process to one tick, 10 ms.
    assert inside - 10 < found["start_to_first_result_ms"] < took_ms + 10
    # numpy alone takes more than 10 MiB; the null engine needs no interpreter of hundreds.
    assert 10 < found["peak_memory_mb"] < 500


@pytest.mark.parametrize(
    ("name", "rung", "code", "message"),
    [
        ("nowhere.edge", "0", 2, "no such file"),
        ("null.edge", "7", 2, "has no rung 7; it has 0 to 1"),
    ],
)
def test_what_goes_wrong_is_one_line(
    null_bundle: Path, name: str, rung: str, code: int, message: str
) -> None:
    done = probe(str(null_bundle.with_name(name)), rung)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_memory_is_its_own_and_not_that_of_who_started_it(null_bundle: Path) -> None:
    ballast = bytearray(600 << 20)  # written, so resident
    ballast[:: 1 << 12] = b"x" * len(ballast[:: 1 << 12])
    found = json.loads(probe(str(null_bundle)).stdout)
    assert found["peak_memory_mb"] < 500

"""What runs on a device over ssh ends in order when nobody is there any more."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from edge_sdk.targets._there import source

CHILD = """
import subprocess, sys, time
subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)  # {mark}"])
try:
    print("on", flush=True)  # inside: the signal may come as soon as this is read
    time.sleep(60)
except KeyboardInterrupt:
    open("closed", "w").close()
"""


def test_a_run_closes_its_files_and_nothing_stays(tmp_path: Path) -> None:
    mark = f"left-{time.monotonic_ns()}"
    words = [str(tmp_path), "0", "-c", CHILD.format(mark=mark)]
    command = [sys.executable, "-I", "-S", "-c", source("launch"), *words]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"on\n"
        process.stdout.close()
        process.wait(10)
    assert (tmp_path / "closed").exists()
    assert not any(mark.encode() in _command(path) for path in Path("/proc").glob("[0-9]*"))


def _command(process: Path) -> bytes:
    try:
        return (process / "cmdline").read_bytes()
    except OSError:  # it ended
        return b""

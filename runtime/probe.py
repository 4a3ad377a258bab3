"""Cold start of a bundle on this machine, as a process of its own:

    python -m runtime.probe BUNDLE [RUNG]

prints one JSON object: milliseconds from the start of the process to the first result, for
loading the artifact and for the first inference, and the peak of resident memory in MiB. What
goes wrong is one line on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

from device_profiles.errors import EdgeError
from runtime.bundle import open_bundle


def started_ago() -> float:
    """Return the seconds since this process was started, from the kernel's clock (Linux)."""
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[19])  # field 22 of proc(5): starttime
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


def peak_memory() -> float:
    """Return the peak of this process's resident memory in MiB (Linux).

    Not getrusage's ru_maxrss: that one is inherited from the parent through vfork and exec.
    """
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def probe(path: str, rung: int) -> dict[str, float]:
    """Open the bundle, run its first golden frame once on `rung`, and say what it took."""
    opened = time.perf_counter()
    bundle = open_bundle(path)
    engine = bundle.open_engine(rung)
    loaded = time.perf_counter()
    frame = bundle.golden().frames[:1]
    ready = time.perf_counter()
    engine.run([frame])
    done = time.perf_counter()
    return {
        "start_to_first_result_ms": 1e3 * started_ago(),
        "open_and_load_ms": 1e3 * (loaded - opened),
        "first_inference_ms": 1e3 * (done - ready),
        "peak_memory_mb": peak_memory(),
    }


if __name__ == "__main__":
    try:
        found = probe(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 0)
    except EdgeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(json.dumps(found) + "\n")

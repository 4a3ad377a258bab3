"""Cold start of a bundle or a .tflite file on this machine, as a process of its own:

    python -m runtime.probe BUNDLE [RUNG [THREADS]]
    python -m runtime.probe FILE.tflite [PROVIDER [THREADS]]

prints one JSON object: milliseconds from the start of the process to the first result, for
loading the artifact and for the first inference, and the peak of resident memory in MiB. What
goes wrong is one line on standard error.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from device_profiles.errors import EdgeError
from runtime.bundle import open_bundle
from runtime.engines import Array, Engine, EngineOptions, open_engine
from runtime.engines._check import sample_inputs
from runtime.model_file import ENGINE, is_model_file, read_model_file


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


def _load(path: str, which: str, threads: int) -> tuple[Engine, Callable[[], list[Array]]]:
    """Return the engine of a bundle's rung or of a file on a provider, and what gives its input.

    This process may be lost, so nothing is tried out in another one first.
    """
    if is_model_file(path):
        data, _ = read_model_file(Path(path))
        asked = EngineOptions(which or EngineOptions.provider, threads, alone=True)
        engine = open_engine(ENGINE, data, asked)
        return engine, lambda: sample_inputs(engine.inputs)
    bundle = open_bundle(path)
    rung = int(which or 0)
    # A rung that is not there has no provider either; it is the bundle that says so.
    artifacts = bundle.manifest.artifacts[rung : rung + 1]
    provider = artifacts[0].provider if artifacts else EngineOptions.provider
    engine = bundle.open_engine(rung, EngineOptions(provider, threads, alone=True))
    return engine, lambda: [bundle.golden().frames[:1]]


def probe(path: str, which: str = "", threads: int = 0) -> dict[str, float]:
    """Open a model, run it once on a golden frame (a file: on noise), and say what it took.

    `which` is the rung of a bundle, or the provider of a file; `threads` 0: the engine's choice.
    """
    opened = time.perf_counter()
    engine, give = _load(path, which, threads)
    loaded = time.perf_counter()
    inputs = give()
    ready = time.perf_counter()
    engine.run(inputs)
    done = time.perf_counter()
    return {
        "start_to_first_result_ms": 1e3 * started_ago(),
        "open_and_load_ms": 1e3 * (loaded - opened),
        "first_inference_ms": 1e3 * (done - ready),
        "peak_memory_mb": peak_memory(),
    }


if __name__ == "__main__":
    try:
        path, which, threads, *_ = *sys.argv[1:], *("", "0")[len(sys.argv) - 2 :]
        found = probe(path, which, int(threads))
    except EdgeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(json.dumps(found) + "\n")

"""Inferences between marks, for whoever counts the instructions of this process:

    python -m runtime.marks BUNDLE RUNG RUNS
    python -m runtime.marks FILE.tflite PROVIDER RUNS
    python -m runtime.marks ARTIFACT ENGINE/PROVIDER RUNS

loads the artifact and runs it on one frame, always the same, by one thread. It prints one JSON
object: the engine, its version and provider, and the threads asked for. What goes wrong is one
line on standard error.

A mark is a system call that no kernel has. Natively it fails and costs nothing; an emulator's
plugin sees it (`edge_sdk/emulation/instructions.c`).
"""

from __future__ import annotations

import ctypes
import gc
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from device_profiles.errors import EdgeError
from runtime.bundle import open_bundle
from runtime.engines import Array, Engine, EngineOptions, open_engine
from runtime.engines._check import sample_inputs

NUMBER = 6800
"""The system call; instructions.c knows it as MARK."""

START, LOADED, FIRST, WARM = 0, 1, 2, 3
"""Before the artifact is loaded; after; after its first run; after the runs that warm it up."""

WARMUP = 3
"""Runs before the counted ones, the first one included: kernels pack their weights and arenas
grow in the first, and CPython specialises its code in the next."""

_syscall = ctypes.CDLL(None).syscall


def mark(number: int) -> None:
    """Leave mark `number`, of 0 or more, in the stream of instructions."""
    _syscall(ctypes.c_long(NUMBER), ctypes.c_long(number))


def _open(path: str, which: str) -> tuple[Engine, Sequence[Array]]:
    """Load a bundle's rung, or a file on a provider, for one thread, between marks; and an input.

    Loading reads the model and gives it to the engine; a bundle's proof is not part of it.
    """
    if path.endswith(".tflite"):
        from runtime.model_file import open_plain

        mark(START)
        engine = open_plain(path, which, threads=1)
        mark(LOADED)
        return engine, sample_inputs(engine.inputs)
    if "/" in which:
        name, provider = which.split("/", 1)
        mark(START)
        options = EngineOptions(provider, threads=1, alone=True)
        engine = open_engine(name, Path(path).read_bytes(), options)
        mark(LOADED)
        return engine, sample_inputs(engine.inputs)
    with open_bundle(path) as bundle:
        inputs = [bundle.golden().frames[:1].copy()]
        rungs = bundle.manifest.artifacts
        provider = rungs[int(which)].provider if int(which) < len(rungs) else ""
        mark(START)
        engine = bundle.open_engine(int(which), EngineOptions(provider, threads=1, alone=True))
        mark(LOADED)
    return engine, inputs


def run_marked(path: str, which: str, runs: int) -> dict[str, str]:
    """Run a rung of a bundle, or a file on a provider, `runs` counted times; return what ran.

    The marks are START, LOADED, FIRST, WARM, and WARM + 1 to WARM + runs, each after its run.
    Raises what opening and running raise.
    """
    engine, inputs = _open(path, which)
    collects = gc.isenabled()
    gc.collect()
    gc.disable()  # a collection is ours, not the model's, and comes when it likes
    try:
        for run in range(WARMUP):
            engine.run(inputs)
            if run == 0:
                mark(FIRST)
        for number in range(WARM, WARM + runs + 1):
            mark(number)
            if number < WARM + runs:
                engine.run(inputs)
    finally:
        if collects:
            gc.enable()
        engine.close()
    return {"engine": engine.name, "version": engine.version, "provider": engine.provider}


if __name__ == "__main__":
    try:
        found = run_marked(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    except EdgeError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(error.exit_code)
    sys.stdout.write(json.dumps(found) + "\n")

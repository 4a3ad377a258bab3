"""A model tried out in a process of its own, because what may crash must not take ours along.

    python -m runtime.engines._trial PROVIDER THREADS < MODEL

loads a .tflite file, runs it once and says nothing; what goes wrong is the last line of standard
output (interpreter and delegates talk on the other one).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from device_profiles.errors import EdgeError, EngineError
from runtime.engines._check import sample_inputs
from runtime.engines.base import EngineOptions

# A Coral takes some seconds when its firmware has to be loaded; a Zero's Python as many to start.
PATIENCE_S = 60.0


def try_out(model: bytes, options: EngineOptions) -> None:
    """Load and run `model` once in a child process; EngineError when that does not end well."""
    command = [sys.executable, "-m", "runtime.engines._trial"]
    command += [options.provider, str(options.threads)]
    # Python looks for the module in the working folder first, where another `runtime` may lie.
    home = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(
            command, input=model, cwd=home, capture_output=True, timeout=PATIENCE_S, check=False
        )
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"litert did not end within {PATIENCE_S:g} s when the model was tried out on "
            f"{options.provider}; get the file again, and see that the device answers"
        ) from error
    said = done.stdout.decode(errors="replace").strip().splitlines()
    if done.returncode < 0:
        name = signal.Signals(-done.returncode).name
        raise EngineError(
            f"litert crashed ({name}) when the model was tried out on {options.provider}; get the "
            "file again, and see that device, driver and libraries fit each other"
        )
    if done.returncode:
        silence = f"litert failed on {options.provider} without a word"
        raise EngineError(said[-1] if said else silence)


def _main() -> int:
    from runtime.engines.litert import LiteRtEngine

    options = EngineOptions(provider=sys.argv[1], threads=int(sys.argv[2]))
    try:
        engine = LiteRtEngine(sys.stdin.buffer.read(), options)
        engine.run(sample_inputs(engine.inputs))
    except EdgeError as error:
        sys.stdout.write(f"\n{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(_main())

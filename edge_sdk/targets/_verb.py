"""A verb of the command line, run on a target as it is there."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO

from edge_sdk.targets.base import Target

_PART = 1 << 16


def run_verb(
    target: Target,
    words: Sequence[str],
    out: Callable[[bytes], object],
    err: Callable[[bytes], object],
) -> int:
    """Run `edge-sdk WORDS` on `target` and return its exit code, negative for a signal.

    What it writes is handed to `out` and `err` as it comes, each from a thread of its own. It is
    ended with us; on Ctrl-C it may end by itself first. Raises as `target.start` does.
    """
    process = target.start(["-m", "edge_sdk.cli", *words])
    readers = [_reader(process.stdout, out), _reader(process.stderr, err)]
    try:
        code = process.wait()
    except KeyboardInterrupt:
        # It closes what it writes when its input ends; a process group's Ctrl-C reached it as well.
        _let_go(process)
        raise
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    return code


def _let_go(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        with contextlib.suppress(OSError):
            process.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(10.0)


def _reader(pipe: IO[bytes] | None, take: Callable[[bytes], object]) -> threading.Thread:
    assert pipe is not None

    def read() -> None:
        with pipe:
            while part := os.read(pipe.fileno(), _PART):
                take(part)

    thread = threading.Thread(target=read, name="verb-output")
    thread.start()
    return thread

"""A verb of the command line, run on a target as it is there."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from typing import IO

from edge_sdk.targets.base import Start, Target

_PART = 1 << 16
_END_S = 15.0
"""How long a run may take to end: an emulated one has an inference to finish."""


def run_verb(
    target: Target,
    words: Sequence[str],
    out: Callable[[bytes], object],
    err: Callable[[bytes], object],
) -> int:
    """Run `edge-sdk WORDS` on `target` and return its exit code, negative for a signal.

    What it writes is handed to `out` and `err` as it comes, each from a thread of its own. It is
    ended with us. Ctrl-C is handed on, once: what ends in order by it (a run with its report) gives
    its code, else KeyboardInterrupt goes on. Raises as `target.start` does, and what `out` or `err`
    raise: they are not called again then.
    """
    process = target.start(["-m", "edge_sdk.cli", *words], Start(apart=True))
    faults: list[Exception] = []
    last_words: list[bytes] = []
    ending = threading.Event()

    def say(part: bytes) -> None:
        """Keep what is said when it ends until it is known how: no traceback of an interrupt."""
        (last_words.append if ending.is_set() else err)(part)

    readers = [_reader(process.stdout, out, faults), _reader(process.stderr, say, faults)]
    try:
        code = process.wait()
    except KeyboardInterrupt:
        ending.set()
        code = _end(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for reader in readers:
            reader.join()
        if process.stdin is not None:
            with contextlib.suppress(OSError):
                process.stdin.close()
    if faults:
        raise faults[0]
    err(b"".join(last_words))
    return code


def _end(process: subprocess.Popen[bytes]) -> int:
    """Interrupt a process; its code, KeyboardInterrupt where it does not end in order."""
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(subprocess.TimeoutExpired):
        code = process.wait(_END_S)
        if 0 <= code < 128:
            return code
    raise KeyboardInterrupt


def _reader(
    pipe: IO[bytes] | None, take: Callable[[bytes], object], faults: list[Exception]
) -> threading.Thread:
    assert pipe is not None

    def read() -> None:
        with pipe:  # closed where nobody takes it any more, which ends who writes it
            try:
                while part := os.read(pipe.fileno(), _PART):
                    take(part)
            except Exception as error:  # noqa: BLE001 - handed to the caller's thread
                faults.append(error)

    thread = threading.Thread(target=read, name="verb-output")
    thread.start()
    return thread

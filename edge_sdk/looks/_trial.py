"""Importing what may be broken, in a child process that may crash or hang of it."""

from __future__ import annotations

import importlib
import importlib.util
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from runtime.deaths import signal_words

PATIENCE_S = 60.0
"""How long an import may take: a slow card needs its time for 60 MB of libraries."""


@dataclass(frozen=True)
class Trial:
    """What came of an import: `found` is False where there is no such module, `answer` what it
    said. `failure` is why it does not work, on one line, empty where it does; `signal` the one that
    it died of; `words` the end of what was printed."""

    found: bool = True
    answer: str = ""
    failure: str = ""
    signal: int | None = None
    words: str = ""


Ask = Callable[[Any], str]
Try = Callable[[str, Ask], Trial]


def attempt(module: str, ask: Ask, patience_s: float = PATIENCE_S) -> Trial:
    """Import `module` in a child process and return what `ask` makes of it there.

    The child is a fork: where an emulator runs this, it cannot start another program. So this
    process should have one thread, and should not have loaded the module itself.
    """
    if not exists(module):
        return Trial(found=False)
    answer, words = os.memfd_create("answer"), os.memfd_create("words")
    try:
        child = os.fork()
        if child == 0:
            _answer(module, ask, answer, words)
        code = _wait(child, patience_s)
        said = os.pread(answer, 1 << 20, 0).decode(errors="replace")
        printed = _last(os.pread(words, 1 << 16, 0).decode(errors="replace"))
    finally:
        os.close(answer)
        os.close(words)
    if code is None:
        return Trial(failure=f"no answer within {patience_s:.3g} s", words=printed)
    if code < 0:
        return Trial(failure=f"dies of {signal_words(-code)}", signal=-code, words=printed)
    return (
        Trial(failure=said or f"ends with code {code}", words=printed)
        if code
        else Trial(answer=said, words=printed)
    )


def exists(module: str) -> bool:
    """Say whether there is such a module for this Python; nothing is imported but its parents."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):  # of the package around it; a module that somebody made
        return False


def _answer(module: str, ask: Ask, answer: int, words: int) -> None:
    """Be the child: write the answer, or why there is none; never return."""
    code = 1
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a crash is expected: no file of it
        os.dup2(words, 1)
        os.dup2(words, 2)
        sys.stdout = sys.stderr = os.fdopen(os.dup(words), "w", buffering=1, errors="replace")
        os.write(answer, ask(importlib.import_module(module)).encode(errors="replace"))
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever a broken package raises; reported
        os.write(answer, (_first(str(error)) or type(error).__name__).encode(errors="replace"))
    finally:
        os._exit(code)


def _wait(child: int, patience_s: float) -> int | None:
    """Return the child's exit code, -n for signal n; None where it had to be killed."""
    end = time.monotonic() + patience_s
    while time.monotonic() < end:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _first(text: str) -> str:
    """Return the first line that says something, without what a terminal would choke on."""
    lines = (line.strip() for line in text.splitlines())
    line = next(filter(None, lines), "")[:500]
    return "".join(c if c.isprintable() else "?" for c in line)


def _last(text: str) -> str:
    return "\n".join(text.splitlines()[-40:])

"""How a process ended, in words: the signal that it died of, and what it printed last."""

from __future__ import annotations

import re
import signal

_COLOUR = re.compile("\x1b\\[[0-9;]*m")


def signal_of(code: int) -> int | None:
    """Return the signal that ended a process: -n of Python's codes, 128 + n of shells'."""
    number = -code if code < 0 else code - 128
    return number if 0 < number < signal.NSIG else None


def signal_name(number: int) -> str:
    """Return `SIGILL` for 4."""
    try:
        return signal.Signals(number).name
    except ValueError:  # one of the real-time signals
        return f"signal {number}"


def signal_words(number: int) -> str:
    """Return `SIGILL (illegal instruction)` for 4."""
    said = signal.strsignal(number)
    name = signal_name(number)
    return f"{name} ({said.lower()})" if said and name.startswith("SIG") else name


def last_words(printed: bytes) -> str:
    """Return the last line of what a process printed, ` (it printed: ...)`, or nothing."""
    lines = _COLOUR.sub("", printed.decode(errors="replace")).splitlines()
    last = next((line for line in map(str.strip, reversed(lines)) if line), "")
    words = "".join(c if c.isprintable() else "?" for c in last)[:500]
    return f" (it printed: {words})" if words else ""

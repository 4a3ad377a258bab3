"""Plain supervision: one process that starts the service, again and again, and ends it in order.

Everything is imported at the start, since the archive that this comes from may be replaced while
it runs for months.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import FrameType
from typing import IO, Any

from runtime.agent.services.base import Place
from runtime.agent.services.processes import end_all
from runtime.agent.services.records import Entry, Log, Records, write_holder
from runtime.agent.supervised import Supervised

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
CALM_S = 60.0
"""After so long a life the next end is the first one again."""

_PATIENCE_S = 15.0
_GUARD_S = 120.0
_STATUS_S = 5.0  # between two writes of what it says that it does: memory cards wear


def supervise(place: Place) -> None:
    """Keep the service of an installation running until SIGTERM; at once back where another does.

    Raises OSError where its folder cannot be written.
    """
    records = Records(place.root)
    records.make()
    with _held(records) as ours:
        if ours:
            Supervisor(place, records).run()


@contextlib.contextmanager
def _held(records: Records) -> Iterator[bool]:
    """Be the one supervisor. Who started us may have given us the lock as standard input."""
    given = os.fstat(0)
    with records.lock.open("r+b") if records.lock.exists() else records.lock.open("w+b") as file:
        if os.path.samestat(given, os.fstat(file.fileno())):
            os.dup2(0, file.fileno(), inheritable=False)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.close(nothing)
        if not _taken(file):
            yield False
            return
        write_holder(file.fileno(), os.getpid())
        yield True


def _taken(file: IO[bytes]) -> bool:
    """Take a lock; whoever looks who has it holds it for an instant, too."""
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.02)
    return False


class Supervisor:
    """Starts a service whenever it is not running; `run` returns after SIGTERM or SIGINT."""

    def __init__(self, place: Place, records: Records) -> None:
        self._place, self._records = place, records
        self._log = Log(records.log)
        self._entry = Entry(os.getpid())
        self._ending = False
        self._written = 0.0
        self._wake, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda _number, _frame: None)  # it wakes us, that is all

    def _end(self, _number: int, _frame: FrameType | None) -> None:
        self._ending = True

    def run(self) -> None:
        """Supervise until told to end."""
        end_all(self._place.root)  # what a supervisor that was killed may have left
        pause = FIRST_PAUSE_S
        while not self._ending:
            self._guard()
            if self._ending:
                break
            lived = self._lived()
            pause = FIRST_PAUSE_S if lived >= CALM_S else pause
            if not self._ending:
                self._log.put(
                    f"edge-sdk: {self._entry.reason}; it is started again in {pause:g} s\n".encode()
                )
                self._rest(pause)
                self._tell(restarts=self._entry.restarts + 1)
            pause = min(LONGEST_PAUSE_S, 2 * pause)

    def _guard(self) -> None:
        """Let the agent see to a release that is on trial, before it is started.

        While somebody holds the lock of the installation, they judge, and it would do nothing.
        What goes wrong with it is in our output: that is no reason to run nothing.
        """
        if _is_judged(self._place.root):
            return
        words = self._place.command("guard", str(self._place.root))
        with subprocess.Popen(words, stdin=subprocess.DEVNULL) as guard:
            end = time.monotonic() + _GUARD_S
            while guard.poll() is None and not self._ending and time.monotonic() < end:
                self._sleep(0.5)
            if guard.poll() is None:
                guard.kill()

    def _lived(self) -> float:
        """Run the service once; return for how many seconds it ran."""
        start = time.monotonic()
        words = self._place.command("serve", str(self._place.root))
        try:
            service = Supervised(words, self._place.root, self._records.limits(), self._log.put)
        except OSError as error:  # no memory, no processes, no Python
            self._tell(reason=f"it cannot be started: {error.strerror}")
            return 0.0
        with contextlib.closing(service):
            self._tell(pid=service.process.pid, since=service.since)
            self._watch(service)
        end_all(self._place.root)  # what it started, and did not end
        self._tell(pid=None, since=None, ready=False, status="", reason=service.reason())
        return time.monotonic() - start

    def _watch(self, service: Supervised) -> None:
        """Return when the service has ended, by itself, in order, or by force."""
        last: float | None = None
        while service.process.poll() is None:
            now = time.monotonic()
            if self._ending and last is None:
                service.process.terminate()
                last = now + _PATIENCE_S
            if last is not None and now >= last:
                service.kill(f"it did not end within {_PATIENCE_S:g} s of being told to")
            elif last is None and (why := service.overdue()):
                service.kill(why)
            due = service.overdue_at if last is None else last
            wait = 1.0 if due is None else max(0.01, min(1.0, due - now))
            # Not the pipe once it is at its end, which would be news for ever.
            self._sleep(wait, service.channel, *([] if service.output.closed else [service.output]))
            service.listen()
            self._note(service)

    def _note(self, service: Supervised) -> None:
        late = time.monotonic() - self._written >= _STATUS_S
        if service.ready != self._entry.ready or (late and service.status != self._entry.status):
            self._tell(ready=service.ready, status=service.status)

    def _tell(self, **changes: Any) -> None:
        self._entry = replace(self._entry, **changes)
        self._written = time.monotonic()
        with contextlib.suppress(OSError):  # a full disk ends no service
            self._records.write_entry(self._entry)

    def _rest(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._ending and (left := end - time.monotonic()) > 0:
            self._sleep(left)

    def _sleep(self, seconds: float, *news: Any) -> None:
        """Wait for news, a signal, or so many seconds."""
        select.select([self._wake, *news], [], [], seconds)
        with contextlib.suppress(BlockingIOError):
            os.read(self._wake, 512)


def _is_judged(root: Path) -> bool:
    """Tell whether somebody holds the lock of an installation, and says so in it.

    The lock is tried only where it names a process that lives: whoever else wants it at that
    instant would be told that it is held.
    """
    try:
        with (root / "lock").open("rb") as lock:
            holder = lock.read(80).split()
            if not holder or not Path(f"/proc/{os.fsdecode(holder[-1])}/stat").exists():
                return False
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none yet; or the guard will say what is wrong with it
        return False
    return False

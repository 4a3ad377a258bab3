"""A service without systemd: our own supervisor keeps it running, what the system has starts it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from device_profiles.errors import EngineError
from runtime.agent.layout import unwritable
from runtime.agent.services import at_boot
from runtime.agent.services.base import Liveness, Place, ServiceOptions
from runtime.agent.services.processes import end_all
from runtime.agent.services.records import Limits, Log, Records, write_holder

_LOOK_S = 0.01
_MOST_OUTPUT = 1 << 18
_LAST_S = 5.0  # for the kernel to end what was killed


class Plain:
    """The service of an installation under `agent supervise`; `files` is where /etc is."""

    name = "plain"

    def __init__(self, place: Place, files: Path = Path("/")) -> None:
        self._place, self._files = place, files
        self._records = Records(place.root)

    @property
    def work(self) -> Path:
        """The folder that it runs in."""
        return self._place.root / "work"

    def install(self, options: ServiceOptions) -> list[str]:
        """Start it at every boot; see `Service`."""
        with self._writable():
            self._records.make()
            self._records.write_limits(Limits(options.watchdog_s, options.ready_s))
        return at_boot.install(self._place, self._files)

    def start(self) -> None:
        """Start a supervisor, after the one that runs is ended with its service."""
        self.stop()
        words = self._place.command("supervise", str(self._place.root))
        with self._writable():
            self._records.make()
            self._records.forget()
            # The supervisor is given the lock with its standard input: it holds it from its birth.
            with _output(self._records.output) as output, self._lock() as lock:
                self._take(lock)
                write_holder(lock.fileno(), 0)
                born = subprocess.Popen(
                    words,
                    stdin=lock,
                    stdout=output,
                    stderr=output,
                    cwd="/",
                    start_new_session=True,
                )
                born.returncode = 0  # it outlives us, so nobody here waits for its end

    def stop(self, patience_s: float = 15.0) -> None:
        """End the supervisor and its service; see `Service`."""
        end = time.monotonic() + patience_s
        asked = False
        while (holder := self._holder()) is not None:
            left = end - time.monotonic()
            if holder and not asked:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder, signal.SIGTERM)
                asked = True
            elif holder and left < 0:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(holder, signal.SIGKILL)
            if left < -_LAST_S:
                raise EngineError(
                    f"the supervisor in {self._place.root} (process {holder}) does not end; "
                    "restart the device"
                )
            time.sleep(_LOOK_S)
        end_all(self._place.root)

    def liveness(self) -> Liveness:
        """Tell what it is at this moment."""
        entry = self._records.entry()
        if self._holder() != entry.supervisor:  # it ended, or was born and did not write yet
            return Liveness(False, False, None, entry.restarts, entry.reason)
        running = entry.pid is not None
        return Liveness(
            running, running and entry.ready, entry.pid, entry.restarts, entry.reason, entry.since
        )

    def log(self, lines: int) -> list[str]:
        """Return the last lines that it wrote, and what was noted of its ends among them."""
        return Log(self._records.log).last(lines)

    def remove(self) -> None:
        """Stop it and start it at no boot any more."""
        self.stop()
        at_boot.remove(self._place, self._files)

    def _holder(self) -> int | None:
        """Return the supervisor's process id, 0 for one that is being born; None without one."""
        try:
            with self._records.lock.open("rb") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    said = lock.read(20).strip()
                    return int(said) if said.isdigit() else 0
        except FileNotFoundError:
            return None
        return None

    def _take(self, lock: IO[bytes]) -> None:
        """Take the lock; whoever looks at it holds it for an instant, too."""
        end = time.monotonic() + _LAST_S
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > end:
                    raise EngineError(
                        f"somebody else starts the service in {self._place.root}; try again"
                    ) from None
            time.sleep(_LOOK_S)

    def _lock(self) -> IO[bytes]:
        return os.fdopen(os.open(self._records.lock, os.O_RDWR | os.O_CREAT, 0o644), "r+b")

    @contextlib.contextmanager
    def _writable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise unwritable(self._place.root, error) from error


@contextlib.contextmanager
def _output(path: Path) -> Iterator[IO[bytes]]:
    """Open the log of the supervisor, which is begun anew when it is long."""
    with path.open("ab") as file:
        if file.tell() > _MOST_OUTPUT:
            file.truncate(0)
        yield file

"""A service as a process of ours: what it says to its manager, what it prints, how it ends."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import socket
import struct
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from runtime.agent.services.processes import MARK
from runtime.agent.services.records import Limits
from runtime.deaths import last_words, signal_of, signal_words

_DEATHSIG = 1  # PR_SET_PDEATHSIG
_SENDER = struct.Struct("3i")  # struct ucred of unix(7): pid, uid, gid
_MESSAGE = 8192
_TAIL = 4096

_libc = ctypes.CDLL(None, use_errno=True)


class Supervised:
    """A service that was started: `ready`, `status` and `printed` are what it said so far.

    It speaks as sd_notify(3) has it, and is silent too long when it gives no sign of life for
    `limits.watchdog_s` after it was ready. What it prints is given to `put`.
    """

    def __init__(
        self, command: Sequence[str], root: Path, limits: Limits, put: Callable[[bytes], None]
    ) -> None:
        self.ready, self.status, self.printed = False, "", b""
        self._limits, self._put = limits, put
        self._why = ""
        self.channel = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            self.channel.setblocking(False)
            self.channel.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            self.channel.bind("")  # to a name that the kernel chooses: never too long, never left
            self.process = self._spawned(command, root)
        except BaseException:
            self.channel.close()
            raise
        assert self.process.stdout is not None
        self.output = self.process.stdout
        os.set_blocking(self.output.fileno(), False)
        self.since = time.time()
        self._sign = time.monotonic()

    def _spawned(self, command: Sequence[str], root: Path) -> subprocess.Popen[bytes]:
        name: bytes = self.channel.getsockname()
        variables = {**os.environ, MARK: str(root), "NOTIFY_SOCKET": "@" + name[1:].decode()}
        variables.pop("WATCHDOG_USEC", None)
        if self._limits.watchdog_s is not None:
            variables["WATCHDOG_USEC"] = str(round(1e6 * self._limits.watchdog_s))
        parent = os.getpid()

        def end_with_parent() -> None:
            _libc.prctl(_DEATHSIG, signal.SIGKILL, 0, 0, 0)
            if os.getppid() != parent:  # it ended before we asked
                os._exit(1)

        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=variables,
            start_new_session=True,
            bufsize=0,
            preexec_fn=end_with_parent,  # noqa: PLW1509 a supervisor has one thread
        )

    def listen(self) -> None:
        """Take what it said and printed since."""
        with contextlib.suppress(BlockingIOError):
            while True:
                data, control, _, _ = self.channel.recvmsg(
                    _MESSAGE, socket.CMSG_SPACE(_SENDER.size)
                )
                if self._is_ours(control):
                    self._heard(data.decode(errors="replace"))
        with contextlib.suppress(BlockingIOError):
            while not self.output.closed:
                part = os.read(self.output.fileno(), 1 << 16)
                if not part:
                    self.output.close()  # it lives on without
                    break
                self.printed = (self.printed + part)[-_TAIL:]
                self._put(part)

    def _is_ours(self, control: list[tuple[int, int, bytes]]) -> bool:
        """Tell whether the main process spoke: any other may, and the kernel says who it was."""
        return any(
            kind == socket.SCM_CREDENTIALS and _SENDER.unpack(data)[0] == self.process.pid
            for _, kind, data in control
        )

    def _heard(self, message: str) -> None:
        for line in message.splitlines():
            key, _, value = line.partition("=")
            if (key, value) == ("READY", "1"):
                self.ready = True
                self._sign = time.monotonic()
            elif (key, value) == ("WATCHDOG", "1"):
                self._sign = time.monotonic()
            elif key == "STATUS":
                self.status = value

    @property
    def overdue_at(self) -> float | None:
        """When it will have been silent for too long (`time.monotonic`); None: never."""
        limit = self._limits.watchdog_s if self.ready else self._limits.ready_s
        return None if limit is None else self._sign + limit

    def overdue(self) -> str:
        """Return why its silence is too long; nothing as long as it is not."""
        if self.overdue_at is None or time.monotonic() < self.overdue_at:
            return ""
        if self.ready:
            return f"it gave no result for {self._limits.watchdog_s:g} s and was ended"
        return f"it gave no result within {self._limits.ready_s:g} s of its start and was ended"

    def kill(self, why: str = "") -> None:
        """End it at once, with the processes of its group; `why` becomes its reason."""
        self._why = self._why or why
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def reason(self) -> str:
        """Say why it ended: when that is known, and what it printed last."""
        code = self.process.returncode
        number = signal_of(code) if code < 0 else None
        how = f"it died of {signal_words(number)}" if number else f"it ended with code {code}"
        return (self._why or how) + last_words(self.printed)

    def close(self) -> None:
        """Forget it, once it has ended."""
        self.listen()
        self.output.close()
        self.channel.close()

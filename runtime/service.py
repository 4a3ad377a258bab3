"""A run as a service of systemd: when it is ready, what it does, and that it still moves.

The protocol is a datagram of KEY=VALUE lines to the socket that NOTIFY_SOCKET names: sd_notify(3),
sd_watchdog_enabled(3). Without that variable nothing is said.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

from runtime.sources import redacted

_log = logging.getLogger("edge_sdk.service")

_PATIENCE_S = 1.0  # for a manager that does not read; a ping does not wait at all
_LONGEST_STATUS = 1000


class Service:
    """What a service manager is told. Nothing here raises, and all of it may be called always.

    `watchdog_s` is how long the manager lets us be silent before it starts us again, None: for
    ever. It is told that we are alive by `progress` only: a process that lives without results is
    not alive. Methods may be called from any thread.
    """

    def __init__(
        self,
        address: str = "",
        watchdog_s: float | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.watchdog_s = watchdog_s
        self._clock = clock
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._pinged: float | None = None
        self._ready = self._stopping = False
        self._status = ""
        self._heard = True

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> Service:
        """Return the service that the manager's variables describe."""
        variables = os.environ if environment is None else environment
        address = variables.get("NOTIFY_SOCKET", "")
        if address and address[0] not in "/@":
            _log.warning(
                "NOTIFY_SOCKET=%s is neither a path nor an abstract socket; nothing is sent to it",
                address,
                extra={"event": "service_address"},
            )
            address = ""
        return cls(address, _watchdog(variables) if address else None)

    def ready(self) -> None:
        """Say, once, that the service does its work."""
        if not self._ready:
            self._ready = True
            self._pinged = self._clock()  # being ready counts as a sign of life
            self._send("READY=1")

    def status(self, text: str) -> None:
        """Say in a line what the service does (`systemctl status` shows it); passwords are cut."""
        line = redacted(" ".join(text.split()))[:_LONGEST_STATUS]
        if line != self._status:
            self._status = line
            self._send(f"STATUS={line}")

    def progress(self) -> None:
        """Note that there is a new result; the first says that the service is ready.

        The watchdog is fed at most four times in its time, so this may be called for every frame.
        """
        self.ready()
        if self.watchdog_s is None or self._stopping or self._pinged is None:
            return
        now = self._clock()
        if now - self._pinged >= self.watchdog_s / 4:
            self._pinged = now
            self._send("WATCHDOG=1", patience_s=0.0)

    def stopping(self) -> None:
        """Say, once, that the service is about to end."""
        if not self._stopping:
            self._stopping = True
            self._send("STOPPING=1")

    def _send(self, message: str, patience_s: float = _PATIENCE_S) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
                channel.settimeout(patience_s)
                channel.sendto(message.encode(), self._address)
        except (OSError, ValueError) as error:
            key = message.partition("=")[0]
            facts = {"event": "service_unheard", "what": key}
            # Once: a log full of the same says no more.
            level = logging.WARNING if self._heard else logging.DEBUG
            self._heard = False
            _log.log(level, "the service manager was not told %s: %s", key, error, extra=facts)
        else:
            self._heard = True


def _watchdog(variables: Mapping[str, str]) -> float | None:
    """Return the time of the watchdog in seconds, None where it is off or of another process."""
    if variables.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    micros = variables.get("WATCHDOG_USEC", "")
    return int(micros) / 1e6 if micros.isdecimal() and int(micros) > 0 else None

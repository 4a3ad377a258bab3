"""The preview's web server: a few clients, each in a thread of its own, none waited for."""

from __future__ import annotations

import contextlib
import logging
import socket
import sys
import threading
import time
from http.server import ThreadingHTTPServer
from typing import Any

from device_profiles.errors import OutputError
from runtime.sinks._preview.address import Address
from runtime.sinks._preview.answers import Client
from runtime.sinks._preview.feed import Feed

_LOG = logging.getLogger("edge_sdk.preview")

CLIENTS = 64
"""Connections at a time; further ones are told to come later."""
REQUEST_S = 10.0
"""How long a client may take to ask."""
_SEND_S = 5.0
"""How long a client may be silent, or take for one piece; who is slower is cut off."""
_UNSENT = 1 << 17
"""Bytes that wait in the system for a slow client: few, as all of them are pictures of the past."""
_TICK_S = 0.25
_FAREWELL_S = 0.5
_PATIENCE_S = 5.0
_BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\n"
    b"Content-Length: 25\r\nConnection: close\r\n\r\ntoo many clients; waiting"
)


class Server(ThreadingHTTPServer):
    """Serves a feed at an address; OutputError when the port is taken or not allowed."""

    daemon_threads = True
    block_on_close = False  # its list of threads leaves daemons out; `close` waits for them
    request_queue_size = 128

    def __init__(self, address: Address, feed: Feed) -> None:
        self.address = address
        self.feed = feed
        self._lock = threading.Lock()
        # Each open connection with the time until which it must have asked for something; None
        # while it is being answered.
        self._open: dict[Any, float | None] = {}
        self._viewers: set[threading.Thread] = set()
        if ":" in address.host:
            self.address_family = socket.AF_INET6
        try:
            super().__init__((address.host, address.port), Client)
        except (OSError, UnicodeError) as error:
            raise _unservable(address, error) from error
        self._loop = threading.Thread(
            target=self.serve_forever, args=(_TICK_S,), name="edge-sdk preview", daemon=True
        )
        self._loop.start()

    def server_bind(self) -> None:
        """Take the port; the base class would also look up the host's name, which can hang."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = self.server_address[:2]  # type: ignore[assignment]

    def service_actions(self) -> None:
        """Note the state of the run, and cut off who takes too long to ask."""
        self.feed.tick()
        now = time.monotonic()
        self._cut(lambda due: due is not None and due < now)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Answer in a thread of its own, or say at once that there is no room."""
        request.settimeout(_SEND_S)
        with self._lock:
            room = len(self._open) < CLIENTS
            if room:
                self._open[request] = time.monotonic() + REQUEST_S
        if not room:
            with contextlib.suppress(OSError):
                request.sendall(_BUSY)
            super().shutdown_request(request)
            return
        _tune(request)
        thread = threading.Thread(
            target=self._answer, args=(request, client_address), name="edge-sdk viewer", daemon=True
        )
        self._viewers.add(thread)
        try:
            thread.start()
        except RuntimeError:  # the system has no threads left
            self._viewers.discard(thread)
            raise

    def asking(self, request: Any, asking: bool) -> None:
        """Note whether a connection is being waited for, and until when."""
        self._open[request] = time.monotonic() + REQUEST_S if asking else None

    def shutdown_request(self, request: Any) -> None:
        """Close one connection."""
        with self._lock:
            self._open.pop(request, None)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say in the log what went wrong with one client; not that it went away."""
        error = sys.exc_info()[1]
        if not isinstance(error, (ConnectionError, TimeoutError)):
            _LOG.error("preview: a request failed (%r)", error, extra={"event": "preview_error"})

    def close(self) -> None:
        """End every connection and every thread, and free the port."""
        self.feed.close()
        self.shutdown()
        self._loop.join()
        self._cut(lambda due: due is not None)
        self._join(_FAREWELL_S)  # for those who watch, to be told
        self._cut(lambda due: True)
        self._join(_PATIENCE_S)
        self.server_close()

    def _answer(self, request: Any, client_address: Any) -> None:
        try:
            self.process_request_thread(request, client_address)
        finally:
            self._viewers.discard(threading.current_thread())

    def _cut(self, which: Any) -> None:
        with self._lock:
            for request, due in self._open.items():
                if which(due):
                    with contextlib.suppress(OSError):
                        request.shutdown(socket.SHUT_RDWR)

    def _join(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        for thread in list(self._viewers):
            thread.join(max(0.0, until - time.monotonic()))


def _tune(request: Any) -> None:
    """Keep little unsent, and find out by itself about a client that vanished."""
    request.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _UNSENT)
    request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    request.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    if hasattr(socket, "TCP_USER_TIMEOUT"):
        timeout_ms = int(3 * _SEND_S * 1000)
        request.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, timeout_ms)


def _unservable(address: Address, error: Exception) -> OutputError:
    why = getattr(error, "strerror", None) or error
    return OutputError(
        f"{address.url}: the preview cannot listen on {address.host} port {address.port} ({why}); "
        "choose another port, or 0 for any free one"
    )

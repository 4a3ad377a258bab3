"""A TCP proxy on the loopback that counts what goes each way: what a network would carry."""

from __future__ import annotations

import contextlib
import socket
import threading


class CountingProxy:
    """Passes connections on to a port of this machine; `up` and `down` are the bytes so far."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._counts = {"up": 0, "down": 0}
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def counts(self) -> tuple[int, int]:
        """Bytes to the device, and from it."""
        with self._lock:
            return self._counts["up"], self._counts["down"]

    def __enter__(self) -> CountingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                ours, _ = self._listener.accept()
            except OSError:  # closed
                return
            theirs = socket.create_connection(("127.0.0.1", self._to))
            for source, sink, way in ((ours, theirs, "up"), (theirs, ours, "down")):
                source.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                threading.Thread(
                    target=self._pass_on, args=(source, sink, way), daemon=True
                ).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, way: str) -> None:
        with contextlib.suppress(OSError):  # the other end is gone
            while data := source.recv(1 << 16):
                with self._lock:
                    self._counts[way] += len(data)
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

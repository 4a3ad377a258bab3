"""Monitor: once a second, what a run is, for all who want to know."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence

from runtime.status import RunStatus

Observer = Callable[[RunStatus], None]
"""Is told the state of the run at its first result, once a second and at the end, by a thread of
its own."""

_log = logging.getLogger("edge_sdk.monitor")


class Monitor:
    """Makes a status every `interval_s` and tells the observers.

    `make` is called by one thread at a time. An observer that fails is told of in the log and not
    asked again: who watches a run must not end it.
    """

    def __init__(
        self,
        make: Callable[[], RunStatus],
        observers: Sequence[Observer] = (),
        interval_s: float = 1.0,
    ) -> None:
        self._make = make
        self._observers = list(observers)
        self._interval_s = interval_s
        self._ended = False
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def hurry(self) -> None:
        """Tell the observers at once: something came to be that they wait for."""
        self._wake.set()

    def stop(self) -> None:
        """Tell the observers the last state and end."""
        self._ended = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()
            self._tick()

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            # From a fixed start, so that a slow observer makes no interval longer.
            due = max(due + self._interval_s, time.monotonic())
            hurried = self._wake.wait(due - time.monotonic())
            if self._ended:
                return
            if hurried:
                self._wake.clear()
            self._tick()

    def _tick(self) -> None:
        status = self._make()
        for observer in list(self._observers):
            try:
                observer(status)
            except Exception as error:  # noqa: BLE001 - it is told of, and the run goes on
                facts = {"event": "observer_failed"}
                _log.error("an observer of the run failed: %r", error, extra=facts)
                self._observers.remove(observer)

"""Outlet: a sink in a thread of its own, so that a slow one holds nobody up."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from runtime.channel import Channel
from runtime.frame import Frame
from runtime.sinks import Sink, Stamp, StopRun
from runtime.tasks import Result
from runtime.telemetry import LatencyRecorder

LIVE_QUEUE = 16
"""Results of a live run that wait for a slow sink at most, each with its frame: 44 MB at 720p."""


@dataclass(frozen=True)
class Hooks:
    """What an outlet tells the run: that its user ends it, and what went wrong."""

    stop: Callable[[], None]
    fail: Callable[[BaseException], None]


class Outlet:
    """Passes results on to `sink`, and closes it after the last one.

    A sink of which only the newest result matters loses those that came while it was busy. Any
    other gets every result where `lossless`, and is waited for when more than `queue` wait for
    it; else it loses the oldest beyond that. `written` and `skipped` count results.
    """

    def __init__(
        self, name: str, sink: Sink, hooks: Hooks, times: LatencyRecorder, queue: int | None
    ) -> None:
        self.name = name
        self.written = 0
        self._sink = sink
        self._hooks = hooks
        self._times = times
        capacity = 1 if sink.newest else queue or LIVE_QUEUE
        self._channel: Channel[tuple[Frame, Result, Stamp]] = Channel(
            capacity, newest=sink.newest or queue is None
        )
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)

    @property
    def skipped(self) -> int:
        """How many results the sink had no time for."""
        return self._channel.dropped

    def start(self) -> None:
        """Begin to pass results on."""
        self._thread.start()

    def put(self, frame: Frame, result: Result, stamp: Stamp) -> bool:
        """Hand over one result; False when the sink has failed."""
        return self._channel.put((frame, result, stamp))

    def finish(self) -> None:
        """Let the sink write what waits, close it, and return when that is done."""
        self._channel.finish()
        if self._thread.is_alive():
            self._thread.join()
        elif self._thread.ident is None:  # it never ran
            self._close()

    def _run(self) -> None:
        try:
            self._write()
        except BaseException as error:  # noqa: BLE001 - raised again in the caller's thread
            self._hooks.fail(error)
        finally:
            self._channel.abort()
            self._close()

    def _write(self) -> None:
        ended = False
        while (item := self._channel.get()) is not None:
            if ended:
                continue
            try:
                with self._times.timing():
                    self._sink.write(*item)
                self.written += 1
            except StopRun:
                ended = True
                self._hooks.stop()
            del item  # a frame must not be held while the next one is waited for

    def _close(self) -> None:
        try:
            self._sink.close()
        except Exception as error:  # noqa: BLE001 - every sink must be closed; raised later
            self._hooks.fail(error)

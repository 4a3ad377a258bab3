"""The newest of everything, for however many watch: pictures, records, states over time.

Nothing is made before somebody asks for it: a picture is drawn and encoded by the first viewer who
wants it, for all of them, and by nobody where nobody does. Whoever is slow finds the newest when
they come back; nobody waits for them.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import OutputError
from runtime.drawing import annotated
from runtime.frame import Frame
from runtime.opencv import opencv
from runtime.sinks._json import json_text
from runtime.sinks._preview.address import Look
from runtime.sinks.base import Record, SinkContext, Stamp
from runtime.status import RunStatus, SourceState
from runtime.tasks.base import Result

_LOG = logging.getLogger("edge_sdk.preview")

_RECORDS = 64
"""A reader of records who is further behind than this has missed the older ones."""
_POINTS = 600
"""The states of ten minutes, one per second."""
_POINT_S = 1.0
_WORST_LAST = (SourceState.LIVE, SourceState.CONNECTING, SourceState.STALE, SourceState.LOST)


class Picture:
    """The newest picture of one source; `serial` counts all that came before it, from 1."""

    def __init__(self, frame: Frame, result: Result, serial: int) -> None:
        self.source = frame.source
        self.index = frame.index
        self.captured_ns = frame.captured_ns
        self.serial = serial
        self._frame_result: tuple[Frame, Result] | None = (frame, result)
        self._lock = threading.Lock()
        self._jpeg = b""

    def jpeg(self, look: Look) -> bytes:
        """Return the annotated picture as JPEG, made at the first call."""
        with self._lock:
            if self._frame_result:
                self._jpeg = _encoded(annotated(*self._frame_result), look)
                self._frame_result = None
            return self._jpeg

    def age_s(self) -> float:
        """Return the seconds since the picture was captured."""
        return max(0.0, (time.monotonic_ns() - self.captured_ns) / 1e9)


@dataclass(frozen=True)
class News:
    """What a reader of events has not seen: records as JSON, how many were missed, states."""

    records: tuple[str, ...]
    missed: int
    points: int


class Feed:
    """Takes results from the pipeline and gives them to any number of viewers, in any threads."""

    def __init__(self, context: SinkContext, look: Look) -> None:
        self.look = look
        self.facts = dict(context.facts)
        self._status = context.status
        self._complained = False
        self._changed = threading.Condition()
        self._pictures: dict[str, Picture] = {}
        self._serial = 0
        self._records: deque[str] = deque(maxlen=_RECORDS)
        self._recorded = 0
        self._readers = 0
        self.watchers = 0
        self._points: deque[dict[str, Any]] = deque(maxlen=_POINTS)
        self._pointed = 0
        self.noted: RunStatus | None = None
        self._next_point = time.monotonic()
        self._opened = self._written = time.monotonic()
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        """Whether the run is over."""
        return self._closed.is_set()

    @property
    def silence_s(self) -> float:
        """Seconds since the last result, or since the start."""
        return time.monotonic() - self._written

    @property
    def results(self) -> int:
        """How many results came."""
        return self._serial

    def status(self) -> RunStatus | None:
        """Return the state of the run now; None where it cannot tell, which is logged once."""
        try:
            return self._status()
        except Exception as error:  # noqa: BLE001 - whatever it is, the rest is still to be seen
            if not self._complained:
                facts = {"event": "preview_error"}
                _LOG.error("the run cannot tell its state (%r)", error, extra=facts, exc_info=error)
            self._complained = True
            return None

    def put(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Take one result; its record is made into JSON only while somebody reads them."""
        text = json_text(Record.of(frame, result, stamp).to_json()) if self._readers else ""
        with self._changed:
            self._serial += 1
            self._written = time.monotonic()
            self._pictures[frame.source] = Picture(frame, result, self._serial)
            if text:
                self._records.append(text)
                self._recorded += 1
            self._changed.notify_all()

    def tick(self) -> None:
        """Note the state of the run once a second, for all readers; called more often than that."""
        now = time.monotonic()
        if now < self._next_point:
            return
        self._next_point = now + _POINT_S
        self.noted = status = self.status()
        with self._changed:
            if status is not None:
                self._points.append(_point(status, now))
            self._pointed += 1
            self._changed.notify_all()

    def close(self) -> None:
        """End it for all who wait."""
        with self._changed:
            self._closed.set()
            self._changed.notify_all()

    def sources(self) -> list[str]:
        """Return the URIs of the sources, in the order of the status, then as they appeared."""
        status = self.status()
        known = [source.uri for source in status.sources] if status else []
        return [*known, *(uri for uri in list(self._pictures) if uri not in known)]

    def pictures(self, *sources: str) -> list[Picture]:
        """Return the newest picture of each of these sources, or of all."""
        return self.next_pictures(0, 0, *sources)

    def next_pictures(self, after: int, timeout_s: float, *sources: str) -> list[Picture]:
        """Wait for pictures newer than number `after`, of these sources or of all.

        Returns the newest of each, none where the time is over or the run has ended.
        """

        def newer() -> list[Picture]:
            every = self._pictures.values()
            return [p for p in every if p.serial > after and (not sources or p.source in sources)]

        with self._changed:
            self._changed.wait_for(lambda: self.closed or newer(), timeout_s)
            return [] if self.closed else sorted(newer(), key=lambda picture: picture.serial)

    def rest(self, seconds: float) -> None:
        """Wait, but not beyond the end of the run."""
        self._closed.wait(seconds)

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Count one more who watches the pictures, while the body runs."""
        with self._changed:
            self.watchers += 1
        try:
            yield
        finally:
            with self._changed:
                self.watchers -= 1

    @contextmanager
    def reading(self) -> Iterator[Reader]:
        """Have records made while the body runs, and return what reads them."""
        with self._changed:
            self._readers += 1
            reader = Reader(self, self._recorded, self._pointed)
        try:
            yield reader
        finally:
            with self._changed:
                self._readers -= 1

    def points(self) -> list[dict[str, Any]]:
        """Return the states of the last ten minutes, oldest first."""
        with self._changed:
            return list(self._points)

    def news(self, recorded: int, pointed: int, timeout_s: float) -> News:
        """Wait for what came after so many records and states; empty where the time is over."""

        def changed() -> bool:
            return self._recorded > recorded or self._pointed > pointed or self.closed

        with self._changed:
            self._changed.wait_for(changed, timeout_s)
            count = self._recorded - recorded
            kept = min(count, len(self._records))
            records = tuple(list(self._records)[len(self._records) - kept :])
            return News(records, count - kept, self._pointed - pointed)


class Reader:
    """The place of one reader among the records and states."""

    def __init__(self, feed: Feed, recorded: int, pointed: int) -> None:
        self._feed = feed
        self._recorded = recorded
        self._pointed = pointed

    def read(self, timeout_s: float) -> News:
        """Wait for what is new to this reader."""
        news = self._feed.news(self._recorded, self._pointed, timeout_s)
        self._recorded += len(news.records) + news.missed
        self._pointed += news.points
        return news


def _encoded(image: NDArray[np.uint8], look: Look) -> bytes:
    cv2 = opencv()
    height, width = image.shape[:2]
    if width > look.width:
        size = (look.width, max(1, round(height * look.width / width)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    done, data = cv2.imencode(".jpg", image, (cv2.IMWRITE_JPEG_QUALITY, look.quality))
    if not done:
        raise OutputError(f"OpenCV cannot encode a picture of {width}x{height} as JPEG")
    return bytes(data)


def _point(status: RunStatus, now: float) -> dict[str, Any]:
    """Return what is plotted of a status; `at` in seconds, stages as medians in milliseconds."""
    states = [source.state for source in status.sources]
    stages = {name: times.get("p50_ms") for name, times in status.recent.items()}
    age = status.recent.get("age", {})
    stages.pop("age", None)
    return {
        "at": round(now, 2),
        "state": max(states, key=_WORST_LAST.index).value if states else None,
        "fps": status.fps if status.seconds >= _POINT_S else None,  # no interval has ended yet
        "age_p50": age.get("p50_ms"),
        "age_p99": age.get("p99_ms"),
        "stages": stages,
        "temperature": status.board.get("temperature_c"),
        "throttled": bool(status.board.get("throttled")),
    }

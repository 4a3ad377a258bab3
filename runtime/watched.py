"""Watched: a live source under supervision, so that what it gives is new, or known not to be.

One thread reads the source and keeps its newest frame; another watches the age of that frame,
gives the connection up when it grows too old, and connects again. A call that hangs in C cannot be
ended: its thread is left behind, and closes its source should the call ever return. Few are left
behind at a time, beyond that connecting waits; `isolated` has a process for those who need more.

    CONNECTING ──first frame──> LIVE ──too old──> STALE ──older still, or failed──> LOST ──┐
        ^                        ^──new frame──────┘                                       │
        └──────────────────────────at once, then after pauses that grow────────────────────┘
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from device_profiles.errors import EdgeError, SourceError
from runtime.frame import Frame
from runtime.sources._options import SourceOptions, redacted
from runtime.sources.base import Source
from runtime.status import SourceState, SourceStatus

MAX_HUNG = 4
"""Connections that hang and were left behind, at most; each may hold a thread and a decoder."""

_STALE_S = 1.0
_STALE_INTERVALS = 3
_UNKNOWN_STALE_S = 3.0  # while neither a rate is known nor two frames have been seen
_LOST_SHARE = 1.5  # of the stale age: a connection with a newest frame so old is given up
_QUICK_OPEN_S, _OPEN_SHARE = 2.0, 3.0  # a connection that opened in t should do so again in 3 t
_FIRST_PAUSE_S = 0.1
_SETTLED_S = 1.0  # a connection that gave frames for less than this counts as a failed attempt
_FEW_FRAMES = 2  # a connection lost after so few may be one to a slow camera: the next one gets
_MOST_PATIENCE = 8  # twice the patience, up to so many times
_GRACE_S = 0.2  # for a connection to end by itself before the next one is tried
_CLOSE_GRACE_S = 1.0
_SMOOTHING = 0.1  # weight of the newest interval in their mean

_log = logging.getLogger("edge_sdk.watched")
_WITH_FRAMES = {SourceState.LIVE, SourceState.STALE}
_LEVELS = {SourceState.STALE: logging.WARNING, SourceState.LOST: logging.WARNING}


@dataclass(eq=False)
class _Link:
    """One connection; its fields are guarded by the lock of the source that it serves."""

    started: float
    thread: threading.Thread | None = None
    source: Source | None = None
    frames: int = 0  # captured
    given: int = 0  # of them, what arrived here
    index: int = -1  # of its newest frame, by its own count
    arrived: float = 0.0
    newest: float = 0.0  # time of capture of its newest frame, or when it could go on
    held: bool = False  # waits for the reader of `Watched`
    error: BaseException | None = None
    over: bool = False  # it gives no more frames; `error` says why, None at the end of a file
    gone: bool = False  # its thread ends


class Watched:
    """A `Source` made of those that `open` opens one after the other, from when it is made.

    `read` waits for a frame newer than the last. By default it keeps one frame and drops those
    that were overtaken; with a policy that does not drop, the source is made to wait. `dropped`
    counts frames that were captured and never read. It ends when it is closed, or when a source
    with a known `count` does. The first connection must give a frame, unless `options.wait`:
    otherwise `read` raises SourceError. MissingError and RequestError are raised at any time.
    """

    def __init__(
        self, uri: str, open_source: Callable[[], Source], options: SourceOptions | None = None
    ) -> None:
        self.uri = redacted(uri)
        self.live = True
        self.fps: float | None = None
        self.count: int | None = None
        self.dropped = 0
        self._open = open_source
        self._options = options or SourceOptions()
        self.policy = self._options.policy
        # Re-entrant, as a signal handler may ask for anything in the middle of anything.
        lock = threading.RLock()
        self._readers = threading.Condition(lock)
        self._events = threading.Condition(lock)  # for the thread that watches
        self._state, self._since_ns, self._reason = SourceState.CONNECTING, time.monotonic_ns(), ""
        self._link: _Link | None = None
        self._hung: list[_Link] = []
        self._waiting: Frame | None = None
        self._newest_ns = -1
        self._frames = self._reconnects = 0
        self._interval: float | None = None
        self._open_s: float | None = None
        self._failures = self._slow = 0  # in a row
        self._closed = self._ended = False
        self._error: EdgeError | None = None
        self._told = ""
        self._watch = threading.Thread(target=self._run_watch, name="watch", daemon=True)
        self._watch.start()

    def read(self) -> Frame | None:
        """Wait for a frame newer than the last one and return it; None after the end or `close`."""
        with self._readers:
            self._readers.wait_for(lambda: self._waiting is not None or self._is_over())
            frame, self._waiting = self._waiting, None
            if self._closed:
                return None
            if frame is not None:
                self._readers.notify_all()  # a connection may be held until the frame is taken
                return frame
            if self._error is not None:
                raise self._error
            return None

    def wait_for_first(self) -> None:
        """Return when there was a frame; raises what `read` would raise."""
        with self._readers:
            self._readers.wait_for(lambda: self._frames or self._is_over())
            if self._error is not None:
                raise self._error

    def interrupt(self) -> None:
        """End the source without waiting: a `read` in another thread returns None."""
        with self._readers:
            self._closed = True
            self._waiting = None
            self._readers.notify_all()
            self._events.notify_all()

    def close(self) -> None:
        """End the source from any thread; what hangs is left behind, after a second at most."""
        self.interrupt()
        self._watch.join(_CLOSE_GRACE_S + _GRACE_S)

    def status(self) -> SourceStatus:
        """Return what the source is doing now."""
        with self._readers:
            age = None if self._newest_ns < 0 else (time.monotonic_ns() - self._newest_ns) / 1e9
            return SourceStatus(
                self.uri,
                self._state,
                self._since_ns,
                age,
                self._frames,
                self._reconnects,
                self._reason,
            )

    # --- the thread that watches

    def _run_watch(self) -> None:
        while not self._ended:
            link = self._connect()
            reason = self._attend(link)
            slow = 0 < link.given <= _FEW_FRAMES and not link.over
            self._leave(link)
            with self._events:
                settled = link.frames and link.arrived - link.started > _SETTLED_S
                self._failures = 0 if settled else self._failures + 1
                if link.given:
                    self._slow = self._slow + 1 if slow else 0
                if reason is not None:
                    self._set(SourceState.LOST, reason)
                    self._error = self._fatal(link, reason)
                    if self._error is None:
                        self._pause(reason)
                self._ended = self._closed or reason is None or self._error is not None
                self._readers.notify_all()
                # Its traceback refers to the frames, they to the connection, and that to it: the
                # source and its pictures would stay until Python looks for such circles.
                link.error = link.source = None

    def _connect(self) -> _Link:
        link = _Link(time.monotonic())
        link.thread = threading.Thread(
            target=self._run_link, args=(link,), name="capture", daemon=True
        )
        with self._events:
            self._link = link
            self._set(SourceState.CONNECTING, self._reason)
        try:
            link.thread.start()
        except RuntimeError as error:  # the system is out of threads, perhaps not for long
            link.error, link.thread, link.over, link.gone = error, None, True, True
        return link

    def _attend(self, link: _Link) -> str | None:
        """Watch a connection until it is lost, and return why; None at the end."""
        with self._events:
            while not self._closed:
                if link.over:
                    return None if link.error is None else self._line(link.error)
                patience, reason = self._judge(link)
                if reason:
                    return reason
                self._events.wait(patience)
        return None

    def _judge(self, link: _Link) -> tuple[float | None, str]:
        """Return how long to wait before looking again, or why the connection is given up."""
        now = time.monotonic()
        if link.held:
            return None, ""
        if not link.frames:
            limit = self._open_limit()
            if now - link.started < limit:
                return limit - (now - link.started), ""
            return None, f"{self.uri}: gives no frame within {limit:.3g} s of connecting"
        age, stale = now - link.newest, self._stale_age()
        if age < stale:
            return stale - age, ""
        reason = f"{self.uri}: its newest frame is older than {stale:.3g} s"
        lost = _LOST_SHARE * stale * min(2**self._slow, _MOST_PATIENCE)
        if age < lost:
            self._set(SourceState.STALE, reason)
            return lost - age, ""
        return None, reason

    def _stale_age(self) -> float:
        if self._options.stale:
            return self._options.stale
        interval = self._interval or (1 / self.fps if self.fps else None)
        if interval is None:
            return _UNKNOWN_STALE_S
        return max(_STALE_S, _STALE_INTERVALS * interval)

    def _open_limit(self) -> float:
        if self._open_s is None:
            return self._options.open
        return min(self._options.open, max(_QUICK_OPEN_S, _OPEN_SHARE * self._open_s))

    def _leave(self, link: _Link) -> None:
        with self._events:
            self._link = None
            source = link.source
            grace = _CLOSE_GRACE_S if self._closed else _GRACE_S
            self._readers.notify_all()  # it may be held
        interrupt = getattr(source, "interrupt", None)
        if interrupt is not None:
            interrupt()
        if link.thread is not None:
            link.thread.join(grace)
        with self._events:
            if not link.gone:
                self._hung.append(link)

    def _fatal(self, link: _Link, reason: str) -> EdgeError | None:
        """Return what no further attempt can mend, or is not asked to."""
        if isinstance(link.error, EdgeError) and not isinstance(link.error, SourceError):
            return link.error
        if self._frames or self._options.wait or self._closed:
            return None
        error = SourceError(f"{reason} (to wait for it, end the address in #wait=1)")
        error.__cause__ = link.error
        return error

    def _pause(self, reason: str) -> None:
        """Wait before the next attempt: not at all, then longer each time, never in step."""
        longest = min(self._options.retry_cap, _FIRST_PAUSE_S * 2 ** min(self._failures - 1, 16))
        pause = random.uniform(0.5, 1.0) * longest if self._failures else 0.0
        self._events.wait_for(lambda: self._closed, pause)
        if self._is_crowded():
            crowd = f"{len(self._hung)} connections hang, waiting for one to return"
            self._set(SourceState.LOST, f"{reason}; {crowd} (#isolate=process can end them)")
            self._events.wait_for(lambda: self._closed or not self._is_crowded())

    def _is_crowded(self) -> bool:
        self._hung = [link for link in self._hung if not link.gone]
        return len(self._hung) >= MAX_HUNG

    # --- the thread of a connection

    def _run_link(self, link: _Link) -> None:
        try:
            source = self._open()
            try:
                self._pass_on(link, source)
            except BaseException as error:  # noqa: BLE001 - whatever it fails with, it is lost
                self._finish(link, error)
            finally:
                source.close()
        except BaseException as error:  # noqa: BLE001 - as above, from opening or closing
            self._finish(link, error)
        finally:
            with self._events:
                link.over = link.gone = True
                self._events.notify_all()

    def _pass_on(self, link: _Link, source: Source) -> None:
        with self._events:
            link.source = source
            if link is not self._link:
                return
        while (frame := source.read()) is not None:
            if not self._deliver(link, source, frame):
                return
        if source.count is None:
            raise SourceError(f"{self.uri}: the stream ended")
        self._finish(link, None)

    def _finish(self, link: _Link, error: BaseException | None) -> None:
        with self._events:
            if not link.over:
                link.over = True
                link.error = error if link is self._link else None
                self._events.notify_all()

    def _deliver(self, link: _Link, source: Source, frame: Frame) -> bool:
        """Put the frame where `read` finds it; False when the connection was given up."""
        with self._readers:
            if link is not self._link or self._closed:
                return False
            now_ns = time.monotonic_ns()
            captured_ns = min(frame.captured_ns, now_ns)
            new = max(1, frame.index - link.index)
            self._note_arrival(link, source, now_ns / 1e9, new)
            link.index = frame.index
            self._frames += new
            self.dropped += new - 1
            if captured_ns <= self._newest_ns:
                self.dropped += 1
                return True
            self._newest_ns = captured_ns
            # A source that is made to wait gives frames as old as its reader lets them get.
            link.newest = (now_ns if self._waits() else captured_ns) / 1e9
            if now_ns / 1e9 - link.newest < self._stale_age():
                self._set(SourceState.LIVE, "")
            index = self._frames - 1
            return self._offer(link, replace(frame, index=index, captured_ns=captured_ns))

    def _note_arrival(self, link: _Link, source: Source, now: float, new: int) -> None:
        if link.frames:
            interval = (now - link.arrived) / new
            mean = interval if self._interval is None else self._interval
            self._interval = mean + _SMOOTHING * (interval - mean)
        else:
            self.fps, self.count, self.live = source.fps, source.count, source.live
            self._reconnects += self._open_s is not None
            self._open_s = now - link.started
            self._events.notify_all()  # it is watched by another measure now
        link.frames += new
        link.given += 1
        link.arrived = now

    def _offer(self, link: _Link, frame: Frame) -> bool:
        """Leave the frame for `read`, in place of an older one or after it was taken."""
        if self._waits() and self._waiting is not None:
            link.held = True
            self._readers.wait_for(
                lambda: self._waiting is None or self._closed or link is not self._link
            )
            link.held = False
            link.newest = link.arrived = time.monotonic()
            self._events.notify_all()
            if self._closed or link is not self._link:
                return False
        self.dropped += self._waiting is not None
        self._waiting = frame
        self._readers.notify_all()
        return True

    # --- under the lock

    def _waits(self) -> bool:
        return not self.policy.drops if self.policy else not self.live

    def _is_over(self) -> bool:
        return self._closed or self._ended

    def _set(self, state: SourceState, reason: str) -> None:
        self._reason = reason
        if state is self._state:
            return
        # A camera that is away for a night is told once, not at every attempt.
        news = bool({self._state, state} & _WITH_FRAMES) or reason != self._told
        self._state, self._since_ns = state, time.monotonic_ns()
        if state is SourceState.LIVE:
            self._events.notify_all()
        self._told = reason
        level = _LEVELS.get(state, logging.INFO) if news else logging.DEBUG
        facts = {"event": f"source_{state.value.lower()}", "source": self.uri, "reason": reason}
        text = "%s is %s" if not reason else "%s is %s (%s)"
        arguments = (self.uri, state.value, *filter(None, [reason.removeprefix(f"{self.uri}: ")]))
        _log.log(level, text, *arguments, extra=facts)

    def _line(self, error: BaseException) -> str:
        """Return an error as one line that says no secret."""
        known = isinstance(error, EdgeError)
        return redacted(" ".join((str(error) if known else f"{self.uri}: {error!r}").split()))

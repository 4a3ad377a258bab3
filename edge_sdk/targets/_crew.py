"""Several sessions on one target that share out a work, since one emulated CPU is slow."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

from device_profiles.errors import EngineError
from edge_sdk.targets._engine import RemoteEngine
from edge_sdk.targets._session import Session
from edge_sdk.targets.base import Target
from runtime.engines import EngineOptions

T = TypeVar("T")


class Member:
    """One session of a crew with the engines that it opened so far; for one thread at a time."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._session: Session | None = None
        self._engines: dict[int, RemoteEngine] = {}
        self._ended = False

    def open(
        self, rung: int, engine: str, model: Callable[[], bytes], options: EngineOptions
    ) -> RemoteEngine:
        """Return the engine of a rung, opened the first time; a process that died is replaced."""
        session = self._ready()
        if rung not in self._engines:
            self._engines[rung] = session.open(engine, model(), options)
        return self._engines[rung]

    def start(self) -> None:
        """Start the process, unless it runs."""
        self._ready()

    def about(self) -> dict[str, Any]:
        """Return the facts of the machine."""
        return self._ready().about()

    def _ready(self) -> Session:
        if self._session is None or self._session.closed:
            if self._ended:
                raise EngineError(f"what is done on {self._target.uri} was ended")
            self._engines.clear()
            self._session = Session(self._target)
            if self._ended:  # meanwhile
                self._session.kill()
        return self._session

    def kill(self) -> None:
        """End the process at once, from any thread: what it is asked fails, and no other starts."""
        self._ended = True
        session = self._session
        if session is not None:
            session.kill()

    def close(self) -> None:
        """End the session."""
        self._ended = True
        if self._session is not None:
            self._session.close()


class Crew:
    """As many sessions as make sense on `target`, each of which does one thing at a time."""

    def __init__(self, target: Target) -> None:
        self.target = target
        self.size = target.lanes
        self._free: SimpleQueue[Member] = SimpleQueue()
        self._members = [Member(target) for _ in range(self.size)]
        for member in self._members:
            self._free.put(member)
        self._pool = ThreadPoolExecutor(self.size, thread_name_prefix="crew")

    def __enter__(self) -> Crew:
        """Return the crew itself, its target ready: to build one takes minutes, and Ctrl-C ends
        what the calling thread waits for. Raises as `Session` does."""
        try:
            self._members[0].start()
        except BaseException:
            self._pool.shutdown()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Leave out what waits, let what runs end (not where the work failed or was interrupted:
        an emulated inference takes minutes), and close the sessions."""
        if error is not None:
            for member in self._members:
                member.kill()
        self._pool.shutdown(cancel_futures=True)
        for member in self._members:
            member.close()

    def submit(self, work: Callable[[Member], T]) -> Future[T]:
        """Do `work` with the next free member; the future raises what it raises."""

        def run() -> T:
            member = self._free.get()
            try:
                return work(member)
            finally:
                self._free.put(member)

        return self._pool.submit(run)

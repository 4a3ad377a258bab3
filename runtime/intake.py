"""Intake: the frames of several sources, each with a policy of its own, taken in fair turns."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Generic, TypeVar

from runtime.sources import Policy

Item = TypeVar("Item")


class Intake(Generic[Item]):
    """A queue for each source, with one writer each and one reader for all.

    A full queue of a policy that drops loses its oldest item, which is counted in `dropped`; any
    other makes its writer wait. An intake ends as a `Channel` does: `finish` lets the reader take
    what is left, `abort` throws that away.
    """

    def __init__(self, policies: Sequence[Policy]) -> None:
        self._policies = tuple(policies)
        self._queues: list[deque[Item]] = [deque() for _ in policies]
        # Re-entrant, as a signal handler may end an intake in the middle of anything.
        self._changed = threading.Condition(threading.RLock())
        self._ended = [False] * len(self._queues)
        self._turn = 0
        self.dropped = [0] * len(self._queues)

    def put(self, source: int, item: Item) -> bool:
        """Hand over an item of `source`, waiting for room; False, and not taken, at the end."""
        policy, queue = self._policies[source], self._queues[source]
        with self._changed:
            if not policy.drops:
                self._changed.wait_for(lambda: self._ended[source] or len(queue) < policy.depth)
            if self._ended[source]:
                return False
            if len(queue) == policy.depth:
                queue.popleft()
                self.dropped[source] += 1
            queue.append(item)
            self._changed.notify_all()
            return True

    def take(self, most: int) -> list[tuple[int, Item]]:
        """Wait for items and take at most `most`, one of each source; none at the end of all.

        Sources take turns: the one that was served last is the last to be asked.
        """
        with self._changed:
            self._changed.wait_for(lambda: any(self._queues) or all(self._ended))
            count = len(self._queues)
            taken: list[tuple[int, Item]] = []
            for source in ((self._turn + step) % count for step in range(count)):
                if self._queues[source] and len(taken) < most:
                    taken.append((source, self._queues[source].popleft()))
            if taken:
                self._turn = (taken[-1][0] + 1) % count
                self._changed.notify_all()
            return taken

    def finish(self, source: int | None = None) -> None:
        """Refuse further items of `source`, or of all; the reader takes what is left."""
        with self._changed:
            for index in range(len(self._ended)) if source is None else (source,):
                self._ended[index] = True
            self._changed.notify_all()

    def part(self, source: int) -> Part:
        """Return what ends with `source`."""
        return Part(self, source)

    def abort(self) -> None:
        """Refuse further items and throw away what is left."""
        with self._changed:
            self._ended = [True] * len(self._ended)
            for queue in self._queues:
                queue.clear()
            self._changed.notify_all()


class Part:
    """What one source has of an intake."""

    def __init__(self, intake: Intake[Any], source: int) -> None:
        self._intake = intake
        self._source = source

    def finish(self) -> None:
        """Refuse further items of the source; the reader takes what is left."""
        self._intake.finish(self._source)

    abort = finish  # what other sources gave is theirs

"""Channel: a bounded hand-over of items from one thread to the next."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Channel(Generic[Item]):
    """A queue of at most `capacity` items with one writer and one reader.

    A full channel makes the writer wait, or, with `newest`, drops the oldest item and counts it
    in `dropped`. It ends in two ways: `finish` lets the reader take what is left, `abort` throws
    that away. After either, `put` refuses.
    """

    def __init__(self, capacity: int, newest: bool = False) -> None:
        self._capacity = capacity
        self._newest = newest
        self._items: deque[Item] = deque()
        # Re-entrant, as a signal handler may end a channel in the middle of anything.
        self._changed = threading.Condition(threading.RLock())
        self._ended = False
        self._wanted = False
        self.dropped = 0

    def put(self, item: Item) -> bool:
        """Hand over `item`, waiting for room; False, and not taken, when the channel has ended."""
        with self._changed:
            if not self._newest:
                self._changed.wait_for(self._has_room)
            if self._ended:
                return False
            if len(self._items) == self._capacity:
                self._items.popleft()
                self.dropped += 1
            self._items.append(item)
            self._changed.notify_all()
            return True

    def get(self) -> Item | None:
        """Take the next item, waiting for one; None when the channel has ended and is empty."""
        with self._changed:
            self._wanted = True
            self._changed.notify_all()
            self._changed.wait_for(lambda: self._items or self._ended)
            self._wanted = False
            if not self._items:
                return None
            item = self._items.popleft()
            self._changed.notify_all()
            return item

    def wait_for_room(self) -> bool:
        """Wait until `put` would not; False when the channel has ended."""
        with self._changed:
            self._changed.wait_for(self._has_room)
            return not self._ended

    def wait_for_reader(self) -> bool:
        """Wait until the reader waits for an item; False when the channel has ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or (self._wanted and not self._items))
            return not self._ended

    def finish(self) -> None:
        """Refuse further items; the reader takes what is left."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def abort(self) -> None:
        """Refuse further items and throw away what is left."""
        with self._changed:
            self._ended = True
            self._items.clear()
            self._changed.notify_all()

    def _has_room(self) -> bool:
        return self._ended or len(self._items) < self._capacity

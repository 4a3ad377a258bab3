"""Pool: the pictures of a source, whose memory is used again when nobody holds them any more.

A fresh picture of 720p is 2.7 MB that the system maps, clears page by page and unmaps again, every
frame. Whoever gets a picture may keep it, from any thread, and says nothing when done with it: so
what is free is asked of Python itself, which counts the references to every object. A view of an
array refers to the array that owns the memory, a memoryview and an OpenCV matrix do too; weak
references and bare addresses do not, and hold nothing.
"""

from __future__ import annotations

import sys
import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST = 16
"""Pictures of a pool; when all are held, further ones are fresh and not kept."""

Image = NDArray[np.uint8]


def _references(items: list[Any], at: int) -> int:
    return sys.getrefcount(items[at])


_UNHELD = _references([object()], 0)
"""What is counted for what a list alone refers to; versions of Python differ by one."""

# Without a global lock a count is a guess while other threads run: there, nothing is reused.
_COUNTS = getattr(sys, "_is_gil_enabled", lambda: True)()


class Pool:
    """Takes in pictures that a decoder allocated, and gives them out to be written over.

        ok, image = capture.read(pool.free())
        pool.keep(image)

    `most` bounds how many it keeps. All are of one shape: another one replaces them.
    """

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._lock = threading.Lock()
        self._images: list[Image] = []

    def free(self) -> Image | None:
        """Return a picture that nobody else holds, contents undefined; None when there is none."""
        with self._lock:
            for at in range(len(self._images) if _COUNTS else 0):
                if _references(self._images, at) == _UNHELD:
                    return self._images[at]
        return None

    def keep(self, image: Image) -> None:
        """Take in a picture, unless it is here, is a view, or there are enough that are in use."""
        # A view's views would refer to the owner of its memory, past the view.
        if image.base is not None or not image.flags.owndata:
            return
        with self._lock:
            if self._images and self._images[0].shape != image.shape:
                self._images.clear()
            known = any(image is other for other in self._images)
            if not known and len(self._images) < self._most:
                self._images.append(image)

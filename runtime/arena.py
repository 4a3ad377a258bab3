"""Memory that two processes map, to hand arrays over in."""

from __future__ import annotations

import math
import mmap
import os
import tempfile
from collections.abc import Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

_ALIGNED = 64  # a cache line: numpy and the kernels of engines like arrays to begin with one

Layout = Sequence[tuple[str, Sequence[int], int]]
"""Arrays in an arena: of each its dtype, its shape, and the byte at which it begins."""


def memory() -> IO[bytes]:
    """Return a file without a name that lies in memory."""
    if hasattr(os, "memfd_create"):  # not in builds of Python against an old C library
        return os.fdopen(os.memfd_create("edge-sdk"), "r+b", buffering=0)
    return tempfile.TemporaryFile(buffering=0)


def end_of(layout: Layout) -> int:
    """Return the byte behind the last array."""
    sizes = ((at, math.prod(shape) * np.dtype(dtype).itemsize) for dtype, shape, at in layout)
    return max((at + -(-size // _ALIGNED) * _ALIGNED for at, size in sizes), default=0)


class Arena:
    """A file of `memory` as one process sees it; it grows with what is put in."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._map: mmap.mmap | None = None

    def put(self, arrays: Sequence[NDArray[Any]], after: int = 0) -> Layout:
        """Copy arrays in, from byte `after` on, and return where they are."""
        layout: list[tuple[str, Sequence[int], int]] = []
        for array in arrays:
            layout.append((str(array.dtype), array.shape, after))
            after = end_of(layout[-1:])
        for view, array in zip(self.get(layout), arrays, strict=True):
            np.copyto(view, array)
        return layout

    def get(self, layout: Layout) -> list[NDArray[Any]]:
        """Return the arrays as views, which the next `put` on either side overwrites."""
        size = max(end_of(layout), 1)
        if self._map is None or len(self._map) < size:
            if os.fstat(self.file.fileno()).st_size < size:
                os.ftruncate(self.file.fileno(), size)
            self._map = mmap.mmap(self.file.fileno(), 0)  # the old one goes with its last view
        return [
            np.ndarray(tuple(shape), np.dtype(dtype), self._map, at) for dtype, shape, at in layout
        ]

    def close(self) -> None:
        """Close the file; views stay valid."""
        self._map = None
        self.file.close()

"""How a picture is cut into tiles that overlap, and which part of the picture each one answers for.

Neighbours are cut apart in the middle of where they overlap, so that a net which looks no further
than half of the overlap has seen all that it would have seen in the whole picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from device_profiles.errors import DataError
from runtime.contract import InputContract

MOST = 16384
"""Tiles of one picture: more are a mistake (8K video in tiles of 64 pixels is 12,000)."""


@dataclass(frozen=True)
class Span:
    """One tile in one direction: it begins at pixel `start` of the picture, and answers for the
    pixels from `first` to before `last`."""

    start: int
    first: int
    last: int


@dataclass(frozen=True)
class Tiling:
    """The tiles of a picture of `height` x `width` (after it was enlarged), row by row."""

    height: int
    width: int
    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    def __len__(self) -> int:
        """Return the number of tiles."""
        return len(self.rows) * len(self.columns)


@lru_cache(maxsize=16)
def tiling(height: int, width: int, contract: InputContract) -> Tiling:
    """Return the tiles of a frame of `height` x `width` pixels for a contract with resize=tile.

    Raises DataError for a frame that is out of proportion to them.
    """
    tall, wide = height * contract.upscale, width * contract.upscale
    found = Tiling(
        tall,
        wide,
        spans(tall, contract.height, contract.overlap),
        spans(wide, contract.width, contract.overlap),
    )
    if len(found) > MOST:
        raise DataError(
            f"a frame of {height}x{width} makes {len(found)} tiles of {contract.height}x"
            f"{contract.width}, more than {MOST}; give larger tiles or a smaller overlap"
        )
    return found


def spans(size: int, tile: int, overlap: int) -> tuple[Span, ...]:
    """Return as few tiles of `tile` pixels as cover `size` and overlap by `overlap` or more.

    They are spread evenly, the last one ends where the picture does. A picture smaller than a
    tile is all in the first part of one.
    """
    if size <= tile:
        return (Span(0, 0, size),)
    count = -((overlap - size) // (tile - overlap))  # rounded up
    starts = [index * (size - tile) // (count - 1) for index in range(count)]
    cuts = [(start + tile + after) // 2 for start, after in pairwise(starts)]
    return tuple(
        Span(start, first, last)
        for start, first, last in zip(starts, [0, *cuts], [*cuts, size], strict=True)
    )

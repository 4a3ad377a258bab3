"""What a JPEG says of itself, without decoding it (ITU-T T.81, annex B)."""

from __future__ import annotations

from collections.abc import Iterator

_START = b"\xff\xd8"
_END = b"\xff\xd9"
_SCAN = 0xDA
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # these three are tables


def is_cut(data: bytes) -> bool:
    """Say whether `data` is a JPEG without its end; OpenCV fills up with grey what is missing."""
    if not data.startswith(_START):
        return False
    for marker, at, _ in _segments(data):
        if marker == _SCAN:  # in what follows, FF D9 can only be the end
            return data.find(_END, at) < 0
        if marker < 0:  # damaged in another way: the decoder says how
            return False
    return True


def size(data: bytes) -> tuple[int, int] | None:
    """Return width and height in pixels, None where no header states them."""
    for marker, at, length in _segments(data):
        if marker in _FRAMES and length >= 7 and at + 9 <= len(data):
            height, width = (int.from_bytes(data[at + n : at + n + 2], "big") for n in (5, 7))
            return width, height
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield the marker of each segment, the index at which it begins, and its length.

    The last one is the start of scan, or a marker of -1 where there should have been one.
    """
    at = 2 if data.startswith(_START) else len(data)
    while at + 4 <= len(data):
        marker = data[at + 1] if data[at] == 0xFF else -1
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        if marker == 0xFF:  # filling
            at += 1
            continue
        yield marker, at, length
        if marker in (-1, _SCAN):
            return
        at += 2 + length

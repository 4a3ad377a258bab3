"""Messages between a host and a device over two pipes: JSON with arrays behind it.

A message is the length of its JSON text (4 bytes, big-endian), the text, and the bytes of the
arrays that the text lists under `arrays`, one after the other, little-endian and C-contiguous.
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Callable, Mapping, Sequence
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]
Message = dict[str, Any]

_LENGTH = struct.Struct(">I")
MAX_TEXT = 64 << 20
"""Longer texts are no messages: something else was written into the pipe."""


class WireError(ValueError):
    """What came in is not a message."""


def send(stream: BinaryIO, message: Mapping[str, Any], arrays: Sequence[Array] = ()) -> None:
    """Write a message and its arrays; OSError when the other side is gone."""
    plain = [np.ascontiguousarray(array).reshape(array.shape) for array in arrays]
    listed = [[array.dtype.newbyteorder("<").str, list(array.shape)] for array in plain]
    text = json.dumps({**message, "arrays": listed}).encode()
    stream.write(_LENGTH.pack(len(text)) + text)
    for array in plain:
        stream.write(array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes())
    stream.flush()


def receive(read: Callable[[int], bytes]) -> tuple[Message, list[Array]] | None:
    """Return the next message with its arrays, None where the other side has ended.

    `read(n)` returns n bytes, fewer only at the end. WireError for anything that is no message.
    """
    head = read(_LENGTH.size)
    if not head:
        return None
    if len(head) < _LENGTH.size or _LENGTH.unpack(head)[0] > MAX_TEXT:
        raise WireError("not a message")
    try:
        message = json.loads(read(_LENGTH.unpack(head)[0]))
        arrays = [_array(read, dtype, shape) for dtype, shape in message.pop("arrays")]
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise WireError(f"not a message: {error!r:.200}") from error
    return message, arrays


def _array(read: Callable[[int], bytes], dtype: str, shape: Sequence[int]) -> Array:
    kind = np.dtype(dtype)
    if kind.kind not in "biuf" or any(type(size) is not int or size < 0 for size in shape):
        raise ValueError("an array is not made of numbers")
    # A copy: arrays of frombuffer cannot be written to, and engines may want to.
    found: Array = np.frombuffer(read(math.prod(shape) * kind.itemsize), kind).reshape(shape).copy()
    return found

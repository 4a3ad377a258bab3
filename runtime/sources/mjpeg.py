"""Source: pictures over HTTP (`http://user:password@camera/stream.mjpg`, `https://...`).

A stream of JPEGs (multipart/x-mixed-replace) is read here: when several have arrived, only the
newest is decoded. Whatever else a server sends is given to FFmpeg (`network.Stream`).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import SourceError
from runtime.frame import Frame
from runtime.jpeg import is_cut, size
from runtime.opencv import opencv
from runtime.sources._multipart import Multipart, Part
from runtime.sources._options import Policy, SourceOptions, redacted
from runtime.sources._stream_clock import StreamClock
from runtime.sources.network import Stream

if TYPE_CHECKING:  # importing what speaks HTTP takes long, and most sources do not
    from runtime.sources._http import Reply

LIVE = True
REDUCES = True

_READ_BYTES = 256 * 2**10
_DRAIN_S = 0.05  # a server that sends faster than we read must not keep us from ever decoding
_MAX_BAD = 10  # pictures in a row that are none
_MAX_PIXELS = 2**27  # more than any camera has; a few bytes may promise 4 billion


def accepts(uri: str) -> bool:
    """Say whether `uri` is an HTTP address."""
    return uri.lower().startswith(("http://", "https://"))


def check(uri: str) -> None:
    """Raise SourceError for an address that names no host."""
    from runtime.sources._http import split

    split(uri)


def open_source(uri: str, options: SourceOptions | None = None) -> Mjpeg | Stream:
    """Open what `uri` gives; SourceError when it cannot be reached or understood."""
    from runtime.sources._http import get

    options = options or SourceOptions()
    reply = get(uri, options.open)
    kind = reply.message.headers.get_content_type()
    if kind.startswith("multipart/"):
        return Mjpeg(uri, options, reply)
    reply.close()
    if kind.startswith("text/"):
        raise SourceError(f"{redacted(uri)}: is a page ({kind}), not a stream; ask for its stream")
    if options.reduce > 1:
        raise SourceError(
            f"{redacted(uri)}: is {kind}; only JPEGs can be decoded reduced (#reduce)"
        )
    return Stream(uri, options)


class Mjpeg:
    """A stream of JPEGs, live."""

    live = True
    count = None
    fps: float | None = None
    policy: Policy | None = None

    def __init__(self, uri: str, options: SourceOptions, reply: Reply) -> None:
        cv2 = opencv()
        self.uri = redacted(uri)
        self._reply = reply
        self._reply.socket.settimeout(options.grab)
        self._grab_s = options.grab
        boundary = reply.message.headers.get_param("boundary") or ""
        self._multipart = Multipart(str(boundary))
        self._clock = StreamClock()
        self._decode = cv2.imdecode
        self._flags = {
            1: cv2.IMREAD_COLOR,
            2: cv2.IMREAD_REDUCED_COLOR_2,
            4: cv2.IMREAD_REDUCED_COLOR_4,
            8: cv2.IMREAD_REDUCED_COLOR_8,
        }[options.reduce]
        self._index = 0
        self._bad = 0

    def read(self) -> Frame:
        """Return the newest picture that has arrived; SourceError when none comes in time."""
        while True:
            part = self._newest_part()
            image = self._picture(part)
            index, self._index = self._index, self._index + 1
            if image is not None:
                self._bad = 0
                return Frame(image, index, self._captured_ns(part), f"frame {index}")
            self._bad += 1
            if self._bad > _MAX_BAD:
                raise SourceError(f"{self.uri}: what it sends are no whole JPEG pictures")

    def close(self) -> None:
        """Close the connection."""
        self._reply.close()

    def interrupt(self) -> None:
        """Make a `read` that waits fail now."""
        self._reply.interrupt()

    def _newest_part(self) -> Part:
        newest: Part | None = None
        until = time.monotonic() + _DRAIN_S
        while newest is None or (time.monotonic() < until and self._reply.is_ready()):
            parts = self._next_parts()
            if parts:
                self._index += len(parts) - (newest is None)
                newest = parts[-1]
        return newest

    def _next_parts(self) -> list[Part]:
        from http.client import HTTPException

        try:
            data = self._reply.message.read1(_READ_BYTES)
        except TimeoutError as error:
            text = f"{self.uri}: sent nothing for {self._grab_s:g} s (#grab)"
            raise SourceError(text) from error
        except (OSError, ValueError, HTTPException) as error:
            raise SourceError(f"{self.uri}: the stream broke off ({error!r})") from error
        if not data:
            raise SourceError(f"{self.uri}: the stream ended")
        try:
            return self._multipart.feed(data)
        except SourceError as error:
            raise SourceError(f"{self.uri}: {error}") from error

    def _picture(self, part: Part) -> NDArray[np.uint8] | None:
        """Return the picture of a part, None when it is none or is cut off."""
        width, height = size(part.content) or (0, 0)
        if not 0 < width * height <= _MAX_PIXELS or is_cut(part.content):
            return None
        image: NDArray[np.uint8] | None
        try:
            image = self._decode(np.frombuffer(part.content, np.uint8), self._flags)
        except opencv().error:
            return None
        return image

    def _captured_ns(self, part: Part) -> int:
        """Return when the part began to arrive, or earlier by the server's own time stamp."""
        stamp = part.headers.get("x-timestamp", "")  # of mjpg-streamer: seconds
        try:
            return self._clock.captured_ns(part.begun_ns, int(float(stamp) * 1e9))
        except (ValueError, OverflowError):  # it has none
            return part.begun_ns

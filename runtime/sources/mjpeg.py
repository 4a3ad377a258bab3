"""Source: pictures over HTTP (`http://user:password@camera/stream.mjpg`, `https://...`).

A stream of JPEGs (multipart/x-mixed-replace) is read here: when several have arrived, only the
newest is decoded. Whatever else a server sends is given to FFmpeg (`network.Stream`).
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, unquote, urljoin, urlsplit, urlunsplit

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import SourceError
from runtime.frame import Frame
from runtime.opencv import opencv
from runtime.sources._multipart import Multipart, Part
from runtime.sources._options import Policy, SourceOptions, redacted
from runtime.sources._stream_clock import StreamClock
from runtime.sources.network import Stream

if TYPE_CHECKING:
    import http.client

LIVE = True
REDUCES = True

_MAX_REDIRECTS = 5
_READ_BYTES = 256 * 2**10
_DRAIN_S = 0.05  # a server that sends faster than we read must not keep us from ever decoding
_MAX_BAD = 10  # pictures in a row that are none
_REDIRECTS = (301, 302, 303, 307, 308)


def accepts(uri: str) -> bool:
    """Say whether `uri` is an HTTP address."""
    return uri.lower().startswith(("http://", "https://"))


def check(uri: str) -> None:
    """Raise SourceError for an address that names no host."""
    _split(uri)


def open_source(uri: str, options: SourceOptions | None = None) -> Mjpeg | Stream:
    """Open what `uri` gives; SourceError when it cannot be reached or understood."""
    options = options or SourceOptions()
    reply = _get(uri, options)
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
                raise SourceError(f"{self.uri}: what it sends are no JPEG pictures")

    def close(self) -> None:
        """Close the connection."""
        self._reply.close()

    def interrupt(self) -> None:
        """Make a `read` that waits fail now."""
        with contextlib.suppress(OSError):  # it is closed already
            self._reply.socket.shutdown(socket.SHUT_RDWR)

    def _newest_part(self) -> Part:
        import http.client

        newest: Part | None = None
        until = time.monotonic() + _DRAIN_S
        while newest is None or (time.monotonic() < until and self._reply.is_ready()):
            try:
                data = self._reply.message.read1(_READ_BYTES)
                parts = self._multipart.feed(data)
            except TimeoutError as error:
                text = f"{self.uri}: sent nothing for {self._grab_s:g} s (#grab)"
                raise SourceError(text) from error
            except (OSError, ValueError, http.client.HTTPException) as error:
                raise SourceError(f"{self.uri}: the stream broke off ({error!r})") from error
            if not data:
                raise SourceError(f"{self.uri}: the stream ended")
            if parts:
                self._index += len(parts) - (newest is None)
                newest = parts[-1]
        return newest

    def _picture(self, part: Part) -> NDArray[np.uint8] | None:
        if not part.content:
            return None
        image: NDArray[np.uint8] | None
        image = self._decode(np.frombuffer(part.content, np.uint8), self._flags)
        return image

    def _captured_ns(self, part: Part) -> int:
        """Return when the part began to arrive, or earlier by the server's own time stamp."""
        stamp = part.headers.get("x-timestamp", "")  # of mjpg-streamer: seconds
        try:
            return self._clock.captured_ns(part.begun_ns, int(float(stamp) * 1e9))
        except (ValueError, OverflowError):  # it has none
            return part.begun_ns


class Reply:
    """An answer whose body is still to be read, with its socket, for time limits."""

    def __init__(self, message: http.client.HTTPResponse, connection: socket.socket) -> None:
        self.message = message
        self.socket = connection

    def is_ready(self) -> bool:
        """Say whether something has arrived that was not read yet."""
        pending = getattr(self.socket, "pending", None)  # what TLS has decrypted
        if pending is not None and pending():
            return True
        poll = select.poll()
        poll.register(self.socket, select.POLLIN)
        return bool(poll.poll(0))

    def close(self) -> None:
        """Close the connection."""
        self.message.close()
        self.socket.close()


def _get(uri: str, options: SourceOptions) -> Reply:
    """Ask for `uri`, as who it names, wherever it is redirected to."""
    authorization = ""
    target = uri
    for _ in range(_MAX_REDIRECTS):
        reply = _ask(target, options.open, authorization)
        status, headers = reply.message.status, reply.message.headers
        if status == 200:
            return reply
        reply.close()
        if status in _REDIRECTS and headers.get("location"):
            target = _with_user(urljoin(target, headers["location"]), target)
        elif status == 401 and not authorization:
            authorization = _authorization(target, headers.get_all("www-authenticate", []))
        else:
            raise SourceError(f"{redacted(uri)}: {_REFUSALS.get(status, f'answers {status}')}")
    raise SourceError(f"{redacted(uri)}: redirects without end")


_REFUSALS = {
    401: "refuses the user or password; give them as http://USER:PASSWORD@HOST/...",
    404: "has no such page; look up the address of the stream in the camera's manual",
}


def _ask(uri: str, timeout_s: float, authorization: str) -> Reply:
    import http.client

    url = _split(uri)
    secure = url.scheme.lower() == "https"
    kind = http.client.HTTPSConnection if secure else http.client.HTTPConnection
    connection = kind(url.hostname or "", url.port, timeout=timeout_s)
    headers = {"Accept": "*/*", "User-Agent": "edge-sdk"}
    if authorization:
        headers["Authorization"] = authorization
    try:
        connection.connect()
        sock = connection.sock
        connection.request("GET", _path(url), headers=headers)
        return Reply(connection.getresponse(), sock)
    except (OSError, http.client.HTTPException) as error:
        connection.close()
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise SourceError(
            f"{redacted(uri)}: cannot be read ({reason}); is the address right, is the camera on?"
        ) from error


def _authorization(uri: str, challenges: list[str]) -> str:
    """Answer a server that asks who we are, by Digest where it offers that, else by Basic."""
    import base64
    import urllib.request as web

    url = _split(uri)
    if url.username is None:
        raise SourceError(f"{redacted(uri)}: {_REFUSALS[401]}")
    user, password = unquote(url.username), unquote(url.password or "")
    address = f"{url.scheme}://{url.hostname}{_path(url)}"
    for challenge in challenges:
        kind, _, fields = challenge.partition(" ")
        if kind.lower() == "digest":
            users = web.HTTPPasswordMgrWithDefaultRealm()
            users.add_password(None, address, user, password)
            handler = web.AbstractDigestAuthHandler(users)
            asked = web.parse_keqv_list(list(filter(None, web.parse_http_list(fields))))
            answer: str | None = handler.get_authorization(web.Request(address), asked)
            if answer:
                return f"Digest {answer}"
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _split(uri: str) -> SplitResult:
    try:
        url = urlsplit(uri)
        _ = url.port  # raises for one that is no number
    except ValueError as error:
        raise SourceError(f"{redacted(uri)}: is no address: {error}") from error
    if not url.hostname:
        raise SourceError(f"{redacted(uri)}: names no host; use http://CAMERA/PATH")
    return url


def _path(url: SplitResult) -> str:
    return urlunsplit(("", "", url.path or "/", url.query, ""))


def _with_user(uri: str, before: str) -> str:
    """Return `uri` with the user of the address before it, if both are of one host."""
    new, old = urlsplit(uri), urlsplit(before)
    if new.username or not old.username or new.hostname != old.hostname:
        return uri
    return new._replace(netloc=f"{old.netloc.rpartition('@')[0]}@{new.netloc}").geturl()

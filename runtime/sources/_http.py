"""A GET whose answer has no end, within a time limit, as the user whom the address names."""

from __future__ import annotations

import base64
import contextlib
import select
import socket
import threading
import urllib.request as web
from collections.abc import Iterator
from http import client
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit, urlunsplit

from device_profiles.errors import SourceError
from runtime.sources._options import redacted

_MAX_STEPS = 8  # redirects, and questions who we are
_REDIRECTS = (301, 302, 303, 307, 308)
_REFUSALS = {
    401: "refuses the user or password; give them as http://USER:PASSWORD@HOST/...",
    404: "has no such page; look up the address of the stream in the camera's manual",
}
_UNQUOTED = "/%:=&?~#+!$,;'@()*[]"  # what may stand in a path or query as it is


class Reply:
    """An answer whose body is still to be read, with its socket, for time limits."""

    def __init__(self, message: client.HTTPResponse, connection: socket.socket) -> None:
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

    def interrupt(self) -> None:
        """Make a read that waits in another thread end now."""
        _shut_down(self.socket)

    def close(self) -> None:
        """Close the connection."""
        self.message.close()
        self.socket.close()


def get(uri: str, timeout_s: float) -> Reply:
    """Ask for `uri`, wherever it is redirected to; SourceError unless the answer is 200.

    `timeout_s` bounds each step: connecting, and the answer up to the end of its headers.
    """
    authorization = ""
    target = uri
    for _ in range(_MAX_STEPS):
        reply = _ask(target, timeout_s, authorization)
        status, headers = reply.message.status, reply.message.headers
        if status == 200:
            return reply
        reply.close()
        if status in _REDIRECTS and headers.get("location"):
            # An answer to who we are is for the one who asked.
            target, authorization = _moved(target, headers["location"]), ""
        elif status == 401 and not authorization:
            authorization = _authorization(target, headers.get_all("www-authenticate", []))
        else:
            raise SourceError(f"{redacted(uri)}: {_REFUSALS.get(status, f'answers {status}')}")
    raise SourceError(f"{redacted(uri)}: redirects without end")


def split(uri: str) -> SplitResult:
    """Return the parts of an HTTP address; SourceError for what is none."""
    try:
        url = urlsplit(uri)
        _ = url.port  # raises for one that is no number
    except ValueError as error:
        raise SourceError(f"{redacted(uri)}: is no address: {redacted(str(error))}") from error
    if url.scheme.lower() not in ("http", "https") or not url.hostname:
        raise SourceError(f"{redacted(uri)}: names no host; use http://CAMERA/PATH")
    return url


def _ask(uri: str, timeout_s: float, authorization: str) -> Reply:
    url = split(uri)
    secure = url.scheme.lower() == "https"
    kind = client.HTTPSConnection if secure else client.HTTPConnection
    headers = {"Accept": "*/*", "User-Agent": "edge-sdk"}
    if authorization:
        headers["Authorization"] = authorization
    connection = None
    try:
        connection = kind(url.hostname or "", url.port, timeout=timeout_s)
        connection.connect()
        sock = connection.sock
        with _within(timeout_s, sock):
            connection.request("GET", _path(url), headers=headers)
            return Reply(connection.getresponse(), sock)
    # ValueError: of a header or name with characters that no such thing may have
    except (OSError, ValueError, client.HTTPException) as error:
        if connection is not None:
            connection.close()
        reason = getattr(error, "strerror", None) or str(error) or repr(error)
        raise SourceError(
            f"{redacted(uri)}: cannot be read ({redacted(reason)}); is the address right, is the "
            "camera on?"
        ) from error


@contextlib.contextmanager
def _within(seconds: float, connection: socket.socket) -> Iterator[None]:
    """Bound all that is read from a connection meanwhile; its own time limit is for each read."""
    expired = threading.Event()

    def expire() -> None:
        expired.set()
        _shut_down(connection)

    timer = threading.Timer(seconds, expire)
    timer.daemon = True
    timer.start()
    late = f"no whole answer within {seconds:g} s (#open)"
    try:
        yield
    except (OSError, client.HTTPException) as error:
        if expired.is_set():
            raise TimeoutError(late) from error
        raise
    finally:
        timer.cancel()
    if expired.is_set():  # headers that were cut off then look like all of them
        raise TimeoutError(late)


def _shut_down(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):  # it is closed already
        connection.shutdown(socket.SHUT_RDWR)


def _authorization(uri: str, challenges: list[str]) -> str:
    """Answer a server that asks who we are: by Digest where it offers that, else by Basic."""
    url = split(uri)
    if url.username is None:
        raise SourceError(f"{redacted(uri)}: {_REFUSALS[401]}")
    user, password = unquote(url.username), unquote(url.password or "")
    kinds = [(kind.lower(), fields) for kind, _, fields in (c.partition(" ") for c in challenges)]
    for kind, fields in kinds:
        answer = _digest(url, (user, password), fields) if kind == "digest" else None
        if answer:
            return answer
    if any(kind == "basic" for kind, _ in kinds):
        return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()
    raise SourceError(
        f"{redacted(uri)}: asks for the user in a way that is not known here "
        f"({', '.join(kind for kind, _ in kinds) or 'it does not say which'}); allow Digest or "
        "Basic in the camera's settings"
    )


def _digest(url: SplitResult, user: tuple[str, str], fields: str) -> str | None:
    address = f"{url.scheme}://{url.hostname}{_path(url)}"
    users = web.HTTPPasswordMgrWithDefaultRealm()
    users.add_password(None, address, *user)
    try:
        asked = web.parse_keqv_list(list(filter(None, web.parse_http_list(fields))))
        handler = web.AbstractDigestAuthHandler(users)
        answer = handler.get_authorization(web.Request(address), asked)
    except ValueError:  # fields that are none, or an algorithm that Python has not
        return None
    return f"Digest {answer}" if answer else None


def _path(url: SplitResult) -> str:
    path = quote(urlunsplit(("", "", url.path or "/", url.query, "")), _UNQUOTED)
    return "/" + path.lstrip("/")  # two slashes would begin with a host


def _moved(uri: str, location: str) -> str:
    """Return where a redirect leads, with the user if it stays on the host and in the secret."""
    try:
        new, old = urlsplit(urljoin(uri, location)), urlsplit(uri)
    except ValueError as error:
        raise SourceError(f"{redacted(uri)}: redirects to what is no address") from error
    safe = new.hostname == old.hostname and (new.scheme == "https" or old.scheme == "http")
    if new.username or not old.username or not safe:
        return new.geturl()
    return new._replace(netloc=f"{old.netloc.rpartition('@')[0]}@{new.netloc}").geturl()

"""What the preview answers to one client: who is let in, the paths, and the two streams."""

from __future__ import annotations

import hashlib
import logging
import re
import time
from base64 import b64encode
from collections.abc import Callable, Iterable
from functools import lru_cache
from http.server import BaseHTTPRequestHandler
from importlib.resources import files
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, quote

from runtime.sinks._json import json_text
from runtime.sinks._preview.address import shown_cookie
from runtime.sinks._preview.feed import Picture, Reader
from runtime.sinks._preview.health import health
from runtime.sinks._preview.metrics import CONTENT_TYPE, metrics_text
from runtime.status import RunStatus

if TYPE_CHECKING:
    from runtime.sinks._preview.server import Server

_LOG = logging.getLogger("edge_sdk.preview")

_TICKS_PER_S = 30
"""Pictures per second at most. All viewers take them at the same ticks, so that they share them."""
_AGAIN_S = 2.0
"""A picture that stays the newest so long is sent again: so a client that is gone is noticed."""
_BOUNDARY = "edge-sdk-picture"
_JSON = "application/json"
_TEXT = "text/plain; charset=utf-8"
_SAFE = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


class Client(BaseHTTPRequestHandler):
    """Answers the requests of one connection."""

    server: Server
    protocol_version = "HTTP/1.1"
    error_content_type = _TEXT

    def handle_one_request(self) -> None:
        """Wait for one request, for a limited time, and answer it."""
        self.server.asking(self.connection, True)
        super().handle_one_request()

    def do_GET(self) -> None:
        """Answer a request, if it may be."""
        self.server.asking(self.connection, False)
        path, _, query = self.path.partition("?")
        self._query = parse_qs(query)
        answer = _PATHS.get(path)
        if self.headers.get("Content-Length", "0") != "0" or "Transfer-Encoding" in self.headers:
            self.send_error(400, "a request has no body here")
        elif not self._admitted():
            self._refuse()
        elif answer is None:
            self.send_error(404, f"there is no such page; there are: {' '.join(_PATHS)}")
        else:
            answer(self)

    do_HEAD = do_GET

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """Answer in plain words and end the connection; a method that is not offered is 405."""
        known = code != 501
        self.close_connection = True
        headers = {} if known else {"Allow": "GET, HEAD"}
        words = message if known else "only GET and HEAD are answered"
        self._send(_TEXT, f"{words or 'a bad request'}\n".encode(), code if known else 405, headers)

    def version_string(self) -> str:
        """Return what the header Server says: no versions."""
        return "edge-sdk"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: paths hold tokens, and every viewer asks every second."""

    def page(self) -> None:
        """Answer with the page, or, where the token is in the address, first with a cookie."""
        token = self.server.address.token
        if token and "token" in self._query:
            # So that the token stays neither in the address bar nor in the history.
            value = f"{self._cookie_name}={self.server.address.pass_cookie}"
            cookie = f"{value}; Path=/; Max-Age=31536000; HttpOnly; SameSite=Strict"
            self._send(_TEXT, b"", 303, {"Location": "./", "Set-Cookie": cookie})
            return
        body, policy = _page()
        self._send("text/html; charset=utf-8", body, 200, {"Content-Security-Policy": policy})

    def status(self) -> None:
        """Answer with the state of the run as JSON."""
        self._send(_JSON, json_text(self._state(self.server.feed.status())).encode())

    def metrics(self) -> None:
        """Answer in Prometheus' text format."""
        text = metrics_text(self.server.feed.status(), self.server.feed.watchers)
        self._send(CONTENT_TYPE, text.encode(errors="replace"))

    def health(self) -> None:
        """Answer 200 where all is well and 503 where not, with the reasons as JSON."""
        well, facts = health(self.server.feed)
        self._send(_JSON, json_text(facts).encode(), 200 if well else 503)

    def snapshot(self) -> None:
        """Answer with the newest picture of a source (`?source=`)."""
        feed = self.server.feed
        pictures = feed.pictures(*self._sources())
        if not pictures:
            self.send_error(503, "there is no picture yet")
            return
        picture = max(pictures, key=lambda picture: picture.serial)
        self._send("image/jpeg", picture.jpeg(feed.look), 200, _about(picture))

    def stream(self) -> None:
        """Send pictures as multipart, newest first and only: of one source or of `?source=all`."""
        feed, sources = self.server.feed, self._sources()
        if not self._begin(f"multipart/x-mixed-replace; boundary={_BOUNDARY}"):
            return
        newest = 0
        self.wfile.write(f"--{_BOUNDARY}\r\n".encode())
        with feed.watching():
            while not feed.closed:
                new = feed.next_pictures(newest, _AGAIN_S, *sources)
                for picture in new or feed.pictures(*sources):
                    self.wfile.write(_part(picture, picture.jpeg(feed.look)))
                    newest = max(newest, picture.serial)
                feed.rest(1 / _TICKS_PER_S - time.monotonic() % (1 / _TICKS_PER_S))

    def results(self) -> None:
        """Send each record, and once a second the state of the run, as server-sent events."""
        if not self._begin("text/event-stream; charset=utf-8"):
            return
        feed = self.server.feed
        with feed.reading() as reader:
            history = _event("history", json_text(feed.points()))
            now = self._status_event(feed.status())
            self.wfile.write(b"retry: 2000\n\n" + history + now)
            while not feed.closed:
                self.wfile.write(self._news(reader))
        self.wfile.write(_event("end", "{}"))

    def _news(self, reader: Reader) -> bytes:
        news = reader.read(_AGAIN_S)
        pieces = [_event("missed", str(news.missed))] if news.missed else []
        pieces += [_event("", record) for record in news.records]
        pieces += [self._status_event(self.server.feed.noted)] if news.points else []
        return b"".join(pieces) or b": waiting\n\n"

    def _status_event(self, status: RunStatus | None) -> bytes:
        points = self.server.feed.points()
        point = points[-1] if points else None
        return _event("status", json_text({**self._state(status), "point": point}))

    def _state(self, status: RunStatus | None) -> dict[str, Any]:
        feed, now = self.server.feed, time.monotonic_ns()
        run = status.to_json() if status else None
        for source in run["sources"] if run else ():
            source["since_s"] = round((now - source.pop("since_ns")) / 1e9, 3)
        pictures = {p.source: {"index": p.index, "age_s": p.age_s()} for p in feed.pictures()}
        return {"run": run, "facts": feed.facts, "pictures": pictures, "viewers": feed.watchers}

    def _sources(self) -> list[str]:
        """Return the URIs that `?source=` asks for, by number or by URI; none stands for all.

        Where nothing is asked for, it is the first source that has a picture.
        """
        asked = self._query.get("source", [""])[-1]
        known = self.server.feed.sources()
        if asked.isascii() and asked.isdecimal() and int(asked) < len(known):
            return [known[int(asked)]]
        if asked:
            return [] if asked == "all" else [asked]
        shown = {picture.source for picture in self.server.feed.pictures()}
        return [uri for uri in known if uri in shown][:1]

    def _admitted(self) -> bool:
        address = self.server.address
        if not address.token:
            hosts = self.headers.get_all("Host") or []
            return len(hosts) == 1 and address.serves(hosts[0])
        scheme, _, bearer = self.headers.get("Authorization", "").partition(" ")
        shown = [bearer.strip()] if scheme.lower() == "bearer" else []
        shown += self._query.get("token", [])[-1:]
        cookie = shown_cookie(self.headers.get("Cookie", ""), self._cookie_name)
        return any(map(address.knows, shown)) or address.knows_cookie(cookie)

    def _refuse(self) -> None:
        if not self.server.address.token:
            self.send_error(403, "answered for localhost only; open it by that name")
            return
        self.close_connection = True
        words = (
            b"a token is needed: open /?token=SECRET once, or send Authorization: Bearer SECRET\n"
        )
        self._send(_TEXT, words, 401, {"WWW-Authenticate": "Bearer"})

    @property
    def _cookie_name(self) -> str:
        return f"edge_sdk_preview_{self.server.server_port}"  # cookies do not tell ports apart

    def _begin(self, content_type: str) -> bool:
        """Start an answer without end; False where only its head was asked for."""
        self.close_connection = True
        self._head(200, {"Content-Type": content_type, "X-Accel-Buffering": "no"})
        return self.command != "HEAD"

    def _send(
        self, content_type: str, body: bytes, code: int = 200, more: dict[str, str] | None = None
    ) -> None:
        length = str(len(body))
        self._head(code, {"Content-Type": content_type, "Content-Length": length, **(more or {})})
        if self.command != "HEAD":
            self.wfile.write(body)

    def _head(self, code: int, headers: dict[str, str]) -> None:
        # Also those whose request is no HTTP are answered with a head.
        self.request_version = self.protocol_version
        self.send_response(code)
        closing = {"Connection": "close"} if self.close_connection else {}
        for name, value in {**_SAFE, **headers, **closing}.items():
            self.send_header(name, value)
        self.end_headers()


_PATHS: dict[str, Callable[[Client], None]] = {
    "/": Client.page,
    "/stream.mjpg": Client.stream,
    "/snapshot.jpg": Client.snapshot,
    "/results": Client.results,
    "/status.json": Client.status,
    "/metrics": Client.metrics,
    "/health": Client.health,
}


@lru_cache
def _page() -> tuple[bytes, str]:
    """Return the page, scripts and style in it, and its policy: nothing else runs or is loaded."""
    html = _text("page.html")
    for tag, name, kind in re.findall(r'(<(?:link|script)[^>]*="(\w+\.(css|js))".*>)', html):
        inside = "style" if kind == "css" else "script"
        html = html.replace(tag, f"<{inside}>{_text(name)}</{inside}>")
    policy = [
        "default-src 'none'; img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'",
        f"script-src {_hashes(re.findall('<script>(.*?)</script>', html, re.DOTALL))}",
        f"style-src {_hashes(re.findall('<style>(.*?)</style>', html, re.DOTALL))}",
    ]
    return html.encode(), "; ".join(policy)


def _text(name: str) -> str:
    return files("runtime.sinks._preview").joinpath(name).read_text(encoding="utf-8")


def _hashes(texts: Iterable[str]) -> str:
    digests = (b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in texts)
    return " ".join(f"'sha256-{digest}'" for digest in digests)


def _event(name: str, data: str) -> bytes:
    head = f"event: {name}\n" if name else ""
    return f"{head}data: {data}\n\n".encode()


def _about(picture: Picture) -> dict[str, str]:
    """Return what a picture is of, as headers."""
    return {
        "X-Source": quote(picture.source, safe=":/?&=,", errors="replace"),
        "X-Index": str(picture.index),
        "X-Age-Ms": str(round(picture.age_s() * 1e3)),
    }


def _part(picture: Picture, jpeg: bytes) -> bytes:
    """Return one part with the boundary after it: many viewers show a picture only then."""
    headers = {"Content-Type": "image/jpeg", "Content-Length": str(len(jpeg)), **_about(picture)}
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"{head}\r\n".encode() + jpeg + f"\r\n--{_BOUNDARY}\r\n".encode()

"""Where a preview is served, and to whom: `http://127.0.0.1:8080`, `http://0.0.0.0:8080?token=...`.

A loopback address serves everybody on this machine. Every other one serves the network, and only
those who bring the token.
"""

from __future__ import annotations

import hmac
import ipaddress
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import urlsplit

from device_profiles.errors import OutputError
from runtime.sinks._options import check_range, read_options

_LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class Look:
    """How pictures are encoded: at most `width` pixels wide, as JPEG of `quality` (1 to 100)."""

    width: int = 1280
    quality: int = 80


@dataclass(frozen=True)
class Address:
    """Where to listen, with port 0 for any free one, and the token to ask for (empty: none)."""

    host: str
    port: int
    token: str = field(default="", repr=False)
    look: Look = field(default_factory=Look)

    @property
    def url(self) -> str:
        """The address as a browser on this machine takes it; without the token."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host)
        return f"http://{f'[{host}]' if ':' in host else host}:{self.port}"

    @property
    def pass_cookie(self) -> str:
        """What the page's cookie holds: made from the token, which cannot be made from it."""
        return hmac.new(self.token.encode(), b"edge-sdk preview", sha256).hexdigest()

    def knows(self, shown: str) -> bool:
        """Say whether `shown` is the token, in a time that tells nothing about it."""
        return hmac.compare_digest(shown.encode(), self.token.encode())

    def knows_cookie(self, shown: str) -> bool:
        """Say whether `shown` is what `pass_cookie` gave away."""
        return hmac.compare_digest(shown.encode(), self.pass_cookie.encode())

    def serves(self, host_header: str) -> bool:
        """Say whether a request for this host may be answered without a token.

        A page elsewhere can have its own name resolve to 127.0.0.1 (DNS rebinding); its requests
        carry that name.
        """
        try:
            name = urlsplit(f"//{host_header}").hostname or ""
        except ValueError:
            return False
        return name in {*_LOOPBACK_NAMES, self.host}


@dataclass(frozen=True)
class _Options:
    token: str = ""
    width: int = Look.width
    quality: int = Look.quality


def read_address(uri: str) -> Address:
    """Return the address that `uri` names.

    Raises OutputError for what is no address, for an unknown option, and for an address that is
    not loopback without a token; no message holds the token.
    """
    bare, _, query = uri.partition("?")
    where = bare.rpartition("@")[2] if "@" in bare else bare
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        raise OutputError(f"{where}: not the address of a web page; {_EXAMPLE}") from None
    if parts.scheme != "http" or parts.username is not None or parts.path not in ("", "/"):
        raise OutputError(f"{where}: a preview is http, host and port alone; {_EXAMPLE}")
    if not host or port is None:
        raise OutputError(f"{where}: a preview needs a host and a port; {_EXAMPLE}")
    options = read_options(where, query, _Options)
    check_range(where, "quality", options.quality, (1, 100))
    check_range(where, "width", options.width, (16, 8192))
    if not (options.token or _is_loopback(host)):
        raise OutputError(
            f"{where}: serves the network, where anyone could watch; add ?token=SECRET, or use "
            f"http://127.0.0.1:{port} for this machine alone"
        )
    host = "127.0.0.1" if host == "localhost" else host
    return Address(host, port, options.token, Look(options.width, options.quality))


_EXAMPLE = "write http://127.0.0.1:8080"


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def shown_cookie(header: str, name: str) -> str:
    """Return the cookie `name` of a request's header, empty where there is none."""
    for part in header.split(";"):
        key, _, value = part.strip().partition("=")
        if key == name:
            return value
    return ""

"""Sink: results to a broker, `mqtt://user:password@host:1883/topic`, or `mqtts://` over TLS.

Each result is published as JSON to the topic, with its source and what it ran on; `online` or
`offline` stays retained in `topic/status`, also when this program dies. Options: qos (0 or 1), ca
(file of the broker's authority, for mqtts).
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote, urlsplit

from device_profiles.errors import OutputError, missing
from runtime.frame import Frame
from runtime.sinks._json import json_text
from runtime.sinks._options import check_range, read_options
from runtime.sinks.base import Record, SinkContext, Stamp
from runtime.tasks.base import Result

_LOG = logging.getLogger("edge_sdk.mqtt")

_PORTS = {"mqtt": 1883, "mqtts": 8883}
_EXAMPLE = "write mqtt://user:password@host:1883/topic, in a password %40 for @ and %2F for /"
_QUEUE = 1000
"""Results that wait for the broker at most; further ones are dropped and counted."""
_KEEPALIVE_S = 15
_CONNECT_S = 3.0
_BACKOFF_S = (1, 30)
_FAREWELL_S = 2.0
_PATIENCE_S = 6.0
_ONLINE, _OFFLINE = "online", "offline"


def accepts(uri: str) -> bool:
    """Say whether `uri` names a broker."""
    return uri.startswith(tuple(f"{scheme}://" for scheme in _PORTS))


def open_sink(uri: str, _context: SinkContext) -> Mqtt:
    """Start to connect, without waiting; OutputError for a wrong URI, MissingError without paho."""
    return Mqtt(_read(uri))


@dataclass(frozen=True)
class _Options:
    qos: int = 0
    ca: str = ""


@dataclass(frozen=True)
class _Broker:
    """Where to publish; `where` is what is said of it: no user, no password."""

    scheme: str
    host: str
    port: int
    topic: str
    user: str | None = field(repr=False)
    password: str | None = field(repr=False)
    options: _Options

    @property
    def where(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}/{self.topic}"


class Mqtt:
    """Publishes results; a broker that is slow or away costs results, which are counted, no time.

    `dropped` counts the results that no broker got.
    """

    newest = False

    def __init__(self, broker: _Broker) -> None:
        self._broker = broker
        self._status_topic = f"{broker.topic}/status"
        self._lock = threading.Lock()
        self._waiting = 0
        self._connected = False
        self._complained = False
        self._online_mid = -1
        self.dropped = 0
        self._client = _client(broker)
        self._client.will_set(self._status_topic, _OFFLINE, qos=1, retain=True)
        self._client.on_connect = self._on_connect
        self._client.on_connect_fail = self._on_connect_fail
        self._client.on_disconnect = self._on_disconnect
        self._client.on_publish = self._on_publish
        self._client.connect_async(broker.host, broker.port, _KEEPALIVE_S)
        self._client.loop_start()

    def write(self, frame: Frame, result: Result, stamp: Stamp) -> None:
        """Hand one result to paho's thread, or drop it where too many wait or nobody listens."""
        # Without a connection, paho keeps what has QoS 1 and refuses what has QoS 0.
        qos = self._broker.options.qos
        with self._lock:
            room = self._waiting < _QUEUE and (self._connected or qos > 0)
            self._waiting += room
            self.dropped += not room
        if room:
            text = json_text(Record.of(frame, result, stamp).to_json())
            self._client.publish(self._broker.topic, text, qos)
        elif self._connected:
            self._complain("takes results too slowly; further ones are dropped")

    def close(self) -> None:
        """Say that it is over, and end paho's thread, in a limited time."""
        if self._connected:
            said = self._client.publish(self._status_topic, _OFFLINE, qos=1, retain=True)
            with contextlib.suppress(RuntimeError, ValueError):  # the connection was just lost
                said.wait_for_publish(_FAREWELL_S)
        self._client.disconnect()
        # The look-up of a host's name cannot be interrupted; then the thread is left behind.
        ending = threading.Thread(target=self._client.loop_stop, name="edge-sdk mqtt", daemon=True)
        ending.start()
        ending.join(_PATIENCE_S)
        self._lose_waiting()
        if self.dropped:
            facts = {"event": "mqtt_dropped", "dropped": self.dropped}
            _LOG.warning("%s: %d results were dropped", self._where, self.dropped, extra=facts)

    @property
    def _where(self) -> str:
        return self._broker.where

    def _on_connect(self, client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        if code.is_failure:
            self._complain(f"refuses the connection ({code}); check user and password")
            return
        self._online_mid = client.publish(self._status_topic, _ONLINE, qos=1, retain=True).mid
        self._connected, self._complained = True, False
        _LOG.info("%s: connected", self._where, extra={"event": "mqtt_connected"})

    def _on_connect_fail(self, _client: Any, _data: Any) -> None:
        self._complain(f"cannot be reached ({sys.exc_info()[1]}); trying again")

    def _on_disconnect(self, _client: Any, _data: Any, _flags: Any, code: Any, _more: Any) -> None:
        was, self._connected = self._connected, False
        if self._broker.options.qos == 0:  # what waited is lost
            self._lose_waiting()
        if was and code.is_failure:
            self._complain(f"is lost ({code}); trying again")

    def _on_publish(self, _client: Any, _data: Any, mid: int, _code: Any, _more: Any) -> None:
        with self._lock:
            self._waiting = max(0, self._waiting - (mid != self._online_mid))

    def _lose_waiting(self) -> None:
        with self._lock:
            self.dropped += self._waiting
            self._waiting = 0

    def _complain(self, what: str) -> None:
        """Log a trouble once, until the next connection."""
        if not self._complained:
            self._complained = True
            _LOG.warning("%s: the broker %s", self._where, what, extra={"event": "mqtt_trouble"})


def _read(uri: str) -> _Broker:
    bare, _, query = uri.partition("?")
    try:
        parts = urlsplit(bare)
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        host.encode("idna")
    except ValueError:
        # Its words, and those of the URI, may be parts of a password.
        raise OutputError(f"mqtt: not the address of a broker; {_EXAMPLE}") from None
    topic = unquote(parts.path).strip("/")
    where = f"{parts.scheme}://{host}:{port}"
    if not host:
        raise OutputError(f"{where}: names no host; {_EXAMPLE}")
    if not topic or any(sign in topic for sign in "+#\0"):
        raise OutputError(f"{where}: needs a topic without + and #; {_EXAMPLE}")
    options = read_options(where, query, _Options)
    check_range(where, "qos", options.qos, (0, 1))
    if options.ca and parts.scheme == "mqtt":
        raise OutputError(f"{where}: option ca is for TLS; write mqtts://")
    user, password = (unquote(text) if text else None for text in (parts.username, parts.password))
    return _Broker(parts.scheme, host, port, topic, user, password, options)


def _client(broker: _Broker) -> Any:
    """Return paho's client, set up but not connected."""
    try:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion
    except ModuleNotFoundError as error:  # or it is version 1, which has no enums
        raise missing("paho-mqtt 2", "mqtt") from error
    client = Client(CallbackAPIVersion.VERSION2)
    if broker.user:
        client.username_pw_set(broker.user, broker.password)
    if broker.scheme == "mqtts":
        import ssl

        try:
            client.tls_set_context(ssl.create_default_context(cafile=broker.options.ca or None))
        except OSError as error:
            raise OutputError(
                f"{broker.where}: {broker.options.ca} is no file of certificates ({error}); "
                "give the PEM file of the broker's authority"
            ) from error
    client.connect_timeout = _CONNECT_S
    client.reconnect_delay_set(*_BACKOFF_S)
    return client

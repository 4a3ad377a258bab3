"""A run to look at, made here: frames, results, and a state that the test decides on."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit

import numpy as np

from runtime.frame import Frame
from runtime.sinks import Sink, SinkContext, Stamp, open_sink
from runtime.sinks._preview import server
from runtime.sinks._preview.feed import Feed
from runtime.status import RunStatus, SourceState, SourceStatus
from runtime.tasks.classify import Classification, Ranked

CAMERA = "camera:0?fps=30"
RESULT = Classification(3, "cat", 0.75, (Ranked(3, "cat", 0.75), Ranked(1, "dog", 0.2)), True)
STAMP = Stamp(12.5, "null/cpu")


def frame(index: int = 0, source: str = CAMERA, size: tuple[int, ...] = (48, 64, 3)) -> Frame:
    image = np.full(size, 60 + index % 150, np.uint8)
    return Frame(image, index, time.monotonic_ns(), f"f{index}", source=source)


def times(p50_ms: float) -> dict[str, float]:
    shares = {"p50_ms": 1, "p90_ms": 2, "p99_ms": 3, "max_ms": 4, "mean_ms": 1.5}
    return {"count": 10, **{name: share * p50_ms for name, share in shares.items()}}


def run_status(state: SourceState = SourceState.LIVE, **changes: Any) -> RunStatus:
    live = state is SourceState.LIVE
    stages = {"preprocess": times(0.5), "infer": times(20.0), "age": times(30.0)}
    source = SourceStatus(
        CAMERA, state, time.monotonic_ns(), 0.01, 100, 1, "" if live else "no frame for 2 s"
    )
    status = RunStatus(
        seconds=10.0,
        frames=100,
        results=98,
        dropped={"newer": 2, "stopped": 0},
        fps=9.5 if live else 0.0,
        recent=stages if live else {},
        total=stages,
        sources=(source,),
        engine={
            "name": "null",
            "version": "1",
            "provider": "cpu",
            "rung": 1,
            "label": "null fp32 on null/cpu",
            "refused": [{"rung": 0, "label": "null fp16 on null/gpu", "reason": "no such device"}],
            "drops": [],
        },
        board={"temperature_c": 61.5, "throttled": False, "clock_mhz": 2400.0, "model": "none"},
        sinks={"out.jsonl": 3},
    )
    return replace(status, **changes)


@dataclass
class Run:
    """A sink with a run around it; `status` may be changed at any time."""

    uri: str = "http://127.0.0.1:0"
    status: RunStatus | None = field(default_factory=run_status)
    index: int = 0

    def __enter__(self) -> Run:
        context = SinkContext(30.0, True, {"task": "classify"}, self.tell)
        with patch.object(server, "_TICK_S", 0.02):  # closing waits for one
            self.sink: Sink = open_sink(self.uri, context)
        self.url: str = self.sink.url  # type: ignore[attr-defined]
        self.host, self.port = urlsplit(self.url).hostname, urlsplit(self.url).port
        return self

    def __exit__(self, *_error: object) -> None:
        self.sink.close()
        assert [one.name for one in threading.enumerate() if "edge-sdk" in one.name] == []

    def tell(self) -> RunStatus | None:
        return self.status

    @property
    def feed(self) -> Feed:
        feed: Feed = self.sink._feed  # type: ignore[attr-defined]
        return feed

    def write(self, count: int = 1, **about: Any) -> None:
        for _ in range(count):
            self.sink.write(frame(self.index, **about), RESULT, STAMP)
            self.index += 1

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[HTTPResponse, bytes]:
        connection = HTTPConnection(self.host or "", self.port, timeout=30)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers=named)
        answer = connection.getresponse()
        body = answer.read()
        connection.close()
        return answer, body

    def open(self, path: str) -> HTTPResponse:
        """Begin to read an answer without end; close it."""
        connection = HTTPConnection(self.host or "", self.port, timeout=30)
        connection.request("GET", path)
        return connection.getresponse()

    def raw(self, data: bytes) -> bytes:
        """Send bytes and return all that comes back."""
        with socket.create_connection((self.host, self.port), timeout=30) as connection:
            connection.sendall(data)
            return read_all(connection)


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


def read_all(connection: socket.socket) -> bytes:
    """Return what comes until the other side ends the connection."""
    pieces = []
    try:
        while piece := connection.recv(65536):
            pieces.append(piece)
    except ConnectionResetError:
        pieces.append(b"")
    return b"".join(pieces)


def next_part(stream: HTTPResponse) -> tuple[dict[str, str], bytes]:
    """Read one picture of a multipart stream: its headers and its bytes."""
    headers: dict[str, str] = {}
    while (line := stream.readline().decode().strip()) or not headers:
        name, colon, value = line.partition(": ")
        if colon:
            headers[name] = value
        else:
            assert line.startswith("--") or not line
    return headers, stream.read(int(headers["Content-Length"]))


def next_event(stream: HTTPResponse) -> tuple[str, str]:
    """Read one server-sent event: its name (empty for a record) and its data."""
    name = data = ""
    while (line := stream.readline().decode().rstrip("\n")) or not data:
        key, _, value = line.partition(": ")
        name, data = (value if key == "event" else name), (value if key == "data" else data)
    return name, data

"""The preview's server: what it costs those who do not watch, and what one client can do to it."""

from __future__ import annotations

import itertools
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from runtime.sinks import SinkContext, open_sink
from runtime.sinks._preview import answers, feed, server
from runtime.tasks.classify import Classification
from tests.runtime.preview_cases import (
    CAMERA,
    RESULT,
    STAMP,
    Run,
    frame,
    next_event,
    next_part,
    read_all,
    until,
)

ASK = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n"
LAST_ASK = ASK + b"Connection: close\r\n\r\n"


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return the list of the widths of all pictures that are encoded."""
    widths: list[int] = []
    encode = cv2.imencode

    def counting(suffix: str, image: Any, *more: Any) -> Any:
        widths.append(image.shape[1])
        return encode(suffix, image, *more)

    monkeypatch.setattr(cv2, "imencode", counting)
    return widths


@pytest.fixture
def run() -> Iterator[Run]:
    with Run() as one:
        yield one


def test_nothing_is_made_while_nobody_watches(
    run: Run, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(_self: Any) -> Any:
        raise AssertionError("a record was made for nobody")

    monkeypatch.setattr(Classification, "to_json", never)
    run.write(50)
    run.get("/")
    run.get("/metrics")
    run.get("/stream.mjpg", "HEAD")
    run.get("/results", "HEAD")
    assert encoded == []


def test_a_picture_is_encoded_once_however_many_watch(run: Run, encoded: list[int]) -> None:
    seen: dict[str, set[bytes]] = {}
    streams = [run.open("/stream.mjpg") for _ in range(6)]
    until(lambda: run.feed.watchers == 6)

    def take(_: int) -> None:
        for stream in streams:
            headers, jpeg = next_part(stream)
            seen.setdefault(headers["X-Index"], set()).add(jpeg)

    for step in range(5):
        run.write()
        take(step)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: run.get("/snapshot.jpg"), range(8)))
    assert {index: len(pictures) for index, pictures in seen.items()} == {
        str(index): 1 for index in range(5)
    }
    assert len(encoded) == 5
    for stream in streams:
        stream.close()
    until(lambda: run.feed.watchers == 0 or run.write())
    before = len(encoded)
    run.write(20)
    assert len(encoded) == before


def test_the_state_is_asked_for_once_a_second_however_many_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    tell = Run.tell

    def counting(run: Run) -> Any:
        asked.append(threading.current_thread().name)
        return tell(run)

    monkeypatch.setattr(Run, "tell", counting)
    with Run() as run:
        streams = [run.open("/results") for _ in range(8)]
        for stream in streams:
            names = iter(lambda stream=stream: next_event(stream)[0], None)  # type: ignore[misc]
            assert list(itertools.islice((n for n in names if n == "status"), 3)) == ["status"] * 3
        once = [name for name in asked if name != "edge-sdk preview"]
        assert len(once) == len(streams), "only the first state is made for each reader"
        for stream in streams:
            stream.close()


def test_each_source_has_its_own_stream_and_all_share_one(run: Run) -> None:
    other = "rtsp://host/a b?x=1"
    run.write()
    run.write(source=other)
    for query, sources in (
        ("", [CAMERA]),
        ("?source=0", [CAMERA]),
        ("?source=1", [other]),
        ("?source=rtsp://host/a%20b?x=1", [other]),
        ("?source=all", [CAMERA, other]),
    ):
        stream = run.open(f"/stream.mjpg{query}")
        parts = [next_part(stream)[0]["X-Source"] for _ in sources]
        assert parts == [uri.replace(" ", "%20") for uri in sources]
        stream.close()
    assert run.get("/snapshot.jpg?source=nothing")[0].status == 503


def test_a_still_picture_is_sent_again_without_being_made_again(
    run: Run, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(answers, "_AGAIN_S", 0.05)
    run.write()
    stream = run.open("/stream.mjpg")
    first, again = next_part(stream), next_part(stream)
    assert first[1] == again[1]
    assert int(again[0]["X-Age-Ms"]) > int(first[0]["X-Age-Ms"])
    assert len(encoded) == 1
    stream.close()


def test_a_stalled_client_holds_nobody_up_and_is_dropped(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SEND_S", 0.3)
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect((run.host, run.port))
        stalled.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: run.feed.watchers == 1)
        watcher = run.open("/stream.mjpg")
        until(lambda: run.feed.watchers == 2)
        dropped = False
        for index in range(1000):
            run.sink.write(replace(frame(index), image=noise), RESULT, STAMP)
            until(lambda index=index: int(next_part(watcher)[0]["X-Index"]) >= index)  # type: ignore[misc]
            dropped = run.feed.watchers == 1
            if dropped:
                break
        assert dropped
        watcher.close()


@pytest.mark.parametrize("path", ["/results", "/stream.mjpg"])
def test_a_client_who_never_reads_ends_with_the_patience_for_it(
    path: str, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "_SEND_S", 0.2)
    monkeypatch.setattr(answers, "_TICKS_PER_S", 1000)
    viewers = run.sink._server._viewers  # type: ignore[attr-defined]
    noise = np.random.default_rng(0).integers(0, 256, (360, 640, 3), np.uint8)
    wordy = replace(RESULT, label="cat" * 100_000)
    with socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect((run.host, run.port))
        deaf.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        until(lambda: run.feed.watchers or run.feed._readers)

        def gone() -> bool:
            run.sink.write(replace(frame(), image=noise), wordy, STAMP)
            return not viewers

        until(gone)
    assert run.feed.watchers == run.feed._readers == 0


def test_a_flood_of_connections_is_refused_and_survived(run: Run) -> None:
    before = threading.active_count()
    flood = []
    for _ in range(500):
        flood.append(socket.create_connection((run.host, run.port), timeout=30))
        assert threading.active_count() - before <= server.CLIENTS
    for connection in flood:
        connection.close()
    until(lambda: run.raw(LAST_ASK)[9:12] == b"200")
    run.write()  # and the run went on


def test_a_run_that_cannot_tell_its_state_is_still_shown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_run: Run) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(Run, "tell", broken)
    monkeypatch.setattr(feed, "_POINT_S", 0.01)
    with Run() as run:
        until(lambda: "cannot tell its state" in caplog.text)
        run.write()
        assert run.get("/snapshot.jpg")[0].status == 200
        assert b'"run":null' in run.raw(LAST_ASK)
        assert b"does not tell its state" in run.get("/health")[1]
        assert run.get("/")[0].status == 200
    assert caplog.text.count("cannot tell its state") == 1


def test_connections_are_reused_bounded_and_given_back(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLIENTS", 3)
    held = [socket.create_connection((run.host, run.port), timeout=30) for _ in range(3)]
    for connection in (held[0], held[1], held[2], held[0]):
        connection.sendall(ASK + b"\r\n")
        assert connection.recv(12) == b"HTTP/1.1 200"
        time.sleep(0.1)
        connection.recv(65536)
    assert run.raw(b"").startswith(b"HTTP/1.1 503 ")
    held.pop().close()
    until(lambda: run.raw(LAST_ASK)[9:12] == b"200")
    for connection in held:
        connection.close()


@pytest.mark.parametrize("begun", [b"", b"GET / HTTP/1.1\r\nX: "])
def test_who_takes_too_long_to_ask_is_cut_off(
    begun: bytes, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "REQUEST_S", 0.2)
    with socket.create_connection((run.host, run.port), timeout=30) as slow:
        slow.sendall(begun)
        assert read_all(slow) == b""


def test_closing_ends_idle_and_watching_clients_alike() -> None:
    run = Run()
    with run:
        run.write()
        idle = socket.create_connection((run.host, run.port), timeout=30)
        watching = [run.open(path) for path in ("/stream.mjpg", "/results") * 5]
        until(lambda: len(run.sink._server._viewers) == 11)  # type: ignore[attr-defined]
    assert read_all(idle) == b""
    idle.close()
    for stream in watching:
        stream.read()
        stream.close()
    run.sink.close()  # twice does no harm


def test_a_picture_that_cannot_be_drawn_is_logged_and_costs_the_viewer_alone(
    run: Run, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(_self: Any, _image: Any) -> None:
        raise ValueError("no such colour")

    monkeypatch.setattr(Classification, "draw", broken)
    run.write()
    assert run.raw(b"GET /snapshot.jpg HTTP/1.1\r\nHost: localhost\r\n\r\n") == b""
    until(lambda: "no such colour" in caplog.text)
    assert run.get("/status.json")[0].status == 200


def test_the_context_may_know_nothing() -> None:
    sink = open_sink("http://127.0.0.1:0", SinkContext())
    sink.write(frame(), RESULT, STAMP)
    sink.close()

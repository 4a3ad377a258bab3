"""The preview's server: what it answers, to whom, and what it costs those who do not watch."""

from __future__ import annotations

import itertools
import json
import logging
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import cv2
import numpy as np
import pytest

from device_profiles.errors import OutputError
from runtime.sinks import SinkContext, open_sink
from runtime.sinks._preview import answers, server
from runtime.sinks._preview.address import read_address
from runtime.status import SourceState, SourceStatus
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
    run_status,
)

TOKEN = "s3cret-t0ken"


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(server, "_TICK_S", 0.02)  # closing waits for one
    yield
    assert [thread.name for thread in threading.enumerate() if "edge-sdk" in thread.name] == []


@pytest.fixture
def run() -> Iterator[Run]:
    with Run() as one:
        yield one


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


def until(condition: Callable[[], Any], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came true"
        time.sleep(0.01)


# --- where, and for whom


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("http://0.0.0.0:8080", r"add \?token=SECRET"),
        ("http://192.168.1.7:8080/", r"add \?token=SECRET"),
        ("http://[::]:8080", r"add \?token=SECRET"),
        ("http://camera.local:8080?token=", r"add \?token=SECRET"),
        ("http://127.0.0.1", "needs a host and a port"),
        ("http://:8080", "needs a host and a port"),
        ("http://127.0.0.1:99999", "not the address"),
        ("http://127.0.0.1:8080/live", "host and port alone"),
        ("https://127.0.0.1:8080", "is http"),
        ("http://me:hunter2@127.0.0.1:8080", "host and port alone"),
        ("http://127.0.0.1:8080?tokn=hunter2", "did you mean token"),
        ("http://127.0.0.1:8080?hunter2", "every option has a value"),
        ("http://127.0.0.1:8080?quality=101", "1 to 100"),
        ("http://127.0.0.1:8080?width=-1", "whole number"),
        ("http://no.such.host.invalid:8080?token=hunter2", "cannot listen"),
    ],
)
def test_a_wrong_address_is_refused_without_its_secret(uri: str, says: str) -> None:
    with pytest.raises(OutputError, match=says) as caught:
        open_sink(uri)
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("http://localhost:0", "127.0.0.1"),
        ("http://127.0.0.9:0/", "127.0.0.9"),
        ("http://[::1]:0", "::1"),
        ("http://0.0.0.0:0?token=a", "0.0.0.0"),
    ],
)
def test_a_right_address_is_read(uri: str, host: str) -> None:
    assert read_address(uri).host == host
    assert "token='" not in repr(read_address("http://0.0.0.0:0?token=hunter2"))


def test_a_port_in_use_is_an_output_error(run: Run) -> None:
    with pytest.raises(OutputError, match=rf"port {run.port} .*in use.*choose another port"):
        open_sink(run.url)


def test_the_port_is_free_again_at_once() -> None:
    with Run() as first:
        first.get("/health")
        url = first.url
    with Run(url) as second:
        assert second.get("/health")[0].status == 503


# --- what it answers


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", "text/html; charset=utf-8"),
        ("/status.json", "application/json"),
        ("/metrics", "text/plain; version=0.0.4; charset=utf-8"),
        ("/health", "application/json"),
        ("/snapshot.jpg", "image/jpeg"),
        ("/snapshot.jpg?source=0", "image/jpeg"),
    ],
)
def test_each_page_answers_get_and_head(path: str, kind: str, run: Run) -> None:
    run.write()
    answer, body = run.get(path)
    assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
    assert int(answer.headers["Content-Length"]) == len(body) > 0
    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert not [name for name in answer.headers if name.startswith("Access-Control")]
    assert "Python" not in answer.headers["Server"]
    head, nothing = run.get(path, "HEAD")
    assert (head.status, nothing) == (200, b"")


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_else(run: Run) -> None:
    answer, body = run.get("/")
    page = body.decode()
    policy = answer.headers["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert policy.count("sha256-") == page.count("<style>") + page.count("<script>") == 2
    assert re.findall(r'(?:src|href)="(?!data:)', page) == []
    assert re.findall(r"\son\w+=|style=", page) == []
    addresses = set(re.findall(r"https?://[\w./]+", page))
    assert addresses == {"http://www.w3.org/2000/svg"}  # a name, not a place


def test_pictures_are_annotated_and_large_ones_reduced(encoded: list[int]) -> None:
    with Run("http://127.0.0.1:0?width=320&quality=90") as run:
        assert run.get("/snapshot.jpg")[0].status == 503
        for size, shown in (
            ((48, 64, 3), (48, 64)),
            ((480, 640, 3), (240, 320)),
            ((600, 600), (320, 320)),
        ):
            run.write(size=size)
            answer, body = run.get("/snapshot.jpg")
            picture = cv2.imdecode(np.frombuffer(body, np.uint8), cv2.IMREAD_COLOR)
            assert picture is not None
            assert picture.shape[:2] == shown
            assert picture.max() > 150, "nothing was drawn"
            assert answer.headers["X-Index"] == str(run.index - 1)
            assert int(answer.headers["X-Age-Ms"]) >= 0


def test_the_state_is_told_as_json(run: Run) -> None:
    run.write(3)
    state = json.loads(run.get("/status.json")[1])
    assert state["run"]["sources"][0]["state"] == "LIVE"
    assert state["run"]["sources"][0]["since_s"] >= 0
    assert state["run"]["engine"]["rung"] == "null fp32"
    assert state["pictures"][CAMERA]["index"] == 2
    run.status = None
    assert json.loads(run.get("/status.json")[1])["run"] is None


def test_what_is_not_finite_is_null_and_ends_nothing(run: Run) -> None:
    stream = run.open("/results")
    until(lambda: next_event(stream)[0] == "status")
    bad = Classification(0, "x", float("nan"), (), False)
    run.sink.write(frame(), bad, STAMP)
    record = next(data for name, data in iter(lambda: next_event(stream), None) if not name)
    assert json.loads(record)["result"]["score"] is None
    run.status = run_status(fps=float("inf"))
    assert json.loads(run.get("/status.json")[1])["run"]["fps"] is None
    stream.close()


def test_records_and_states_are_events(run: Run) -> None:
    stream = run.open("/results")
    assert stream.headers["Content-Type"].startswith("text/event-stream")
    assert next_event(stream)[0] == "history"
    name, data = next_event(stream)
    assert name == "status"
    assert json.loads(data)["run"]["results"] == 98
    run.write(3)
    events = [next_event(stream) for _ in range(6)]
    records = [json.loads(data) for name, data in events if not name]
    assert [(r["index"], r["result"]["label"]) for r in records] == [(i, "cat") for i in range(3)]
    point = next(json.loads(data)["point"] for name, data in events if name == "status")
    assert (point["state"], point["age_p99"], point["temperature"]) == ("LIVE", 90.0, 61.5)
    assert point["stages"] == {"preprocess": 0.5, "infer": 20.0}
    stream.close()


def test_a_reader_who_is_behind_is_told_how_much_was_missed(run: Run) -> None:
    feed = run.sink._feed  # type: ignore[attr-defined]
    with feed.reading() as reader:
        run.write(200)
        news = reader.read(0)
        assert (len(news.records), news.missed) == (64, 136)
        assert json.loads(news.records[-1])["index"] == 199
        assert reader.read(0).records == ()


def test_the_end_of_the_run_is_told_to_those_who_watch() -> None:
    with Run() as run:
        events, pictures = run.open("/results"), run.open("/stream.mjpg")
        run.write()
        next_part(pictures)
    names = []
    while "end" not in names:
        names.append(next_event(events)[0])
    assert pictures.read().strip() in (b"", b"--edge-sdk-picture")
    events.close()
    pictures.close()


SAMPLE = re.compile(r'^([a-z_]+)(\{(?:[a-z]+="(?:[^"\\\n]|\\[\\"n])*",?)+\})? (\S+)$')


def test_metrics_are_well_formed_and_in_base_units(run: Run) -> None:
    hostile = 'rtsp://x/"a\\b\n'
    source = SourceStatus(hostile, SourceState.STALE, 0, None, 5)
    run.status = replace(run_status(), sources=(*run_status().sources, source))
    lines = run.get("/metrics")[1].decode().splitlines()
    values, kinds, order = {}, {}, []
    for line in lines:
        if line.startswith("# TYPE"):
            _, _, name, kind = line.split(" ")
            assert name not in kinds
            kinds[name] = kind
        elif not line.startswith("# HELP"):
            match = SAMPLE.match(line)
            assert match, line
            name, labels, value = match.groups()
            values[f"{name}{labels or ''}"] = float(value)
            order.append(re.sub("_(sum|count)$", "", name))
    assert set(order) == set(kinds)
    assert len([a for a, b in itertools.pairwise(order) if a != b]) + 1 == len(kinds)
    assert all(name.endswith("_total") == (kind == "counter") for name, kind in kinds.items())
    assert values["edge_sdk_results_total"] == 98
    assert values['edge_sdk_frames_dropped_total{reason="newer"}'] == 2
    assert values['edge_sdk_stage_seconds{stage="infer",quantile="0.99"}'] == 0.06
    assert values['edge_sdk_stage_seconds_sum{stage="infer"}'] == pytest.approx(0.3)
    assert values["edge_sdk_result_age_seconds_count"] == 10
    assert values["edge_sdk_board_temperature_celsius"] == 61.5
    assert values["edge_sdk_board_clock_hertz"] == 2.4e9
    assert values["edge_sdk_board_throttled"] == 0
    assert values[f'edge_sdk_source_state{{source="{CAMERA}",state="LIVE"}}'] == 1
    escaped = hostile.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    assert values[f'edge_sdk_source_state{{source="{escaped}",state="STALE"}}'] == 1
    run.status = None
    assert run.get("/metrics")[1].decode().splitlines()[-1] == "edge_sdk_preview_viewers 0"


def test_health_is_good_while_sources_live_and_results_flow(run: Run) -> None:
    def health() -> tuple[int, list[str]]:
        answer, body = run.get("/health")
        facts = json.loads(body)
        assert (facts["status"] == "ok") == (answer.status == 200)
        return answer.status, facts["reasons"]

    assert health()[0] == 503
    assert "no result yet" in health()[1][0]
    run.write()
    assert health() == (200, [])
    assert json.loads(run.get("/health")[1])["engine"]["provider"] == "cpu"
    for state in set(SourceState) - {SourceState.LIVE}:
        run.status = run_status(state)
        assert health() == (503, [f"{CAMERA} is {state.value}: no frame for 2 s"])
    run.status = run_status()
    run.sink._feed._written -= 60  # type: ignore[attr-defined]
    assert health() == (503, ["no result for 60 s"])
    slow = {"age": {"p50_ms": 30_000.0, "count": 3, "mean_ms": 30_000.0}}
    run.status = run_status(total=slow)
    assert health() == (200, [])
    run.status = None
    assert health()[0] == 503


# --- what it costs


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
    feed = run.sink._feed  # type: ignore[attr-defined]
    until(lambda: feed.watchers == 6)

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
    until(lambda: feed.watchers == 0 or run.write())
    before = len(encoded)
    run.write(20)
    assert len(encoded) == before


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
    feed = run.sink._feed  # type: ignore[attr-defined]
    noise = np.random.default_rng(0).integers(0, 256, (720, 1280, 3), np.uint8)
    with socket.socket() as stalled:
        stalled.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        stalled.connect((run.host, run.port))
        stalled.sendall(b"GET /stream.mjpg HTTP/1.1\r\nHost: localhost\r\n\r\n")
        until(lambda: feed.watchers == 1)
        watcher = run.open("/stream.mjpg")
        until(lambda: feed.watchers == 2)
        dropped = False
        for index in range(1000):
            run.sink.write(replace(frame(index), image=noise), RESULT, STAMP)
            until(lambda index=index: int(next_part(watcher)[0]["X-Index"]) >= index)  # type: ignore[misc]
            dropped = feed.watchers == 1
            if dropped:
                break
        assert dropped
        watcher.close()


# --- who is let in


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: evil.example:8080\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost.evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost@evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", 403),
        (b"GET / HTTP/1.1\r\nHost: LOCALHOST:1\r\nConnection: close\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: [::1]\r\nConnection: close\r\n\r\n", 200),
        (b"GET / HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n", 200),
        (b"GET /../../etc/passwd HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET //evil.example/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET http://[ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"GET /%00 HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\nx", 405),
        (b"OPTIONS / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\nGET /x HT", 400),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: localhost\r\n\r\n", 505),
        (b"\x00\xff\xfe rubbish\r\n\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    ],
)
def test_a_hostile_request_is_refused_and_ends_the_connection(
    request_bytes: bytes, status: int, run: Run
) -> None:
    answer = run.raw(request_bytes)
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert b"Traceback" not in answer
    assert run.get("/status.json")[0].status == 200


def test_a_token_lets_in_and_nothing_else_does(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with Run(f"http://127.0.0.1:0?token={TOKEN}") as run:
        run.write()
        paths = ("/", "/stream.mjpg", "/snapshot.jpg", "/results", "/status.json", "/metrics")
        for path in (*paths, "/health", "/nothing"):
            for headers in (
                {},
                {"Authorization": "Bearer wrong"},
                {"Authorization": f"Basic {TOKEN}"},
                {"Authorization": "Bearer \xff\xfe"},
                {"Cookie": f"edge_sdk_preview_{run.port}={TOKEN}"},
                {"Cookie": f"edge_sdk_preview_{run.port}="},
            ):
                answer, body = run.get(path, **headers)
                assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
                assert TOKEN.encode() not in body
            assert run.get(f"{path}?token=wrong")[0].status == 401
        assert run.get("/status.json", Authorization=f"Bearer {TOKEN}")[0].status == 200
        assert run.get(f"/snapshot.jpg?token={TOKEN}")[0].status == 200
        assert run.get("/status.json", Host="camera.lan", Authorization=f"bearer {TOKEN}")[1]
        answer, _ = run.get(f"/?token={TOKEN}")
        assert (answer.status, answer.headers["Location"]) == (303, "./")
        cookie, *rules = answer.headers["Set-Cookie"].split("; ")
        assert {"HttpOnly", "SameSite=Strict"} <= set(rules)
        assert TOKEN not in cookie
        for path in ("/", "/status.json", "/metrics"):
            answer, body = run.get(path, Cookie=f"other=1; {cookie}")
            assert answer.status == 200
            assert TOKEN.encode() not in body
    assert TOKEN not in caplog.text


def test_an_open_address_serves_other_names_with_the_token() -> None:
    with Run(f"http://0.0.0.0:0?token={TOKEN}") as run:
        assert run.get("/health", Host="pi.local")[0].status == 401
        assert run.get("/status.json", Host="pi.local", Authorization=f"Bearer {TOKEN}")[1]


# --- how many, and for how long


def test_connections_are_reused_bounded_and_given_back(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(server, "CLIENTS", 3)
    held = [socket.create_connection((run.host, run.port), timeout=30) for _ in range(3)]
    ask = b"GET /status.json HTTP/1.1\r\nHost: localhost\r\n\r\n"
    for connection in (held[0], held[1], held[2], held[0]):
        connection.sendall(ask)
        assert connection.recv(12) == b"HTTP/1.1 200"
        time.sleep(0.1)
        connection.recv(65536)
    assert run.raw(b"").startswith(b"HTTP/1.1 503 ")
    held.pop().close()
    until(
        lambda: run.raw(ask.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))[9:12] == b"200"
    )
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

"""The preview's server: where it is, and who is let in."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator

import pytest

from device_profiles.errors import OutputError
from runtime.sinks import open_sink
from runtime.sinks._preview.address import read_address
from tests.runtime.preview_cases import (
    Run,
)

TOKEN = "s3cret-t0ken"


@pytest.fixture
def run() -> Iterator[Run]:
    with Run() as one:
        yield one


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


def test_it_serves_ipv6_where_there_is_any() -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with Run("http://[::1]:0") as run:
        assert run.url == f"http://[::1]:{run.port}"
        assert run.get("/status.json")[0].status == 200
        assert run.get("/status.json", Host="evil.example")[0].status == 403


def test_a_port_in_use_is_an_output_error(run: Run) -> None:
    with pytest.raises(OutputError, match=rf"port {run.port} .*in use.*choose another port"):
        open_sink(run.url)


def test_the_port_is_free_again_at_once() -> None:
    with Run() as first:
        first.get("/health")
        url = first.url
    with Run(url) as second:
        assert second.get("/health")[0].status == 503


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

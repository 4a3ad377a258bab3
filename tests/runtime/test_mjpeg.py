"""Pictures over HTTP: from servers as they are, good and bad, within time and without leaks."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
import urllib.request as web
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
import pytest

from device_profiles.errors import SourceError
from runtime.frame import Frame
from runtime.sources import SourceOptions, connect, open_source
from tests.runtime.source_cases import PATIENCE_S

Script = Callable[[socket.socket, str], None]
QUICK = SourceOptions(open=0.4, grab=0.4)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=frame\r\n\r\n"


def jpeg(level: int = 100, width: int = 64, height: int = 48) -> bytes:
    image = np.full((height, width, 3), level, np.uint8)
    return bytes(cv2.imencode(".jpg", image)[1].tobytes())


def part(content: bytes, headers: str = "") -> bytes:
    head = f"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: {len(content)}\r\n{headers}\r\n"
    return head.encode() + content + b"\r\n"


class Camera:
    """A server that does with each connection what the script says, then holds or closes it."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.asked: list[str] = []
        self.script: Script = lambda _connection, _request: None
        self._open: list[socket.socket] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()
        self._threads: list[threading.Thread] = []

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._open.append(connection)
            thread = threading.Thread(target=self._answer, args=(connection,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _answer(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            request = b""
            while b"\r\n\r\n" not in request:
                more = connection.recv(65536)
                if not more:
                    return
                request += more
            self.asked.append(request.decode("latin-1"))
            self.script(connection, self.asked[-1])

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(PATIENCE_S)
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
        for thread in self._threads:
            thread.join(PATIENCE_S)


@pytest.fixture
def camera() -> Iterator[Camera]:
    made = Camera()
    yield made
    made.close()


def sends(*data: bytes, then: str = "hold") -> Script:
    def script(connection: socket.socket, _request: str) -> None:
        for piece in data:
            connection.sendall(piece)
        if then == "close":
            connection.shutdown(socket.SHUT_RDWR)

    return script


def opened(camera: Camera, options: SourceOptions = QUICK, path: str = "/") -> Any:
    return connect(f"http://{camera.host}{path}", options)


def level(frame: Frame | None) -> int:
    assert frame is not None
    return round(float(frame.image.mean()))


# --- what it gives


def test_pictures_come_with_index_and_time_of_capture(camera: Camera) -> None:
    more = threading.Event()

    def script(connection: socket.socket, _request: str) -> None:
        connection.sendall(HEAD + part(jpeg(50)))
        more.wait(PATIENCE_S)
        connection.sendall(part(jpeg(90)))

    camera.script = script
    source = opened(camera)
    assert (source.live, source.count, source.fps) == (True, None, None)
    before = time.monotonic_ns()
    first = source.read()
    more.set()
    second = source.read()
    source.close()
    assert [level(first), level(second)] == pytest.approx([50, 90], abs=2)
    assert (first.index, second.index) == (0, 1)
    assert first.captured_ns < second.captured_ns <= time.monotonic_ns()
    assert second.captured_ns > before
    assert first.image.shape == (48, 64, 3)


def test_of_several_that_have_arrived_only_the_newest_is_decoded(camera: Camera) -> None:
    camera.script = sends(HEAD + b"".join(part(jpeg(20 * n)) for n in range(8)))
    source = opened(camera)
    frame = source.read()
    while frame.index < 7:
        frame = source.read()
    source.close()
    assert level(frame) == pytest.approx(140, abs=2)


@pytest.mark.parametrize(("reduce", "shape"), [(2, (24, 32, 3)), (4, (12, 16, 3)), (8, (6, 8, 3))])
def test_pictures_can_be_decoded_reduced(reduce: int, shape: Any, camera: Camera) -> None:
    camera.script = sends(HEAD + part(jpeg(50)))
    source = opened(camera, SourceOptions(reduce=reduce))
    frame = source.read()
    source.close()
    assert frame.image.shape == shape
    assert level(frame) == pytest.approx(50, abs=2)


def test_a_server_that_stamps_its_frames_is_believed(camera: Camera) -> None:
    held_up = threading.Event()

    def script(connection: socket.socket, _request: str) -> None:
        connection.sendall(HEAD + part(jpeg(), "X-Timestamp: 100.0\r\n"))
        held_up.wait(PATIENCE_S)
        time.sleep(0.2)
        connection.sendall(part(jpeg(), "X-Timestamp: 100.001\r\n"))

    camera.script = script
    source = opened(camera, SourceOptions())
    first = source.read()
    held_up.set()
    second = source.read()
    source.close()
    # One millisecond later by the server's clock, two hundred by its arrival.
    assert 0 < second.captured_ns - first.captured_ns < 100_000_000


@pytest.mark.parametrize("stamp", ["x", "nan", "inf", "1e400", "-5", ""])
def test_a_stamp_that_is_none_is_no_harm(stamp: str, camera: Camera) -> None:
    camera.script = sends(HEAD + part(jpeg(), f"X-Timestamp: {stamp}\r\n"))
    source = opened(camera)
    assert source.read().captured_ns <= time.monotonic_ns()
    source.close()


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.0 200 OK\r\nContent-Type: multipart/x-mixed-replace\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace;boundary=--frame\r\n\r\n",
        b'HTTP/1.1 200 OK\r\ncontent-type: multipart/x-mixed-replace; boundary="wrong"\r\n\r\n',
        b"HTTP/1.1 100 Continue\r\n\r\n" + HEAD,
    ],
)
def test_heads_of_many_kinds(head: bytes, camera: Camera) -> None:
    camera.script = sends(head + part(jpeg(50)) + part(jpeg(50)))
    source = opened(camera)
    assert level(source.read()) == pytest.approx(50, abs=2)
    source.close()


def test_a_chunked_stream(camera: Camera) -> None:
    body = part(jpeg(50)) + part(jpeg(60))
    chunks = [body[at : at + 100] for at in range(0, len(body), 100)]
    head = HEAD.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n")
    camera.script = sends(head, *(b"%x\r\n%s\r\n" % (len(c), c) for c in chunks))
    source = opened(camera)
    assert level(source.read()) == pytest.approx(60, abs=11)
    source.close()


def test_a_drip_is_read_byte_by_byte(camera: Camera) -> None:
    data = HEAD + part(jpeg(50, 8, 8))
    camera.script = sends(*(data[at : at + 1] for at in range(len(data))))
    source = opened(camera, SourceOptions())
    assert level(source.read()) == pytest.approx(50, abs=2)
    source.close()


# --- what is no picture


BOMB = jpeg().replace((48).to_bytes(2, "big") + (64).to_bytes(2, "big"), b"\xff\xff\xff\xff", 1)


@pytest.mark.parametrize(
    "bad",
    [b"not a picture", jpeg()[:-40], BOMB, b"\xff\xd8\xff\xd9", jpeg()[:3]],
    ids=["text", "cut off", "of 4 billion pixels", "empty", "three bytes"],
)
def test_a_bad_picture_is_lost_and_many_are_an_error(bad: bytes, camera: Camera) -> None:
    alone, flood = threading.Event(), threading.Event()

    def script(connection: socket.socket, _request: str) -> None:
        connection.sendall(HEAD + part(bad))
        alone.wait(PATIENCE_S)
        connection.sendall(part(jpeg(50)))
        flood.wait(PATIENCE_S)
        while True:
            connection.sendall(part(bad))
            time.sleep(0.001)

    camera.script = script
    source = opened(camera, SourceOptions())
    timer = threading.Timer(0.1, alone.set)
    timer.start()
    frame = source.read()
    assert level(frame) == pytest.approx(50, abs=2)
    assert frame.index == 1  # the bad one was counted
    timer.join()
    flood.set()
    with pytest.raises(SourceError, match="no whole JPEG pictures"):
        while True:
            source.read()
    source.close()


@pytest.mark.parametrize(
    ("data", "then", "message"),
    [
        (HEAD, "hold", r"sent nothing for 0\.4 s \(#grab\)"),
        (HEAD + part(jpeg())[:300], "hold", "sent nothing for"),
        (HEAD, "close", "the stream ended|broke off"),
        (HEAD + part(jpeg())[:300], "close", "the stream ended|broke off"),
        (HEAD + b"--frame\r\n" + b"X: y\r\n" * 9000, "hold", "headers of a part .* no end"),
        (HEAD + b"--frame\r\nContent-Length: 99999999999\r\n\r\n", "hold", "states 99999999999"),
    ],
)
def test_a_stream_that_stalls_or_lies_is_an_error(
    data: bytes, then: str, message: str, camera: Camera
) -> None:
    camera.script = sends(data, then=then)
    source = opened(camera)
    with pytest.raises(SourceError, match=message):
        source.read()
    source.close()


def test_a_read_that_waits_can_be_interrupted(camera: Camera) -> None:
    camera.script = sends(HEAD)
    source = opened(camera, SourceOptions(grab=1000))
    timer = threading.Timer(0.1, source.interrupt)
    timer.start()
    with pytest.raises(SourceError, match=r"the stream ended|broke off"):
        source.read()
    source.close()
    timer.join()
    source.interrupt()  # of what is closed: nothing


# --- getting there


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "has no such page"),
        (b"HTTP/1.1 503 Busy\r\n\r\n", "answers 503"),
        (b"HTTP/1.1 302 Found\r\n\r\n", "answers 302"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<p>", r"is a page \(text/html\)"),
        (b"SSH-2.0-OpenSSH_9\r\n", "cannot be read"),
        (b"\x00" * 70000, "cannot be read"),
        (b"HTTP/1.1 200 OK\r\n" + b"X-Y: z\r\n" * 500, "cannot be read"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"y" * 10**6, "cannot be read"),
        (b"", "cannot be read"),
    ],
)
def test_what_is_no_stream_is_refused(answer: bytes, message: str, camera: Camera) -> None:
    camera.script = sends(answer, then="close")
    with pytest.raises(SourceError, match=message):
        opened(camera)


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_an_answer_that_drips_without_end_ends_in_time(answer: bytes, camera: Camera) -> None:
    def script(connection: socket.socket, _request: str) -> None:
        connection.sendall(answer)
        for _ in range(400):
            connection.sendall(answer or b"H")
            time.sleep(0.05)

    camera.script = script
    with pytest.raises(SourceError, match="cannot be read"):
        opened(camera, SourceOptions(open=0.3))


def test_a_silent_server_ends_in_time(camera: Camera) -> None:
    with pytest.raises(SourceError, match=r"cannot be read"):
        opened(camera)


def test_nobody_there_says_what_to_look_at() -> None:
    with pytest.raises(SourceError, match=r"refused.*is the address right, is the camera on\?"):
        connect("http://127.0.0.1:1/x", QUICK)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("http://", "names no host"),
        ("http:///x", "names no host"),
        ("http://cam:port/", "is no address"),
        ("http://cam:99999/", "is no address"),
        ("http://[::1/", "is no address"),
    ],
)
def test_an_address_that_cannot_be_is_refused_before_it_is_tried(uri: str, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_source(uri + "#wait=1")


def test_a_page_may_have_any_name(camera: Camera) -> None:
    camera.script = sends(HEAD + part(jpeg()))
    source = opened(camera, path="/größe x?a=b%20c&d=é#")
    source.close()
    assert camera.asked[0].startswith("GET /gr%C3%B6%C3%9Fe%20x?a=b%20c&d=%C3%A9")


# --- who asks


def asks(challenge: str, then: bytes = HEAD) -> Script:
    def script(connection: socket.socket, request: str) -> None:
        if "authorization:" in request.lower():
            connection.sendall(then + part(jpeg()))
        else:
            head = f"HTTP/1.1 401 Unauthorized\r\n{challenge}\r\nContent-Length: 0\r\n\r\n"
            connection.sendall(head.encode())

    return script


def authorization(request: str) -> str:
    lines = (line.partition(": ") for line in request.splitlines())
    return next((value for name, _, value in lines if name.lower() == "authorization"), "")


def test_basic_is_given_when_asked_for(camera: Camera) -> None:
    camera.script = asks('WWW-Authenticate: Basic realm="cam"')
    opened_at = connect(f"http://me:p%40ss@{camera.host}/", QUICK)
    opened_at.close()
    assert authorization(camera.asked[0]) == ""
    assert authorization(camera.asked[1]) == "Basic " + base64.b64encode(b"me:p@ss").decode()


DIGEST = 'WWW-Authenticate: Digest realm="cam", nonce="abc", qop="auth", algorithm='


@pytest.mark.parametrize(
    "challenge",
    [
        f"{DIGEST}MD5",
        f"{DIGEST}SHA-512-256\r\n{DIGEST}MD5",
        f'WWW-Authenticate: Basic realm="cam"\r\n{DIGEST}MD5',
    ],
)
def test_digest_goes_before_basic_and_past_what_is_unknown(challenge: str, camera: Camera) -> None:
    camera.script = asks(challenge)
    connect(f"http://me:s3cret@{camera.host}/live?x=1", QUICK).close()
    said = authorization(camera.asked[1])
    fields = web.parse_keqv_list(web.parse_http_list(said.removeprefix("Digest ")))
    handler = web.AbstractDigestAuthHandler()
    hashed, digest = handler.get_algorithm_impls("MD5")
    one, two = hashed("me:cam:s3cret"), hashed("GET:/live?x=1")
    counted = f"abc:{fields['nc']}:{fields['cnonce']}:auth:{two}"
    assert fields["response"] == digest(one, counted)
    assert "s3cret" not in camera.asked[1]


@pytest.mark.parametrize(
    ("challenge", "message"),
    [
        ("WWW-Authenticate: Negotiate", r"a way that is not known here \(negotiate\)"),
        ("X: y", "it does not say which"),
        (f"{DIGEST}SHA-512-256", r"not known here \(digest\)"),
        ("WWW-Authenticate: Digest nonsense", r"not known here \(digest\)"),
    ],
)
def test_a_password_is_not_given_where_nobody_asks_for_it_so(
    challenge: str, message: str, camera: Camera
) -> None:
    camera.script = asks(challenge)
    with pytest.raises(SourceError, match=message):
        connect(f"http://me:s3cret@{camera.host}/", QUICK)
    assert not [request for request in camera.asked if authorization(request)]


def test_a_wrong_password_and_a_missing_one_say_so(camera: Camera) -> None:
    refusal = b"HTTP/1.1 401 No\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n"
    camera.script = sends(refusal)
    for user in ("me:wrong@", ""):
        with pytest.raises(SourceError, match="refuses the user or password") as caught:
            connect(f"http://{user}{camera.host}/", QUICK)
        assert "wrong" not in str(caught.value)


def redirects(to: str) -> Script:
    return sends(f"HTTP/1.1 302 Found\r\nLocation: {to}\r\nContent-Length: 0\r\n\r\n".encode())


@pytest.fixture
def other() -> Iterator[Camera]:
    made = Camera()
    yield made
    made.close()


def test_a_redirect_on_the_same_host_keeps_the_user(camera: Camera) -> None:
    basic = asks("WWW-Authenticate: Basic")

    def script(connection: socket.socket, request: str) -> None:
        (basic if request.startswith("GET /b") else redirects("/b?c=1"))(connection, request)

    camera.script = script
    connect(f"http://me:pw@{camera.host}/a", QUICK).close()
    assert [bool(authorization(request)) for request in camera.asked] == [False, False, True]


def test_who_we_are_is_not_told_to_another_host(camera: Camera, other: Camera) -> None:
    port = other.host.rpartition(":")[2]
    asked = asks("WWW-Authenticate: Basic")

    def script(connection: socket.socket, request: str) -> None:
        (redirects(f"http://localhost:{port}/x") if authorization(request) else asked)(
            connection, request
        )

    camera.script = script
    other.script = asks("WWW-Authenticate: Basic")
    with pytest.raises(SourceError, match="refuses the user"):
        connect(f"http://me:s3cret@{camera.host}/", QUICK)
    assert len(other.asked) == 1
    assert authorization(other.asked[0]) == ""


@pytest.mark.parametrize("to", ["/", "file:///etc/passwd", "rtsp://127.0.0.1/x", "http://", "//["])
def test_redirects_that_lead_nowhere_end(to: str, camera: Camera) -> None:
    camera.script = redirects(to)
    with pytest.raises(SourceError, match=r"redirects without end|names no host|is no address"):
        opened(camera)
    assert len(camera.asked) <= 10


def test_nothing_is_left_open(camera: Camera) -> None:
    import os

    camera.script = sends(HEAD + part(jpeg()))
    opened(camera).close()
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    for script in (sends(HEAD + part(jpeg())), redirects("/"), sends(b"x", then="close")):
        camera.script = script
        for _ in range(5):
            with contextlib.suppress(SourceError):
                source = opened(camera)
                source.read()
                source.close()
    assert len(camera._open) > 15
    for connection in camera._open:
        connection.close()
    for thread in camera._threads:
        thread.join(PATIENCE_S)
    assert len(os.listdir("/proc/self/fd")) <= files
    assert threading.active_count() <= threads

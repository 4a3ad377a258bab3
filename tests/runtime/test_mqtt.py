"""MQTT with a real broker: what arrives, what is said of the run, and what a bad broker costs."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import MissingError, OutputError
from runtime.sinks import mqtt as module
from runtime.sinks import open_sink
from runtime.sinks.mqtt import Mqtt
from tests.runtime.preview_cases import RESULT, STAMP, frame, until

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
broker_needed = pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed")
PASSWORD = "p@ss/w0rd"


class Broker:
    """Mosquitto on a port of its own, which keeps the port when it is started again."""

    def __init__(self, folder: Path, *lines: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port: int = free.getsockname()[1]
        self._configuration = folder / "mosquitto.conf"
        # Started as root, it would become a user who may not read a test's files.
        settings = ("user root", f"listener {self.port} 127.0.0.1")
        settings += lines or ("allow_anonymous true",)
        self._configuration.write_text("\n".join(settings) + "\n")
        self.start()

    def start(self) -> None:
        command = [str(MOSQUITTO), "-c", str(self._configuration)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        until(self._answers)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, "mosquitto does not start"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


@pytest.fixture
def start_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Return what starts a broker with lines of configuration; all end with the test."""
    brokers: list[Broker] = []

    def start(*lines: str) -> Broker:
        brokers.append(Broker(tmp_path, *lines))
        return brokers[-1]

    yield start
    for broker in brokers:
        broker.stop()


@pytest.fixture
def broker(start_broker: Callable[..., Broker]) -> Broker:
    return start_broker()


@pytest.fixture(autouse=True)
def no_thread_is_left(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(module, "_BACKOFF_S", (1, 1))
    before = set(threading.enumerate())
    yield
    until(lambda: set(threading.enumerate()) <= before)


class Subscriber:
    """What arrives at a broker under `cam/#`."""

    def __init__(self, port: int, ca: str = "") -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.records: list[dict[str, Any]] = []
        self.states: list[tuple[str, bool]] = []
        ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2)
        if ca:
            self._client.tls_set(ca)
        self._client.on_connect = lambda client, *_: client.subscribe("cam/#", 1)
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.on_message = self._take
        self._client.connect("127.0.0.1", port)
        self._client.loop_start()
        assert ready.wait(30)

    def __enter__(self) -> Subscriber:
        return self

    def __exit__(self, *_error: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _take(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic == "cam/1/status":
            self.states.append((message.payload.decode(), message.retain))
        else:
            assert message.topic == "cam/1"
            self.records.append(json.loads(message.payload))


def opened(port: int, more: str = "", user: str = "") -> Mqtt:
    sink = open_sink(f"mqtt://{user}127.0.0.1:{port}/cam/1{more}")
    assert isinstance(sink, Mqtt)
    return sink


def connected(sink: Mqtt) -> bool:
    return sink._connected


@pytest.mark.parametrize(
    ("uri", "says"),
    [
        ("mqtt://host", "needs a topic"),
        ("mqtt://host/", "needs a topic"),
        ("mqtt://host/a/+/b", "without"),
        ("mqtt://host/%23", "without"),
        ("mqtt:///topic", "names no host"),
        ("mqtt://me:hunter2@/topic", "names no host"),
        ("mqtt://me:hunter2/x@host/topic", "not the address"),
        ("mqtt://me:hunter2@host:x/topic", "not the address"),
        (f"mqtt://me:hunter2@{'a' * 70}/topic", "not the address"),
        ("mqtt://me:hunter2@host/topic?qos=2", "0 to 1"),
        ("mqtt://me:hunter2@host/topic?qs=1", "did you mean qos"),
        ("mqtt://host/topic?ca=x.pem", "write mqtts"),
        ("mqtts://me:hunter2@host/topic?ca=/no/such.pem", "no file of certificates"),
    ],
)
def test_a_wrong_address_is_refused_without_its_secret(uri: str, says: str) -> None:
    with pytest.raises(OutputError, match=says) as caught:
        open_sink(uri)
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None or "hunter2" not in str(caught.value.__cause__)


def test_without_paho_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "paho.mqtt.enums", None)
    with pytest.raises(MissingError, match=r"edge-sdk\[mqtt\]"):
        open_sink("mqtt://host/topic")


@broker_needed
@pytest.mark.parametrize("qos", [0, 1])
def test_results_arrive_in_order_and_the_state_is_retained(broker: Broker, qos: int) -> None:
    with Subscriber(broker.port) as early:
        sink = opened(broker.port, f"?qos={qos}")
        until(lambda: connected(sink))
        for index in range(300):
            sink.write(frame(index), RESULT, STAMP)
        until(lambda: len(early.records) == 300)
        with Subscriber(broker.port) as late:
            until(lambda: late.states == [("online", True)])
        sink.close()
        until(lambda: len(early.states) == 2)
        assert [record["index"] for record in early.records] == list(range(300))
        assert early.records[0]["result"]["label"] == "cat"
        assert early.states == [("online", False), ("offline", False)]
        assert sink.dropped == 0
    with Subscriber(broker.port) as later:
        until(lambda: later.states == [("offline", True)])


DIES = """
import os, sys, time
from runtime.sinks import open_sink
sink = open_sink(sys.argv[1])
while not sink._connected:
    time.sleep(0.01)
time.sleep(0.2)
os._exit(9)
"""


@broker_needed
def test_the_broker_says_it_when_the_program_dies(broker: Broker) -> None:
    with Subscriber(broker.port) as watcher:
        command = [sys.executable, "-c", DIES, f"mqtt://127.0.0.1:{broker.port}/cam/1"]
        assert subprocess.run(command, check=False, timeout=60).returncode == 9
        until(lambda: [state for state, _ in watcher.states] == ["online", "offline"])


@broker_needed
def test_a_broker_that_comes_late_or_again_is_found(
    broker: Broker, caplog: pytest.LogCaptureFixture
) -> None:
    broker.stop()
    sink = opened(broker.port)
    until(lambda: "cannot be reached" in caplog.text)
    sink.write(frame(0), RESULT, STAMP)
    assert sink.dropped == 1
    for round_number in (1, 2):
        broker.start()
        until(lambda: connected(sink))
        with Subscriber(broker.port) as watcher:
            sink.write(frame(round_number), RESULT, STAMP)
            until(lambda: watcher.records)
        broker.stop()
        until(lambda: not connected(sink))
        sink.write(frame(9), RESULT, STAMP)
    assert sink.dropped == 3
    sink.close()
    assert caplog.text.count("cannot be reached") == 1
    assert caplog.text.count("is lost") == 2
    assert "3 results were dropped" in caplog.text


@broker_needed
def test_results_with_qos_1_survive_a_broker_that_is_away(broker: Broker) -> None:
    broker.stop()
    sink = opened(broker.port, "?qos=1")
    for index in range(50):
        sink.write(frame(index), RESULT, STAMP)
    broker.start()
    with Subscriber(broker.port) as watcher:
        until(lambda: len(watcher.records) == 50)
        sink.close()
    assert sink.dropped == 0


@broker_needed
@pytest.mark.parametrize("qos", [0, 1])
def test_a_broker_that_hangs_costs_results_and_no_time(
    broker: Broker, qos: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_QUEUE", 20)
    big = "x" * 2_000_000
    sink = opened(broker.port, f"?qos={qos}")
    until(lambda: connected(sink))
    os.kill(broker.process.pid, signal.SIGSTOP)
    try:
        monkeypatch.setattr(module, "json_text", lambda _value: json.dumps({"index": big}))
        for index in range(100):
            sink.write(frame(index), RESULT, STAMP)
        assert 100 - 20 - 10 <= sink.dropped <= 100 - 20  # a few went to the system's buffers
        assert caplog.text.count("takes results too slowly") == 1
    finally:
        os.kill(broker.process.pid, signal.SIGCONT)
    until(lambda: sink._waiting == 0)
    sink.close()


@broker_needed
def test_a_wrong_password_is_said_and_never_shown(
    tmp_path: Path,
    start_broker: Callable[..., Broker],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    users = tmp_path / "users"
    making = ["mosquitto_passwd", "-b", "-c", str(users), "me", PASSWORD]
    subprocess.run(making, check=True, capture_output=True)
    broker = start_broker("allow_anonymous false", f"password_file {users}")
    wrong = opened(broker.port, user="me:wr0ng-secret@")
    until(lambda: "check user and password" in caplog.text)
    wrong.close()
    right = opened(broker.port, user="me:p%40ss%2Fw0rd@")
    until(lambda: connected(right))
    right.close()
    assert PASSWORD not in caplog.text
    assert "p%40ss" not in caplog.text
    assert "wr0ng" not in caplog.text
    assert "wr0ng" not in repr(wrong._broker)


@broker_needed
@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
# paho does not close the socket on which a handshake failed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_tls_is_verified(
    tmp_path: Path, start_broker: Callable[..., Broker], caplog: pytest.LogCaptureFixture
) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "ca.pem"
    making = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run([*making.split(), *names, *files], check=True, capture_output=True)
    tls = (f"certfile {certificate}", f"keyfile {key}")
    broker = start_broker("allow_anonymous true", *tls)
    uri = f"mqtts://127.0.0.1:{broker.port}/cam/1"
    stranger = open_sink(uri)
    until(lambda: "certificate" in caplog.text.lower())
    stranger.close()
    known = open_sink(f"{uri}?ca={certificate}")
    assert isinstance(known, Mqtt)
    until(lambda: connected(known))
    with Subscriber(broker.port, str(certificate)) as watcher:
        known.write(frame(5), RESULT, STAMP)
        until(lambda: [record["index"] for record in watcher.records] == [5])
    known.close()

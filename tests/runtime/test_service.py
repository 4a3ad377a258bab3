"""What a service manager hears, on a real socket."""

from __future__ import annotations

import logging
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.service import Service

ROOT = Path(__file__).resolve().parents[2]


class Manager:
    """Listens as systemd does."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[str]:
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode())
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._socket.close()


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = f"@edge-sdk-test-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "s")
    found = Manager(name)
    yield found
    found.close()


def test_a_service_lives(manager: Manager) -> None:
    service = Service.from_environment({"NOTIFY_SOCKET": manager.address})
    assert service.watchdog_s is None
    service.status("30.0 fps")
    service.progress()
    service.progress()
    service.ready()
    service.status("30.0 fps")  # the same again is not said again
    service.status("29.9 fps")
    service.stopping()
    service.stopping()
    assert manager.heard() == [
        "STATUS=30.0 fps", "READY=1", "STATUS=29.9 fps", "STOPPING=1",
    ]  # fmt: skip


def test_the_watchdog_is_fed_by_progress_and_not_too_often(manager: Manager) -> None:
    clock = Clock()
    service = Service(manager.address, 20.0, clock)
    service.progress()
    assert manager.heard() == ["READY=1"]
    for clock.now in (1.0, 2.0, 4.9):
        service.progress()
    assert manager.heard() == []
    for clock.now in (5.0, 5.1, 9.9, 10.0):
        service.progress()
    assert manager.heard() == ["WATCHDOG=1"] * 2
    clock.now = 500.0
    service.status("no frames")
    assert manager.heard() == ["STATUS=no frames"]  # which is no sign of life
    service.stopping()
    service.progress()
    assert manager.heard() == ["STOPPING=1"]


def test_the_managers_variables(manager: Manager) -> None:
    def watchdog(**variables: str) -> float | None:
        found = {"NOTIFY_SOCKET": manager.address, **variables}
        return Service.from_environment(found).watchdog_s

    mine, other = str(os.getpid()), str(os.getppid())
    assert watchdog(WATCHDOG_USEC="2500000") == 2.5
    assert watchdog(WATCHDOG_USEC="2500000", WATCHDOG_PID=mine) == 2.5
    assert watchdog(WATCHDOG_USEC="2500000", WATCHDOG_PID=other) is None
    for nonsense in ("", "0", "-1", "1e6", "soon", "²"):
        assert watchdog(WATCHDOG_USEC=nonsense) is None
    assert Service.from_environment({"WATCHDOG_USEC": "2500000"}).watchdog_s is None


def test_the_real_environment(manager: Manager, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", manager.address)
    Service.from_environment().ready()
    assert manager.heard() == ["READY=1"]


def test_outside_of_a_service_nothing_is_said(caplog: pytest.LogCaptureFixture) -> None:
    service = Service.from_environment({})
    for call in (service.ready, service.progress, service.stopping):
        call()
    service.status("x")
    assert caplog.records == []


@pytest.mark.parametrize("address", ["vsock:2:1234", "relative", "fd:3"])
def test_an_address_of_another_kind_is_said_and_left_alone(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service.from_environment({"NOTIFY_SOCKET": address})
    service.ready()
    (record,) = caplog.records
    assert address in record.getMessage()


@pytest.mark.parametrize("address", ["/nowhere/socket", "/" + "x" * 300, "@" + "y" * 300, "/a\0b"])
def test_a_manager_that_is_gone_does_not_end_the_run(
    address: str, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(address)
    with caplog.at_level(logging.WARNING):
        service.ready()
        service.stopping()
    (record,) = caplog.records  # said once
    assert record.__dict__["event"] == "service_unheard"


def test_a_manager_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    manager = Manager(str(tmp_path / "s"))
    clock = Clock()
    service = Service(manager.address, 4.0, clock)

    def feed() -> None:
        for _ in range(2000):  # more than a socket keeps
            clock.now += 1.0
            service.progress()

    thread = threading.Thread(target=feed, daemon=True)
    thread.start()
    thread.join(30)
    assert not thread.is_alive()
    manager.close()


def test_a_status_is_one_line_without_secrets(manager: Manager) -> None:
    service = Service(manager.address)
    service.status("rtsp://me:secret@host/x\nREADY=1\0\n" + "y" * 5000)
    (heard,) = manager.heard()
    assert "secret" not in heard
    assert "\n" not in heard
    assert len(heard) < 2000


def test_the_example_is_a_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    text = (ROOT / "examples" / "edge-sdk.service").read_text()
    assert "Type=notify\n" in text
    assert "WatchdogSec=" in text
    unit = tmp_path / "edge-sdk.service"
    unit.write_text(text.replace("/opt/edge-sdk/bin/edge-sdk", sys.executable))
    command = [analyze, "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")

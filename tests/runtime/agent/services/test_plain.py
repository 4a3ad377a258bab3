"""Plain supervision of real processes: they crash, hang, fork, ignore signals, and are killed."""

from __future__ import annotations

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from device_profiles.errors import OutputError
from runtime.agent.services.base import Place, ServiceOptions
from runtime.agent.services.plain import Plain
from runtime.agent.services.processes import processes_of
from runtime.agent.services.records import Limits, Log, Records
from tests.runtime.agent.services.places import place, switch, until

WORKS = """
service.ready()
service.status("10 results")
print("at work", flush=True)
while True:
    time.sleep(0.05)
    service._send("WATCHDOG=1")
"""


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "a folder"  # a space in every path
    yield folder
    Plain(place_of(folder)).stop(1.0)


def place_of(root: Path) -> Place:
    return Place(root, sys.executable)


def started(root: Path, program: str) -> Plain:
    service = Plain(place(root, program), root / "files")
    service.start()
    return service


def test_it_runs_tells_and_is_ended_in_order(root: Path) -> None:
    program = "signal.signal(signal.SIGTERM, lambda *_: (print('farewell', flush=True), exit(0)))\n"
    before = time.monotonic()
    service = started(root, program + WORKS)
    assert time.monotonic() - before < 0.5  # it does not wait for what it starts
    assert until(lambda: service.liveness().ready)
    alive = service.liveness()
    assert alive.running and alive.restarts == 0 and alive.reason == ""
    assert alive.pid in processes_of(root) and alive.since is not None
    assert abs(time.time() - alive.since) < 10
    assert (root / "guarded").read_text() == "once\n"
    assert until(lambda: "at work" in service.log(5))
    service.stop()
    alive = service.liveness()
    assert not alive.running and not alive.ready and alive.pid is None
    assert alive.reason == "it ended with code 0 (it printed: farewell)"
    assert service.log(1) == ["farewell"] and service.log(0) == []
    assert processes_of(root) == []


def test_what_crashes_is_started_again_ever_later_and_says_why(root: Path) -> None:
    service = started(root, "print('no camera', flush=True)\nos.kill(os.getpid(), signal.SIGSEGV)")
    assert until(lambda: any("again in 2 s" in line for line in service.log(50)))
    assert service.liveness().restarts == 1
    assert "it died of SIGSEGV" in service.liveness().reason
    assert "(it printed: no camera)" in service.liveness().reason
    pauses = re.findall(r"started again in (\d+) s", "\n".join(service.log(50)))
    assert pauses == ["1", "2"]
    assert (root / "guarded").read_text().count("once") >= 2  # before every start


def test_whoever_judges_is_not_disturbed_by_a_guard(root: Path) -> None:
    root.mkdir()
    (root / "lock").write_text(f"flashes, process {os.getpid()}\n")
    with (root / "lock").open("r") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        service = started(root, WORKS)
        assert until(lambda: service.liveness().ready)
    assert not (root / "guarded").exists()


def test_what_is_silent_is_ended_and_started_again(root: Path) -> None:
    records = Records(root)
    records.make()
    records.write_limits(Limits(watchdog_s=0.3, ready_s=5.0))
    service = started(root, "signal.signal(15, signal.SIG_IGN)\nservice.ready()\ntime.sleep(60)")
    assert until(lambda: service.liveness().restarts == 1)
    assert service.liveness().reason == "it gave no result for 0.3 s and was ended"


def test_what_never_gets_ready_is_ended(root: Path) -> None:
    records = Records(root)
    records.make()
    records.write_limits(Limits(ready_s=0.3))
    service = started(root, "time.sleep(60)")
    assert until(lambda: "within 0.3 s of its start" in service.liveness().reason)


def test_another_process_does_not_speak_for_it(root: Path) -> None:
    forged = (
        "import subprocess\n"
        "subprocess.run([sys.executable, '-c', 'import sys; sys.path.insert(0, sys.argv[1]);"
        "from runtime.service import Service; Service.from_environment().ready()', sys.path[0]])\n"
        "print('forged', flush=True)\ntime.sleep(60)"
    )
    service = started(root, forged)
    assert until(lambda: "forged" in service.log(5))
    assert service.liveness().running and not service.liveness().ready


def test_what_ignores_signals_is_ended_by_force_with_all_that_it_started(root: Path) -> None:
    stubborn = (
        "import subprocess\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
        "for session in (False, True):\n"
        "    subprocess.Popen(['sleep', '600'], start_new_session=session)\n"
    )
    service = started(root, stubborn + WORKS)
    assert until(lambda: service.liveness().ready and len(processes_of(root)) == 3)
    before = time.monotonic()
    service.stop(0.3)
    assert time.monotonic() - before < 3
    assert processes_of(root) == [] and not service.liveness().running


def test_what_it_started_ends_with_it(root: Path) -> None:
    service = started(root, "import subprocess\nsubprocess.Popen(['sleep', '600'])\n" + WORKS)
    assert until(lambda: service.liveness().ready)
    service.stop()
    assert processes_of(root) == []


def test_what_it_started_ends_when_it_crashes(root: Path) -> None:
    program = "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    service = started(root, program + "print('started', flush=True)\nexit(1)")
    assert until(lambda: service.liveness().reason != "")
    assert "started" in service.log(9)
    assert service.liveness().restarts == 0  # it is told of when nothing of it is left
    assert processes_of(root) == []


def test_a_supervisor_that_is_killed_takes_it_along(root: Path) -> None:
    program = "import subprocess\nsubprocess.Popen(['sleep', '600'], start_new_session=True)\n"
    service = started(root, program + WORKS)
    assert until(lambda: service.liveness().ready)
    pid = service.liveness().pid
    os.kill(int(Records(root).lock.read_text()), signal.SIGKILL)
    assert until(lambda: pid not in processes_of(root))
    assert len(processes_of(root)) == 1  # what left its group is found by the next
    assert not service.liveness().running
    orphan = processes_of(root)[0]
    words = place_of(root).command("supervise", str(root))
    with subprocess.Popen(words, stdin=subprocess.DEVNULL) as second:
        try:
            assert until(lambda: service.liveness().ready)
            assert orphan not in processes_of(root)
        finally:
            service.stop()
    assert second.returncode == 0


def test_there_is_one_supervisor(root: Path) -> None:
    service = started(root, WORKS)
    assert until(lambda: service.liveness().ready)
    pid = service.liveness().pid
    words = place_of(root).command("supervise", str(root))
    subprocess.run(words, stdin=subprocess.DEVNULL, timeout=20, check=True)
    assert service.liveness().pid == pid and processes_of(root) == [pid]


def test_a_start_is_of_what_is_current_then(root: Path) -> None:
    service = started(root, WORKS)
    assert until(lambda: service.liveness().ready)
    first = service.liveness().pid
    switch(root, "print('second', flush=True)\n" + WORKS)
    service.start()
    assert until(lambda: service.liveness().ready and "second" in service.log(9))
    assert first not in processes_of(root) and service.liveness().restarts == 0


def test_a_stop_right_after_a_start_leaves_nothing(root: Path) -> None:
    service = Plain(place(root, WORKS), root / "files")
    for _ in range(5):
        service.start()
        service.stop()
        assert processes_of(root) == [] and not service.liveness().running
    service.stop()  # once more does no harm


def test_what_it_prints_is_kept_within_bounds(tmp_path: Path) -> None:
    log = Log(tmp_path / "log", most=1000)
    for number in range(500):
        log.put(b"line %03d\n" % number)
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 2100
    assert log.last(2) == ["line 498", "line 499"]
    assert len(log.last(10_000)) > 100


def test_a_damaged_record_is_none(root: Path) -> None:
    service = started(root, WORKS)
    assert until(lambda: service.liveness().ready)
    (root / "run/service.json").write_text('{"pid": 1')
    assert not service.liveness().ready


def test_what_another_supervisor_wrote_is_of_the_past(root: Path) -> None:
    service = started(root, WORKS)
    assert until(lambda: service.liveness().ready)
    entry = Records(root).entry()
    Records(root).write_entry(replace(entry, supervisor=1))
    assert not service.liveness().running


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    service = Plain(place_of(tmp_path / "file"), tmp_path)
    with pytest.raises(OutputError, match="cannot be written"):
        service.install(ServiceOptions())

"""Isolated: a camera in its own process is read whole, killed when it hangs, and leaves nothing."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from device_profiles.errors import MissingError, SourceError
from runtime.isolated import Isolated
from runtime.sources import SourceOptions
from runtime.status import SourceState
from runtime.watched import Watched
from tests.runtime.source_cases import PATIENCE_S, until

ROOT = Path(__file__).resolve().parents[2]

# A package of a third party, which the child finds by its entry point.
PLUGIN = """
import ctypes, os, signal, time
import numpy as np
from device_profiles.errors import MissingError, SourceError
from runtime.frame import Frame

LIVE = True

def accepts(uri):
    return uri.startswith("odd:")

def open_source(uri, options=None):
    return Odd(uri.removeprefix("odd:"))

class Odd:
    live, fps, count, policy, uri = True, 50.0, None, None, "odd"

    def __init__(self, kind):
        self.kind, self.index = kind, 0
        if kind == "hang in open":
            ctypes.PyDLL(None).sleep(1000)  # with Python's lock: nothing in this process runs
        if kind == "missing":
            raise MissingError("odd needs odd")
        if kind == "file":
            self.live = False

    def read(self):
        time.sleep(0.002)
        index, self.index = self.index, self.index + 1
        if index == 5:
            if self.kind == "hang":
                ctypes.PyDLL(None).sleep(1000)
            elif self.kind == "crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            elif self.kind == "exit":
                os._exit(7)
            elif self.kind == "raise":
                raise ValueError("odd://me:s3cret@cam\\nbroke")
            elif self.kind == "fail":
                raise SourceError("odd: " + "x" * 200_000)
            elif self.kind == "end":
                return None
        size = (48, 64, 3)
        if self.kind == "grow" and index >= 5:
            size = (96, 64, 3)
        if self.kind == "shrink" and index >= 5:
            size = (24, 32)
        return Frame(np.full(size, index % 256, np.uint8), index, time.monotonic_ns())

    def close(self):
        ctypes.PyDLL(None).sleep(1000)
"""


@pytest.fixture(autouse=True)
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "odd_camera.py").write_text(PLUGIN)
    facts = tmp_path / "odd_camera-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: odd-camera\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text("[edge_sdk.sources]\nodd = odd_camera\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


@pytest.fixture
def make() -> Iterator[Any]:
    made: list[Isolated] = []

    def build(kind: str) -> Isolated:
        made.append(Isolated(f"odd:{kind}", SourceOptions()))
        return made[-1]

    yield build
    for source in made:
        source.close()


def is_alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"


def test_frames_come_whole_in_order_with_their_times(make: Any) -> None:
    source = make("good")
    last, previous = -1, 0
    for _ in range(200):
        frame = source.read()
        assert frame.index > last
        assert frame.image.shape == (48, 64, 3)
        assert (frame.image == frame.index % 256).all()
        assert previous < frame.captured_ns <= time.monotonic_ns()
        last, previous = frame.index, frame.captured_ns
    assert (source.fps, source.count, source.live) == (50.0, None, True)


def test_frames_that_are_kept_stay_as_they_were(make: Any) -> None:
    source = make("good")
    kept = [source.read() for _ in range(40)]
    assert all((frame.image == frame.index % 256).all() for frame in kept)


def test_a_reader_that_dawdles_gets_the_newest(make: Any) -> None:
    source = make("good")
    first = source.read()
    until(lambda: time.monotonic_ns() - first.captured_ns > 200_000_000)
    second = source.read()
    assert second.index > first.index + 5


@pytest.mark.parametrize(
    ("kind", "error", "message"),
    [
        ("raise", SourceError, r"odd:raise: ValueError\('odd://me:\*\*\*@cam"),
        ("fail", SourceError, "odd: x{200000}"),
        ("crash", SourceError, "the process that reads it died, killed by signal 11"),
        ("exit", SourceError, "the process that reads it died with exit code 7"),
        ("grow", SourceError, "the frames grew to 64 x 96"),
        ("missing", MissingError, "odd needs odd"),
        ("file", SourceError, "is a file, which loses no frame; leave out isolate"),
    ],
)
def test_what_fails_there_is_said_here(
    kind: str, error: type[Exception], message: str, make: Any
) -> None:
    source = make(kind)
    with pytest.raises(error, match=message) as caught:
        while True:
            source.read()
    assert "s3cret" not in str(caught.value)


def test_an_end_is_an_end(make: Any) -> None:
    source = make("end")
    while source.read() is not None:
        pass


def test_frames_may_become_smaller_and_grey(make: Any) -> None:
    source = make("shrink")
    shapes = {source.read().image.shape for _ in range(20)}
    assert (24, 32) in shapes


def test_a_child_that_hangs_in_c_is_killed(make: Any) -> None:
    source = make("hang")
    pid = source._child.pid
    timer = threading.Timer(0.5, source.interrupt)
    timer.start()
    with pytest.raises(SourceError, match="killed by signal 9"):
        while True:
            source.read()
    timer.join()
    source.interrupt()
    assert not is_alive(pid)


@pytest.mark.parametrize("kind", ["hang", "hang in open"])
def test_a_watched_camera_that_hangs_is_killed_and_opened_again(kind: str) -> None:
    options = SourceOptions(stale=1.0, open=3.0, retry_cap=0.05, isolate="process", wait=True)
    made: list[Isolated] = []

    def open_apart() -> Isolated:
        # The first one hangs.
        made.append(Isolated(f"odd:{kind if not made else 'good'}", options))
        return made[-1]

    source = Watched("odd", open_apart, options)
    until(lambda: len(made) > 1 and source.status().state is SourceState.LIVE)
    assert not is_alive(made[0]._child.pid)
    source.close()
    until(lambda: not [one for one in made if is_alive(one._child.pid)])


PARENT = """
    import sys, time
    from runtime.isolated import Isolated
    from runtime.sources import SourceOptions
    source = Isolated("odd:" + sys.argv[1], SourceOptions())
    if sys.argv[1] == "hang":
        for _ in range(3):
            source.read()
    print(source._child.pid, flush=True)
    time.sleep(1000)
"""


@pytest.mark.parametrize("kind", ["hang", "hang in open"])
def test_the_child_dies_with_its_parent_though_it_hangs(kind: str, plugin: Path) -> None:
    path = os.pathsep.join([str(ROOT), str(plugin)])
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(PARENT), kind],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    assert parent.stdout is not None
    with parent, contextlib.suppress(ProcessLookupError):
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.send_signal(signal.SIGKILL)
        parent.wait(PATIENCE_S)
        until(lambda: not is_alive(pid), "the end of the child")


def test_ctrl_c_is_for_the_parent_alone(make: Any) -> None:
    source = make("good")
    source.read()
    assert os.getpgid(source._child.pid) != os.getpgid(0)


def test_the_address_is_not_in_the_arguments_nor_the_environment(make: Any) -> None:
    source = make("good?token=s3cret")
    source.read()
    for what in ("cmdline", "environ"):
        assert b"s3cret" not in Path(f"/proc/{source._child.pid}/{what}").read_bytes()
    assert "s3cret" not in source.uri


def test_nothing_is_left_open(make: Any) -> None:
    def memory() -> int:
        maps = Path("/proc/self/maps").read_text()
        return maps.count("memfd:")

    Isolated("odd:good", SourceOptions()).close()
    files, maps = len(os.listdir("/proc/self/fd")), memory()
    for kind in ("good", "good", "crash", "missing", "hang", "end"):
        source = Isolated(f"odd:{kind}", SourceOptions())
        pid = source._child.pid
        with contextlib.suppress(SourceError, MissingError):
            for _ in range(4):
                source.read()
        source.close()
        assert not is_alive(pid)
    assert len(os.listdir("/proc/self/fd")) == files
    assert memory() == maps


def test_no_process_to_be_had_is_an_error_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = len(os.listdir("/proc/self/fd"))
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(SourceError, match="no process for it can be started"):
        Isolated("odd:good", SourceOptions())
    assert len(os.listdir("/proc/self/fd")) == files


def test_reading_allocates_no_picture(make: Any) -> None:
    source = make("good")
    seen = set()
    for _ in range(50):
        frame = source.read()
        seen.add(frame.image.__array_interface__["data"][0])
        del frame
    assert len(seen) <= 2

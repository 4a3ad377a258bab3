"""An engine in a process of its own: it may crash or hang, and says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import EngineError, MissingError
from runtime import worker as module
from runtime.engines import EngineOptions, open_engine
from runtime.engines.null import null_model
from runtime.manifest import TensorSpec
from runtime.worker import Worker, open_tried, try_out

INPUTS = [TensorSpec("image", "uint8", (-1, 4, 4, 3))]
OUTPUTS = [TensorSpec("y", "float32", (-1, 5)), TensorSpec("z", "int64", (-1, 2, 2))]
IMAGE = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
GENEROUS_S = 60.0
PATIENCE_S = 4.0

Started = Callable[..., Worker]


@pytest.fixture
def started() -> Iterator[Started]:
    """Return a function: a worker of a null model that behaves as is said."""
    found: list[Worker] = []

    def start(load_s: float | None = None, **behaviour: Any) -> Worker:
        model = null_model(INPUTS, OUTPUTS, **behaviour)
        found.append(Worker("null", model, EngineOptions(), load_s))
        return found[-1]

    yield start
    for worker in found:
        worker.close()


def gone(pid: int) -> bool:
    """Say whether a process ended, or does within a generous time."""
    until = time.monotonic() + GENEROUS_S
    while time.monotonic() < until:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.01)
    return False


def test_it_is_the_engine_that_it_runs(started: Started) -> None:
    worker, here = started(), open_engine("null", null_model(INPUTS, OUTPUTS))
    for fact in ("name", "version", "provider", "inputs", "outputs"):
        assert getattr(worker, fact) == getattr(here, fact)
    for batch in (1, 3, 200, 1):
        image = np.random.default_rng(batch).integers(0, 256, (batch, 4, 4, 3), np.uint8)
        for found, expected in zip(worker.run([image]), here.run([image]), strict=True):
            assert found.dtype == expected.dtype
            np.testing.assert_array_equal(found, expected)
    assert [seen > inside > 0 for seen, inside in worker.times_ms] == [True] * 4


def test_its_answers_are_the_callers_own(started: Started) -> None:
    worker = started()
    first = worker.run([IMAGE])[0]
    kept = first.copy()
    worker.run([IMAGE[:, ::-1]])
    np.testing.assert_array_equal(first, kept)
    worker.close()
    np.testing.assert_array_equal(first, kept)


def test_an_error_of_the_engine_ends_nothing(started: Started) -> None:
    worker = started(fail_after=1)
    worker.run([IMAGE])
    with pytest.raises(EngineError, match="the null engine fails now"):
        worker.run([IMAGE])
    with pytest.raises(EngineError, match="takes uint8"):
        worker.run([IMAGE.astype(np.float32)])
    assert Path(f"/proc/{worker.pid}").exists()


def test_a_model_that_does_not_load() -> None:
    with pytest.raises(EngineError, match="cannot load the model"):
        Worker("null", b"junk", EngineOptions())
    with pytest.raises(EngineError, match="runs on cpu, not on npu"):
        Worker("null", null_model(INPUTS, OUTPUTS), EngineOptions("npu"))


def test_a_crash_is_an_error_with_its_name_and_last_words(started: Started) -> None:
    with pytest.raises(EngineError, match=r"null on cpu crashed \(SIGABRT\) when it loaded"):
        started(crash_after=-1)
    worker = started(crash_after=1)
    worker.run([IMAGE])
    with pytest.raises(EngineError, match=r"crashed \(SIGABRT\) when it ran.*see that") as caught:
        worker.run([IMAGE])
    assert "\n" not in str(caught.value)
    with pytest.raises(EngineError, match="closed"):
        worker.run([IMAGE])


@pytest.mark.parametrize("number", [signal.SIGILL, signal.SIGSEGV, signal.SIGRTMIN + 3])
def test_any_signal_has_a_name(started: Started, number: int) -> None:
    worker = started(hang_after=0)
    threading.Timer(0.2, os.kill, (worker.pid, number)).start()
    known = {signal.SIGILL: "SIGILL", signal.SIGSEGV: "SIGSEGV"}
    with pytest.raises(EngineError, match=rf"crashed \({known.get(number, 'signal 37')}\)"):  # type: ignore[call-overload]
        worker.run([IMAGE])


def test_last_words_are_one_line_without_colours(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """What a library prints before it ends the process."""
    (tmp_path / "runtime").mkdir()
    (tmp_path / "child.py").write_text(
        "def serve(*fds):\n"
        "    print('first\\n\\x1b[1;31mno device \\x07found\\x1b[m\\n\\n')\n"
        "    raise SystemExit(7)\n"
    )
    monkeypatch.setattr(module, "_CHILD", module._CHILD.replace("runtime.worker", "child"))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(EngineError, match=r"ended with code 7 .*\(it printed: no device \?found\)"):
        Worker("null", b"", EngineOptions())


def test_a_hang_is_an_error_and_the_child_is_gone(started: Started) -> None:
    worker = started(hang_after=1)
    worker.run([IMAGE])
    worker.run_s = 0.3
    with pytest.raises(EngineError, match=r"did not end within 0\.3 s when it ran"):
        worker.run([IMAGE])
    assert gone(worker.pid)
    with pytest.raises(EngineError, match=f"did not end within {PATIENCE_S:g} s when it loaded"):
        started(load_s=PATIENCE_S, hang_after=-1)


def test_it_can_be_killed_from_another_thread(started: Started) -> None:
    worker = started(hang_after=0)
    threading.Timer(0.2, worker.kill).start()
    with pytest.raises(EngineError, match="SIGKILL"):
        worker.run([IMAGE])


def test_closing_ends_the_child_and_frees_all(started: Started) -> None:
    before = len(os.listdir("/proc/self/fd"))
    worker = started()
    worker.run([IMAGE])
    worker.close()
    worker.close()
    assert gone(worker.pid)
    assert len(os.listdir("/proc/self/fd")) == before
    assert not [t for t in threading.enumerate() if t.name == "worker-output"]


def test_failures_free_all_too(started: Started) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for behaviour in ({"crash_after": -1}, {"fail_after": -1}):
        with pytest.raises(EngineError):
            started(**behaviour)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_interrupt_leaves_no_child_that_answers_the_next_question(started: Started) -> None:
    worker = started(delay_ms=600_000)

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        with pytest.raises(KeyboardInterrupt):
            worker.run([IMAGE])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert gone(worker.pid)


PARENT = """
import os, sys
from runtime.engines import EngineOptions
from runtime.worker import Worker
worker = Worker("null", sys.stdin.buffer.read(), EngineOptions())
print(worker.pid, flush=True)
if sys.argv[1] == "kill":
    os.kill(os.getpid(), 9)
import numpy
worker.run([numpy.zeros((1, 4, 4, 3), numpy.uint8)])
"""


@pytest.mark.parametrize("how", ["kill", "interrupt"])
def test_the_child_ends_with_its_parent_even_while_it_hangs(how: str) -> None:
    model = null_model(INPUTS, OUTPUTS, hang_after=0)
    command = [sys.executable, "-c", PARENT, how]
    root = Path(__file__).resolve().parents[2]
    with subprocess.Popen(
        command, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        parent.stdin.write(model)
        parent.stdin.close()
        pid = int(parent.stdout.readline())
        if how == "interrupt":
            time.sleep(0.3)  # into the run; before it is as good
            parent.send_signal(signal.SIGINT)
        parent.wait(GENEROUS_S)
    assert gone(pid)


def test_signals_to_the_whole_group_are_the_parents(started: Started) -> None:
    """Ctrl-C reaches the child as well; the parent still gets its last answers."""
    worker = started()
    for number in (signal.SIGINT, signal.SIGTERM):
        os.kill(worker.pid, number)
    assert len(worker.run([IMAGE])) == 2


def test_an_engine_that_has_no_name_of_ours() -> None:
    with pytest.raises(EngineError, match="no engine is called 'abacus'"):
        Worker("abacus", b"", EngineOptions())


def test_without_a_process_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nonexistent/python")
    with pytest.raises(EngineError, match=r"cannot start a process for null .*limits"):
        Worker("null", b"", EngineOptions())


def test_an_interpreter_that_is_missing_in_the_child(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("raise ImportError('no library')")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(MissingError, match=r"pip install 'edge-sdk\[onnx\]'"):
        Worker("onnxruntime", b"", EngineOptions())


def test_trying_out() -> None:
    try_out("null", null_model(INPUTS, OUTPUTS), EngineOptions())
    with pytest.raises(EngineError, match="SIGABRT"):
        try_out("null", null_model(INPUTS, OUTPUTS, crash_after=0), EngineOptions())
    engine = open_tried("null", null_model(INPUTS, OUTPUTS), EngineOptions())
    assert len(engine.run([IMAGE])) == 2
    with pytest.raises(EngineError, match="SIGABRT"):
        open_tried("null", null_model(INPUTS, OUTPUTS, crash_after=-1), EngineOptions())

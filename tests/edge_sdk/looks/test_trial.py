"""Modules that crash, hang or do not import are told of, and take nobody along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from runtime.deaths import signal_words

CODE = Path(__file__).resolve().parents[3]
# In a process of its own: one with a single thread, as the doctor's is.
ASK = """
import json, sys
from edge_sdk.looks._trial import attempt
print("to the screen")
ask = eval(sys.argv[2])
print(json.dumps(vars(attempt(sys.argv[1], ask, float(sys.argv[3])))))
"""


def attempt(
    folder: Path, text: str, ask: str = "lambda m: m.__name__", patience_s: float = 20.0
) -> dict[str, Any]:
    (folder / "broken_wheel.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-c", ASK, "broken_wheel", ask, str(patience_s)],
        cwd=folder,
        env={"PYTHONPATH": f"{folder}:{CODE}", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    screen, answer = done.stdout.splitlines()
    assert screen == "to the screen"
    found = json.loads(answer)
    assert isinstance(found, dict)
    return found


def test_what_works_answers_and_its_words_are_kept(tmp_path: Path) -> None:
    found = attempt(tmp_path, "import sys; print('hello'); print('woe', file=sys.stderr)")
    assert found["failure"] == ""
    assert (found["answer"], found["words"]) == ("broken_wheel", "hello\nwoe")


@pytest.mark.parametrize(
    ("name", "said"),
    [("SIGILL", "SIGILL (illegal instruction)"), ("SIGSEGV", "SIGSEGV (segmentation fault)")],
)
def test_a_crash(name: str, said: str, tmp_path: Path) -> None:
    found = attempt(tmp_path, f"import os, signal; os.kill(os.getpid(), signal.{name})")
    assert found["failure"] == f"dies of {said}"
    assert found["signal"] is not None


def test_a_module_that_hangs(tmp_path: Path) -> None:
    found = attempt(tmp_path, "import time; time.sleep(60)", patience_s=0.3)
    assert found["failure"] == "no answer within 0.3 s"
    assert found["signal"] is None


@pytest.mark.parametrize(
    ("text", "failure"),
    [
        ("raise ImportError('libGL.so.1: cannot open\\nshared object')", "libGL.so.1: cannot open"),
        ("raise OSError", "OSError"),
        ("raise SystemExit('leave me\\x1b alone')", "leave me? alone"),
        ("import os; os._exit(7)", "ends with code 7"),
    ],
)
def test_an_import_that_fails(text: str, failure: str, tmp_path: Path) -> None:
    assert attempt(tmp_path, text)["failure"] == failure


def test_what_is_asked_may_fail_as_well(tmp_path: Path) -> None:
    found = attempt(tmp_path, "", "lambda m: m.nothing")
    assert "has no attribute 'nothing'" in found["failure"]


def test_there_may_be_no_such_module(tmp_path: Path) -> None:

    for name in ("no_such_module_at_all", "no_such_module.inner"):
        done = subprocess.run(
            [sys.executable, "-c", ASK, name, "str", "20"],
            cwd=CODE,
            capture_output=True,
            text=True,
            check=True,
        )
        assert json.loads(done.stdout.splitlines()[-1])["found"] is False


def test_signals_without_a_name() -> None:
    assert signal_words(40) == "signal 40"

"""Runs on a target: files go there, results come back, and its exit code is ours."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from edge_sdk.targets import Start
from edge_sdk.targets.local import LocalTarget
from tests.edge_sdk.cli_cases import Digits, Run


def test_report_and_files_come_back(
    bundle: Path, digits: Digits, edge: Run, tmp_path: Path
) -> None:
    sink = tmp_path / "out.jsonl"
    words = ["run", bundle, "--source", digits.heldout / "1", "--sink", sink, "--on", "local"]
    said = edge(*words, "--json")
    assert said.code == 0, said.err
    assert len(sink.read_text().splitlines()) == 6
    assert said.json["passed"]
    again = edge(*words)
    assert again.out.startswith(said.json["title"])


def test_times_of_an_emulator_are_left_out(
    bundle: Path, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalTarget, "emulated", True)
    words = ["--source", "synthetic:noise", "--max-frames", 2, "--on", "local"]
    said = edge("run", bundle, *words, "--json").json
    assert said["tables"] == []
    assert said["facts"]["results"] == 2
    assert not {"fps", "seconds", "stages"} & said["facts"].keys()
    assert "per second" not in said["summary"]
    assert "says anything of the device" in edge("run", bundle, *words).out


def test_results_go_to_stdout(
    bundle: Path, digits: Digits, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from edge_sdk.cli import main

    code = main(["run", str(bundle), "--source", str(digits.heldout / "2"), "--sink", "-",
                 "--on", "local"])  # fmt: skip
    lines = capfdbinary.readouterr().out.splitlines()
    assert code == 0
    assert len([json.loads(line) for line in lines]) == 6


def test_what_fails_there_fails_here(bundle: Path, edge: Run) -> None:
    said = edge("run", bundle, "--source", "synthetic:nothing", "--on", "local")
    assert said.code == 2
    assert "synthetic" in said.err
    again = edge("run", bundle, "--source", "synthetic:nothing", "--on", "local", "--json")
    assert again.json["exit_code"] == 2
    assert "synthetic" in again.json["error"]


def test_a_reader_that_has_seen_enough_ends_the_run(bundle: Path) -> None:
    words = [bundle, "--source", "synthetic:noise", "--sink", "-", "--on", "local"]
    with started("run", *words) as process:
        assert process.stdout is not None and process.stderr is not None
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert b"Traceback" not in process.stderr.read()
        assert process.wait(30) == 0


def started(*words: object) -> Popen[bytes]:
    command = [sys.executable, "-m", "edge_sdk.cli", *map(str, words)]
    return Popen(command, stdout=PIPE, stderr=PIPE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interruption_is_handed_on_and_the_report_comes_back(
    bundle: Path, tmp_path: Path, number: signal.Signals
) -> None:
    sink = tmp_path / "out.jsonl"
    words = [bundle, "--source", "synthetic:noise", "--sink", sink, "--on", "local", "--json"]
    with started("run", *words) as process:
        while not (sink.exists() and sink.stat().st_size):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 0
    assert json.loads(out)["facts"]["results"] > 0
    assert b"Traceback" not in err


def test_an_interruption_before_anything_runs_ends_it(
    bundle: Path, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = LocalTarget.start

    def early(self: LocalTarget, arguments: Sequence[str], given: Start = Start()) -> Popen[bytes]:  # noqa: B008
        assert given.apart
        threading.Timer(1.0, os.kill, (os.getpid(), signal.SIGINT)).start()
        return start(self, ["-c", "import time; time.sleep(60)"], given)

    monkeypatch.setattr(LocalTarget, "start", early)
    said = edge("run", bundle, "--source", "synthetic:noise", "--on", "local")
    assert said.code == 130
    assert said.err == "edge-sdk: interrupted\n"


def test_a_run_that_dies_is_a_crash(
    bundle: Path, digits: Digits, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = LocalTarget.start

    def dying(self: LocalTarget, arguments: Sequence[str], given: Start = Start()) -> Popen[bytes]:  # noqa: B008
        return start(self, ["-c", "import os; os.kill(os.getpid(), 11)"], given)

    monkeypatch.setattr(LocalTarget, "start", dying)
    said = edge("run", bundle, "--source", digits.heldout / "1", "--on", "local")
    assert said.code == 3
    assert "SIGSEGV" in said.err


def test_files_of_this_machine_that_would_be_lost_there(bundle: Path, edge: Run) -> None:
    said = edge("run", bundle, "--source", "synthetic:", "--stats", "s.json", "--on", "local")
    assert said.code == 2

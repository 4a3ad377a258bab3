"""Runs on a target: files go there, results come back, and its exit code is ours."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from subprocess import Popen

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

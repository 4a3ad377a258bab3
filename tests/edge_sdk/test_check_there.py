"""Checks on a target: the session's answers, the golden set without data, and what fails there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from device_profiles.profile import load
from edge_sdk import CheckOptions, check, open_bundle
from edge_sdk.targets import local
from edge_sdk.targets.local import LocalTarget
from runtime.golden import GoldenSet
from tests.edge_sdk.cli_cases import Digits, Run, rewrite


@pytest.fixture
def two_lanes(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """This machine as a target that shares out its work, as an emulated one does."""

    class Wide(LocalTarget):
        lanes = 2
        emulated = True

    monkeypatch.setattr(local, "LocalTarget", Wide)
    return


def test_a_target_answers_as_this_machine_does(bundle: Path, digits: Digits, edge: Run) -> None:
    said = edge("check", bundle, "--data", digits.heldout, "--on", "local", "--json")
    facts = said.json["facts"]
    there = [row for row in facts["artifacts"] if row["where"] == "local"]
    here = [row for row in facts["artifacts"] if row["where"] == "here"]
    assert [row["precision"] for row in there] == ["int8", "fp32"] == [r["precision"] for r in here]
    for one, other in zip(there, here, strict=True):
        assert one["agreement"] == other["agreement"]
        assert one["artifact"] == other["artifact"]
        assert (one["golden"] is not None, other["golden"]) == (True, None)
    assert facts["target"]["about"]["packages"]["numpy"] == np.__version__
    assert all("here" not in gate["name"] for gate in said.json["gates"])


def test_lanes_share_the_frames_and_change_nothing(
    bundle: Path, digits: Digits, two_lanes: None
) -> None:
    def row(on: str | None) -> object:
        options = CheckOptions(on=on, beside=False, samples=20)
        _, fp32 = check(bundle, digits.heldout, options).facts["artifacts"]
        return fp32["snr_db"], fp32["agreement"], fp32["artifact"]  # no integers: exact anywhere

    assert row("local") == row(None)


def test_without_data_the_golden_set_is_replayed(bundle: Path, edge: Run) -> None:
    said = edge("check", bundle, "--on", "local")
    assert "reproduce 16 golden frames on local" in said.out
    nothing = edge("check", bundle)
    assert nothing.code == 2
    assert "give --data DATA, or --on TARGET" in nothing.err
    budget = edge("check", bundle, "--on", "local", "--max-drop", "1")
    assert budget.code == 2


def test_a_bundle_of_another_device_is_told(
    bundle: Path, digits: Digits, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(LocalTarget, "profile", load("generic-x86"))
    said = edge("check", bundle, "--on", "local", "--json")
    made = said.json["facts"]["profile"]
    assert said.json["notes"] == [f"the bundle was made for {made}, not for generic-x86"]
    more = edge(
        "check", bundle, "--data", digits.heldout, "--samples", 4, "--on", "local", "--json"
    )
    assert said.json["notes"][0] in more.json["notes"]


def test_a_target_that_answers_otherwise_fails_the_gate(
    bundle: Path, tmp_path: Path, edge: Run
) -> None:
    with open_bundle(bundle) as opened:
        golden = opened.golden()
    wrong = tuple({n: a + np.float32(5) for n, a in rung.items()} for rung in golden.artifacts)
    forged = GoldenSet(golden.frames, golden.reference, wrong)
    lying = rewrite(bundle, tmp_path / "forged.edge", {"golden.npz": forged.to_bytes()})
    said = edge("check", lying, "--on", "local")
    assert said.code == 1
    assert "is off by" in said.out


CRASHING = """
import os, runtime.serve as s
s.OPERATIONS["open"] = lambda *a: os.kill(os.getpid(), 4)
s.main()
"""


def test_a_crash_there_is_a_failed_gate_that_names_the_signal(
    bundle: Path, edge: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = LocalTarget.start
    monkeypatch.setattr(LocalTarget, "start", lambda self, arguments, given: start(
        self, ["-c", CRASHING], given))  # fmt: skip
    said = edge("check", bundle, "--on", "local", "--json")
    assert said.code == 1
    assert [gate["passed"] for gate in said.json["gates"]] == [False, False]
    assert all("SIGILL (illegal instruction)" in gate["detail"] for gate in said.json["gates"])


def test_a_precision_may_be_left_out(bundle: Path, edge: Run) -> None:
    said = edge("check", bundle, "--on", "local", "--precision", "fp32", "--json")
    assert [row["label"].split()[1] for row in said.json["facts"]["golden"]] == ["fp32"]
    wrong = edge("check", bundle, "--on", "local", "--precision", "int4")
    assert wrong.code == 2
    assert "has no artifact of precision int4; it has fp32, int8" in wrong.err

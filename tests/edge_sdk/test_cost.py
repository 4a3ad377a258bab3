"""The cost of a bundle: what is reported, and the gate against an earlier cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from device_profiles.errors import DataError, EngineError, RequestError
from edge_sdk.emulation.counts import Cost, Counts
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.workflows import cost as module
from edge_sdk.workflows.cost import CostOptions, cost
from edge_sdk.workflows.cost_baseline import percent

ON = "emulated:raspberry-pi-4b"
BYTES = {"load": 10, "store": 0, "vector_load": 5, "vector_store": 0}
Costs = Callable[[float], None]


def _cost(total: int) -> Cost:
    counts = Counts({"scalar": total // 2, "vector_fma": total - total // 2}, BYTES)
    return Cost("onnxruntime", "1.32.0", "cpu", counts, counts, counts, (total,))


@pytest.fixture
def costs(monkeypatch: pytest.MonkeyPatch) -> Costs:
    """Give every rung a cost of so many millions, the first half of that; nothing is emulated."""
    monkeypatch.setattr(EmulatedTarget, "lock", SimpleNamespace(digest="d1"))
    monkeypatch.setattr(EmulatedTarget, "device", None)

    def give(millions: float) -> None:
        def count(target: object, path: Path, rung: int, runs: int) -> Cost:
            return _cost(int(millions * 1e6) // (2 if rung == 0 else 1))

        monkeypatch.setattr(module, "count", count)

    return give


def test_rungs_are_weighed_against_float(bundle: Path, costs: Costs) -> None:
    costs(40)
    report = cost(bundle, ON)
    totals, classes = report.tables
    assert [row[1] for row in totals.rows] == [20.0, 40.0]
    assert [row[2] for row in totals.rows] == [0.5, 1.0]
    assert classes.columns == ("artifact", "scalar", "vector fma")
    assert report.passed
    assert report.facts["cpu"] == "cortex-a72"
    assert report.facts["artifacts"][0]["inference"]["bytes"] == BYTES
    assert any("not milliseconds" in note for note in report.notes)


@pytest.mark.parametrize(("now", "passed"), [(40.7, True), (41.0, False), (30.0, True)])
def test_the_gate_allows_so_much_more(
    bundle: Path, costs: Costs, tmp_path: Path, now: float, passed: bool
) -> None:
    costs(40)
    earlier = tmp_path / "COST.json"
    earlier.write_text(json.dumps(cost(bundle, ON).to_json()))
    costs(now)
    report = cost(bundle, ON, CostOptions(against=earlier, max_increase=2.0))
    assert report.passed is passed
    assert len(report.gates) == 4
    assert cost(bundle, ON, CostOptions(against=earlier)).passed  # without a limit, no gate


def test_an_earlier_bundle_is_counted_too(bundle: Path, costs: Costs) -> None:
    costs(40)
    report = cost(bundle, ON, CostOptions(against=bundle, max_increase=0.0))
    assert report.passed
    assert report.tables[0].rows[0][2] == "+0.00"


@pytest.mark.parametrize(
    ("key", "words"),
    [("cpu", "emulated CPU"), ("wheels", "wheels"), ("threads", "threads")],
)
def test_other_devices_are_not_compared(
    bundle: Path, costs: Costs, tmp_path: Path, key: str, words: str
) -> None:
    costs(40)
    facts = {**cost(bundle, ON).to_json()["facts"], key: "another"}
    earlier = tmp_path / "COST.json"
    earlier.write_text(json.dumps(facts))
    with pytest.raises(RequestError, match=f"{words}.*another"):
        cost(bundle, ON, CostOptions(against=earlier))


def test_a_rung_that_does_not_run_fails(
    bundle: Path, costs: Costs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def count(target: object, path: Path, rung: int, runs: int) -> Cost:
        if rung == 0:
            raise EngineError("it crashed with SIGILL")
        return _cost(4)

    monkeypatch.setattr(module, "count", count)
    report = cost(bundle, ON)
    assert [gate.passed for gate in report.gates] == [False, True]
    assert "SIGILL" in report.gates[0].detail


def test_what_makes_no_sense_is_refused(bundle: Path, costs: Costs, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="emulated device"):
        cost(bundle, "local")
    with pytest.raises(RequestError, match="--against"):
        CostOptions(max_increase=2.0)
    with pytest.raises(RequestError, match="1 to 1000"):
        CostOptions(runs=0)
    other = tmp_path / "other.json"
    other.write_text("{}")
    with pytest.raises(DataError, match="is no cost"):
        cost(bundle, ON, CostOptions(against=other))


def test_percentages_are_read() -> None:
    assert [percent(text) for text in ("2%", "2.5 %", "0")] == [2.0, 2.5, 0.0]
    with pytest.raises(RequestError, match="no percentage"):
        percent("two")

"""Counts of instructions: read from reports; counted on an emulated device."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from device_profiles.errors import EdgeError, EngineError, RequestError
from edge_sdk.emulation.counts import Cost, Counts, count, read_cost
from edge_sdk.emulation.plugin import instruction_plugin
from edge_sdk.emulation.qemu import find_qemu
from edge_sdk.targets import open_target
from edge_sdk.targets.emulated import EmulatedTarget

FACTS = {"engine": "onnxruntime", "version": "1.32.0", "provider": "cpu"}
MARKS = {0: 100, 1: 400, 2: 900, 3: 1000, 4: 1110, 5: 1210, 6: 1330}


def _reports(marks: dict[int, int]) -> str:
    def line(number: int, total: int) -> str:
        instructions = {"scalar": total, "load": 2 * total}
        sizes = {"load": 8 * total, "store": 0, "vector_load": 0, "vector_store": 0}
        return json.dumps({"mark": number, "instructions": instructions, "bytes": sizes})

    lines = [line(*mark) for mark in marks.items()]
    end = json.dumps({"end": 0, "instructions": {"scalar": 1, "load": 2}, "bytes": {}})
    return "\n".join([*lines, end, ""])


def test_the_median_of_the_runs_counts() -> None:
    cost = read_cost(_reports(MARKS), FACTS)
    assert cost.runs == (330, 300, 360)
    assert cost.inference == Counts(
        {"scalar": 110, "load": 220},
        {"load": 880, "store": 0, "vector_load": 0, "vector_store": 0},
    )
    assert (cost.inference.total, cost.inference.moved) == (330, 880)
    assert (cost.load.total, cost.first.total) == (900, 1500)
    assert cost.spread == pytest.approx(60 / 330)
    assert cost.to_json()["inference"]["total"] == 330


def test_reports_without_marks_are_refused() -> None:
    with pytest.raises(EngineError, match=r"saw the marks \[0\] only"):
        read_cost(_reports({0: 1}), FACTS)


def test_only_an_emulator_counts() -> None:
    with pytest.raises(RequestError, match="name an emulated device"):
        count(open_target("local"), Path("any.edge"), 0)


@pytest.mark.emulated
def test_counts_repeat_and_tell_of_the_cpu(bundle: Path) -> None:
    """Twice on a CPU without dot products, once on one with them: the int8 rung of the digits."""
    costs = [_count("raspberry-pi-4b", bundle) for _ in range(2)]
    other = _count("raspberry-pi-5", bundle)
    first, again = (cost.inference.total for cost in costs)
    assert abs(first - again) / first <= 1e-3
    assert costs[0].inference.instructions["vector_dot"] == 0
    assert other.inference.instructions["vector_dot"] > 0
    assert other.inference.total < first


def _count(profile: str, bundle: Path) -> Cost:
    try:
        instruction_plugin(find_qemu("aarch64"))
        target = open_target(f"emulated:{profile}")
        assert isinstance(target, EmulatedTarget)
        target.device  # noqa: B018 - built, or not to be had here
    except EdgeError as error:
        pytest.skip(str(error))
    return count(target, bundle, 0)

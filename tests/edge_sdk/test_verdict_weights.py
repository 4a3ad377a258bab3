"""What weights decide: which artifacts a bundle holds, in which order, and what is said of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from converters.capture import Captured, capture
from converters.islands import Island
from converters.recipe import Recipe
from converters.zoo import create
from converters.zoo._settle import settle_batchnorm
from device_profiles.errors import GateError
from device_profiles.profile import load
from device_profiles.sections import Budget
from edge_sdk import ConvertOptions, convert
from edge_sdk.workflows import convert as conversions
from edge_sdk.workflows.conversion_report import conversion_report
from edge_sdk.workflows.gate import GateOptions
from edge_sdk.workflows.verdict import Candidate, choose
from edge_sdk.workflows.weigh_measure import another_kind
from edge_sdk.workflows.weight import Contender, Weight
from runtime.bundle import open_bundle
from runtime.evaluate.classification import TERMS
from runtime.host import host
from tests.edge_sdk.cli_cases import Digits

FINE = {"drop": {"value": 0.0}, "agreement": {"value": 1.0}}
LITE = ("tflite", "litert")


def weight(ms: float | None, error: float = 0.01, trusted: bool = True) -> Weight:
    if ms is None:
        return Weight.unknown("it is not here")
    return Weight(ms, ms * (1 - error), ms * (1 + error), "measured", trusted)


def tried(
    precision: str,
    ms: float | None,
    kind: tuple[str, str] = ("onnx", "onnxruntime"),
    drop: float = 0.0,
    **more: Any,
) -> Candidate:
    comparison = {**FINE, "drop": {"value": drop}}
    recipe = Recipe(*kind, "cpu", precision)
    return Candidate(recipe, 1000, comparison, TERMS, weight(ms, **more))


@dataclass(frozen=True)
class Case:
    """What was tried; the positions that are kept, in order; what is said of those that are not."""

    tried: tuple[Candidate, ...]
    kept: tuple[int, ...]
    said: dict[int, str]
    precision: str = "auto"


SLOW = (tried("int8", 25), tried("fp16", 10), tried("fp32", 10))
OTHER = (tried("int8", 5, LITE), tried("fp32", 6, LITE))
CASES = {
    "int8 is faster": Case(
        (tried("int8", 5), tried("fp16", 10), tried("fp32", 10)),
        (0, 2),
        {1: "not needed: int8 is smaller and faster, 2.00 times (1.96 to 2.04)"},
    ),
    "int8 is slower": Case(SLOW, (1, 2), {0: "slower than fp32 here, 2.50 times (2.45 to 2.55)"}),
    "equal within error, and the smaller wins": Case(
        (tried("int8", 10.2), tried("fp16", 10), tried("fp32", 10)),
        (0, 2),
        {1: "not needed: int8 is smaller and no slower"},
    ),
    "a little slower, as far as anybody knows": Case(
        (tried("int8", 10.6), tried("fp32", 10)), (0, 1), {}
    ),
    "an interval that reaches down to 1": Case(
        (tried("int8", 25, error=0.5), tried("fp32", 10, error=0.5)), (0, 1), {}
    ),
    "fp16 is faster than both": Case(
        (tried("int8", 10), tried("fp16", 5), tried("fp32", 10)),
        (1, 2),
        {0: "slower than fp16 here, 2.00 times (1.96 to 2.04)"},
    ),
    "the fast one is not accurate": Case(
        (tried("int8", 10), tried("fp16", 5, drop=9.0), tried("fp32", 10)),
        (0, 2),
        {1: f"loses 9.00 points, the budget is {TERMS.allowed:g}"},
    ),
    "nothing is known": Case(
        (tried("int8", None), tried("fp16", 1), tried("fp32", None)),
        (0, 2),
        {1: "not needed: fewer bits do"},
    ),
    "by name, however slow": Case((SLOW[0], SLOW[2]), (0, 1), {}, "int8"),
    "another engine is faster": Case((SLOW[1], SLOW[2], *OTHER), (2, 3, 0, 1), {}),
    "another engine is no faster": Case(
        (SLOW[1], SLOW[2], tried("fp32", 9.9, LITE)), (0, 1, 2), {}
    ),
    "what was not weighed stays where it is": Case(
        (tried("fp32", None), tried("fp32", 1, LITE)), (0, 1), {}
    ),
    "by name, in the profile's order": Case((SLOW[0], SLOW[2], *OTHER), (0, 1, 2, 3), {}, "int8"),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_choice(case: Case) -> None:
    verdict = choose(case.tried, None, case.precision)
    assert verdict.kept == tuple(case.tried[i] for i in case.kept)
    said = {i: verdict.why(i) for i in range(len(case.tried)) if i in verdict.refused}
    assert said == case.said
    assert verdict.reordered == (list(case.kept) != sorted(case.kept))


def test_figures_are_not_in_what_is_written() -> None:
    """Another run measures others, and the bundle has the same bytes."""
    one = choose(SLOW, None, "auto").to_json()
    slower = tuple(replace(c, weight=weight(1.1 * (c.weight.ms or 0))) for c in SLOW)
    assert choose(slower, None, "auto").to_json() == one
    refused = [each["refused"] for each in one["tried"]]
    assert refused == ["slower than fp32 here", None, None]
    assert {each["weighed"] for each in one["tried"]} == {"measured"}


def test_a_budget_of_latency_is_judged_by_what_is_known_of_the_device() -> None:
    budget = Budget(latency_ms=8)
    candidates = (tried("int8", 5), tried("fp32", 10))
    verdict = choose(candidates, None, "auto", budget)
    assert verdict.kept == candidates[:1]
    assert verdict.refused == {1: "takes longer than the profile's budget of 8 ms"}
    guessed = (tried("int8", 9, trusted=False), tried("fp32", 10, trusted=False))
    assert choose(guessed, None, "auto", budget).kept == guessed
    near = (tried("fp32", 8.1, error=0.1),)
    assert choose(near, None, "auto", budget).kept == near
    with pytest.raises(GateError, match="int8 takes longer than the profile's budget of 3 ms"):
        choose(candidates, None, "int8", Budget(latency_ms=3))


# ---- Converting ------------------------------------------------------------------------------


@pytest.fixture
def slow_int8(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let every int8 artifact be slower than the others, and LiteRT faster than onnxruntime."""

    def fake(profile: Any, contenders: list[Contender], way: str) -> list[Weight]:
        each = {"litert": 1.0, "onnxruntime": 2.0}
        return [
            weight(each[c.recipe.engine] * (3.0 if c.recipe.precision == "int8" else 1.0))
            for c in contenders
        ]

    monkeypatch.setattr(conversions, "weigh", fake)
    yield


OPTIONS = ConvertOptions(samples=48, judges=20, gate=GateOptions("never"))


def test_what_is_slower_does_not_go_into_the_bundle(
    slow_int8: None, captured: Captured, digits: Digits, tmp_path: Path
) -> None:
    done = convert(captured, "raspberry-pi-5", tmp_path / "x.edge", digits.train, OPTIONS)
    made = [(a.format, a.precision) for a in done.manifest.artifacts]
    assert made == [("tflite", "fp16"), ("tflite", "fp32"), ("onnx", "fp16"), ("onnx", "fp32")]
    report = conversion_report(done)
    rows = {row["artifact"]: row for row in report.tables[0].to_json()["rows"]}
    assert rows["tflite int8"]["verdict"] == "slower than fp32 here, 3.00 times (2.94 to 3.06)"
    assert rows["tflite fp16"]["verdict"] == "kept, rung 1"
    assert rows["tflite int8"]["times fp32"] == "3.00 (2.94 to 3.06)"
    assert rows["onnx fp32"]["latency, ms"] == "2 (1.98 to 2.02)"
    assert rows["onnx fp32"]["times fp32"] == "-"
    assert any("in the order of what was weighed" in note for note in report.notes)
    assert [chart.title for chart in report.charts] == [
        "Accuracy against size",
        "Accuracy against latency",
    ]
    latencies = report.facts["latency"]
    assert [one["ms"] for one in latencies] == [6, 2, 2, 3, 1, 1]
    with open_bundle(done.path) as bundle:
        assert "2.94" not in bundle.manifest.to_bytes().decode()


def test_what_was_asked_for_by_name_is_kept_and_the_report_warns(
    slow_int8: None, captured: Captured, digits: Digits, tmp_path: Path
) -> None:
    options = replace(OPTIONS, precision="int8", format="onnx")
    done = convert(captured, "raspberry-pi-5", tmp_path / "x.edge", digits.train, options)
    assert [a.precision for a in done.manifest.artifacts] == ["int8", "fp32"]
    (note,) = (n for n in conversion_report(done).notes if "asked for by name" in n)
    assert "onnx int8" in note
    assert "slower than fp32 here, 3.00 times" in note


def test_a_device_that_nobody_has_figures_of_is_not_weighed(
    captured: Captured, digits: Digits, tmp_path: Path
) -> None:
    options = replace(OPTIONS, format="onnx", precision="fp32", weigh="model")
    done = convert(captured, "raspberry-pi-5", tmp_path / "x.edge", digits.train, options)
    (note,) = (n for n in conversion_report(done).notes if "latency was not weighed" in n)
    assert "edge-sdk bench" in note


def test_islands_are_shown_once_for_each_kind() -> None:
    def island(line: str, reason: str = "no kernel") -> Island:
        return Island("n", "Mish", line, reason, True, 0.0, 0.1)

    found = (island("net.py:1: a"), island("net.py:1: a"), island("net.py:2: b"))
    found = (*found, island("net.py:3: c"), island("net.py:4", "another one"))
    candidate = replace(tried("int8", 1), islands=found)
    done: Any = SimpleNamespace(verdict=SimpleNamespace(candidates=(candidate, candidate)))
    from edge_sdk.workflows.conversion_report import _islands

    (table,) = _islands(done)
    assert [row[:3] for row in table.rows] == [("onnx int8", "Mish", 4), ("onnx int8", "Mish", 1)]
    assert table.rows[0][4:] == ("no kernel", 0.0, 40.0, "net.py:1: a; net.py:2: b and 1 more")


@pytest.mark.models
@pytest.mark.slow
def test_hard_swish_makes_int8_slower_on_x86(model_pack: Path, tmp_path: Path) -> None:
    """XNNPACK leaves int8 hard-swish to LiteRT's own kernels, between some twenty parts of its own.

    The weights are random, so that nothing is asked of the accuracy.
    """
    if another_kind(load("generic-x86"), host()):
        pytest.skip("this machine is not of the kind of generic-x86, so that it cannot measure")
    torch.manual_seed(0)
    net = create("mobilenet_v3_small")
    contract = net.input_contract
    size = (contract.height, contract.width)
    settle_batchnorm(net, torch.randn(8, 3, *size))
    captured = capture(net.eval(), torch.zeros(1, 3, *size))
    images = model_pack / "classification" / "imagenet_even500"
    options = ConvertOptions(format="tflite", samples=16, judges=16, max_drop=100.0, label_offset=0)
    done = convert(captured, "generic-x86", tmp_path / "x.edge", images, options)
    verdicts = {
        c.recipe.precision: done.verdict.refused.get(i)
        for i, c in enumerate(done.verdict.candidates)
    }
    assert verdicts["int8"] in ("slower than fp32 here", "slower than fp16 here")
    assert "int8" not in [a.precision for a in done.manifest.artifacts]
    found = done.manifest.recipe["artifacts"]["models/model.int8.tflite"]["islands"]
    assert {(one["op"], one["inside"]) for one in found} == {("HardSwish", True)}
    assert len(found) == 19
    assert all("XNNPACK has no kernel for HARD_SWISH" in one["reason"] for one in found)
    assert all("mobilenet_v3.py:" in one["line"] for one in found)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from converters.recipe import Recipe
from device_profiles.errors import GateError, RequestError
from device_profiles.sections import Budget
from edge_sdk.workflows.verdict import (
    DEFAULT_DISAGREEMENT,
    DEFAULT_SNR_DB,
    Candidate,
    choose,
)
from runtime.evaluate.base import Figure, Terms
from runtime.evaluate.classification import TERMS


def recipe(precision: str, provider: str = "cpu") -> Recipe:
    return Recipe("onnx", "onnxruntime", provider, precision)


def candidate(precision: str, provider: str = "cpu", **comparison: Any) -> Candidate:
    return Candidate(recipe(precision, provider), 1000, comparison, TERMS)


def labelled(precision: str, drop: float, provider: str = "cpu") -> Candidate:
    """A classifier judged with labels."""
    return candidate(precision, provider, drop={"value": drop}, agreement={"value": 0.5})


def unlabelled(precision: str, agreement: float) -> Candidate:
    return candidate(precision, drop=None, agreement={"value": agreement})


def raw(precision: str, *ratios: float | None) -> Candidate:
    return candidate(precision, outputs=[{"snr_db": ratio} for ratio in ratios])


def broken(precision: str) -> Candidate:
    return candidate(precision, fault="an output of the artifact is not finite")


@dataclass(frozen=True)
class Case:
    """What was tried, what was asked for, and the positions that are kept."""

    tried: tuple[Candidate, ...]
    kept: tuple[int, ...]
    max_drop: float | None = None
    precision: str = "auto"


GOOD = (labelled("int8", 0.1), labelled("fp16", 0.0), labelled("fp32", 0.0))
CASES = {
    "fewest bits, and float32 behind": Case(GOOD, (0, 2)),
    "fp16 where int8 loses too much": Case((labelled("int8", 2.1), *GOOD[1:]), (1, 2)),
    "at the default, to the point": Case((labelled("int8", TERMS.allowed), *GOOD[1:]), (0, 2)),
    "float32 alone": Case((labelled("int8", 9), labelled("fp16", 9), GOOD[2]), (2,)),
    "a budget narrower than the default": Case(GOOD, (1, 2), 0.05),
    "a budget wider than the default": Case((labelled("int8", 9), *GOOD[1:]), (0, 2), 10),
    "a budget of nothing, and nothing lost": Case(GOOD[1:], (0, 1), 0),
    "a gain is no loss": Case((labelled("int8", -3), GOOD[2]), (0, 1), 0),
    "by name, without a budget, whatever it loses": Case(
        (labelled("int8", 40), GOOD[2]), (0, 1), None, "int8"
    ),
    "by name within the budget": Case((GOOD[0], GOOD[2]), (0, 1), 1, "int8"),
    "every rung has its own": Case(
        (labelled("int8", 0, "a"), labelled("fp32", 0, "a"), labelled("fp16", 0, "b"), GOOD[2]),
        (0, 1, 2, 3),
    ),
    "agreement where there are no labels": Case(
        (unlabelled("int8", 0.94), unlabelled("fp16", 1.0), unlabelled("fp32", 1.0)), (1, 2)
    ),
    "agreement at the default": Case(
        (unlabelled("int8", 1 - DEFAULT_DISAGREEMENT / 100), unlabelled("fp32", 1.0)), (0, 1)
    ),
    "agreement against a budget": Case(
        (unlabelled("int8", 0.94), unlabelled("fp32", 1.0)), (0, 1), 6.5
    ),
    "the worst output decides": Case((raw("int8", 40, DEFAULT_SNR_DB - 1), raw("fp32", 99)), (1,)),
    "outputs that are clear enough": Case((raw("int8", 11, 12), raw("fp32", None, 99)), (0, 1)),
    "outputs that are exact": Case((raw("int8", None, None), raw("fp32", None)), (0, 1)),
    "what cannot be compared": Case((broken("fp16"), GOOD[2]), (1,)),
    "what cannot be compared, beside a budget": Case((broken("fp16"), GOOD[2]), (1,), 5),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_choice(case: Case) -> None:
    verdict = choose(case.tried, case.max_drop, case.precision)
    assert verdict.kept == tuple(case.tried[i] for i in case.kept)
    assert verdict.refused.keys() == set(range(len(case.tried))) - set(case.kept)
    assert all(verdict.refused.values())


@pytest.mark.parametrize(
    ("tried", "max_drop", "precision", "words"),
    [
        ((labelled("int8", 1.5), GOOD[2]), 1, "int8", ("int8 loses 1.50", "the budget is 1;")),
        ((labelled("fp16", 0.1), GOOD[2]), 0, "fp16", ("fp16 loses 0.10", "budget is 0;")),
        ((labelled("int8", 4), labelled("fp32", 3)), 1, "auto", ("int8 loses 4.00",)),
        ((labelled("int8", 4), labelled("fp32", 3)), None, "auto", ("int8 loses 4.00",)),
        ((unlabelled("int8", 0.8), GOOD[2]), 10, "int8", ("otherwise on 20.00",)),
        ((broken("fp16"), GOOD[2]), None, "fp16", ("fp16 fails: an output", "not finite")),
        ((broken("fp32"),), 5, "auto", ("fp32 fails: ",)),
        ((raw("int8", 3.25), raw("fp32", -1)), None, "auto", ("ratio of 3.2 dB, below 10",)),
    ],
)
def test_gate(
    tried: tuple[Candidate, ...], max_drop: float | None, precision: str, words: tuple[str, ...]
) -> None:
    with pytest.raises(GateError) as caught:
        choose(tried, max_drop, precision)
    assert all(word in str(caught.value) for word in (*words, "nothing was written", "--max-drop"))


def test_a_budget_needs_an_accuracy() -> None:
    with pytest.raises(RequestError, match="--max-drop needs something to measure"):
        choose((raw("int8", 30), raw("fp32", 90)), 1, "auto")


def test_a_budget_in_decibels() -> None:
    """In the unit of the figure, and with the allowance of its terms."""
    terms = Terms(figures=(Figure("psnr", "PSNR", "dB"),), allowed=0.5)
    told = {"drop": {"value": 0.6}, "agreement": None}
    tried = [Candidate(recipe(name), 1000, told, terms) for name in ("int8", "fp16")]
    with pytest.raises(GateError, match=r"int8 loses 0\.60 dB, the budget is 0\.5"):
        choose(tried, None, "auto")
    assert choose(tried, 0.7, "auto").kept == (tried[0],)


def test_json_says_what_was_tried_and_why_not() -> None:
    said = choose(GOOD, 1.5, "auto").to_json()
    assert said["max_drop"] == 1.5
    found = [(tried["precision"], tried["size"], tried["refused"]) for tried in said["tried"]]
    assert found == [
        ("int8", 1000, None),
        ("fp16", 1000, "not needed: fewer bits do"),
        ("fp32", 1000, None),
    ]


def test_what_the_device_has_no_room_for_is_not_chosen() -> None:
    sizes = {"int8": 1 << 20, "fp32": 4 << 20}
    tried = [Candidate(recipe(name), size, GOOD[0].comparison) for name, size in sizes.items()]
    verdict = choose(tried, None, "auto", Budget(size_mb=1))
    assert [kept.recipe.precision for kept in verdict.kept] == ["int8"]
    assert verdict.refused == {1: "has 4.00 MiB, the profile's budget is 1"}
    with pytest.raises(GateError, match=r"int8 has 1\.00 MiB, the profile's budget is 0\.5"):
        choose(tried, None, "auto", Budget(size_mb=0.5))

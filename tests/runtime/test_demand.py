"""What a provider is asked for with, and the order of rungs that follows from it."""

from __future__ import annotations

import pytest

from device_profiles.errors import RequestError
from runtime.demand import Demand, parse_demand

RUNGS = ("tensorrt", "cuda", "cuda", "cpu", "cpu")


@pytest.mark.parametrize(
    ("text", "demand", "order"),
    [
        ("auto", Demand(), (0, 1, 2, 3, 4)),
        (" auto ", Demand(), (0, 1, 2, 3, 4)),
        ("prefer:cpu", Demand("cpu"), (3, 4, 0, 1, 2)),
        ("prefer:tensorrt", Demand("tensorrt"), (0, 1, 2, 3, 4)),
        ("require:cuda", Demand("cuda", only=True), (1, 2)),
        ("cuda", Demand("cuda", only=True), (1, 2)),
    ],
)
def test_demands(text: str, demand: Demand, order: tuple[int, ...]) -> None:
    assert parse_demand(text) == demand
    assert parse_demand(str(demand)) == demand
    assert demand.order(RUNGS) == order


def test_a_provider_may_hold_a_colon() -> None:
    for text in ("delegate:/a/b.so", "require:delegate:/a/b.so"):
        assert parse_demand(text) == Demand("delegate:/a/b.so", only=True)


@pytest.mark.parametrize("text", ["", " ", "prefer:", "require:", "require", "prefer", "auto:cpu"])
def test_what_is_no_demand(text: str) -> None:
    with pytest.raises(RequestError, match="give auto, prefer:cuda or require:cuda") as caught:
        parse_demand(text)
    assert "\n" not in str(caught.value)


def test_a_provider_that_no_rung_has() -> None:
    with pytest.raises(RequestError, match=r"no rung on 'cudaa' .*did you mean cuda"):
        Demand("cudaa").order(RUNGS)
    with pytest.raises(RequestError, match="known: cpu, cuda, tensorrt"):
        Demand("zzz", only=True).order(RUNGS)

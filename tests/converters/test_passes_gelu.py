"""GELU written with Erf: every way to write it, and what is not it."""

from __future__ import annotations

import math

import pytest

from converters import passes
from tests.converters.graph_cases import Case, assert_same, frozen, ops

HALF = {"h": 0.5, "one": 1.0, "r": math.sqrt(2), "i": math.sqrt(0.5)}
ERF = "d = Div (x, r) e = Erf (d) a = Add (e, one)"
GELU = [
    f"{ERF} p = Mul (x, a) y = Mul (p, h)",
    f"{ERF} p = Mul (x, h) y = Mul (p, a)",
    f"{ERF} p = Mul (a, h) y = Mul (x, p)",
    f"{ERF} p = Mul (h, a) y = Mul (p, x)",
    "d = Mul (i, x) e = Erf (d) a = Add (one, e) p = Mul (x, a) y = Mul (h, p)",
]
OTHERS = [
    f"{ERF} p = Mul (x, a) y = Mul (p, one)",
    f"{ERF} n = Neg (x) p = Mul (n, a) y = Mul (p, h)",
    "d = Div (x, one) e = Erf (d) a = Add (e, one) p = Mul (x, a) y = Mul (p, h)",
    "d = Div (x, r) e = Erf (d) a = Add (e, h) p = Mul (x, a) y = Mul (p, h)",
    f"{ERF} p = Mul (x, a) q = Mul (p, h) y = Add (q, a)",  # the sum is needed beside
]


@pytest.mark.parametrize("body", GELU)
def test_every_way_to_write_it_is_fused(body: str) -> None:
    model = Case("fuse_gelu", body, constants=HALF).model()
    before = frozen(model)
    passes.run(model, only=["fuse_gelu"])
    assert ops(model) == "Gelu"
    assert_same(before, frozen(model))


@pytest.mark.parametrize("body", OTHERS)
def test_what_is_not_it_is_left(body: str) -> None:
    model = Case("fuse_gelu", body, constants=HALF).model()
    before = ops(model)
    passes.run(model, only=["fuse_gelu"])
    assert ops(model) == before


def test_an_opset_without_the_operator_keeps_it_as_it_is() -> None:
    model = Case("fuse_gelu", GELU[0], constants=HALF, opset=18).model()
    (report,) = passes.run(model, only=["fuse_gelu"])
    assert report.fired == 0
    assert [skip.reason for skip in report.skips] == ["Gelu is an operator since opset 20"]

"""The example pass: it fires, keeps every bit, comes to rest, and says what it leaves alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from converters import passes
from tests.converters.graph_cases import build, compute, feeds, frozen, ops

EXAMPLE = Path(__file__).parents[2] / "examples" / "your_own_pass.py"


@pytest.mark.parametrize("two", [2.0, np.array(2, np.int64)], ids=["float", "integer"])
def test_squares_become_products_to_the_last_bit(two: Any) -> None:
    model = build("a = Pow (x, two) y = Relu (a)", {"two": two})
    before = frozen(model)
    square = passes.load_path(EXAMPLE)
    reports = {report.name: report for report in passes.run(model, extra=[square])}
    assert reports["your_own_pass"].fired == 1
    assert ops(model) == "Mul Relu"
    assert square(model).fired == 0
    feed = feeds(before)
    assert np.array_equal(compute(before, feed), compute(frozen(model), feed))


@pytest.mark.parametrize(
    ("body", "constants", "reason"),
    [
        ("y = Pow (x, p)", {"p": 3.0}, "its exponent is not the single number 2"),
        ("y = Pow (x, p)", {"p": (1, 3, 8, 8)}, "its exponent is not the single number 2"),
        ("p = Relu (x) y = Pow (x, p)", {}, "its exponent is not constant"),
        ("y = Mul (x, x)", {}, None),
    ],
)
def test_leaves_the_rest_alone(body: str, constants: dict[str, Any], reason: str | None) -> None:
    model = build(body, constants)
    before = ops(model)
    report = passes.load_path(EXAMPLE)(model)
    assert report.fired == 0
    assert [skip.reason for skip in report.skips] == ([reason] if reason else [])
    assert ops(model) == before

"""Blocks of pixels and channels in TFLite, as ONNX has them and as they are written out."""

from __future__ import annotations

import numpy as np
import pytest

from converters import passes
from converters.formats import tflite
from converters.graphs import clone
from converters.quantize.calibrate import observe
from converters.quantize.plan import Scheme, make_plan
from tests.converters.op_matrix import OpCase, check_float, check_int8, operators, run_tflite
from tests.converters.quantize_cases import run

SCHEMES = [Scheme(), Scheme("int8")]

CASES = [
    OpCase("y = DepthToSpace <blocksize = 2> (x)", operators="DEPTH_TO_SPACE"),
    OpCase("y = DepthToSpace <blocksize = 2> (x)", size=(3, 5, 8), operators="DEPTH_TO_SPACE"),
    OpCase("y = DepthToSpace <blocksize = 3> (x)", size=(3, 5, 18), operators="DEPTH_TO_SPACE"),
    # With one channel both orders are the same.
    OpCase('y = DepthToSpace <blocksize = 2, mode = "CRD"> (x)', operators="DEPTH_TO_SPACE"),
    OpCase(
        'y = DepthToSpace <blocksize = 2, mode = "CRD"> (x)', size=(3, 5, 12),
        operators="GATHER DEPTH_TO_SPACE",
    ),
    OpCase(
        'y = DepthToSpace <blocksize = 3, mode = "CRD"> (x)', size=(3, 5, 18),
        operators="GATHER DEPTH_TO_SPACE",
    ),
    OpCase("y = SpaceToDepth <blocksize = 2> (x)", operators="SPACE_TO_DEPTH"),
    OpCase("y = SpaceToDepth <blocksize = 3> (x)", size=(6, 9, 2), operators="SPACE_TO_DEPTH"),
    OpCase("a = SpaceToDepth <blocksize = 2> (x) r = Relu (a) b = Neg (r) "
           "y = DepthToSpace <blocksize = 2> (b)", integer=False),
    # A pixel shuffle and its opposite, written out.
    OpCase(
        "r = Reshape (x, six) t = Transpose <perm = [0, 1, 4, 2, 5, 3]> (r) y = Reshape (t, four)",
        {"six": [1, 3, 2, 2, 4, 6], "four": [1, 3, 8, 12]}, size=(4, 6, 12),
        operators="RESHAPE TRANSPOSE RESHAPE",
    ),
    OpCase(
        "r = Reshape (x, six) t = Transpose <perm = [0, 1, 3, 5, 2, 4]> (r) y = Reshape (t, four)",
        {"six": [1, 3, 2, 2, 3, 2], "four": [1, 12, 2, 3]}, size=(4, 6, 3),
        operators="RESHAPE TRANSPOSE RESHAPE",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
@pytest.mark.parametrize("case", CASES, ids=str)
def test_integers(case: OpCase, scheme: Scheme) -> None:
    check_int8(case, scheme)


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
def test_a_pixel_shuffle_costs_nothing_behind_a_convolution(scheme: Scheme) -> None:
    case = OpCase(
        'a = Conv (x, w, b) r = Relu (a) y = DepthToSpace <blocksize = 2, mode = "CRD"> (r)',
        {"w": (12, 4, 3, 3), "b": (12,)},
        terms=37,
    )
    model = case.model()
    passes.run(model, only=["pixel_shuffle"])
    ranges = observe(clone(model), case.frames()).ranges
    plan = make_plan(model, ranges, scheme, tflite.kernels(scheme.activation_type))
    data = tflite.write(tflite.lower(clone(model), plan), {})
    found = operators(data)
    assert (found["CONV_2D"], found["DEPTH_TO_SPACE"], found["GATHER"]) == (1, 1, 0)
    # Half a step for each of the input (on whose grid x is already), the weights and the result
    # is what 8 bits cost; a channel in a wrong place would be off by as much as they vary.
    expected, actual = run(case.model(), case.frames())[0], run_tflite(data, case.frames())[0]
    assert np.abs(expected - actual).max() < 0.1 * expected.std()

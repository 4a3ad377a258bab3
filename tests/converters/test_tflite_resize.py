"""Resize in TFLite: every mode against onnxruntime, as TFLite's own operator only where it fits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from converters.formats import tflite
from converters.quantize.plan import Scheme
from device_profiles.errors import ModelError
from tests.converters.graph_cases import EPS
from tests.converters.op_matrix import OpCase, check_float, check_int8, run_tflite
from tests.converters.quantize_cases import run

SCHEMES = [Scheme(), Scheme("int8"), Scheme("int16", symmetric=True)]
SIZE = (6, 5, 4)
WAYS = ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric", "asymmetric", "align_corners")
ROUNDINGS = ("floor", "ceil", "round_prefer_floor", "round_prefer_ceil")
# Factors whole, broken, whose products with the sizes are not whole, and smaller than one.
SCALES = ([1, 1, 2, 2], [1, 1, 3, 2], [1, 1, 1.5, 1.6], [1, 1, 1.3, 2.7], [1, 1, 0.5, 0.4])
SIZES = ([1, 4, 12, 10], [1, 4, 7, 9], [1, 4, 3, 5], [1, 4, 1, 1], [1, 4, 6, 1])


def scaled(attributes: str, scales: list[float], expected: str = "", **rest: Any) -> OpCase:
    numbers = np.array(scales, np.float32)
    body = f"y = Resize <{attributes}> (x, , k)"
    return OpCase(body, {"k": numbers}, SIZE, operators=expected, **rest)


def sized(attributes: str, sizes: list[int], expected: str = "", **rest: Any) -> OpCase:
    body = f"y = Resize <{attributes}> (x, , , k)"
    return OpCase(body, {"k": sizes}, SIZE, operators=expected, **rest)


def both(attributes: str, **rest: Any) -> list[OpCase]:
    cases = [scaled(attributes, scales, **rest) for scales in SCALES]
    return cases + [sized(attributes, sizes, **rest) for sizes in SIZES]


NEAREST = [
    case
    for way in WAYS
    for rounding in ROUNDINGS
    for case in both(f'coordinate_transformation_mode = "{way}", nearest_mode = "{rounding}"')
]
# The place between whose neighbours a number lies is off by four roundings, of up to 6, along
# either axis: so far may its weight be off that is 1 at most.
PLACES: dict[str, Any] = {"terms": 8, "ulps": 2 * 4 * 6}
LINEAR = [
    case
    for way in WAYS
    for case in both(f'mode = "linear", coordinate_transformation_mode = "{way}"', **PLACES)
]
CUBIC = [
    case
    for way in WAYS
    for case in both(
        f'mode = "cubic", cubic_coeff_a = -0.75, coordinate_transformation_mode = "{way}"'
    )
]
# TFLite's own operators, where they are the same.
OWN = [
    *(
        sized(f'coordinate_transformation_mode = "{way}", nearest_mode = "{mode}"', SIZES[0],
              "RESIZE_NEAREST_NEIGHBOR")
        for way, mode in (("asymmetric", "floor"), ("half_pixel", "round_prefer_floor"),
                          ("half_pixel", "round_prefer_ceil"), ("asymmetric", "round_prefer_floor"))
    ),
    *(
        sized(f'mode = "linear", coordinate_transformation_mode = "{way}"', SIZES[1],
              "RESIZE_BILINEAR", **PLACES)
        for way in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    ),
    # It says something where an image becomes smaller only.
    sized('mode = "linear", antialias = 1', SIZES[1], "RESIZE_BILINEAR", **PLACES),
    OpCase("y = Resize <axes = [2, 3]> (x, , k)", {"k": np.array([2, 2], np.float32)}, SIZE,
           operators="RESIZE_NEAREST_NEIGHBOR"),
]  # fmt: skip
# What they are not.
OTHER = [
    scaled('mode = "linear"', SCALES[3], "RESHAPE BATCH_MATMUL RESHAPE BATCH_MATMUL RESHAPE",
           integer=False, **PLACES),
    sized('mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"', [1, 4, 12, 1],
          "RESHAPE BATCH_MATMUL RESHAPE BATCH_MATMUL RESHAPE", integer=False, **PLACES),
    sized('mode = "linear", antialias = 1', SIZES[2],
          "RESHAPE BATCH_MATMUL RESHAPE", integer=False, **PLACES),
    sized('nearest_mode = "floor"', SIZES[0], "GATHER GATHER"),
    scaled('nearest_mode = "floor"', [1, 2, 1, 3], "GATHER GATHER"),
    OpCase("r = Reshape (x, f) y = Resize (r, , k)",
           {"f": [1, 4, 30], "k": np.array([1, 1, 2], np.float32)}, SIZE,
           outputs="float[N,M,O] y", operators="RESHAPE GATHER"),
    OpCase('r = Reshape (x, f) y = Resize <mode = "linear"> (r, , k)',
           {"f": [1, 4, 30], "k": np.array([1, 1, 2], np.float32)}, SIZE,
           outputs="float[N,M,O] y", integer=False, terms=4, ulps=4 * 30),
]  # fmt: skip
INTEGERS = [*NEAREST[::11], *OWN, *OTHER]

REFUSED = [
    (OpCase('y = Resize <coordinate_transformation_mode = "tf_crop_and_resize"> (x, roi, k)',
            {"roi": np.array([0] * 4 + [1] * 4, np.float32),
             "k": np.array([1, 1, 2, 2], np.float32)}), "tf_crop_and_resize"),
    (sized('keep_aspect_ratio_policy = "not_larger"', SIZES[0]), "keep_aspect_ratio_policy"),
    (OpCase("u = Relu (x) i = Cast <to = 7> (u) a = Slice (i, lo, hi) r = Reshape (a, four) "
            "m = Max (r, least) y = Resize (x, , , m)",
            {"lo": [0] * 4, "hi": [1] * 4, "four": [1], "least": [1, 4, 8, 8]}),
     "constant scales or sizes"),
]  # fmt: skip


@pytest.mark.parametrize("case", NEAREST + LINEAR + OWN + OTHER, ids=str)
def test_float(case: OpCase) -> None:
    check_float(case)


@pytest.mark.parametrize("case", CUBIC, ids=str)
def test_cubic(case: OpCase) -> None:
    model, frames = case.model(), case.frames()
    expected, actual = run(model, frames)[0], run_tflite(tflite.write(model, {}), frames)[0]
    # Four products and their sums along either axis; the magnitudes of the weights sum to 1.375 at
    # most, and |x| is 2 at most.
    assert np.abs(expected - actual).max() <= 2 * 16 * EPS * 2 * 1.375**2
    assert expected.std() > 0


@pytest.mark.parametrize("scheme", SCHEMES, ids=lambda scheme: scheme.activation_type)
@pytest.mark.parametrize("case", INTEGERS, ids=str)
def test_integers(case: OpCase, scheme: Scheme) -> None:
    wide = scheme.activation_type == "int16" and 'mode = "linear"' in case.body
    check_int8(replace(case, integer=case.integer and not wide), scheme)


@pytest.mark.parametrize(("case", "words"), REFUSED, ids=str)
def test_refused(case: OpCase, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        tflite.write(case.model(), {})

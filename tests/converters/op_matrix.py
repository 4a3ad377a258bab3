"""What is asked of every op that is written as TFLite: float within rounding, int8 within a step.

The reference is onnxruntime on the very graph that the file was written from.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from converters.formats import tflite
from converters.graphs import clone, name_nodes, name_of
from converters.quantize.calibrate import observe
from converters.quantize.grid import WeightRule
from converters.quantize.plan import Plan, Scheme, make_plan
from runtime.engines import EngineOptions, open_engine
from runtime.host import host
from runtime.tflite import read_tflite
from tests.converters.graph_cases import EPS
from tests.converters.quantize_cases import Array, camera, run, some_frames

# Bytes become x in [-2, 1.984], in steps of 1/64: exactly on the grid that int8 gives it.
ENTRY = (
    "c = Cast <to = 1> (frames) p = Transpose <perm = [0, 3, 1, 2]> (c)"
    "s = Sub (p, centre) x = Mul (s, unit)"
)
ENTRY_CONSTANTS = {"centre": 128.0, "unit": 1 / 64}


@dataclass(frozen=True)
class OpCase:
    """A graph from `x`, float (1, C, H, W) within [-2, 2), to `y`, and what TFLite makes of it.

    `size` is (H, W, C). `terms` is how many products and sums make one number of the result: the
    float bound grows with it; `ulps` is what is allowed beside, in units of the last place, for
    functions that the engines approximate. `integer` says that int8 has kernels for all of the
    body. `operators` are TFLite operators that the float file must hold (beside those of the
    entry: CAST, SUB, MUL), in any order; where it is empty nothing is asked. `loose` is the share
    of int8 results that may be off by more than a step, and `far` how many steps at most.
    """

    body: str
    constants: dict[str, Any] = field(default_factory=dict)
    size: tuple[int, int, int] = (8, 8, 4)
    terms: int = 1
    ulps: float = 4
    integer: bool = True
    operators: str = ""
    outputs: str = "float[N,M,O,P] y"
    loose: float = 0.01
    far: int = 2

    def __str__(self) -> str:
        return " ".join(self.body.split())[:100]

    def model(self) -> ir.Model:
        model = camera(
            self.body, {**ENTRY_CONSTANTS, **self.constants}, self.size, self.outputs, ENTRY
        )
        name_nodes(model.graph)
        return model

    def frames(self, count: int = 4) -> list[Array]:
        frames = some_frames(count, self.size)
        for frame in frames:  # the ends of the range, so that x has the grid that it should
            frame.flat[0], frame.flat[-1] = 0, 255
        return frames


def operators(data: bytes) -> Counter[str]:
    """Return how many of each operator a file holds."""
    return Counter(operator.name for operator in read_tflite(data).operators)


def run_tflite(data: bytes, frames: list[Array], provider: str = "cpu") -> list[Array]:
    """Return every output of a file, in the model's own layout, stacked over the frames."""
    engine = open_engine("litert", data, EngineOptions(provider, threads=1))
    rows = [engine.run([frame]) for frame in frames]
    engine.close()
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def magnitude(case: OpCase, expected: Array) -> Array:
    """Return what the rounding of each result is relative to.

    For sums it is the sum of magnitudes: the same graph on |x| with |weights|, which is what the
    error of a sum of products is bounded by (Higham, Accuracy and Stability, section 3.1).
    """
    if case.terms == 1:
        return np.abs(expected)
    constants = {**ENTRY_CONSTANTS, **case.constants}
    entry = ENTRY.replace("x = Mul (s, unit)", "a = Abs (s) x = Mul (a, unit)")
    model = camera(case.body, constants, case.size, case.outputs, entry)
    for value in model.graph.initializers.values():
        array = value.const_value
        if array is not None and array.dtype == ir.DataType.FLOAT and value.name != "centre":
            value.const_value = ir.tensor(np.abs(array.numpy()), name=value.name)
    return np.abs(run(model, case.frames())[0]).astype(np.float64)


def check_float(case: OpCase) -> bytes:
    """Compare the float file with onnxruntime; return the file."""
    model = case.model()
    data = tflite.write(model, {})
    frames = case.frames()
    expected, actual = run(model, frames), run_tflite(data, frames)
    assert len(expected) == len(actual)
    for index, (a, b) in enumerate(zip(expected, actual, strict=True)):
        assert a.shape == b.shape
        if a.dtype.kind != "f":
            assert np.array_equal(a, b)
            continue
        assert a.size == 1 or a.std() > 0, "a result that does not vary proves nothing"
        size = magnitude(case, a) if index == 0 else np.abs(a)
        # Two engines, each within (terms + ulps) roundings of the true number.
        bound = 2 * (case.terms + case.ulps) * EPS * size + np.finfo(np.float32).tiny
        assert (np.abs(a - b) <= bound).all(), float((np.abs(a - b) / bound).max())
    if case.operators:
        entry = Counter(["CAST", "SUB", "MUL"])
        assert operators(data) - entry == Counter(case.operators.split())
    return data


def quantized(case: OpCase, scheme: Scheme | None = None) -> tuple[ir.Model, Plan]:
    """Return the QDQ graph of a case and its plan, for LiteRT's kernels."""
    model = case.model()
    scheme = scheme or Scheme(weights=WeightRule(pair_safe=True))
    ranges = observe(clone(model), case.frames()).ranges
    plan = make_plan(model, ranges, scheme, tflite.kernels(scheme.activation_type))
    return tflite.lower(model, plan), plan


def check_int8(case: OpCase, scheme: Scheme | None = None) -> bytes:
    """Compare the int8 file with onnxruntime's own integer kernels; return the file.

    Where these saturate they are no measure: there, with what the file defines, computed in float.
    """
    lowered, plan = quantized(case, scheme)
    # The camera's bytes are a grid of uint8; to any other one they go by way of float.
    entry = {"Cast_0", "Transpose_1"} if scheme and scheme.activation_type != "uint8" else set()
    assert bool(plan.kept_float.keys() - entry) != case.integer, plan.kept_float
    data = tflite.write(lowered, {})
    frames = case.frames()
    expected = run(lowered, frames, simulate=host().saturates_int8_pairs)
    actual = run_tflite(data, frames)
    for value, a, b in zip(lowered.graph.outputs, expected, actual, strict=True):
        assert a.shape == b.shape
        if a.dtype.kind != "f":
            continue
        assert a.size == 1 or a.std() > 0, "a result that does not vary proves nothing"
        grid = plan.values.get(name_of(value))
        step = float(grid.scale) if grid is not None else float(a.max() - a.min()) / 255
        steps = np.abs(a.astype(np.float64) - b) / step
        assert (steps > 1.01).mean() <= case.loose, float((steps > 1.01).mean())
        assert steps.max() <= case.far + 0.01, float(steps.max())
    if case.integer:
        floats = sum(value.dtype == ir.DataType.FLOAT for value in lowered.graph.outputs)
        assert operators(data)["DEQUANTIZE"] <= floats, operators(data)
    return data

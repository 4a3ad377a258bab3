"""The golden set of a bundle: real frames, what each artifact answers, and how far it may stray."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.produce import Product
from runtime.engines import EngineOptions, open_engine
from runtime.golden import GoldenSet, check_not_degenerate, float_tolerance
from runtime.manifest import Tolerance

Frames = NDArray[np.uint8]
Outputs = dict[str, NDArray[np.generic]]

# Where a number falls on the border of two steps, correct integer kernels may round differently,
# and a deep net spreads that until the rounding errors of two runs have little in common. A run
# whose errors are no larger than those that the artifact was made with is as good as it. The
# difference of two such runs, whose errors are independent, has the square root of 2 times their
# root mean square. (MobileNetV2 on the integer kernels of ONNX Runtime against the simulation: 0.6
# of it; by tflite-runtime 2.14 on a 32-bit Arm against LiteRT 2.3, whose answers are as right: 1.1.
# One dead channel's bias gone: 2.3.) The largest single one is at most both largest together.
RMS_SHARE = 2.0**0.5
LARGEST_SHARE = 2.0


def make_golden(
    frames: Frames, reference: Outputs, products: Sequence[Product], graph: ir.Model
) -> tuple[GoldenSet, tuple[tuple[Tolerance, ...], ...]]:
    """Record what every product answers on `frames`, in the device's arithmetic.

    `reference` holds the original model's outputs by name, stacked over the frames; `graph` is
    the prepared float graph. Raises DataError when the outputs do not vary with the input.
    """
    check_not_degenerate(reference)
    answers = [run_all(product.data, product.recipe.engine, frames) for product in products]
    tolerances = tuple(
        tuple(_tolerance(product, name, answer[name], reference[name], graph) for name in reference)
        for product, answer in zip(products, answers, strict=True)
    )
    return GoldenSet(frames, reference, tuple(answers)), tolerances


def run_all(model: bytes, engine_name: str, frames: Frames) -> Outputs:
    """Run an artifact over `frames` one by one, as its file defines, and stack by output."""
    engine = open_engine(engine_name, model, EngineOptions(simulate=True))
    rows = [engine.run([frame[None]]) for frame in frames]
    names = [spec.name for spec in engine.outputs]
    engine.close()
    return {
        n: np.concatenate(column) for n, column in zip(names, zip(*rows, strict=True), strict=True)
    }


def _tolerance(
    product: Product,
    name: str,
    answer: NDArray[np.generic],
    reference: NDArray[np.generic],
    graph: ir.Model,
) -> Tolerance:
    floor = float_tolerance(name, reference, *reductions(graph))
    recipe = product.recipe
    # What computes in float32 strays from its own answers by rounding alone, halved weights or not.
    if recipe.precision == "fp32" or (recipe.precision == "fp16" and recipe.half == "weights"):
        return floor
    error = answer.astype(np.float64) - reference.astype(np.float64)
    step = product.steps.get(name, 0.0)
    noise = float(np.sqrt(np.mean(error**2)))
    largest = float(np.abs(error).max())
    return Tolerance(
        output=name,
        absolute=max(LARGEST_SHARE * largest, step, floor.absolute),
        rms=max(RMS_SHARE * noise, step / 4, floor.rms),
        reason=(
            "rounding may fall otherwise, but not worse, than it did against the original here: "
            f"largest error {largest:.3g}, rms {noise:.3g} (one output step: {step:.3g})"
        ),
    )


def reductions(graph: ir.Model) -> tuple[int, int]:
    """Return the longest sum of products in a graph and how many weighted layers it has."""
    longest, layers = 1, 0
    for node in graph.graph:
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul"):
            weight = node.inputs[1]
            shape = [
                d for d in (weight.shape if weight and weight.shape else ()) if isinstance(d, int)
            ]
            layers += 1
            longest = max(longest, int(np.prod(shape[1:])) if shape else 1)
    return longest, layers

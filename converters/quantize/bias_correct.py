"""Bias correction: take out of every layer the mean error that quantization put into it.

Nagel et al. 2019, "Data-Free Quantization Through Weight Equalization and Bias Correction"
(arXiv:1906.04721), section 4.2, the empirical variant: layer by layer from the input, each seeing
its predecessors already corrected. It moves float biases only, so it serves every format.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.graphs import Array, clone, constant, initializer, name_of
from converters.interpret import interpret
from converters.quantize.calibrate import channel_mean, observe
from converters.quantize.plan import BIASED, Plan, has_plain_weight, outputs_of

Frames = NDArray[np.uint8]


def add_missing_biases(model: ir.Model) -> None:
    """Give every node of `BIASED` that can be quantized a bias: there must be one to correct."""
    for node in list(model.graph):
        given = len(node.inputs) > 2 and node.inputs[2] is not None
        if given or node.op_type not in BIASED or not has_plain_weight(node):
            continue
        weight = constant(node.inputs[1])
        assert weight is not None
        zeros = np.zeros(outputs_of(node, weight), np.float32)
        bias = initializer(model, f"{node.name}/zero_bias", zeros)
        node.resize_inputs(3)
        node.replace_input_with(2, bias)


def correct_biases(
    model: ir.Model,
    plan: Plan,
    frames: Sequence[Frames],
    lower: Callable[[ir.Model, Plan], ir.Model],
) -> ir.Model:
    """Return a copy of the float `model` whose biases make up for the mean error under `plan`.

    `frames` (each uint8 (1, H, W, C)) are the samples over which means are taken; 16 to 64 are
    enough. `lower` builds the quantized graph of a format from a float graph and a plan.
    """
    corrected = clone(model)
    layers = {
        node.name or "": node
        for node in corrected.graph
        if node.op_type in BIASED and (node.name or "") in plan.integer
    }
    wanted = {name: name_of(node.outputs[0]) for name, node in layers.items()}
    means = observe(model, frames, mean_of=list(wanted.values())).means
    errors: dict[str, NDArray[np.float64]] = {}

    def visit(node: ir.Node, results: list[Array]) -> list[Array]:
        name = node.name or ""
        if node.op_type not in BIASED or name not in wanted:
            return results
        now = np.mean([channel_mean(r) for r in results], axis=0)
        errors[name] = now - means[wanted[name]]
        shift = errors[name].astype(np.float32).reshape([1, -1] + [1] * (results[0].ndim - 2))
        return [np.subtract(result, shift, dtype=np.float32) for result in results]

    quantized = lower(model, plan)
    interpret(quantized, {name_of(quantized.graph.inputs[0]): frames}, visit)
    for name, node in layers.items():
        bias = constant(node.inputs[2])
        assert bias is not None
        moved = (bias.astype(np.float64) - errors[name]).astype(np.float32)
        node.replace_input_with(2, initializer(corrected, f"{name}/corrected_bias", moved))
    return corrected

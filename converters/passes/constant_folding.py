"""What can be computed now is; constants become initializers, and equal ones become one."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import (
    DeduplicateInitializersPass,
    LiftConstantsToInitializersPass,
    ShapeInferencePass,
)
from onnxscript.optimizer import fold_constants

from converters.passes._graph import is_op
from converters.passes.base import Pass, Skip
from device_profiles.errors import ModelError

MAX_FOLDED = 2**18  # elements; a result that is larger than this and than its inputs stays computed
NO_LIMIT = 2**62
SMALL = 2**12  # elements; larger constants are weights, whose sharing is left as it is


class ConstantFolding(Pass):
    """Compute the nodes whose inputs are constant, shape arithmetic included.

    Shapes are inferred on the way. Quantize and dequantize nodes of constants stay: they carry
    the scales. Constant nodes become initializers; small initializers that are equal become one.
    """

    after = ("inline_functions",)

    def ensures(self, model: ir.Model) -> None:
        """No Constant node is left, except one that is an output of its graph."""
        for node in ir.traversal.RecursiveGraphIterator(model.graph):
            if is_op(node, "Constant") and not node.outputs[0].is_graph_output():
                raise ModelError(f"constant {node.outputs[0].name} could not become an initializer")

    def apply(self, model: ir.Model) -> tuple[int, list[Skip]]:
        """Fold; fired counts the nodes and the initializers that are gone."""
        nodes = list(ir.traversal.RecursiveGraphIterator(model.graph))
        ShapeInferencePass()(model)
        fold_constants(
            model,
            onnx_shape_inference=True,
            input_size_limit=NO_LIMIT,
            output_size_limit=MAX_FOLDED,
        )
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        merged = sum(len(graph.initializers) for graph in model.graphs())
        DeduplicateInitializersPass(size_limit=SMALL)(model)
        merged -= sum(len(graph.initializers) for graph in model.graphs())
        return sum(node.graph is None for node in nodes) + merged, []

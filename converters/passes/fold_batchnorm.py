"""BatchNormalization goes into the linear node before it, or becomes a Mul and an Add."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._affine import Affine, absorbing, affine_nodes, fold_into_outputs
from converters.passes._graph import attribute, bypass, is_op, needed, replace
from converters.passes.base import Decline, Pass


class FoldBatchNorm(Pass):
    """Fold inference batch normalisation into the weights and bias that feed it.

    `y = (x - mean) / sqrt(variance + epsilon) * gamma + beta` is affine per channel. It folds into
    a Conv, ConvTranspose or Gemm that nobody else reads; elsewhere it becomes Mul and Add.
    """

    after = ("constant_folding", "gemm", "fuse_pad")

    def rewrite(self, node: ir.Node) -> bool:
        """Fold one BatchNormalization."""
        if not is_op(node, "BatchNormalization"):
            return False
        by = _affine(node)
        value = node.inputs[0]
        if value is None:
            raise Decline("it has no input")
        linear = absorbing(value)
        if linear is None:
            nodes = affine_nodes(value, by, node)
            if nodes:
                replace(node, *nodes)
                return True
        else:
            fold_into_outputs(linear, by)
        bypass(node, value)
        return True


def _affine(node: ir.Node) -> Affine:
    if attribute(node, "training_mode", 0):
        raise Decline("it is in training mode; export the model with model.eval()")
    if any(out.uses() or out.is_graph_output() for out in node.outputs[1:]):
        raise Decline("its running statistics are used")
    gamma, beta, mean, variance = (
        needed(value, f"its {name}").astype(np.float64)
        for name, value in zip(("gamma", "beta", "mean", "variance"), node.inputs[1:], strict=True)
    )
    scale = gamma / np.sqrt(variance + attribute(node, "epsilon", 1e-5))
    return Affine(scale, beta - mean * scale)

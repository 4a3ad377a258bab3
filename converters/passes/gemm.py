"""MatMul with a constant matrix becomes Gemm, and every Gemm gets the same plain form."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._affine import bias_name, is_normal
from converters.passes._graph import (
    Array,
    add_constant,
    attribute,
    constant,
    dims,
    is_op,
    make,
    needed,
    only_user,
    operand,
    remove_unused,
    replace,
    set_constant,
)
from converters.passes.base import Decline, Pass


class GemmForm(Pass):
    """Give every fully connected layer the form `Gemm(x, weight, bias, transB=1)`.

    Weight (outputs, inputs), bias (outputs,) or none, alpha and beta one: what the folding passes
    and the quantizer read. A MatMul takes the Add after it as its bias.
    """

    after = ("constant_folding", "eliminate_identity")

    def rewrite(self, node: ir.Node) -> bool:
        """Rewrite one MatMul (and the Add after it) or one Gemm."""
        if is_op(node, "MatMul"):
            return _from_matmul(node)
        if not is_op(node, "Gemm") or is_normal(node):
            return False
        if attribute(node, "transA", 0):
            raise Decline("its input is transposed (transA=1)")
        weight = needed(node.inputs[1], "its weight")
        rows = weight if attribute(node, "transB", 0) else weight.T
        bias = None
        if operand(node, 2) is not None:
            bias = _per_output(needed(node.inputs[2], "its bias"), len(rows))
            if bias is None:
                raise Decline("its bias differs from row to row")
        set_constant(node, 1, (rows * float(attribute(node, "alpha", 1.0))).astype(rows.dtype), "")
        if bias is not None:
            scaled = bias * float(attribute(node, "beta", 1.0))
            set_constant(node, 2, scaled.astype(weight.dtype), "")
        for name in ("alpha", "beta", "transA"):
            node.attributes.pop(name, None)
        node.attributes["transB"] = ir.AttrInt64("transB", 1)
        return True


def _from_matmul(node: ir.Node) -> bool:
    value, weight = node.inputs[0], constant(node.inputs[1])
    if weight is None:
        raise Decline("its second operand is not constant")
    rank = len(dims(value) or ())
    if rank != 2 or weight.ndim != 2 or weight.dtype.kind != "f":
        raise Decline(
            f"Gemm takes two floating-point matrices; here {rank}-D meets {weight.ndim}-D"
        )
    add, bias = _bias_after(node, weight.shape[1])
    matrix = add_constant(node, str(node.inputs[1] and node.inputs[1].name), weight.T)
    linear = make("Gemm", [value, matrix], node, transB=1)
    if bias is None or add is None:
        replace(node, linear)
        return True
    linear.resize_inputs(3)
    linear.replace_input_with(2, add_constant(node, bias_name(linear), bias.astype(weight.dtype)))
    replace(add, linear)
    remove_unused(node)
    return True


def _bias_after(matmul: ir.Node, outputs: int) -> tuple[ir.Node | None, Array | None]:
    add = only_user(matmul.outputs[0])
    if add is None or not is_op(add, "Add"):
        return None, None
    other = add.inputs[1] if add.inputs[0] is matmul.outputs[0] else add.inputs[0]
    array = constant(other)
    return add, None if array is None else _per_output(array, outputs)


def _per_output(array: Array, outputs: int) -> Array | None:
    if array.ndim > 2 or array.size not in (1, outputs) or (array.shape or (1,))[-1] != array.size:
        return None
    return np.broadcast_to(array.reshape(-1).astype(np.float64), (outputs,))

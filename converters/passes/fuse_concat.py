"""Concats along the same axis that follow each other become one."""

from __future__ import annotations

import onnx_ir as ir

from converters.passes._graph import attribute, before, dims, is_op, make, remove_unused, replace
from converters.passes.base import Pass


class FuseConcat(Pass):
    """Put the parts of a Concat in the place of that Concat among the parts of another one."""

    after = ("constant_folding", "eliminate_identity")

    def rewrite(self, node: ir.Node) -> bool:
        """Take in the first Concat that only `node` reads."""
        if not is_op(node, "Concat"):
            return False
        for index, value in enumerate(node.inputs):
            inner = before(value, "Concat")
            if inner is not None and _axis(inner) == _axis(node):
                parts = [*node.inputs[:index], *inner.inputs, *node.inputs[index + 1 :]]
                replace(node, make("Concat", parts, node, axis=_axis(node)))
                remove_unused(inner)
                return True
        return False


def _axis(node: ir.Node) -> int:
    axis = int(attribute(node, "axis"))
    shape = dims(node.outputs[0])
    return axis + len(shape) if axis < 0 and shape is not None else axis

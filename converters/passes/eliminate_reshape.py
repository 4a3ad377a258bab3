"""Reshape, Flatten, Squeeze and Unsqueeze that follow each other become one Reshape, or none."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    Dims,
    add_constant,
    attribute,
    bypass,
    dims,
    is_op,
    make,
    remove_unused,
    replace,
    source,
)
from converters.passes.base import Decline, Pass

RESHAPES = ("Reshape", "Flatten", "Squeeze", "Unsqueeze")
POOLS = ("GlobalAveragePool", "GlobalMaxPool")


class EliminateReshape(Pass):
    """Let a reshape start from what the reshape before it started from.

    Two that undo each other vanish. A Transpose that only moves axes of size one counts as a
    reshape when it meets one. After global pooling, Flatten and Squeeze become the same one
    Reshape with a constant shape.
    """

    after = ("constant_folding", "eliminate_identity", "global_pool")

    def rewrite(self, node: ir.Node) -> bool:
        """Merge `node` with the reshape before it."""
        if not _is_reshape(node):
            return False
        inner = source(node.inputs[0], *RESHAPES, "Transpose")
        pooled = source(node.inputs[0], *POOLS)
        if inner is not None and not _is_reshape(inner):
            inner = None
        if inner is None and (pooled is None or is_op(node, "Reshape", "Transpose")):
            return False
        value = inner.inputs[0] if inner is not None else node.inputs[0]
        target = dims(node.outputs[0])
        if value is None or target is None:
            raise Decline("its shape is not known")
        if None not in target and target == dims(value):
            bypass(node, value)
        else:
            shape = add_constant(node, f"{node.outputs[0].name}.shape", _constant(target))
            replace(node, make("Reshape", [value, shape], node))
        if inner is not None:
            remove_unused(inner)
        return True


def _is_reshape(node: ir.Node) -> bool:
    """Return whether `node` keeps the order of the elements, as a Transpose of unit axes does."""
    shape, perm = dims(node.inputs[0]), attribute(node, "perm")
    if not is_op(node, "Transpose") or shape is None or perm is None:
        return is_op(node, *RESHAPES)
    moved = [axis for axis in perm if shape[axis] != 1]
    return moved == sorted(moved)


def _constant(shape: Dims) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    numbers = [size if isinstance(size, int) else -1 for size in shape]
    if numbers.count(-1) > 1 or (-1 in numbers and 0 in numbers):
        raise Decline("more than one size of its shape is not known")
    return np.array(numbers, np.int64)

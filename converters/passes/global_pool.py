"""Means and maxima over the whole image become global pooling, which int8 kernels know."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    add_constant,
    attribute,
    dims,
    is_op,
    make,
    parameter,
    replace,
)
from converters.passes.base import Decline, Pass

POOLS = {
    "ReduceMean": "GlobalAveragePool",
    "AveragePool": "GlobalAveragePool",
    "ReduceMax": "GlobalMaxPool",
    "MaxPool": "GlobalMaxPool",
}
FLOATS = (ir.DataType.FLOAT, ir.DataType.FLOAT16, ir.DataType.DOUBLE)


class GlobalPool(Pass):
    """Turn ReduceMean and ReduceMax over axes (2, 3) of a 4-D value into global pooling.

    So too an AveragePool or MaxPool whose single window is the whole image. ReduceMean stays in
    float in int8 graphs; without `keepdims` a Reshape to (batch, channels) follows.
    """

    after = ("constant_folding", "eliminate_identity", "fuse_pad")

    def rewrite(self, node: ir.Node) -> bool:
        """Rewrite one reduction or pooling."""
        if not is_op(node, *POOLS):
            return False
        shape = dims(node.inputs[0])
        if shape is None:
            raise Decline("the rank of its input is not known")
        if len(shape) != 4 or node.outputs[0].dtype not in FLOATS:
            return False
        if node.op_type.startswith("Reduce"):
            axes = parameter(node, "axes", 1)
            if axes is None or sorted(int(axis) % 4 for axis in axes) != [2, 3]:
                raise Decline("it does not reduce exactly the two axes of the image")
        elif not _sees_all(node, shape[2:]):
            return False
        pool = make(POOLS[node.op_type], [node.inputs[0]], node)
        if node.op_type.startswith("Reduce") and not attribute(node, "keepdims", 1):
            pool.outputs[0].shape = ir.Shape([*shape[:2], 1, 1])
            pool.outputs[0].type = node.outputs[0].type
            target = add_constant(node, f"{node.outputs[0].name}.shape", _flat(shape[0], shape[1]))
            replace(node, pool, make("Reshape", [pool.outputs[0], target], node))
        else:
            replace(node, pool)
        return True


def _sees_all(node: ir.Node, size: tuple[int | str | None, ...]) -> bool:
    return (
        tuple(attribute(node, "kernel_shape", ())) == size
        and not any(attribute(node, "pads", ()))
        and "SAME" not in attribute(node, "auto_pad", "")
        and all(d == 1 for d in attribute(node, "dilations", ()))
        and len(node.outputs) == 1
    )


def _flat(
    batch: int | str | None, channels: int | str | None
) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    if isinstance(batch, int):
        return np.array([batch, -1 if not isinstance(channels, int) else channels], np.int64)
    return np.array([-1, channels] if isinstance(channels, int) else [0, -1], np.int64)

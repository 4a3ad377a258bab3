"""Pad nodes go into the convolution or pooling that follows them, where that is exact."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    attribute,
    constant,
    dims,
    is_op,
    operand,
    parameter,
    remove_unused,
    source,
)
from converters.passes.base import Decline, Pass

USERS = ("Conv", "AveragePool", "MaxPool")
NOT_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Abs")


class FusePad(Pass):
    """Fuse a constant Pad of the spatial axes into every Conv or pooling that reads it.

    Zeros are exact for Conv; for AveragePool when its own padding counts as zeros too; for MaxPool
    when nothing before is negative. Minus infinity is exact for MaxPool.
    """

    after = ("constant_folding", "eliminate_identity", "fuse_activation")

    def rewrite(self, node: ir.Node) -> bool:
        """Fuse one Pad into all its users, or into none."""
        if not is_op(node, "Pad"):
            return False
        uses = node.outputs[0].uses()
        users = [use.node for use in uses]
        strange = (use.node.op_type for use in uses if use.idx or not is_op(use.node, *USERS))
        stranger = next(strange, None)
        if stranger or node.outputs[0].is_graph_output() or not users:
            raise Decline(f"it feeds {stranger or 'an output'}, which does not pad")
        before, after = _amounts(node)
        value = parameter(node, "value", 2)
        fill = 0.0 if value is None else float(value.item())
        for user in users:
            _check(user, node.inputs[0], fill, [*before, *after])
        for user in users:
            _widen(user, [*before, *after])
            user.replace_input_with(0, node.inputs[0])
        remove_unused(node)
        return True


def _amounts(node: ir.Node) -> tuple[list[int], list[int]]:
    """Return how much `node` adds before and after each spatial axis."""
    if attribute(node, "mode", "constant") != "constant":
        raise Decline(f"it pads by {attribute(node, 'mode')}")
    pads = parameter(node, "pads", 1)
    shape = dims(node.inputs[0])
    if pads is None:
        raise Decline("it does not say how much to pad")
    axes = parameter(node, "axes", 3)
    rank = len(shape) if shape is not None else len(pads) // 2
    if axes is None:
        axes = np.arange(len(pads) // 2)
    elif shape is None:
        raise Decline("the rank of its input is not known")
    full = np.zeros((2, rank), dtype=int)
    full[:, axes % rank] = pads.reshape(2, -1)
    if (full < 0).any():
        raise Decline("it crops")
    if full[:, :2].any():
        raise Decline("it pads the batch or the channels")
    return full[0, 2:].tolist(), full[1, 2:].tolist()


def _check(user: ir.Node, value: ir.Value | None, fill: float, pads: list[int]) -> None:
    if "SAME" in attribute(user, "auto_pad", ""):
        raise Decline(f"the {user.op_type} after it pads by itself ({attribute(user, 'auto_pad')})")
    if is_op(user, "Conv"):
        if fill != 0.0:
            raise Decline(f"it pads with {fill:g}, and Conv with zero")
        return
    if attribute(user, "ceil_mode", 0):
        raise Decline(f"the {user.op_type} after it rounds its size up")
    kernel = attribute(user, "kernel_shape", ())
    own = attribute(user, "pads", [0] * len(pads))
    if any(p + q >= k for p, q, k in zip(pads, own, [*kernel, *kernel], strict=True)):
        raise Decline(f"it pads by a whole window of the {user.op_type} after it")
    if is_op(user, "AveragePool"):
        if fill != 0.0:
            raise Decline(f"it pads with {fill:g}, and AveragePool with zero")
        if any(own) and not attribute(user, "count_include_pad", 0):
            raise Decline("the AveragePool after it leaves its own padding out of the mean")
        return
    lowest = fill <= -np.finfo(np.float32).max
    if not lowest and (fill != 0.0 or any(own) or not _is_not_negative(value)):
        raise Decline(f"it pads with {fill:g}, and MaxPool with minus infinity")


def _is_not_negative(value: ir.Value | None) -> bool:
    if clip := source(value, "Clip"):
        low = constant(operand(clip, 1))
        return low is not None and bool(low.item() >= 0)
    return source(value, *NOT_NEGATIVE) is not None


def _widen(user: ir.Node, pads: list[int]) -> None:
    own = attribute(user, "pads", [0] * len(pads))
    total = [p + q for p, q in zip(pads, own, strict=True)]
    user.attributes["pads"] = ir.AttrInt64s("pads", total)
    user.attributes.pop("auto_pad", None)
    if is_op(user, "AveragePool"):
        user.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)

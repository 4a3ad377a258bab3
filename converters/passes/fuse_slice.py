"""Slices of different axes that follow each other become one."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    Array,
    add_constant,
    before,
    dims,
    is_op,
    make,
    needed,
    operand,
    remove_unused,
    replace,
)
from converters.passes.base import Decline, Pass

NAMES = ("starts", "ends", "axes", "steps")


class FuseSlice(Pass):
    """Merge a Slice into the Slice before it when they cut different axes."""

    after = ("constant_folding", "eliminate_identity")

    def rewrite(self, node: ir.Node) -> bool:
        """Merge one Slice with the one before it."""
        if not is_op(node, "Slice"):
            return False
        first = before(node.inputs[0], "Slice")
        if first is None:
            return False
        one, two = _cuts(first), _cuts(node)
        if set(one[2]) & set(two[2]):
            raise Decline("it cuts the same axis as the Slice before it")
        numbers = [
            add_constant(
                node, f"{node.outputs[0].name}.{name}", np.concatenate(pair).astype(np.int64)
            )
            for name, pair in zip(NAMES, zip(one, two, strict=True), strict=True)
        ]
        replace(node, make("Slice", [first.inputs[0], *numbers], node))
        remove_unused(first)
        return True


def _cuts(node: ir.Node) -> list[Array]:
    """Return starts, ends, axes (not negative) and steps of a Slice."""
    rank = len(dims(node.inputs[0]) or ())
    if not rank:
        raise Decline("the rank of its input is not known")
    starts, ends = (needed(node.inputs[i], f"its {NAMES[i]}") for i in (1, 2))
    axes = (
        np.arange(len(starts)) if operand(node, 3) is None else needed(node.inputs[3], "its axes")
    )
    steps = (
        np.ones(len(starts)) if operand(node, 4) is None else needed(node.inputs[4], "its steps")
    )
    return [starts, ends, axes % rank, steps]

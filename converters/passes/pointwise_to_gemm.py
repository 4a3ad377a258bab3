"""A classifier written as a 1x1 convolution of a pooled image becomes the Gemm that it is."""

from __future__ import annotations

import onnx_ir as ir

from converters.passes._graph import (
    attribute,
    dims,
    is_op,
    make,
    needed,
    only_user,
    remove_unused,
    replace,
    set_constant,
)
from converters.passes.base import Decline, Pass


class PointwiseToGemm(Pass):
    """Turn a 1x1 Conv of a 1x1 image, and the reshape to (batch, channels) after it, into Gemm.

    The reshape moves before the Gemm. Engines that compute Gemm on integers can hand out its
    result in float, so that an int8 classifier keeps its logits exact; a Conv's they round.
    """

    after = ("constant_folding", "eliminate_identity", "global_pool")

    def rewrite(self, node: ir.Node) -> bool:
        """Rewrite one Conv and the Reshape, Flatten or Squeeze after it."""
        if not is_op(node, "Conv") or not all(_is_one_pixel(v) for v in node.inputs[:2]):
            return False
        # One pixel in, without padding: stride and dilation have nothing to act on.
        if any(attribute(node, "pads", ())):
            raise Decline("it pads its single pixel")
        if (groups := attribute(node, "group", 1)) != 1:
            raise Decline(f"its {groups} groups are not one matrix")
        weight = needed(node.inputs[1], "its weight")
        outputs, inputs = weight.shape[:2]
        reshape = only_user(node.outputs[0])
        if not is_op(reshape, "Reshape", "Flatten", "Squeeze"):
            raise Decline("no reshape to (batch, channels) alone reads its result")
        assert reshape is not None
        batch, *sizes = dims(reshape.outputs[0]) or (None,)
        if sizes != [outputs]:
            raise Decline(f"the {reshape.op_type} after it does not make (batch, channels)")
        flatten = make("Flatten", node.inputs[:1], node, axis=1)
        flatten.outputs[0].shape = ir.Shape([batch, inputs])
        flatten.outputs[0].type = reshape.outputs[0].type
        gemm = make("Gemm", [flatten.outputs[0], *node.inputs[1:]], node, transB=1)
        replace(reshape, flatten, gemm)
        remove_unused(node)
        set_constant(gemm, 1, weight.reshape(outputs, inputs), "")
        return True


def _is_one_pixel(value: ir.Value | None) -> bool:
    """Return whether an image or a kernel (n, channels, ...) is known to have the size 1 x 1."""
    shape = dims(value)
    return shape is not None and all(size == 1 for size in shape[2:])

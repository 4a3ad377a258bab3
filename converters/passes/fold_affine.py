"""Per-channel Mul, Div, Add and Sub with constants go into the linear node before, or merge."""

from __future__ import annotations

import onnx_ir as ir

from converters.passes._affine import (
    IDENTITY,
    Affine,
    absorbing,
    affine_nodes,
    as_affine,
    data_index,
    fold_into_outputs,
)
from converters.passes._graph import bypass, only_user, remove_unused, replace
from converters.passes.base import Decline, Pass


class FoldAffine(Pass):
    """Fold constant arithmetic per channel into the Conv, ConvTranspose or Gemm that feeds it.

    What has no such node before it is merged with its like: at most one Mul and one Add remain of
    a chain. Into a FOLLOWING convolution it is `fold_normalization` that folds.
    """

    after = ("fold_batchnorm", "fold_normalization", "fuse_activation")

    def rewrite(self, node: ir.Node) -> bool:
        """Fold the chain of constant arithmetic that ends in `node`."""
        if data_index(node) is None:
            return False
        if as_affine(node) is None:
            raise Decline("its constant is not one number per channel, or the rank is unknown")
        if (follower := only_user(node.outputs[0])) and as_affine(follower):
            return False  # the chain goes on
        chain, by, value = _chain(node)
        linear = absorbing(value)
        if linear is not None:
            fold_into_outputs(linear, by)
        elif len(chain) <= int((by.scale != 1).any()) + int((by.shift != 0).any()):
            return False
        elif nodes := affine_nodes(value, by, node):
            replace(node, *nodes)
            remove_unused(*chain[1:])
            return True
        bypass(node, value)
        remove_unused(*chain[1:])
        return True


def _chain(last: ir.Node) -> tuple[list[ir.Node], Affine, ir.Value]:
    chain: list[ir.Node] = []
    by = IDENTITY
    node: ir.Node | None = last
    value = last.outputs[0]
    while node is not None and (step := as_affine(node)) is not None:
        start = node.inputs[data_index(node) or 0]
        if start is None:
            break
        chain.append(node)
        by, value = step.then(by), start
        node = value.producer() if only_user(value) else None
    return chain, by, value

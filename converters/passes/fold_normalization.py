"""Per-channel scales and channel orders before a convolution go into its weights."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from converters.passes._affine import absorbing, as_affine, bias_name, data_index
from converters.passes._graph import (
    Array,
    add_constant,
    attribute,
    constant,
    dims,
    home,
    is_op,
    make,
    needed,
    only_user,
    operand,
    remove_unused,
    set_constant,
)
from converters.passes.base import Decline, Pass


@dataclass(frozen=True)
class Normalization:
    """Channel j is `(x[order[j]] - mean[j]) * scale[j]`; all arrays have one entry per channel."""

    order: Array
    mean: Array
    scale: Array


class FoldNormalization(Pass):
    """Fold input normalisation, or any per-channel map, into the convolution that follows it.

    A scale and a channel order go into the weights, exact with zero padding. A mean goes into the
    bias where the convolution does not pad; where it pads with zeros the mean would have to be in
    the border as well, so one Sub stays, in the units of the bytes that come in.
    """

    after = ("constant_folding", "eliminate_transpose", "fold_batchnorm", "fuse_pad")

    def rewrite(self, node: ir.Node) -> bool:
        """Fold the chain of constant arithmetic and channel orders that ends in a Conv `node`."""
        if not is_op(node, "Conv"):
            return False
        chain, value = _chain(node)
        if not chain or absorbing(value):
            return False  # what follows a linear node is folded into that node
        weight = needed(node.inputs[1], "the weight of Conv")
        groups = int(attribute(node, "group", 1))
        total = _total(chain, weight.shape[1] * groups)
        padded = any(attribute(node, "pads", ())) or "SAME" in attribute(node, "auto_pad", "")
        stays = padded and total.mean.any()
        if stays and len(chain) == 1:
            raise Decline("the convolution pads with zeros, so the mean stays a subtraction")
        folded, mean = _into_weight(weight, total, groups)
        if not padded and mean.any():
            _into_bias(node, folded, mean, groups)
        set_constant(node, 1, folded.astype(weight.dtype), "")
        node.replace_input_with(0, _subtract(value, mean, node) if stays else value)
        remove_unused(*chain)
        return True


def _chain(conv: ir.Node) -> tuple[list[ir.Node], ir.Value]:
    """Return the foldable nodes before `conv`, last first, and the value that they start from."""
    chain: list[ir.Node] = []
    value = conv.inputs[0]
    assert value is not None
    while only_user(value) and (node := value.producer()) is not None:
        index = 0 if _channel_order(node) is not None else data_index(node)
        if index is None or (as_affine(node) is None and _channel_order(node) is None):
            break
        chain.append(node)
        value = node.inputs[index]
        assert value is not None
    return chain, value


def _channel_order(node: ir.Node) -> Array | None:
    if not is_op(node, "Gather"):
        return None
    shape, order = dims(node.inputs[0]), constant(node.inputs[1])
    if shape is None or order is None or attribute(node, "axis", 0) not in (1, 1 - len(shape)):
        return None
    channels = shape[1]
    if not isinstance(channels, int) or order.shape != (channels,):
        return None
    order = order % channels
    return order if sorted(order) == list(range(channels)) else None


def _total(chain: list[ir.Node], channels: int) -> Normalization:
    order = np.arange(channels)
    mean, scale = np.zeros(channels), np.ones(channels)
    for node in reversed(chain):
        by, moved = as_affine(node), _channel_order(node)
        if moved is not None:
            order, mean, scale = order[moved], mean[moved], scale[moved]
        elif by is not None:
            if not by.scale.all():
                raise Decline("a scale before the convolution is zero")
            scale = scale * by.scale
            mean = mean - by.shift / scale
    return Normalization(order, mean, scale)


def _into_weight(weight: Array, total: Normalization, groups: int) -> tuple[Array, Array]:
    """Return the float64 weight for the raw input, and the mean in the order of that input."""
    if groups > 1 and (total.order != np.arange(len(total.order))).any():
        raise Decline("the convolution is grouped, so its channels cannot be reordered")
    # Input channel g * (C / groups) + j meets column j of the output channels of group g.
    scale = np.repeat(total.scale.reshape(groups, -1), weight.shape[0] // groups, axis=0)
    scaled = weight * scale.reshape(weight.shape[:2] + (1,) * (weight.ndim - 2))
    inverse = np.argsort(total.order)
    return (scaled if groups > 1 else scaled[:, inverse]), total.mean[inverse]


def _into_bias(conv: ir.Node, folded: Array, mean: Array, groups: int) -> None:
    old = operand(conv, 2)
    bias = np.zeros(folded.shape[0]) if old is None else needed(old, "the bias of Conv")
    means = np.repeat(mean.reshape(groups, -1), folded.shape[0] // groups, axis=0)
    sums = folded.reshape(*folded.shape[:2], -1).sum(axis=2)
    dtype = needed(conv.inputs[1], "the weight of Conv").dtype
    set_constant(conv, 2, (bias - (sums * means).sum(axis=1)).astype(dtype), bias_name(conv))


def _subtract(value: ir.Value, mean: Array, conv: ir.Node) -> ir.Value:
    weight = needed(conv.inputs[1], "the weight of Conv")
    column = mean.astype(weight.dtype).reshape(-1, *(1,) * (weight.ndim - 2))
    node = make("Sub", [value, add_constant(conv, "mean", column)], conv)
    node.outputs[0].shape, node.outputs[0].type = value.shape, value.type
    home(conv).insert_before(conv, node)
    return node.outputs[0]

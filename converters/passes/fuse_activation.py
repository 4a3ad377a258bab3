"""Activations that are written as several nodes become the one operator that they are."""

from __future__ import annotations

import math

import numpy as np
import onnx_ir as ir

from converters.passes._graph import (
    add_constant,
    attribute,
    before,
    bypass,
    constant,
    is_op,
    make,
    only_user,
    parameter,
    remove_unused,
    replace,
    source,
)
from converters.passes.base import Decline, Pass

Bounds = tuple[float, float]

BOUNDED = ("Relu", "Clip", "Min", "Max")
SINCE = {"HardSwish": 14, "Swish": 24}
SIXTH = 1.0 / 6.0


class FuseActivation(Pass):
    """Fuse chains of bounds into one Relu or Clip, and hard-sigmoid, hard-swish and SiLU.

    `Min(Max(x, 0), 6)`, `Clip(Relu(x), 0, 6)` and the like become one Clip, or Relu when nothing
    bounds from above; `Clip(x + 3, 0, 6) / 6` becomes HardSigmoid, times x HardSwish; `x *
    Sigmoid(x)` is SiLU, for which the operator set has one operator (Swish) only since 24.
    """

    after = ("constant_folding", "eliminate_identity")

    def rewrite(self, node: ir.Node) -> bool:
        """Fuse the activation that ends in `node`."""
        if is_op(node, *BOUNDED):
            return _merge_bounds(node)
        if is_op(node, "Mul", "Div"):
            return _hard_sigmoid(node) or _hard_swish(node) or _gated(node)
        return False


def _merge_bounds(node: ir.Node) -> bool:
    own = _bounds(node)
    if own is None:
        return False
    value, bounds = own
    if bounds == (-math.inf, math.inf):
        bypass(node, value)
        return True
    inner = source(value, *BOUNDED)
    first = _bounds(inner) if inner is not None else None
    if first is not None and inner is not None:
        start, earlier = first
        merged = _compose(earlier, bounds)
        if merged == earlier:
            bypass(node, value)
            return True
        if only_user(value):
            replace(node, *_bounded(start, merged, node))
            remove_unused(inner)
            return True
    if (node.op_type == "Relu") == (bounds == (0.0, math.inf)) and is_op(node, "Relu", "Clip"):
        return False
    replace(node, *_bounded(value, bounds, node))
    return True


def _bounds(node: ir.Node) -> tuple[ir.Value, Bounds] | None:
    """Return what `node` bounds, and the bounds; None when it is not `min(max(x, low), high)`."""
    values = [value for value in node.inputs if value is not None]
    if not values or node.outputs[0].dtype not in (ir.DataType.FLOAT, ir.DataType.FLOAT16):
        return None
    if is_op(node, "Relu"):
        return values[0], (0.0, math.inf)
    if is_op(node, "Clip"):
        low, high = parameter(node, "min", 1), parameter(node, "max", 2)
        bounds = (
            -math.inf if low is None else low.item(),
            math.inf if high is None else high.item(),
        )
        return (values[0], _open(bounds)) if bounds[0] <= bounds[1] else None
    numbers = [constant(value) for value in values]
    data = [value for value, number in zip(values, numbers, strict=True) if number is None]
    known = [number for number in numbers if number is not None]
    if len(data) != 1 or len(known) != 1 or known[0].size != 1 or known[0].ndim > 1:
        return None
    number = known[0].item()
    return data[0], (-math.inf, number) if node.op_type == "Min" else (number, math.inf)


def _open(bounds: Bounds) -> Bounds:
    largest = float(np.finfo(np.float32).max)  # how exporters write "no bound"
    low, high = bounds
    return (-math.inf if low <= -largest else low), (math.inf if high >= largest else high)


def _compose(first: Bounds, then: Bounds) -> Bounds:
    low, high = (min(max(bound, then[0]), then[1]) for bound in first)
    return low, high


def _bounded(value: ir.Value, bounds: Bounds, like: ir.Node) -> list[ir.Node]:
    if bounds == (0.0, math.inf):
        return [make("Relu", [value], like)]
    dtype = value.dtype.numpy() if value.dtype else np.dtype(np.float32)
    names = (f"{like.outputs[0].name}.{end}" for end in ("min", "max"))
    ends = [
        None if math.isinf(bound) else add_constant(like, name, np.array(bound, dtype))
        for name, bound in zip(names, bounds, strict=True)
    ]
    return [make("Clip", [value, *(ends if ends[1] else ends[:1])], like)]


def _number(value: ir.Value | None) -> float | None:
    array = constant(value)
    return float(array.item()) if array is not None and array.size == 1 else None


def _over_six(node: ir.Node) -> ir.Value | None:
    """Return x when `node` is x / 6 or x * (1 / 6)."""
    for index in (0,) if is_op(node, "Div") else (0, 1):
        number = _number(node.inputs[1 - index])
        factor = 6.0 if is_op(node, "Div") else SIXTH
        if number is not None and math.isclose(number, factor, rel_tol=1e-6):
            return node.inputs[index]
    return None


def _clipped_plus_three(node: ir.Node | None) -> ir.Value | None:
    """Return x when `node` is Clip(x + 3, 0, 6)."""
    own = _bounds(node) if node is not None and is_op(node, "Clip") else None
    add = source(own[0], "Add") if own is not None and own[1] == (0.0, 6.0) else None
    if add is None:
        return None
    plain = [value for value in add.inputs if _number(value) != 3.0]
    return plain[0] if len(plain) == 1 else None


def _hard_sigmoid(node: ir.Node) -> bool:
    clip = before(_over_six(node), "Clip")
    value = _clipped_plus_three(clip)
    if clip is None or value is None:
        return False
    add = source(clip.inputs[0], "Add")
    replace(node, make("HardSigmoid", [value], node, alpha=SIXTH, beta=0.5))
    remove_unused(*(one for one in (clip, add) if one is not None))
    return True


def _hard_swish(node: ir.Node) -> bool:
    """Fuse x * Clip(x + 3, 0, 6) / 6, the division last."""
    product = before(_over_six(node), "Mul")
    for index in (0, 1) if product is not None else ():
        assert product is not None
        clip = before(product.inputs[index], "Clip")
        value = _clipped_plus_three(clip)
        if clip is not None and value is not None and product.inputs[1 - index] is value:
            add = source(clip.inputs[0], "Add")
            _need_operator(node, "HardSwish")
            replace(node, make("HardSwish", [value], node))
            remove_unused(product, *(one for one in (clip, add) if one is not None))
            return True
    return False


def _gated(node: ir.Node) -> bool:
    """Fuse x * HardSigmoid(x) and x * Sigmoid(x)."""
    if not is_op(node, "Mul"):
        return False
    for value, other in (node.inputs, node.inputs[::-1]):
        gate = before(other, "HardSigmoid", "Sigmoid")
        if gate is None or gate.inputs[0] is not value:
            continue
        if is_op(gate, "Sigmoid"):
            fused = "Swish"
        elif (attribute(gate, "beta", 0.5), round(attribute(gate, "alpha", 0.2), 6)) == (
            0.5,
            0.166667,
        ):
            fused = "HardSwish"
        else:
            continue
        _need_operator(node, fused)
        replace(node, make(fused, [value], node))
        remove_unused(gate)
        return True
    return False


def _need_operator(node: ir.Node, op_type: str) -> None:
    graph = node.graph
    have = graph.opset_imports.get("", 0) if isinstance(graph, ir.Graph) else 0
    if have < SINCE[op_type]:
        raise Decline(f"{op_type} is one operator since opset {SINCE[op_type]}; here it is {have}")

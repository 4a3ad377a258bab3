"""GELU that is written with Erf becomes the one operator that it is."""

from __future__ import annotations

import math

import onnx_ir as ir

from converters.passes._graph import before, constant, home, is_op, make, remove_unused, replace
from converters.passes.base import Decline, Pass

SINCE = 20


class FuseGelu(Pass):
    """Fuse `x * (1 + Erf(x / sqrt(2))) / 2` into Gelu, wherever the halving stands.

    Exporters multiply x by 0.5 first, or the sum, or the product; and divide by sqrt(2) or
    multiply by its reciprocal.
    """

    after = ("constant_folding", "eliminate_identity")

    def rewrite(self, node: ir.Node) -> bool:
        """Fuse the GELU whose last multiplication is `node`."""
        found = _gelu(node)
        if found is None:
            return False
        value, inner = found
        if home(node).opset_imports.get("", 0) < SINCE:
            raise Decline(f"Gelu is an operator since opset {SINCE}")
        replace(node, make("Gelu", [value], node))
        remove_unused(*inner)
        return True


def _gelu(node: ir.Node) -> tuple[ir.Value, list[ir.Node]] | None:
    """Return x and the nodes inside, the last first; None when `node` does not end a GELU."""
    factors, products = _factors(node)
    halves = [one for one in factors if _is(one, 0.5)]
    rest = [one for one in factors if not _is(one, 0.5)]
    if len(halves) != 1 or len(rest) != 2:
        return None
    for value, other in (rest, rest[::-1]):
        add = before(other, "Add")
        erf = None if add is None else _plus_one(add)
        scale = None if erf is None else before(erf.inputs[0], "Mul", "Div")
        if value is None or add is None or erf is None or scale is None:
            continue
        if _scales(scale, value):
            return value, [*products, add, erf, scale]
    return None


def _factors(node: ir.Node) -> tuple[list[ir.Value | None], list[ir.Node]]:
    """Return what `node` and the product before it multiply, and that product."""
    if not is_op(node, "Mul"):
        return [], []
    for index in (0, 1):
        product = before(node.inputs[index], "Mul")
        if product is not None:
            return [*product.inputs, node.inputs[1 - index]], [product]
    return [], []


def _plus_one(add: ir.Node) -> ir.Node | None:
    """Return the Erf that `add` adds 1 to."""
    erfs = [before(value, "Erf") for value in add.inputs if not _is(value, 1.0)]
    return erfs[0] if len(erfs) == 1 else None


def _scales(node: ir.Node, value: ir.Value) -> bool:
    """Tell whether `node` is `value` divided by the root of 2."""
    root = math.sqrt(2)
    if is_op(node, "Div"):
        return node.inputs[0] is value and _is(node.inputs[1], root)
    pair = list(node.inputs)
    return any(a is value and _is(b, 1 / root) for a, b in (pair, pair[::-1]))


def _is(value: ir.Value | None, number: float) -> bool:
    array = constant(value)
    # One number for all, as float32 or float16 has it.
    return (
        array is not None
        and array.size == 1
        and array.ndim <= 1
        and math.isclose(float(array.item()), number, rel_tol=1e-6)
    )

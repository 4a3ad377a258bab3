"""Work: what each node of an artifact computes and moves, and in which numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import onnx_ir as ir

from converters.capture import SOURCE
from converters.graphs import activations, clone, constant, integer, name_of, shape_of
from converters.quantize.plan import Plan, is_weighted, outputs_of
from converters.recipe import Recipe


@dataclass(frozen=True)
class Work:
    """One node: `line` is its line in the model's source, "" where nobody knows.

    `macs` are multiply-adds, `numbers` the activations that it reads and writes, `weights` the
    constants that it reads, of `weight_bits` each. `bits` are those of the numbers that it computes
    on, or `moves` only; `reason` says why they are 32 in an artifact of integers. Free dimensions
    count as 1.
    """

    node: str
    op: str
    line: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    macs: int
    numbers: int
    weights: int
    bits: int = 32
    weight_bits: int = 32
    reason: str = ""
    moves: bool = False

    @property
    def bytes(self) -> float:
        """What moves between memory and the core when nothing is kept in caches."""
        return (self.numbers * self.bits + self.weights * self.weight_bits) / 8


def workload(graph: ir.Model, recipe: Recipe, plan: Plan | None = None) -> tuple[Work, ...]:
    """Return the work of every node of a float graph, as an artifact of `recipe` does it.

    `plan` says what becomes integers. What is free (a Relu that saturation does) is left out.
    """
    free = set() if plan is None else plan.absorbed | plan.shifts
    nodes = (node for node in _shaped(graph).graph if (node.name or "") not in free)
    return tuple(_work(node, recipe, plan) for node in nodes)


def _shaped(graph: ir.Model) -> ir.Model:
    """Return a graph whose values have shapes wherever they can be inferred."""
    if all(value.shape is not None for node in graph.graph for value in node.outputs):
        return graph
    from onnx_ir.passes.common import ShapeInferencePass

    graph = clone(graph)
    ShapeInferencePass()(graph)
    return graph


def _work(node: ir.Node, recipe: Recipe, plan: Plan | None) -> Work:
    moved = [*activations(node), *node.outputs]
    fixed = [array for value in node.inputs if (array := constant(value)) is not None]
    bits, weight_bits, reason = _bits(node, recipe, plan)
    return Work(
        node=node.name or "",
        op=node.op_type,
        line=str(node.metadata_props.get(SOURCE, "")),
        inputs=tuple(name_of(value) for value in activations(node)),
        outputs=tuple(name_of(value) for value in node.outputs if value.name),
        macs=_macs(node),
        numbers=sum(map(_size, moved)),
        weights=sum(int(array.size) for array in fixed),
        bits=bits,
        weight_bits=weight_bits,
        reason=reason,
        moves=plan is not None and (node.name or "") in plan.moves,
    )


def _bits(node: ir.Node, recipe: Recipe, plan: Plan | None) -> tuple[int, int, str]:
    """Return the bits of what a node computes on and of its weights, and why they are 32."""
    if plan is None:
        half = 16 if recipe.precision == "fp16" else 32
        return (half if recipe.half == "compute" else 32), half, ""
    name = node.name or ""
    if name in plan.kept_float or name not in plan.integer | plan.moves | plan.dynamic:
        return 32, 32, plan.kept_float.get(name, "")
    return (16 if recipe.precision == "int16x8" else 8), 8, ""


def _macs(node: ir.Node) -> int:
    """Return the multiply-adds of a node with weights, 0 for any other.

    A weight is used once for every output that it has a part in: outputs x weights per output.
    """
    array = constant(node.inputs[1]) if is_weighted(node) else None
    if array is None or not array.size:
        return 0
    if node.op_type == "ConvTranspose":  # every input goes into all that its weights reach
        source = node.inputs[0]
        return 0 if source is None else _size(source) * int(array.size) // int(array.shape[0])
    if node.op_type == "Gemm":
        each = int(array.shape[1 if integer(node, "transB", 0) else 0])
    else:
        each = int(array.size) // outputs_of(node, array)
    return _size(node.outputs[0]) * each


def _size(value: ir.Value) -> int:
    return math.prod(max(size, 1) for size in shape_of(value))


def total(work: Iterable[Work]) -> tuple[int, int]:
    """Return the multiply-adds and the activations moved of all of it."""
    every = list(work)
    return sum(w.macs for w in every), sum(w.numbers for w in every)

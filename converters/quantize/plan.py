"""Plan: which values live on which integer grid; the same plan serves every format's writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from converters.graphs import activations, constant, integer, name_of
from converters.quantize.calibrate import Range
from converters.quantize.grid import Grid, WeightRule, activation_grid, weight_grid

# Ops with a weight (input 1) and an optional int32 bias (input 2); the value is the axis of the
# weight's output channels.
WEIGHTED = {"Conv": 0, "Gemm": 0}


@dataclass(frozen=True)
class Kernels:
    """Which nodes an engine computes on 8-bit integers.

    `integer` nodes have kernels that requantize; `moves` only move numbers, so that they run on
    the integers themselves; `float_output` ops may hand out float without a grid.
    """

    integer: Callable[[ir.Node], bool]
    moves: Callable[[ir.Node], bool]
    float_output: frozenset[str]


@dataclass(frozen=True)
class Scheme:
    """The integer types and rules that a device wants."""

    activation_type: str = "uint8"
    symmetric: bool = False
    weights: WeightRule = WeightRule()


@dataclass
class Plan:
    """Grids of activations (by value name) and weights (by initializer name).

    `integer` holds the names of nodes computed in integers, `moves` of nodes that run on the
    integers themselves, `absorbed` of Relu and Clip nodes that the saturation of their output's
    grid already does, `kept_float` the reason for every other node.
    """

    values: dict[str, Grid] = field(default_factory=dict)
    weights: dict[str, Grid] = field(default_factory=dict)
    integer: set[str] = field(default_factory=set)
    moves: set[str] = field(default_factory=set)
    absorbed: set[str] = field(default_factory=set)
    kept_float: dict[str, str] = field(default_factory=dict)


def make_plan(
    model: ir.Model, ranges: Mapping[str, Range], scheme: Scheme, kernels: Kernels
) -> Plan:
    """Choose a grid for every value that an integer kernel reads or writes.

    `ranges` are those of the float graph. A byte input (uint8) keeps its own bytes: scale 1,
    zero point 0, exact.
    """
    planner = _Planner(ranges, scheme, kernels)
    for node in model.graph:
        planner.place(node)
    return planner.plan


class _Planner:
    def __init__(self, ranges: Mapping[str, Range], scheme: Scheme, kernels: Kernels) -> None:
        self.plan = Plan()
        self._ranges = ranges
        self._scheme = scheme
        self._kernels = kernels
        self._dtype: np.dtype[np.integer] = np.dtype(scheme.activation_type)

    def place(self, node: ir.Node) -> None:
        """Decide where `node` is computed, and give grids to what it reads and writes."""
        name = node.name or ""
        if self._is_byte_input(node):
            self.plan.values[name_of(node.outputs[0])] = Grid(
                np.array(1, np.float32), np.array(0, np.uint8)
            )
            self.plan.moves.add(name)
        elif self._absorbs(node):
            self.plan.absorbed.add(name)
        elif self._kernels.moves(node) and self._one_grid(node):
            self._move(node)
        elif self._computes(node):
            self._integer(node)
        else:
            self.plan.kept_float[name] = f"{node.op_type} has no integer kernel in this engine"

    def _is_byte_input(self, node: ir.Node) -> bool:
        # Cast from the camera's bytes: where integers may be used directly, the cast vanishes.
        value = node.inputs[0] if node.op_type == "Cast" else None
        return (
            value is not None
            and value.dtype == ir.DataType.UINT8
            and self._dtype == np.uint8
            and all(self._kernels.moves(n) or self._computes(n) for n in _readers(node))
        )

    def _one_grid(self, node: ir.Node) -> bool:
        grids = {id(self.plan.values.get(name_of(v))) for v in activations(node)}
        return len(grids) == 1 and id(None) not in grids

    def _computes(self, node: ir.Node) -> bool:
        if not self._kernels.integer(node):
            return False
        if node.op_type in WEIGHTED:
            return constant(node.inputs[1]) is not None
        return all(
            name_of(v) in self._ranges or name_of(v) in self.plan.values for v in activations(node)
        )

    def _absorbs(self, node: ir.Node) -> bool:
        """Tell whether saturation at the output's grid does what this Relu or Clip does."""
        bounds = _bounds(node)
        if bounds is None or self._scheme.symmetric:
            return False
        source = node.inputs[0]
        producer = source.producer() if source is not None else None
        if producer is None or (producer.name or "") not in self.plan.integer:
            return False
        if len(list(source.uses())) > 1 or source.is_graph_output():
            return False
        grid = self._grid(name_of(node.outputs[0]), bounds)
        slack = float(grid.scale) / 2
        if grid.low < bounds[0] - slack or grid.high > bounds[1] + slack:
            return False
        self.plan.values[name_of(node.outputs[0])] = grid
        self.plan.values.pop(name_of(source), None)
        return True

    def _grid(self, name: str, bounds: Range = (-np.inf, np.inf)) -> Grid:
        low, high = self._ranges[name]
        low, high = max(low, bounds[0]), min(high, bounds[1])
        return activation_grid(low, high, self._dtype, self._scheme.symmetric)

    def _move(self, node: ir.Node) -> None:
        grid = self.plan.values[name_of(next(activations(node)))]
        for value in node.outputs:
            self.plan.values[name_of(value)] = grid
        self.plan.moves.add(node.name or "")

    def _integer(self, node: ir.Node) -> None:
        self.plan.integer.add(node.name or "")
        for position, value in enumerate(node.inputs):
            if value is None:
                continue
            name = name_of(value)
            array = constant(value)
            if array is None:
                if name not in self.plan.values:
                    self.plan.values[name] = self._grid(name)
            elif node.op_type not in WEIGHTED:
                self._constant(name, array)
            elif position == 1:
                self.plan.weights[name] = weight_grid(
                    array, WEIGHTED[node.op_type], self._rule(node, array)
                )
        output = node.outputs[0]
        ends = node.op_type in self._kernels.float_output and output.is_graph_output()
        if not ends:
            self.plan.values[name_of(output)] = self._grid(name_of(output))

    def _constant(
        self, name: str, array: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
    ) -> None:
        low, high = float(array.min()), float(array.max())
        self.plan.weights[name] = activation_grid(low, high, self._dtype, self._scheme.symmetric)

    def _rule(
        self, node: ir.Node, weight: np.ndarray[tuple[int, ...], np.dtype[np.generic]]
    ) -> WeightRule:
        # Depthwise kernels multiply and add each product alone, in 32 bits: nothing saturates.
        groups = integer(node, "group", 1)
        depthwise = groups > 1 and groups == weight.shape[0] and weight.shape[1] == 1
        rule = self._scheme.weights
        return WeightRule(rule.per_channel, rule.pair_safe and not depthwise)


def _readers(node: ir.Node) -> list[ir.Node]:
    return [use.node for value in node.outputs for use in value.uses()]


def _bounds(node: ir.Node) -> Range | None:
    """Return the interval that a Relu or Clip limits its input to, None for other nodes."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip":
        return None
    limits = [constant(v) for v in node.inputs[1:]]
    low = limits[0] if limits else None
    high = limits[1] if len(limits) > 1 else None
    return (-np.inf if low is None else float(low)), (np.inf if high is None else float(high))

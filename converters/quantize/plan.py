"""Plan: which values live on which integer grid; the same plan serves every format's writer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.graphs import (
    SETTINGS,
    Array,
    activations,
    constant,
    integer,
    moved_constants,
    name_of,
)
from converters.quantize.calibrate import Range
from converters.quantize.grid import Grid, WeightRule, activation_grid, weight_grid

# Ops with a weight (input 1) and an optional int32 bias (input 2): a Gemm of another form than the
# passes give it is left in float.
BIASED = ("Conv", "Gemm", "ConvTranspose")

# Inputs that are numbers about the work: no integer kernel wants them on a grid.
PARAMETERS = {**SETTINGS, "Clip": (1, 2), "Pow": (1,)}

# Half of what int32 holds: the other half is for the sum of products (up to 33,000 of 8 bits).
BIAS_LIMIT = 2.0**30


def is_weighted(node: ir.Node) -> bool:
    """Tell whether `node` is an op with weights: one of `BIASED`, or MatMul with a matrix."""
    matrix = constant(node.inputs[1]) if node.op_type == "MatMul" else None
    return node.op_type in BIASED or (matrix is not None and matrix.ndim == 2)


# On a grid that it cannot choose, a result of fewer steps than 4 bits hold is better off in float.
LEAST_STEPS = 16


def has_plain_weight(node: ir.Node) -> bool:
    """Tell whether `node` has constant weights, and perhaps a bias of one number per output."""
    weight = constant(node.inputs[1]) if is_weighted(node) else None
    given = node.inputs[2] if len(node.inputs) > 2 else None
    bias = constant(given)
    if weight is None or (given is not None and bias is None):
        return False
    scales = [node.attributes[a].as_float() for a in ("alpha", "beta") if a in node.attributes]
    turned = (integer(node, "transA", 0), integer(node, "transB", 0))
    as_is = turned == (0, 1) and all(scale == 1.0 for scale in scales)
    fits = bias is None or bias.shape == (outputs_of(node, weight),)
    return fits and (node.op_type != "Gemm" or as_is)


def weight_axis(node: ir.Node, weight: Array) -> int:
    """Return along which axis of its weight the output channels of `node` lie.

    Those of ConvTranspose (in, out / group, ...) repeat for each group. Where each group is one
    input channel, that one stands for the outputs made of it.
    """
    if node.op_type == "ConvTranspose":
        return 0 if integer(node, "group", 1) == len(weight) > 1 else 1
    return 1 if node.op_type == "MatMul" else 0


def outputs_of(node: ir.Node, weight: Array) -> int:
    """Return how many output channels the weight of `node` makes."""
    if node.op_type == "ConvTranspose":
        return int(weight.shape[1]) * integer(node, "group", 1)
    return int(weight.shape[weight_axis(node, weight)])


def per_output(node: ir.Node, weight: Array, scale: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return one step per output channel of `node`, given the steps of its weight's channels."""
    if scale.ndim == 0 or node.op_type != "ConvTranspose":
        return scale
    times = outputs_of(node, weight) // len(scale)
    first = weight_axis(node, weight) == 0
    return np.repeat(scale, times) if first else np.tile(scale, times)


@dataclass(frozen=True)
class Kernels:
    """Which nodes an engine computes on 8-bit integers.

    `integer` nodes have kernels that requantize; `moves` only move numbers, so that they run on
    the integers themselves; `float_output` ops may hand out float without a grid. Kernels that
    have no choice give their result on the grid of their first input (`keeps`), or on a `fixed`
    one of the dtype. `dynamic` nodes have kernels that read real numbers beside int8 weights.
    """

    integer: Callable[[ir.Node], bool]
    moves: Callable[[ir.Node], bool]
    float_output: frozenset[str] = frozenset()
    keeps: Callable[[ir.Node], bool] = lambda node: False
    fixed: Callable[[ir.Node, np.dtype[np.integer]], Grid | None] = lambda node, dtype: None
    dynamic: Callable[[ir.Node], bool] = lambda node: False


@dataclass(frozen=True)
class Scheme:
    """The integer types and rules that a device wants."""

    activation_type: str = "uint8"
    symmetric: bool = False
    weights: WeightRule = field(default_factory=WeightRule)
    io_type: str = "float32"


@dataclass
class Plan:
    """Grids of activations (by value name), and of weights and other constants (by initializer).

    `integer` holds the names of nodes computed in integers, `moves` of nodes that run on the
    integers themselves, `absorbed` of Relu and Clip nodes that the saturation of their output's
    grid already does, `shifts` of Sub nodes that the zero point of their output's grid already
    does, `dynamic` of nodes whose weights alone are integers, `kept_float` the reason for every
    other node. `io_type` is what the whole takes and hands out, where a format can choose.
    """

    values: dict[str, Grid] = field(default_factory=dict)
    weights: dict[str, Grid] = field(default_factory=dict)
    constants: dict[str, Grid] = field(default_factory=dict)
    integer: set[str] = field(default_factory=set)
    moves: set[str] = field(default_factory=set)
    absorbed: set[str] = field(default_factory=set)
    shifts: set[str] = field(default_factory=set)
    dynamic: set[str] = field(default_factory=set)
    kept_float: dict[str, str] = field(default_factory=dict)
    io_type: str = "float32"


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


def weights_only_plan(model: ir.Model, rule: WeightRule, kernels: Kernels) -> Plan:
    """Choose a grid for every weight that a kernel takes as int8 beside real numbers.

    The kernel rounds its input when it runs, by the range of what it sees. No samples are needed.
    """
    plan = Plan()
    for node in model.graph:
        name, array = node.name or "", constant(node.inputs[1]) if is_weighted(node) else None
        if array is None:
            continue
        if kernels.dynamic(node) and has_plain_weight(node):
            axis = weight_axis(node, array)
            weight = array.astype(np.float32)
            plan.weights[name_of(node.inputs[1])] = weight_grid(weight, axis, rule)
            plan.dynamic.add(name)
        else:
            plan.kept_float[name] = f"{node.op_type} of this form gains nothing from int8 weights"
    return plan


class _Planner:
    def __init__(self, ranges: Mapping[str, Range], scheme: Scheme, kernels: Kernels) -> None:
        self.plan = Plan(io_type=scheme.io_type)
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
        elif self._shifts(node):
            self.plan.shifts.add(name)
        elif self._kernels.moves(node) and self._one_grid(node):
            self._move(node)
        elif self._computes(node):
            self._integer(node)
        else:
            known = self._kernels.moves(node) or self._kernels.integer(node)
            self.plan.kept_float[name] = (
                f"{node.op_type} of this form or with these operands has no integer kernel"
                if known
                else f"{node.op_type} has no integer kernel in this engine"
            )

    def _is_byte_input(self, node: ir.Node) -> bool:
        # Cast from the camera's bytes: where integers may be used directly, the cast vanishes.
        value = node.inputs[0] if node.op_type == "Cast" else None
        return (
            value is not None
            and value.dtype == ir.DataType.UINT8
            and node.outputs[0].dtype == ir.DataType.FLOAT
            and self._dtype == np.uint8
            and all(self._kernels.moves(n) or self._computes(n) for n in _readers(node))
        )

    def _shifts(self, node: ir.Node) -> bool:
        """Tell whether `node` subtracts a whole byte from bytes, and give its output that grid."""
        grid = self._grid_of(next(activations(node))) if node.op_type == "Sub" else None
        byte = constant(node.inputs[1]) if grid is not None else None
        if grid is None or byte is None or byte.size != 1 or byte.item() not in range(256):
            return False
        bytes_ = grid.dtype == np.uint8 and (float(grid.scale), grid.low) == (1.0, 0.0)
        if not bytes_ or not _read_once(node.inputs[0]):
            return False
        moved = np.array(byte.item(), np.uint8)
        self.plan.values[name_of(node.outputs[0])] = Grid(grid.scale, moved)
        return True

    def _one_grid(self, node: ir.Node) -> bool:
        """Tell whether all numbers that `node` moves are, or can be, on the same grid."""
        grids = {id(grid): grid for grid in map(self._grid_of, activations(node))}
        grid = next(iter(grids.values()), None)
        return (
            len(grids) == 1
            and grid is not None
            and all(_holds(grid, array) for array in moved_constants(node))
        )

    def _grid_of(self, value: ir.Value) -> Grid | None:
        return self.plan.values.get(name_of(value))

    def _computes(self, node: ir.Node) -> bool:
        if not self._kernels.integer(node):
            return False
        if is_weighted(node):
            return has_plain_weight(node)
        values = list(activations(node))
        known = all(name_of(v) in self._ranges or name_of(v) in self.plan.values for v in values)
        return bool(values) and known and not self._is_lost(node)

    def _is_lost(self, node: ir.Node) -> bool:
        """Tell whether the grid that a kernel demands of its result has no steps for it.

        Softmax over very many entries gives shares that are all next to nothing.
        """
        fixed = self._kernels.fixed(node, self._dtype)
        name = name_of(node.outputs[0])
        if fixed is None or name not in self._ranges:
            return False
        return max(map(abs, self._ranges[name])) < LEAST_STEPS * float(fixed.scale)

    def _absorbs(self, node: ir.Node) -> bool:
        """Tell whether saturation at the output's grid does what this Relu or Clip does."""
        bounds = _bounds(node)
        if bounds is None:
            return False
        source = node.inputs[0]
        producer = source.producer() if source is not None else None
        if source is None or producer is None or (producer.name or "") not in self.plan.integer:
            return False
        if (
            len(list(source.uses())) > 1
            or source.is_graph_output()
            or self._has_no_choice(producer)
        ):
            return False
        grid = self._grid(name_of(node.outputs[0]), bounds)
        slack = 0.5001 * float(grid.scale)  # of 0, which is rounded to a step
        if grid.low < bounds[0] - slack or grid.high > bounds[1] + slack:
            return False
        self.plan.values[name_of(node.outputs[0])] = grid
        self.plan.values.pop(name_of(source), None)
        return True

    def _has_no_choice(self, node: ir.Node) -> bool:
        """Tell whether the kernel of `node` decides itself on which grid its result is."""
        return self._kernels.keeps(node) or self._kernels.fixed(node, self._dtype) is not None

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
            if value is None or position in PARAMETERS.get(node.op_type, ()):
                continue
            name = name_of(value)
            array = constant(value)
            if array is None:
                if name not in self.plan.values:
                    self.plan.values[name] = self._grid(name)
            elif not is_weighted(node):
                self._constant(name, array)
            elif position == 1:
                self._weight(node, name, array)
        output = node.outputs[0]
        ends = node.op_type in self._kernels.float_output and output.is_graph_output()
        if not ends:
            self.plan.values[name_of(output)] = self._result(node)

    def _result(self, node: ir.Node) -> Grid:
        """Return the grid of what an integer node gives."""
        fixed = self._kernels.fixed(node, self._dtype)
        if fixed is not None:
            return fixed
        if self._kernels.keeps(node):
            return self.plan.values[name_of(next(activations(node)))]
        return self._grid(name_of(node.outputs[0]))

    def _constant(self, name: str, array: Array) -> None:
        if array.dtype.kind != "f" or not array.size:
            return  # axes, shapes: they say what to do
        low, high = float(np.min(array)), float(np.max(array))
        self.plan.constants[name] = activation_grid(low, high, self._dtype, self._scheme.symmetric)

    def _weight(self, node: ir.Node, name: str, array: Array) -> None:
        least = self._least_step(node)
        if name in self.plan.weights:  # several layers share it, and its grid
            least = np.maximum(least, self.plan.weights[name].scale)
        weight = array.astype(np.float32)
        axis = weight_axis(node, weight)
        self.plan.weights[name] = weight_grid(weight, axis, self._rule(node, weight), least)

    def _least_step(self, node: ir.Node) -> NDArray[np.float64]:
        """Return per output channel the weight step below which its bias would not fit int32.

        A bias is stored in steps of (input step x weight step), and kernels add it to a 32-bit sum
        of products. A channel that training has killed has weights next to nothing, and its bias
        is then all that it says.
        """
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        largest = np.zeros(1) if bias is None else np.abs(bias.astype(np.float64)) / BIAS_LIMIT
        if bias is not None and node.op_type == "ConvTranspose":
            largest = self._largest_of_channel(node, largest)
        step = float(self.plan.values[name_of(node.inputs[0])].scale)
        # Nor may the product of the two steps be less than float32 can divide by.
        return np.asarray(np.maximum(largest, np.finfo(np.float32).tiny) / step)

    @staticmethod
    def _largest_of_channel(node: ir.Node, outputs: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the largest number of the outputs that share a channel of the weight."""
        weight = constant(node.inputs[1])
        assert weight is not None
        axis = weight_axis(node, weight)
        count = weight.shape[axis]
        rows = outputs.reshape((count, -1) if axis == 0 else (-1, count))
        return np.asarray(rows.max(axis=1 - axis))

    def _rule(self, node: ir.Node, weight: Array) -> WeightRule:
        # Depthwise kernels multiply and add each product alone, in 32 bits: nothing saturates.
        groups = integer(node, "group", 1)
        depthwise = groups > 1 and groups == weight.shape[0] and weight.shape[1] == 1
        rule = self._scheme.weights
        return WeightRule(rule.per_channel, rule.pair_safe and not depthwise)


def _read_once(value: ir.Value | None) -> bool:
    """Tell whether the bytes of a chain of moves are read at its end only, so on one grid."""
    while value is not None:
        if len(list(value.uses())) > 1 or value.is_graph_output():
            return False
        producer = value.producer()
        value = None if producer is None else producer.inputs[0]
    return True


def _readers(node: ir.Node) -> list[ir.Node]:
    return [use.node for value in node.outputs for use in value.uses()]


def _holds(grid: Grid, array: Array) -> bool:
    slack = 0.5001 * float(grid.scale)
    numbers = array.astype(np.float64)
    return bool(numbers.min() >= grid.low - slack and numbers.max() <= grid.high + slack)


def _bounds(node: ir.Node) -> Range | None:
    """Return the interval that a Relu or Clip limits its input to, None for other nodes."""
    if node.op_type == "Relu":
        return 0.0, np.inf
    if node.op_type != "Clip" or len(list(activations(node))) > 1:
        return None
    low, high = (*map(constant, node.inputs[1:]), None, None)[:2]
    return (-np.inf if low is None else low.item()), (np.inf if high is None else high.item())

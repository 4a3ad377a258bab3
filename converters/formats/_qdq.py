"""A float graph and a plan -> the QDQ graph: integers stored, each op between DQ and Q."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.graphs import SETTINGS, Array, clone, constant, name_of, unused, value_names
from converters.quantize.grid import Grid
from converters.quantize.plan import PARAMETERS, Plan, is_weighted, per_output


def quantized(model: ir.Model, plan: Plan) -> ir.Model:
    """Return a copy of `model` in which every value of `plan` is stored in integers."""
    return _Writer(clone(model), plan).write()


class _Writer:
    """Walks the graph once; keeps for every value its float and its integer form.

    The float form keeps the value's name, so outputs do; what an op gives before it is rounded is
    called `.../exact`, the integers `.../quantized`.
    """

    def __init__(self, model: ir.Model, plan: Plan) -> None:
        self._model = model
        self._plan = plan
        self._float: dict[str, ir.Value] = {}
        self._ints: dict[str, ir.Value] = {}
        self._nodes: list[ir.Node] = []
        self._constants: dict[str, ir.Value] = {}
        self._initializers: list[ir.Value] = []
        values = (value for node in model.graph for value in node.outputs)
        self._shapes = {value.name: value.shape for value in values}
        self._taken = value_names(model.graph) - set(model.graph.initializers)

    def write(self) -> ir.Model:
        """Build the new node list and put it in place of the old one."""
        graph = self._model.graph
        for value in graph.inputs:
            self._float[name_of(value)] = value
        old = list(graph)
        for node in old:
            self._node(node)
        return self._assemble([self._given(v) for v in graph.outputs])

    def _node(self, node: ir.Node) -> None:
        name = node.name or ""
        if name in self._plan.absorbed:
            # Saturation at the output's grid does it: quantize what was before it.
            self._store(name_of(node.outputs[0]), self._as_float(name_of(node.inputs[0])))
        elif name in self._plan.shifts:
            # The same integers, read with another zero point.
            self._ints[name_of(node.outputs[0])] = self._ints[name_of(node.inputs[0])]
        elif name in self._plan.moves:
            self._move(node)
        elif name in self._plan.integer and is_weighted(node):
            self._compute(node, self._weighted_inputs(node))
        elif name in self._plan.integer:
            plain = PARAMETERS.get(node.op_type, ())
            inputs = [
                self._plain(v) if i in plain else self._operand(v)
                for i, v in enumerate(node.inputs)
            ]
            self._compute(node, inputs)
        elif name in self._plan.dynamic:
            data, weight, *bias = node.inputs
            array = constant(weight)
            assert array is not None
            grid = self._plan.weights[name_of(weight)]
            inputs = [self._plain(data), self._weight(name_of(weight), array, grid)]
            self._compute(node, [*inputs, *map(self._plain, bias)])
        else:
            self._compute(node, [self._plain(v) for v in node.inputs])

    def _compute(self, node: ir.Node, inputs: list[ir.Value | None]) -> None:
        names = [name_of(value) for value in node.outputs]
        gridded = set(names) & set(self._plan.values)
        copy = self._copy(
            node, inputs, [self._new(f"{n}/exact") if n in gridded else n for n in names]
        )
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            self._store(name_of(old), new)

    def _store(self, name: str, value: ir.Value) -> None:
        grid = self._plan.values.get(name)
        if grid is None:
            self._float[name] = value
        else:
            self._ints[name] = self._emit(
                "QuantizeLinear",
                [value, *self._grid(name, grid)],
                self._new(f"{name}/quantized"),
                {},
            )

    def _move(self, node: ir.Node) -> None:
        grid = self._plan.values[name_of(node.outputs[0])]
        if node.op_type == "Cast":
            # The camera's bytes are already on the grid of scale 1.
            self._ints[name_of(node.outputs[0])] = self._float[name_of(node.inputs[0])]
            return
        inputs = [
            self._plain(v) if i in SETTINGS.get(node.op_type, ()) else self._moved(v, grid)
            for i, v in enumerate(node.inputs)
        ]
        if node.op_type == "Pad":
            inputs += [None] * (3 - len(inputs))
            inputs[2] = inputs[2] or self._constant(f"{node.name}/zero", grid.zero_point)
        names = [self._new(f"{name_of(v)}/quantized") for v in node.outputs]
        copy = self._copy(node, inputs, names)
        for old, new in zip(node.outputs, copy.outputs, strict=True):
            new.type = ir.TensorType(ir.DataType.from_numpy(grid.dtype))
            self._ints[name_of(old)] = new

    def _moved(self, value: ir.Value | None, grid: Grid) -> ir.Value | None:
        array = constant(value)
        if value is None:
            return None
        if array is None:
            return self._ints[name_of(value)]
        if array.dtype.kind == "f" and array.size:
            ints = grid.quantize(array.astype(np.float32))
            return self._constant(f"{name_of(value)}/{grid.dtype}", ints)
        return self._plain(value)

    def _operand(self, value: ir.Value | None) -> ir.Value | None:
        array = constant(value)
        if value is None or array is None:
            return self._plain(value)
        grid = self._plan.constants.get(name_of(value))
        return self._plain(value) if grid is None else self._weight(name_of(value), array, grid)

    def _weighted_inputs(self, node: ir.Node) -> list[ir.Value | None]:
        data, weight = name_of(node.inputs[0]), name_of(node.inputs[1])
        array = constant(node.inputs[1])
        assert array is not None
        grid = self._plan.weights[weight]
        inputs: list[ir.Value | None] = [self._as_float(data), self._weight(weight, array, grid)]
        bias = constant(node.inputs[2]) if len(node.inputs) > 2 else None
        if bias is not None:
            steps = per_output(node, array, grid.scale)
            scale = np.asarray(self._plan.values[data].scale * steps, np.float32)
            axis = None if scale.ndim == 0 else 0
            wide = Grid(scale, np.zeros(scale.shape, np.int32), axis)
            inputs.append(self._weight(f"{node.name}/bias", bias, wide))
        return inputs

    def _weight(self, name: str, array: Array, grid: Grid) -> ir.Value:
        ints = self._constant(f"{name}/{grid.dtype}", grid.quantize(array.astype(np.float32)))
        attributes = {} if grid.axis is None else {"axis": grid.axis}
        parameters = self._grid(name, grid)
        real = self._new(f"{name}/real")
        return self._emit("DequantizeLinear", [ints, *parameters], real, attributes)

    def _plain(self, value: ir.Value | None) -> ir.Value | None:
        return None if value is None else self._given(value)

    def _given(self, value: ir.Value) -> ir.Value:
        array = constant(value)
        if array is None:
            return self._as_float(name_of(value))
        return self._constant(name_of(value), array)

    def _as_float(self, name: str) -> ir.Value:
        if name not in self._float:
            parameters = self._grid(name, self._plan.values[name])
            self._float[name] = self._emit(
                "DequantizeLinear", [self._ints[name], *parameters], name, {}
            )
            self._float[name].shape = self._shapes.get(name)
            self._float[name].dtype = ir.DataType.FLOAT
        return self._float[name]

    def _grid(self, name: str, grid: Grid) -> list[ir.Value]:
        return [
            self._constant(f"{name}/scale", grid.scale),
            self._constant(f"{name}/zero_point", grid.zero_point),
        ]

    def _constant(self, name: str, array: Array) -> ir.Value:
        """Return a new initializer, or the one asked for by that name before if it is the same."""
        known = constant(self._constants.get(name))
        if known is None or known.dtype != array.dtype or not np.array_equal(known, array):
            free = self._new(name)
            value = ir.Value(name=free, const_value=ir.tensor(array, name=free))
            value.shape = ir.Shape(array.shape)
            value.dtype = ir.DataType.from_numpy(array.dtype)
            self._constants[name] = value
            self._initializers.append(value)
        return self._constants[name]

    def _new(self, name: str) -> str:
        free = unused(name, self._taken)
        self._taken.add(free)
        return free

    def _emit(
        self, op: str, inputs: list[ir.Value], name: str, attributes: dict[str, int]
    ) -> ir.Value:
        node = ir.node(op, inputs, attributes=attributes, name=name)
        node.outputs[0].name = name
        self._nodes.append(node)
        return node.outputs[0]

    def _copy(self, node: ir.Node, inputs: list[ir.Value | None], names: list[str]) -> ir.Node:
        while inputs and inputs[-1] is None:
            inputs.pop()
        outputs = [
            ir.Value(name=name, type=v.type, shape=v.shape)
            for v, name in zip(node.outputs, names, strict=True)
        ]
        copy = ir.Node(
            node.domain,
            node.op_type,
            inputs,
            attributes=list(node.attributes.values()),
            outputs=outputs,
            name=node.name,
            metadata_props=dict(node.metadata_props),
        )
        self._nodes.append(copy)
        return copy

    def _assemble(self, outputs: list[ir.Value]) -> ir.Model:
        old = self._model.graph
        inputs = list(old.inputs)
        for value, source in zip(outputs, old.outputs, strict=True):
            value.shape, value.type = source.shape, source.type
        for node in list(old):
            for index in range(len(node.inputs)):
                node.replace_input_with(index, None)
        old.inputs.clear()
        old.outputs.clear()
        graph = ir.Graph(
            inputs,
            outputs,
            nodes=self._nodes,
            initializers=self._initializers,
            opset_imports=dict(old.opset_imports),
            name=old.name,
        )
        return ir.Model(graph, ir_version=self._model.ir_version)

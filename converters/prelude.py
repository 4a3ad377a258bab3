"""The first nodes of every artifact: camera bytes in, the tensor that the model was trained on."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import RemoveInitializersFromInputsPass

from device_profiles.errors import ContractError, ModelError
from runtime.contract import InputContract

INPUT = "frames"
NCHW_FROM_NHWC = [0, 3, 1, 2]
NHWC_FROM_NCHW = [0, 2, 3, 1]


def attach(model: ir.Model, contract: InputContract) -> None:
    """Give `model` the input that the device feeds: uint8 bytes "frames" (batch, H, W, C).

    The model's own float input, (batch, C, H, W) or (batch, H, W, C), is replaced, in place, by
    Cast, Transpose, a reversal of the channels when the contract's colour is RGB (the camera gives
    BGR), and `(byte - byte_mean) / byte_std`. The batch stays what it is in the model. ModelError
    when the model has not exactly one floating-point input; ContractError when its shape does not
    fit the contract.
    """
    RemoveInitializersFromInputsPass()(model)
    graph = model.graph
    if len(graph.inputs) != 1:
        found = ", ".join(str(value.name) for value in graph.inputs) or "none"
        raise ModelError(
            f"the model has {len(graph.inputs)} inputs ({found}); it must have one image"
        )
    old = graph.inputs[0]
    if old.dtype != ir.DataType.FLOAT:
        raise ModelError(f"the model's input {old.name} is {old.dtype}; it must be float32 images")
    channels_last = _is_channels_last(old, contract)
    assert old.shape is not None
    _free(graph, INPUT)
    shape = ir.Shape([old.shape[0], *contract.shape])
    frames = ir.Value(name=INPUT, shape=shape, type=ir.TensorType(ir.DataType.UINT8))
    graph.inputs[0] = frames
    nodes = list(_nodes(graph, frames, contract, channels_last))
    old.replace_all_uses_with(nodes[-1].outputs[0], replace_graph_outputs=True)
    graph.insert_before(graph[0], nodes)


def _is_channels_last(value: ir.Value, contract: InputContract) -> bool:
    """Return the layout of the model's input; ContractError when neither fits the contract."""
    height, width, channels = contract.shape
    shape = () if value.shape is None else tuple(value.shape)
    for channels_last, layout in enumerate(((channels, height, width), contract.shape)):
        if len(shape) == 4 and all(
            not isinstance(have, int) or have == want
            for have, want in zip(shape[1:], layout, strict=True)
        ):
            return bool(channels_last)
    have = " x ".join(str(size) for size in shape) or "of unknown shape"
    raise ContractError(
        f"the model's input {value.name} is {have}, and the preprocessing gives {contract.color} "
        f"images of batch x {channels} x {height} x {width}; give the size and colour that it takes"
    )


def _free(graph: ir.Graph, name: str) -> None:
    for value in ir.convenience.create_value_mapping(graph).values():
        if value.name == name:
            if value.is_graph_output():
                raise ModelError(f"an output of the model is called {name}; rename it")
            ir.convenience.rename_values(value, f"{name}_of_the_model")


def _nodes(
    graph: ir.Graph, value: ir.Value, contract: InputContract, channels_last: bool
) -> Iterator[ir.Node]:
    def constant(name: str, array: npt.NDArray[np.generic]) -> ir.Value:
        made = ir.Value(
            name=f"{INPUT}.{name}",
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
            const_value=ir.tensor(array),
        )
        graph.register_initializer(made)
        return made

    mean, std = (
        np.array(values, np.float32).reshape(-1, 1, 1)
        for values in (contract.byte_mean, contract.byte_std)
    )
    node = ir.node("Cast", [value], {"to": ir.DataType.FLOAT}, name=f"{INPUT}.cast")
    yield node
    node = _follow(node, "Transpose", [], perm=NCHW_FROM_NHWC)
    yield node
    if contract.color == "RGB":
        order = constant("order", np.array([2, 1, 0], np.int64))
        node = _follow(node, "Gather", [order], axis=1)
        yield node
    if mean.any():
        node = _follow(node, "Sub", [constant("mean", mean)])
        yield node
    if (std != 1).any():
        node = _follow(node, "Div", [constant("std", std)])
        yield node
    if channels_last:  # the model's own transposition cancels against this one
        node = _follow(node, "Transpose", [], perm=NHWC_FROM_NCHW)
        node.name = f"{INPUT}.transpose_back"
        yield node


def _follow(
    node: ir.Node, op_type: str, others: list[ir.Value], **attributes: int | list[int]
) -> ir.Node:
    name = f"{INPUT}.{op_type.lower()}"
    return ir.node(op_type, [node.outputs[0], *others], attributes or None, name=name)

"""Images made larger or smaller: TFLite's own way where that is exact, else by what ONNX takes.

What ONNX makes of an axis is asked of onnxruntime itself: the numbers 0, 1, 2, ... resized give
the indices that `nearest` takes, the unit matrix resized the weights of the other modes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._pick import pick
from converters.formats._tflite.ops.base import Form
from converters.formats._tflite.placed import Placed, channels_last
from converters.formats._tflite.refuse import refusal
from converters.graphs import constant, integers, shape_of, to_bytes
from runtime.engines import EngineOptions, open_engine

NHWC = channels_last(4)
Matrix = NDArray[np.float32]

# (align_corners, half_pixel_centers), in the order in which they are tried.
_FLAGS = ((False, True), (True, False), (False, False))


@dataclass(frozen=True)
class Axis:
    """An axis that changes, and what ONNX takes for each of its new places: (new, old) weights."""

    number: int
    weights: Matrix

    @property
    def sizes(self) -> tuple[int, int]:
        """The old size and the new one."""
        return self.weights.shape[1], self.weights.shape[0]


def resize(net: Net, node: ir.Node) -> None:
    """Write Resize, of any mode but `tf_crop_and_resize`, along any axes."""
    axes = _axes(node)
    source = net.read(node)
    if _mode(node) == "nearest":
        _nearest(net, node, source, axes)
    else:
        _linear(net, node, source, axes)


def _text(node: ir.Node, name: str, default: str) -> str:
    found = node.attributes.get(name)
    return default if found is None else found.as_string()


def _mode(node: ir.Node) -> str:
    return _text(node, "mode", "nearest")


def _nearest(net: Net, node: ir.Node, source: Placed, axes: list[Axis]) -> None:
    places = {axis.number: axis.weights.argmax(1) for axis in axes}
    height_width = len(source.shape) == 4 and set(places) <= {2, 3} and len(axes) > 1
    for align, half in _FLAGS if height_width else ():
        if all(np.array_equal(places[a.number], nearest(*a.sizes, align, half)) for a in axes):
            options = net.options.ResizeNearestNeighborOptionsT(
                alignCorners=align, halfPixelCenters=half
            )
            _write(net, node, source, "RESIZE_NEAREST_NEIGHBOR", options)
            return
    for number, taken in places.items():
        source = pick(net, source, number, taken)
    net.alias(node.outputs[0], source)


def _linear(net: Net, node: ir.Node, source: Placed, axes: list[Axis]) -> None:
    flags = _bilinear(node, len(source.shape), axes)
    if flags is not None:
        options = net.options.ResizeBilinearOptionsT(
            alignCorners=flags[0], halfPixelCenters=flags[1]
        )
        _write(net, node, source, "RESIZE_BILINEAR", options)
        return
    for axis in axes:
        source = _product(net, source, axis)
    net.alias(node.outputs[0], source)


def _bilinear(node: ir.Node, rank: int, axes: list[Axis]) -> tuple[bool, bool] | None:
    """Return the flags with which RESIZE_BILINEAR is this Resize, None where there are none."""
    if _mode(node) != "linear" or rank != 4 or not {axis.number for axis in axes} <= {2, 3}:
        return None
    for align, half in _FLAGS:
        if all(_same(axis.weights, linear(*axis.sizes, align, half)) for axis in axes):
            return align, half
    return None


def _same(one: Matrix, other: Matrix) -> bool:
    """Tell whether two weights are the same but for the rounding of places within the axis.

    A place near n is off by half a unit in the last place of n for each of the four operations
    that give it, in both engines.
    """
    return bool(np.abs(one - other).max() <= 4 * np.finfo(np.float32).eps * one.shape[1])


def _write(net: Net, node: ir.Node, source: Placed, code: str, options: object) -> None:
    tensor = net.arrange(source, NHWC).tensor
    size = np.array(net.shape(node.outputs[0])[2:], np.int32)
    inputs = [tensor, net.builder.constant("size", size)]
    net.put(node.outputs[0], code, inputs, NHWC, options)


def _product(net: Net, source: Placed, axis: Axis) -> Placed:
    """Multiply the weights with an axis: (new, old) x (before, old, after)."""
    at = source.axis(axis.number)
    shape = source.tensor.shape
    before, after = int(np.prod(shape[:at])), int(np.prod(shape[at + 1 :]))
    old, new = axis.sizes
    weights = net.constant(axis.weights[None], "resize")
    inputs = [weights, net.reshape(source.tensor, (before, old, after))]
    made = net.temporary((before, new, after), source.tensor.dtype)
    net.builder.operator("BATCH_MATMUL", inputs, [made], net.options.BatchMatMulOptionsT())
    return Placed(net.reshape(made, (*shape[:at], new, *shape[at + 1 :])), source.perm)


# ---- What each of the two does with an axis ------------------------------------------------------


def nearest(old: int, new: int, align: bool, half: bool) -> NDArray[np.int64]:
    """Return the indices that RESIZE_NEAREST_NEIGHBOR takes.

    From GetNearestNeighbor in tensorflow/lite/kernels/internal/reference/
    resize_nearest_neighbor.h.
    """
    places = (np.arange(new, dtype=np.float32) + np.float32(0.5 * half)) * _step(old, new, align)
    # TfLiteRound rounds halves away from zero.
    taken = np.floor(places + np.float32(0.5)) if align else np.floor(places)
    indices: NDArray[np.int64] = np.clip(taken, 0, old - 1).astype(np.int64)
    return indices


def linear(old: int, new: int, align: bool, half: bool) -> Matrix:
    """Return the weights (new, old) of RESIZE_BILINEAR, from resize_bilinear.h beside it."""
    shift = np.float32(0.5 * half)
    places = (np.arange(new, dtype=np.float32) + shift) * _step(old, new, align) - shift
    places = np.clip(places, 0, old - 1)
    distance = np.abs(places[:, None] - np.arange(old, dtype=np.float32))
    weights: Matrix = np.maximum(np.float32(1) - distance, np.float32(0))
    return weights


def _step(old: int, new: int, align: bool) -> np.float32:
    aligned = align and new > 1
    step: np.float32 = np.float32((old - 1) / (new - 1) if aligned else old / new)
    return step


def _axes(node: ir.Node) -> list[Axis]:
    """Return the axes that change, with their weights."""
    if _text(node, "coordinate_transformation_mode", "half_pixel") == "tf_crop_and_resize":
        raise refusal(node, "Resize is not written with tf_crop_and_resize")
    if _text(node, "keep_aspect_ratio_policy", "stretch") != "stretch":
        raise refusal(node, "Resize is not written with keep_aspect_ratio_policy")
    scales, sizes = (constant(v) for v in (*node.inputs[2:4], None, None)[:2])
    given = sizes if scales is None or not scales.size else scales
    if given is None or not given.size:
        raise refusal(node, "Resize is written with constant scales or sizes only")
    old, new = shape_of(_source(node)), shape_of(node.outputs[0])
    which = [a % len(old) for a in integers(node, "axes", tuple(range(len(old))))]
    return [
        Axis(number, _weights(node, old[number], wanted))
        for number, wanted in zip(which, given, strict=True)
        if old[number] != new[number] or (given is scales and wanted != 1)
    ]


def _source(node: ir.Node) -> ir.Value:
    assert node.inputs[0] is not None
    return node.inputs[0]


def _weights(node: ir.Node, old: int, wanted: np.generic) -> Matrix:
    """Return what onnxruntime's Resize makes of one axis, as weights (new, old)."""
    unit = ir.val("x", dtype=ir.DataType.FLOAT, shape=[1, old, old, 1])
    scaled = wanted.dtype.kind == "f"
    numbers = np.array([1, 1 if scaled else old, wanted, 1], wanted.dtype)
    value = ir.Value(name="wanted", const_value=ir.tensor(numbers, name="wanted"))
    attributes = [one for name, one in node.attributes.items() if name != "axes"]
    inputs = [unit, None, value] if scaled else [unit, None, None, value]
    made = ir.Node("", "Resize", inputs, attributes=attributes)
    made.outputs[0].name = "y"
    graph = ir.Graph(
        [unit], made.outputs, nodes=[made], initializers=[value], opset_imports={"": 20}
    )
    engine = open_engine("onnxruntime", to_bytes(ir.Model(graph, ir_version=8)), EngineOptions())
    answer = np.asarray(engine.run([np.eye(old, dtype=np.float32).reshape(1, old, old, 1)])[0])
    engine.close()
    return np.ascontiguousarray(answer[0, :, :, 0].T)


def _moves(node: ir.Node) -> bool:
    return _mode(node) == "nearest"


def _has_kernel(node: ir.Node) -> bool:
    shape = shape_of(_source(node))
    return min(shape[1:], default=0) > 0 and _bilinear(node, len(shape), _axes(node)) is not None


# On 16 bits RESIZE_BILINEAR has weights of 10 bits only: it is computed on real numbers.
OPS = {"Resize": Form(resize, integer=_has_kernel, wide=_moves, moves=_moves, keeps=True)}

"""Let the first convolution take the camera's own bytes, with the mean folded into its bias.

After the passes a net begins with Cast, Transpose, Sub(mean), Conv. In integers the Sub would be
a float island on the largest tensor of the net. Convolution is linear, so the mean can go into
the bias, except where zero padding means "mean" and not "byte 0": there the border is laid
around the bytes by hand, each channel with its own mean, rounded to a byte. Where all channels
have the same rounded mean, nothing has to be laid: that byte is subtracted, which a grid does by
its zero point, and padding is what it always was. Everything inside is exact; the border is off
by at most half a grey level, so an output that sees it by at most half the sum of the magnitudes
of the weights that lie on the border.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.graphs import (
    constant,
    initializer,
    integer,
    integers,
    name_of,
    shape_of,
    unused,
    value_names,
)
from converters.quantize.plan import has_plain_weight


def absorb_mean(model: ir.Model) -> bool:
    """Rewrite Cast -> Transpose -> Sub(mean) -> Conv in place; tell whether it was there."""
    for node in model.graph:
        if node.op_type == "Sub" and _reads_bytes(node) and _has_mean(node) and _feeds_conv(node):
            _rewrite(model, node)
            return True
    return False


def _reads_bytes(sub: ir.Node) -> bool:
    source = sub.inputs[0]
    transpose = source.producer() if source is not None else None
    floats = transpose.inputs[0] if transpose is not None else None
    cast = floats.producer() if floats is not None else None
    frames = cast.inputs[0] if cast is not None else None
    return (
        transpose is not None
        and transpose.op_type == "Transpose"
        and cast is not None
        and cast.op_type == "Cast"
        and frames is not None
        and frames.dtype == ir.DataType.UINT8
    )


def _has_mean(sub: ir.Node) -> bool:
    """Tell whether what is subtracted is a byte, when rounded, and one number per channel."""
    mean = constant(sub.inputs[1])
    pixels = sub.inputs[0]
    if mean is None or pixels is None:
        return False
    shape = shape_of(pixels)
    fits = len(shape) == 4 and min(shape) > 0
    per_channel = mean.size == 1 or (fits and mean.shape[-3:] == (shape[1], 1, 1))
    rounded = np.rint(mean.astype(np.float64))
    return (
        fits and mean.ndim <= 4 and per_channel and bool(((rounded >= 0) & (rounded < 256)).all())
    )


def _feeds_conv(sub: ir.Node) -> bool:
    readers = [use.node for use in sub.outputs[0].uses()]
    return (
        len(readers) == 1
        and readers[0].op_type == "Conv"
        and has_plain_weight(readers[0])
        and integer(readers[0], "group", 1) == 1
        and _says_its_padding(readers[0])
        and not sub.outputs[0].is_graph_output()
    )


def _says_its_padding(conv: ir.Node) -> bool:
    automatic = conv.attributes.get("auto_pad")
    return automatic is None or automatic.as_string() == "NOTSET"


def _rewrite(model: ir.Model, sub: ir.Node) -> None:
    conv = next(iter(sub.outputs[0].uses())).node
    channels = np.asarray(constant(conv.inputs[1])).shape[1]
    given = np.asarray(constant(sub.inputs[1]), np.float64).reshape(-1)
    mean = np.broadcast_to(given, (channels,))
    byte = np.rint(mean)
    if (byte == byte[0]).all() and any(integers(conv, "pads", (0, 0, 0, 0))):
        _add_to_bias(model, conv, byte - mean)
        whole = initializer(model, "mean_byte", np.array(byte[0], np.float32))
        sub.replace_input_with(1, whole)
        return
    pixels = _border(model, sub, conv, byte)
    _add_to_bias(model, conv, -mean)
    conv.replace_input_with(0, pixels)
    conv.attributes["pads"] = ir.AttrInt64s("pads", (0, 0, 0, 0))
    model.graph.remove([sub], safe=True)


def _add_to_bias(model: ir.Model, conv: ir.Node, inputs: NDArray[np.float64]) -> None:
    """Add to the bias of `conv` what it computes from one number per input channel."""
    weight = np.asarray(constant(conv.inputs[1]), np.float64)
    bias = constant(conv.inputs[2]) if len(conv.inputs) > 2 else None
    moved = (0 if bias is None else bias) + np.einsum("ochw,c->o", weight, inputs)
    name = f"{name_of(conv.inputs[1])}/bias_from_bytes"
    conv.resize_inputs(3)
    conv.replace_input_with(2, initializer(model, name, moved.astype(np.float32)))


def _border(model: ir.Model, sub: ir.Node, conv: ir.Node, mean: NDArray[np.float64]) -> ir.Value:
    """Lay the padding of `conv` around the bytes, filled with `mean`: rows first, then columns."""
    pixels = sub.inputs[0]
    assert pixels is not None
    top, left, bottom, right = integers(conv, "pads", (0, 0, 0, 0))
    for axis, before, after in ((2, top, bottom), (3, left, right)):
        shape = list(shape_of(pixels))
        parts: list[ir.Value] = [pixels]
        for count, place in ((before, 0), (after, len(parts))):
            if count:
                shape[axis] = count
                fill = np.broadcast_to(mean.reshape(1, -1, 1, 1), shape).astype(np.float32)
                border = initializer(model, f"border_{axis}_{place}", np.ascontiguousarray(fill))
                parts.insert(place and len(parts), border)
        if len(parts) == 1:
            continue
        node = ir.node("Concat", parts, attributes={"axis": axis}, name=f"border_{axis}")
        whole = list(shape_of(pixels))
        whole[axis] += before + after
        value = node.outputs[0]
        value.name = unused(f"bordered_{axis}", value_names(model.graph))
        value.shape = ir.Shape(whole)
        value.type = ir.TensorType(ir.DataType.FLOAT)
        model.graph.insert_before(conv, node)
        pixels = value
    return pixels

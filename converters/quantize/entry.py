"""Let the first convolution take the camera's own bytes, with the mean folded into its bias.

After the passes a net begins with Cast, Transpose, Sub(mean), Conv. In integers the Sub would be
a float island on the largest tensor of the net. Convolution is linear, so the mean can go into
the bias, except where zero padding means "mean" and not "byte 0": there the border is laid
around the bytes by hand, each channel with its own mean, rounded to a byte. Everything inside is
exact; the border is off by at most half a grey level, so an output that sees it by at most half
the sum of the magnitudes of the weights that lie on the border.
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
    weight = np.asarray(constant(conv.inputs[1]), np.float64)
    mean = np.broadcast_to(
        np.asarray(constant(sub.inputs[1]), np.float64).reshape(-1), (weight.shape[1],)
    )
    bias = constant(conv.inputs[2]) if len(conv.inputs) > 2 else None
    moved = (0 if bias is None else bias) - np.einsum("ochw,c->o", weight, mean)
    new_bias = initializer(
        model, f"{name_of(conv.inputs[1])}/bias_from_bytes", moved.astype(np.float32)
    )
    pixels = _border(model, sub, conv, np.rint(mean))
    node = ir.node(
        "Conv",
        [pixels, conv.inputs[1], new_bias],
        attributes={
            "strides": integers(conv, "strides", (1, 1)),
            "dilations": integers(conv, "dilations", (1, 1)),
            "pads": (0, 0, 0, 0),
            "group": 1,
            "kernel_shape": weight.shape[2:],
        },
        name=conv.name,
    )
    old, new = conv.outputs[0], node.outputs[0]
    new.shape, new.type = old.shape, old.type
    model.graph.insert_before(conv, node)
    name = name_of(old)
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    model.graph.remove([conv], safe=True)
    model.graph.remove([sub], safe=True)
    new.name = name


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

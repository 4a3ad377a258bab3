"""Cast from one dtype to another."""

from __future__ import annotations

import onnx_ir as ir

from converters.formats._tflite.builder import DTYPES
from converters.formats._tflite.net import Net
from converters.formats._tflite.ops.base import Form
from converters.formats._tflite.refuse import refusal


def cast(net: Net, node: ir.Node) -> None:
    """Write Cast between any two dtypes that TFLite has."""
    source = net.read(node)
    old, new = source.tensor.dtype, net.dtype(node.outputs[0])
    if source.tensor.grid is not None or str(new) not in DTYPES:
        raise refusal(node, f"Cast from {net.dtype(node.inputs[0])} to {new} has no form in TFLite")
    if old == new:
        net.alias(node.outputs[0], source)
        return
    types = net.options.TensorType
    options = net.options.CastOptionsT(
        inDataType=getattr(types, DTYPES[str(old)]), outDataType=getattr(types, DTYPES[str(new)])
    )
    net.put(node.outputs[0], "CAST", [source.tensor], source.perm, options)


OPS = {"Cast": Form(cast)}

"""Blocks of pixels that become channels, and back."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.formats._tflite.ops._pick import pick
from converters.formats._tflite.ops.base import Form, always
from converters.formats._tflite.placed import channels_last
from converters.graphs import integer

NHWC = channels_last(4)


def depth_to_space(net: Net, node: ir.Node) -> None:
    """Write DepthToSpace. The order CRD (a pixel shuffle) first puts the channels into DCR."""
    source = net.read_loose(node)
    size = integer(node, "blocksize", 1)
    mode = node.attributes.get("mode")
    channels = np.arange(source.shape[1])
    if mode is not None and mode.as_string() == "CRD":
        channels = channels.reshape(-1, size * size).T.reshape(-1)
    source = net.settle(pick(net, source, 1, channels))
    tensor = net.arrange(source, NHWC).tensor
    options = net.options.DepthToSpaceOptionsT(blockSize=size)
    net.put(node.outputs[0], "DEPTH_TO_SPACE", [tensor], NHWC, options)


def space_to_depth(net: Net, node: ir.Node) -> None:
    """Write SpaceToDepth."""
    tensor = net.arrange(net.read(node), NHWC).tensor
    options = net.options.SpaceToDepthOptionsT(blockSize=integer(node, "blocksize", 1))
    net.put(node.outputs[0], "SPACE_TO_DEPTH", [tensor], NHWC, options)


# Neither LiteRT nor onnxruntime has a kernel for 16-bit integers.
OPS = {
    "DepthToSpace": Form(depth_to_space, moves=always, keeps=True),
    "SpaceToDepth": Form(space_to_depth, moves=always, keeps=True),
}

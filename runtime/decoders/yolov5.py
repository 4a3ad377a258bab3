"""Decoder: YOLOv5 and v7, with anchors, decoded inside the model or raw.

Decoded: an output (1, n, 5 + classes) of centre x, centre y, width, height in pixels of the model,
objectness and probabilities of the classes; score = objectness * class. Other outputs beside it are
not needed. `normalized` says that the boxes are shares of the model's sides, as in TFLite files.

Raw: one output per stride, (1, 3, rows, columns, 5 + classes) or (1, 3 * (5 + classes), rows,
columns), before the sigmoid. `anchors` are width and height in pixels of three boxes per stride,
the finest first (the defaults are those of yolov5s.yaml). Decoding as in models/yolo.py, Detect.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from device_profiles.errors import RequestError
from runtime.decoders._read import (
    Numbers,
    best,
    cells,
    corners,
    floats,
    likely,
    refuse,
    sigmoid,
    to_pixels,
)
from runtime.decoders.base import Candidates, Options
from runtime.tasks.base import Array, TaskContext

OPTIONS: Options = {
    "multi_label": False,
    "normalized": False,
    "anchors": [
        [10, 13, 16, 30, 33, 23],
        [30, 61, 62, 45, 59, 119],
        [116, 90, 156, 198, 373, 326],
    ],
}


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates, those of the finest stride first."""
    decoded = [output for output in outputs if output.ndim == 3 and output.shape[2] > 5]
    if len(decoded) == 1:
        return _decoded(floats(decoded[0])[0], context, options)
    anchors = _anchors(options["anchors"])
    heads = sorted(_heads(outputs, anchors.shape[1]), key=lambda head: -head.shape[1])
    if decoded or len(heads) != len(anchors):
        raise refuse(
            "yolov5", f"one output 1xNx(5 + classes), or {len(anchors)} raw heads", outputs
        )
    parts = [_raw(head, a, context, options) for head, a in zip(heads, anchors, strict=True)]
    boxes, scores, classes = (np.concatenate(column) for column in zip(*parts, strict=True))
    return Candidates(boxes, scores, classes)


def _decoded(values: Numbers, context: TaskContext, options: Options) -> Candidates:
    rows = values[likely(values[:, 4], options)]
    found = best(rows[:, 5:] * rows[:, 4:5], context, options)
    chosen = rows[found.rows, :4]
    boxes = corners(chosen[:, :2], chosen[:, 2:])
    if options["normalized"]:
        boxes = to_pixels(boxes, context)
    return Candidates(boxes, found.scores, found.classes)


def _raw(
    head: Numbers, anchors: Numbers, context: TaskContext, options: Options
) -> tuple[Numbers, Numbers, Any]:
    """Decode one head (anchors, rows, columns, 5 + classes)."""
    _, rows, columns, channels = head.shape
    values = head.reshape(-1, channels)
    objectness = sigmoid(values[:, 4])
    rows_likely = likely(objectness, options)
    probable = sigmoid(values[rows_likely, 5:]) * objectness[rows_likely, None]
    found = best(probable, context, options)
    chosen = rows_likely[found.rows]
    spread = 2 * sigmoid(values[chosen, :4])
    stride = np.array([context.contract.width / columns, context.contract.height / rows])
    centre = (spread[:, :2] - 0.5 + cells(rows, columns)[chosen % (rows * columns)]) * stride
    size = spread[:, 2:] ** 2 * anchors[chosen // (rows * columns)]
    return corners(centre, size), found.scores, found.classes


def _heads(outputs: Sequence[Array], count: int) -> list[Numbers]:
    """Return the raw heads among `outputs` as (anchors, rows, columns, 5 + classes)."""
    heads = []
    for output in outputs:
        if output.ndim == 5 and output.shape[1] == count and output.shape[4] > 5:
            heads.append(floats(output)[0])
        elif output.ndim == 4 and output.shape[1] % count == 0 and output.shape[1] > 5 * count:
            _, channels, rows, columns = output.shape
            split = floats(output).reshape(count, channels // count, rows, columns)
            heads.append(split.transpose(0, 2, 3, 1))
    return heads


def _anchors(given: Any) -> Numbers:
    """Return the anchors as (strides, anchors per stride, 2)."""
    try:
        anchors = np.array(given, np.float64)
        return anchors.reshape(len(anchors), -1, 2)
    except (TypeError, ValueError) as error:
        raise RequestError(
            "decoder option anchors must be one list of widths and heights per stride, all of "
            "one length, such as [[10, 13, 16, 30, 33, 23], ...]"
        ) from error

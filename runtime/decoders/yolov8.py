"""Decoder: YOLOv8, v9, v11 and v12 as ultralytics exports them, without anchors.

One output (1, 4 + classes, n), or transposed (1, n, 4 + classes): centre x, centre y, width, height
in pixels of the model, and probabilities of the classes. `normalized` says that the boxes are
shares of the model's sides, as in ultralytics' TFLite files.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.decoders._read import (
    STRIDES,
    Numbers,
    best,
    corners,
    floats,
    grid_shape,
    refuse,
    to_pixels,
)
from runtime.decoders.base import Candidates, Options
from runtime.tasks.base import Array, TaskContext

OPTIONS: Options = {"multi_label": False, "normalized": False}


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates."""
    if len(outputs) != 1 or outputs[0].ndim != 3 or min(outputs[0].shape[1:]) < 5:
        raise refuse("yolov8", "one output 1x(4 + classes)xN or 1xNx(4 + classes)", outputs)
    values = _rows(floats(outputs[0])[0], context)
    found = best(values[:, 4:], context, options)
    chosen = values[found.rows, :4]
    boxes = corners(chosen[:, :2], chosen[:, 2:])
    if options["normalized"]:
        boxes = to_pixels(boxes, context)
    return Candidates(boxes, found.scores, found.classes)


def _rows(values: Numbers, context: TaskContext) -> Numbers:
    """Return `values` as (n, 4 + classes), whichever axis that is.

    The number of rows follows from the model's size; for other strides the longer axis has them.
    """
    sizes = (grid_shape(context, stride) for stride in STRIDES)
    count = sum(rows * columns for rows, columns in sizes)
    if count in values.shape:
        return values.T if values.shape[1] == count else values
    return values.T if values.shape[1] >= values.shape[0] else values

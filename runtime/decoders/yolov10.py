"""Decoder: YOLOv10, and end-to-end exports of other YOLOs, which need no suppression.

One output (1, n, 6): left, top, right, bottom in pixels of the model, score, class. `normalized`
says that the boxes are shares of the model's sides. Nothing is suppressed (an `iou` of 1), unless
another limit is asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.decoders._read import check_finite, floats, refuse, to_pixels
from runtime.decoders.base import Candidates, Options
from runtime.tasks.base import Array, TaskContext

OPTIONS: Options = {"iou": 1.0, "normalized": False}


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates."""
    if len(outputs) != 1 or outputs[0].ndim != 3 or outputs[0].shape[2] != 6:
        raise refuse("yolov10", "one output 1xNx6", outputs)
    values = floats(outputs[0])[0]
    check_finite(values[:, 4:])
    values = values[values[:, 4] >= options["score"]]
    boxes = to_pixels(values[:, :4], context) if options["normalized"] else values[:, :4]
    return Candidates(boxes, values[:, 4], np.rint(values[:, 5]).astype(np.int64))

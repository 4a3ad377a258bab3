"""Decoder: FastestDet (Ma, github.com/dog-qiuqiu/FastestDet), one grid without anchors.

One output (1, 5 + classes, rows, columns): objectness, x, y, w, h, and probabilities of the
classes. score = objectness^0.6 * class^0.4; the centre is tanh(x) from the cell's corner, the size
a sigmoid of the picture's (`postprocess` of its test.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.decoders._read import (
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

OPTIONS: Options = {}


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates, one per cell at the most."""
    if len(outputs) != 1 or outputs[0].ndim != 4 or outputs[0].shape[1] < 6:
        raise refuse("fastestdet", "one output 1x(5 + classes)xROWSxCOLUMNS", outputs)
    _, channels, rows, columns = outputs[0].shape
    values = floats(outputs[0]).reshape(channels, -1)
    objectness = np.clip(values[0], 0.0, 1.0) ** 0.6
    rows_likely = likely(objectness, options)
    classes = np.clip(values[5:, rows_likely], 0.0, 1.0) ** 0.4
    found = best((classes * objectness[rows_likely]).T, context, options)
    chosen = rows_likely[found.rows]
    x, y, width, height = values[1:5, chosen]
    cell = cells(rows, columns)[chosen]
    centre = (np.tanh(np.stack([x, y], axis=1)) + cell) / np.array([columns, rows], np.float32)
    boxes = corners(centre, sigmoid(np.stack([width, height], axis=1)))
    return Candidates(to_pixels(boxes, context), found.scores, found.classes)

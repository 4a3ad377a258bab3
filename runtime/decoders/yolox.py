"""Decoder: YOLOX (Ge et al. 2021, arXiv:2107.08430), without anchors, boxes raw.

One output (1, n, 5 + classes) over strides 8, 16 and 32: centre from the cell in strides, logarithm
of the size in strides, objectness and probabilities of the classes; score = objectness * class
(`demo_postprocess` of yolox/utils/demo_utils.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from runtime.decoders._read import (
    STRIDES,
    anchor_cells,
    best,
    corners,
    floats,
    grid_shape,
    refuse,
)
from runtime.decoders.base import Candidates, Options
from runtime.tasks.base import Array, TaskContext

OPTIONS: Options = {"multi_label": False}


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates, those of the finest stride first."""
    places = anchor_cells(tuple((*grid_shape(context, stride), stride) for stride in STRIDES))
    if len(outputs) != 1 or outputs[0].ndim != 3 or outputs[0].shape[1] != len(places):
        raise refuse("yolox", f"one output 1x{len(places)}x(5 + classes) at this size", outputs)
    values = floats(outputs[0])[0]
    found = best(values[:, 5:] * values[:, 4:5], context, options)
    chosen, place = values[found.rows, :4], places[found.rows]
    centre = (chosen[:, :2] + place[:, :2]) * place[:, 2:]
    boxes = corners(centre, np.exp(chosen[:, 2:]) * place[:, 2:])
    return Candidates(boxes, found.scores, found.classes)

"""Decoder: YuNet (Wu et al. 2023, doi:10.1007/s11633-023-1423-y), faces with five landmarks.

Four outputs for each stride 8, 16, 32, in any order: class and objectness (1, n, 1), box (1, n, 4)
and landmarks (1, n, 10). score = sqrt(class * objectness); centres and landmarks lie in strides
from the cell's corner, sizes are logarithms in strides (face_detect.cpp of OpenCV).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_profiles.errors import RequestError
from runtime.decoders._read import (
    STRIDES,
    Numbers,
    anchor_cells,
    best,
    corners,
    floats,
    grid_shape,
    refuse,
)
from runtime.decoders.base import Candidates, Options
from runtime.tasks.base import Array, TaskContext

OPTIONS: Options = {}


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates with their landmarks, those of the finest stride first."""
    shapes = tuple((*grid_shape(context, stride), stride) for stride in STRIDES)
    heads = [_head(outputs, rows * columns) for rows, columns, _ in shapes]
    places = anchor_cells(shapes)
    # Class and objectness are of one shape, and which is which makes no difference.
    one, other, box, landmarks = (np.concatenate(part) for part in zip(*heads, strict=True))
    scores = np.sqrt(np.clip(one, 0.0, 1.0) * np.clip(other, 0.0, 1.0))
    found = best(scores, context, options)
    place = places[found.rows]
    stride, cell, chosen = place[:, 2:], place[:, :2], box[found.rows]
    boxes = corners((chosen[:, :2] + cell) * stride, np.exp(chosen[:, 2:]) * stride)
    points = landmarks[found.rows].reshape(-1, 5, 2) + cell[:, None]
    return Candidates(boxes, found.scores, found.classes, points * stride[:, None])


def _head(outputs: Sequence[Array], count: int) -> list[Numbers]:
    """Return the four outputs of the stride with `count` cells, by their last axis."""
    found = [output for output in outputs if output.ndim == 3 and output.shape[1] == count]
    found.sort(key=lambda output: output.shape[2])
    if [output.shape[2] for output in found] != [1, 1, 4, 10]:
        raise _misfit(outputs, count)
    return [floats(output)[0] for output in found]


def _misfit(outputs: Sequence[Array], count: int) -> RequestError:
    reads = f"for each stride class and objectness 1xNx1, box 1xNx4, landmarks 1xNx10 (N={count})"
    return refuse("yunet", reads, outputs)

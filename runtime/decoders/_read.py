"""What the decoders share: the best classes, corners, grids, and refusals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EngineError, RequestError
from runtime.decoders.base import Options
from runtime.tasks.base import Array, TaskContext

Numbers = NDArray[np.floating[Any]]
Indices = NDArray[np.int64]
STRIDES = (8, 16, 32)


@dataclass(frozen=True, eq=False)
class Best:
    """Which rows of an output are candidates, with their scores and classes, all (n,)."""

    rows: Indices
    scores: Numbers
    classes: Indices


def best(scores: Numbers, context: TaskContext, options: Options) -> Best:
    """Return the candidates of `scores` (n, classes), those of at least `options["score"]`.

    A row is a candidate for its best class (the first of equals), or, with
    `options["multi_label"]`, for every class. Raises RequestError when the labels do not fit,
    EngineError when a score is not finite.
    """
    count = scores.shape[1]
    if context.labels and len(context.labels) != count:
        raise RequestError(
            f"the model scores {count} classes, but there are {len(context.labels)} labels; give "
            "the label file that it was trained with, without a background"
        )
    peak = scores.max(axis=1)
    check_finite(peak)
    rows = np.flatnonzero(peak >= options["score"])
    if options.get("multi_label"):
        chosen, classes = np.nonzero(scores[rows] >= options["score"])
        return Best(rows[chosen], scores[rows[chosen], classes], classes)
    return Best(rows, peak[rows], scores[rows].argmax(axis=1))


def likely(objectness: Numbers, options: Options) -> Indices:
    """Return the rows whose score can reach the threshold: no class is above 1.

    Raises EngineError when one is not finite.
    """
    check_finite(objectness)
    return np.flatnonzero(objectness >= options["score"])


def check_finite(values: Numbers) -> None:
    """Raise EngineError when a value is NaN or infinite."""
    if not np.isfinite(values).all():
        raise EngineError("the model's output is not finite; check the bundle with edge-sdk check")


def corners(centre: Numbers, size: Numbers) -> Numbers:
    """Return left, top, right, bottom (n, 4) of boxes with `centre` and `size` (n, 2)."""
    half = size / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def to_pixels(boxes: Numbers, context: TaskContext) -> Numbers:
    """Return `boxes` (..., even), shares of the model's sides, in pixels of the model."""
    sides = np.array([context.contract.width, context.contract.height], boxes.dtype)
    scaled: Numbers = boxes * np.resize(sides, boxes.shape[-1])
    return scaled


def grid_shape(context: TaskContext, stride: int) -> tuple[int, int]:
    """Return rows and columns of a head of `stride` over the model's input."""
    return math.ceil(context.contract.height / stride), math.ceil(context.contract.width / stride)


@lru_cache(maxsize=64)
def cells(rows: int, columns: int) -> NDArray[np.float32]:
    """Return x and y of every cell of a grid, row by row, as (rows * columns, 2)."""
    y, x = np.divmod(np.arange(rows * columns), columns)
    return np.stack([x, y], axis=1).astype(np.float32)


@lru_cache(maxsize=16)
def anchor_cells(shapes: tuple[tuple[int, int, int], ...]) -> NDArray[np.float32]:
    """Return x, y and stride of every cell of heads of (rows, columns, stride), as (n, 3)."""
    parts = [
        np.column_stack([cells(rows, columns), np.full(rows * columns, stride, np.float32)])
        for rows, columns, stride in shapes
    ]
    return np.concatenate(parts)


def sigmoid(x: Numbers) -> Numbers:
    """Return the logistic function, without overflow."""
    result: Numbers = 0.5 * np.tanh(0.5 * x) + 0.5
    return result


def floats(output: Array) -> Numbers:
    """Return an output as floating numbers, without a copy where it is."""
    kept = output.dtype if np.issubdtype(output.dtype, np.floating) else np.float32
    return np.asarray(output, kept)


def refuse(name: str, reads: str, outputs: Sequence[Array]) -> RequestError:
    """Return the error for `outputs` that decoder `name` cannot read."""
    shapes = ", ".join("x".join(map(str, output.shape)) for output in outputs)
    return RequestError(
        f"decoder {name} reads {reads}; this model gives {shapes or 'nothing'}: choose the "
        "decoder of its family"
    )

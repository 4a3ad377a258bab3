"""Decoder: SSD (Liu et al. 2016, arXiv:1512.02325), raw, or decoded by TFLite's own operator.

Raw: two outputs in any order, offsets (1, n, 4) from the priors and scores (1, n, 1 + classes),
probabilities with the background first. The priors lie on grids of `strides`, on each the `priors`
of its list: a number (the side of a square) or [width, height], in pixels of the model; `variances`
are those of centre and size. The defaults are those of Ultra-Light RFB-320 (vision/ssd/config of
github.com/Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB).

`TFLite_Detection_PostProcess`: boxes (1, n, 4), top, left, bottom, right as shares of the model's
sides, classes (1, n) without the background, scores (1, n) and a count (1). With boxes first,
classes come before scores (TensorFlow 1); with scores first, after them (TensorFlow 2).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import RequestError
from runtime.decoders._read import (
    best,
    cells,
    check_finite,
    corners,
    floats,
    grid_shape,
    refuse,
    to_pixels,
)
from runtime.decoders.base import Candidates, Options
from runtime.decoders.rfb import split
from runtime.tasks.base import Array, TaskContext

OPTIONS: Options = {
    "multi_label": True,
    "strides": [8, 16, 32, 64],
    "priors": [[10, 16, 24], [32, 48], [64, 96], [128, 192, 256]],
    "variances": [0.1, 0.2],
    "clip_priors": True,
}
Sizes = tuple[tuple[float, float], ...]
Level = tuple[int, int, Sizes]
"""One grid: rows, columns, and width and height of the priors of each cell, in shares."""


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates; class 0 is the first after the background."""
    if len(outputs) == 4:
        return _post_processed(outputs, context, options)
    offsets, scores = split("ssd", outputs)
    priors = _priors(_levels(context, options), options["clip_priors"])
    if len(priors) != len(offsets):
        raise RequestError(
            f"decoder ssd: the model gives {len(offsets)} boxes, strides and priors make "
            f"{len(priors)} at {context.contract.width}x{context.contract.height}; state its own"
        )
    found = best(scores[:, 1:], context, options)
    offset, prior = offsets[found.rows], priors[found.rows]
    of_centre, of_size = _numbers(options["variances"], 2)
    centre = offset[:, :2] * of_centre * prior[:, 2:] + prior[:, :2]
    size = np.exp(offset[:, 2:] * of_size) * prior[:, 2:]
    boxes = to_pixels(corners(centre, size), context)
    return Candidates(boxes, found.scores, found.classes)


def _post_processed(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    places = [i for i, output in enumerate(outputs) if output.ndim == 3 and output.shape[2] == 4]
    lists = [i for i, output in enumerate(outputs) if output.ndim == 2]
    counts = [i for i, output in enumerate(outputs) if output.size == 1 and output.ndim < 2]
    if [len(places), len(lists), len(counts)] != [1, 2, 1]:
        raise refuse("ssd", "boxes 1xNx4, classes 1xN, scores 1xN and a count", outputs)
    classes, scores = (
        floats(outputs[i])[0] for i in (lists if places[0] < lists[0] else lists[::-1])
    )
    boxes, count = floats(outputs[places[0]])[0], float(outputs[counts[0]].reshape(()))
    check_finite(scores)
    rows = np.flatnonzero(scores[: max(int(count), 0)] >= options["score"])
    if (classes[rows] != np.rint(classes[rows])).any():
        raise refuse("ssd", "classes that are whole numbers, after boxes or after scores", outputs)
    top_first = to_pixels(boxes[rows][:, [1, 0, 3, 2]], context)
    return Candidates(top_first, scores[rows], classes[rows].astype(np.int64))


def _levels(context: TaskContext, options: Options) -> tuple[Level, ...]:
    """Return the grids that the options describe; RequestError when they describe none."""
    strides, priors = options["strides"], options["priors"]
    if len(strides) != len(priors) or not all(isinstance(sizes, list) for sizes in priors):
        raise RequestError("decoder ssd: priors must be one list of sizes for each of the strides")
    levels = []
    for stride, sizes in zip(_numbers(strides, len(strides)), priors, strict=True):
        rows, columns = grid_shape(context, int(stride))
        pairs = (_numbers(size if isinstance(size, list) else [size, size], 2) for size in sizes)
        width, height = context.contract.width, context.contract.height
        levels.append((rows, columns, tuple((w / width, h / height) for w, h in pairs)))
    return tuple(levels)


@lru_cache(maxsize=16)
def _priors(levels: tuple[Level, ...], clip: bool) -> NDArray[np.float64]:
    """Return centre and size of every prior in shares, (n, 4), cell by cell."""
    parts = []
    for rows, columns, sizes in levels:
        centre = (cells(rows, columns) + 0.5) / np.array([columns, rows], np.float64)
        part = np.empty((len(centre), len(sizes), 4))
        part[..., :2], part[..., 2:] = centre[:, None], sizes
        parts.append(part.reshape(-1, 4))
    priors = np.concatenate(parts)
    return np.clip(priors, 0.0, 1.0) if clip else priors


def _numbers(given: Any, count: int) -> list[float]:
    try:
        numbers = [float(number) for number in given]
    except (TypeError, ValueError) as error:
        raise RequestError(f"decoder ssd: {given!r:.50} are not {count} numbers") from error
    if len(numbers) != count or not all(number > 0 for number in numbers):
        raise RequestError(f"decoder ssd: {given!r:.50} are not {count} positive numbers")
    return numbers

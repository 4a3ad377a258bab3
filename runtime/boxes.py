"""Boxes as arrays (n, 4) of left, top, right, bottom: overlap, and the best of those that overlap.

Areas and overlaps are continuous (right - left), as in COCO and torchvision; not of whole pixels.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[np.float64]
Indices = NDArray[np.int64]

# Candidates that are compared with each other at once: 256 x 256 stays in a core's cache.
_BLOCK = 256


def intersection(a: Numbers, b: Numbers) -> Numbers:
    """Return the area that each of `a` (n, 4) shares with each of `b` (m, 4), as (n, m)."""
    width = np.minimum(a[:, None, 2], b[None, :, 2]) - np.maximum(a[:, None, 0], b[None, :, 0])
    height = np.minimum(a[:, None, 3], b[None, :, 3]) - np.maximum(a[:, None, 1], b[None, :, 1])
    return np.where((width > 0) & (height > 0), width * height, 0.0)


def area(boxes: Numbers) -> Numbers:
    """Return the area of each of `boxes`, 0 for one that is turned inside out."""
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 0.0)
    return sides[:, 0] * sides[:, 1]


def iou(a: Numbers, b: Numbers) -> Numbers:
    """Return intersection over union of each of `a` (n, 4) with each of `b` (m, 4), as (n, m)."""
    shared = intersection(a, b)
    union = area(a)[:, None] + area(b) - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def strongest(
    boxes: Numbers,
    scores: Numbers,
    classes: Indices | None,
    limit: float,
    most: int,
) -> Indices:
    """Return at most `most` indices, best score first, without those that a better one covers.

    Greedy non-maximum suppression: a box goes when its intersection over union with a kept box
    (of its own class, where `classes` are given) is more than `limit`. Of equal scores the lower
    index is better. Candidates are taken in blocks, and none once `most` are kept.
    """
    order = np.argsort(-scores, kind="stable")
    kept = order[:0]
    for start in range(0, len(order), _BLOCK):
        block = order[start : start + _BLOCK]
        if len(kept):
            block = block[~_covered(boxes, classes, limit, block, kept).any(axis=1)]
        kept = np.concatenate([kept, block[_alive(boxes, classes, limit, block)]])
        if len(kept) >= most:
            break
    return kept[:most]


def _alive(
    boxes: Numbers, classes: Indices | None, limit: float, block: Indices
) -> NDArray[np.bool_]:
    """Say of each of `block`, best first, whether none that is kept before it covers it."""
    alive = np.ones(len(block), bool)
    clash = np.triu(_covered(boxes, classes, limit, block, block), 1)
    for row in np.flatnonzero(clash.any(axis=1)):
        if alive[row]:
            alive &= ~clash[row]
    return alive


def _covered(
    boxes: Numbers, classes: Indices | None, limit: float, rows: Indices, columns: Indices
) -> NDArray[np.bool_]:
    """Say of each pair of a row and a column whether they overlap by more than `limit`."""
    over = iou(boxes[rows], boxes[columns]) > limit
    if classes is not None:
        over &= classes[rows][:, None] == classes[columns]
    return over

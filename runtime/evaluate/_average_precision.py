"""Average precision of a detector as COCO defines it (Lin et al. 2014, arXiv:1405.0312;
https://cocodataset.org/#detection-eval): ten overlaps, 101 recalls, crowds and areas, 100 boxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from runtime.boxes import Indices, Numbers, area, intersection, iou

Flags = NDArray[np.bool_]

OVERLAPS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0.0, 1.0, 101)
MOST = 100
"""Boxes of one class in one picture that count, the best (pycocotools counts by class)."""
AREAS = {"all": (0.0, 1e10), "small": (0.0, 32.0**2), "medium": (32.0**2, 96.0**2),
         "large": (96.0**2, 1e10)}  # fmt: skip
"""Things by their area in pixels, both limits included."""


@dataclass(frozen=True, eq=False)
class Things:
    """What there is in one picture: boxes (g, 4), classes, which are crowds, and areas, (g,)."""

    boxes: Numbers
    classes: Indices
    crowd: Flags
    areas: Numbers


@dataclass(frozen=True, eq=False)
class Found:
    """What a model found in one picture: boxes (d, 4), scores and classes (d,)."""

    boxes: Numbers
    scores: Numbers
    classes: Indices

    def part(self, rows: Indices) -> Found:
        """Return the boxes of these rows."""
        return Found(self.boxes[rows], self.scores[rows], self.classes[rows])


@dataclass(frozen=True, eq=False)
class _Beside:
    """Boxes of one picture beside the truth, by area and overlap (4, 10, d): which are hits, and
    which do not count."""

    found: Found
    hit: Flags
    out: Flags


@dataclass(frozen=True, eq=False)
class _Hits:
    """Hits in the order of a `_Line`, and what stands before each of them; (h,) but for `out`.

    `at` are their places, `number` that of their overlap, `index` their classes; `start` is where
    the boxes of their class begin, `first` which hit is the first of it. `out` are the places of
    boxes that do not count, and `out_start`, `out_at` how many of these stand before the class
    begins, and before the hit.
    """

    at: Indices
    number: Indices
    index: Indices
    start: Indices
    first: Indices
    out: Indices
    out_start: Indices
    out_at: Indices


@dataclass(frozen=True, eq=False)
class _Line:
    """All boxes of one area in the order in which they count: by class, the best first.

    `images` (d,) are those of the boxes; `hits` are those at the first of OVERLAPS, then at the
    next, and so on. `thing_images` and `thing_classes` are of the things that count, `classes` is
    how many classes there are.
    """

    images: Indices
    hits: _Hits
    thing_images: Indices
    thing_classes: Indices
    classes: int


class AveragePrecision:
    """Collects what a model finds; keeps some 100 bytes for each box."""

    def __init__(self) -> None:
        """Start with no picture."""
        self._beside: list[_Beside] = []
        self._things: list[Things] = []
        self._lines: dict[str, _Line] = {}

    def add(self, things: Things, found: Found) -> None:
        """Take what a model found in one picture, beside what there is."""
        self._lines.clear()
        self._things.append(things)
        self._beside.append(_beside(things, found))

    def figures(self, weights: Numbers | None = None, among: str = "all") -> Numbers:
        """Return the average precision at each of OVERLAPS, 0 to 1, the mean over the classes.

        Picture i counts `weights[i]` times (None: each once); `among` things of an area. NaN where
        there are no such things.
        """
        if among not in self._lines:
            self._lines[among] = self._line(list(AREAS).index(among))
        line = self._lines[among]
        weights = np.ones(len(self._things)) if weights is None else weights
        return _precision(line, weights)

    def _line(self, place: int) -> _Line:
        low, high = list(AREAS.values())[place]
        none = np.zeros(0, np.int64)
        classes = np.concatenate([none, *(b.found.classes for b in self._beside)])
        scores = np.concatenate([np.zeros(0), *(b.found.scores for b in self._beside)])
        counted = [
            things.classes[~things.crowd & (things.areas >= low) & (things.areas <= high)]
            for things in self._things
        ]
        empty = np.zeros((len(OVERLAPS), 0), bool)
        hit = np.concatenate([empty, *(beside.hit[place] for beside in self._beside)], axis=1)
        out = np.concatenate([empty, *(beside.out[place] for beside in self._beside)], axis=1)
        order = np.lexsort((-scores, classes))
        number = np.arange(len(self._things))
        things = np.concatenate([none, *counted])
        return _Line(
            images=np.repeat(number, [len(b.found.scores) for b in self._beside])[order],
            hits=_hits(classes[order], hit[:, order], out[:, order]),
            thing_images=np.repeat(number, [len(part) for part in counted]),
            thing_classes=things,
            classes=int(max(classes.max(initial=-1), things.max(initial=-1))) + 1,
        )


def _hits(classes: Indices, hit: Flags, out: Flags) -> _Hits:
    """Return the hits of `hit`, but those of `out`; both are (10, d), `classes` (d,)."""
    number, at = np.nonzero(hit & ~out)
    lost_number, lost = np.nonzero(out)
    index, length = classes[at], len(classes)
    start = np.searchsorted(classes, index)
    group = number * (int(classes.max(initial=0)) + 1) + index
    # Places of all overlaps in one line, one overlap after the other.
    ordered = lost_number * length + lost
    return _Hits(
        at=at,
        number=number,
        index=index,
        start=start,
        first=np.searchsorted(group, group),
        out=lost,
        out_start=np.searchsorted(ordered, number * length + start),
        out_at=np.searchsorted(ordered, number * length + at),
    )


def _beside(things: Things, found: Found) -> _Beside:
    """Match what was found, class by class, the best first (COCOeval.evaluateImg)."""
    order = np.argsort(-found.scores, kind="stable")
    rank = np.zeros(len(order), np.int64)
    for index in np.unique(found.classes):
        of_class = order[found.classes[order] == index]
        rank[of_class] = np.arange(len(of_class))
    found = found.part(order[rank[order] < MOST])
    limits = np.array(list(AREAS.values()))
    low, high = limits[:, :1], limits[:, 1:]
    ignored = things.crowd | (things.areas < low) | (things.areas > high)
    own = area(found.boxes)
    outside = (own < low) | (own > high)
    shape = (len(AREAS), len(OVERLAPS), len(own))
    hit, out = np.zeros(shape, bool), np.zeros(shape, bool)
    out[:] = outside[:, None, :]
    overlap = _overlap(things, found)
    taken = np.zeros((len(AREAS), len(OVERLAPS), len(things.classes)), bool)
    for row in np.flatnonzero((overlap >= OVERLAPS[0]).any(axis=1)):
        free = (~taken | things.crowd) & (overlap[row] >= OVERLAPS[:, None])
        # What counts goes before what does not; of equal overlaps the last is taken.
        worth = np.where(free, overlap[row] + 2.0 * ~ignored[:, None, :], -1.0)
        best = worth.shape[2] - 1 - worth[..., ::-1].argmax(axis=2)
        found_one = free.any(axis=2)
        hit[..., row] = found_one
        lost = np.take_along_axis(ignored, best, axis=1)
        out[..., row] = np.where(found_one, lost, out[..., row])
        at = np.nonzero(found_one)
        taken[at[0], at[1], best[at]] = True
    return _Beside(found, hit, out)


def _overlap(things: Things, found: Found) -> Numbers:
    """Return the overlap (d, g) of boxes with things of their class; with a crowd it is the share
    of the box that lies in it."""
    shared, own = intersection(found.boxes, things.boxes), area(found.boxes)[:, None]
    inside = np.divide(shared, own, out=np.zeros_like(shared), where=own > 0)
    overlap = np.where(things.crowd, inside, iou(found.boxes, things.boxes))
    return np.where(found.classes[:, None] == things.classes, overlap, 0.0)


def _precision(line: _Line, weights: Numbers) -> Numbers:
    """Return the average precision at each overlap (COCOeval.accumulate, all classes at once).

    Precision rises at hits alone, so that its best at a recall or beyond lies at a hit; and recall
    rises there alone: every hit is counted for as many of RECALLS as it reaches first.
    """
    things = np.bincount(line.thing_classes, weights[line.thing_images], line.classes)
    present = int((things > 0).sum())
    if not present:
        return np.full(len(OVERLAPS), np.nan)
    weight, hits = weights[line.images], line.hits
    boxes, right, lost = (_total(part) for part in (weight, weight[hits.at], weight[hits.out]))
    right = right[1:] - right[hits.first]
    counted = boxes[hits.at + 1] - boxes[hits.start] - (lost[hits.out_at] - lost[hits.out_start])
    precision = right / (counted + np.spacing(1))
    there = things[hits.index]
    recall = np.divide(right, there, out=np.zeros(len(right)), where=there > 0)
    reached = np.searchsorted(RECALLS, recall, side="right")
    first = hits.first == np.arange(len(hits.first))
    before = np.where(first, 0, np.roll(reached, 1))
    # Classes and overlaps are told apart by what is added: no precision is above 1.
    apart = -2.0 * np.cumsum(first)
    best = np.maximum.accumulate((precision + apart)[::-1])[::-1] - apart
    total = np.bincount(hits.number, best * (reached - before), len(OVERLAPS))
    return total / (len(RECALLS) * present)


def _total(values: Numbers) -> Numbers:
    return np.concatenate([np.zeros(1), np.cumsum(values)])

"""How a detector's artifact compares with its reference, on the same images.

mAP is COCO's, of all candidates; recall, precision and agreement are of what would be shown, at
the score of the decoder.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_profiles.errors import DataError, EngineError, GateError
from runtime.assignment import assign
from runtime.boxes import Indices, Numbers, intersection, iou
from runtime.boxes import area as area_of
from runtime.datasets.base import Boxes
from runtime.evaluate._average_precision import AREAS, AveragePrecision, Found, Things
from runtime.evaluate._intervals import Interval, bootstrap, wilson
from runtime.evaluate._judgement import Judgement
from runtime.evaluate.base import Answer, Array, Figure, Judged, Seen, Terms
from runtime.evaluate.raw import RawComparer
from runtime.tasks.base import Decode, TaskContext
from runtime.tasks.detect import Detections, make

TERMS = Terms(
    truth=Boxes,
    figures=(
        Figure("map", "mAP"),
        Figure("ap50", "AP50"),
        Figure("recall", "recall"),
        Figure("precision", "precision"),
    ),
    agreement="boxes",
    intervals="bootstrap over images",
)
SCORE, MOST = 0.001, 1000
"""The least score that mAP takes, as is usual (YOLOv5's val.py), and a bound for memory."""
OVERLAP = 0.5
"""The intersection over union above which two boxes are of one thing, for all but mAP."""
_TIMES, _WORK = 1000, 1e8
"""How often the bootstrap draws at the most, and how many boxes it goes through: seconds."""


@dataclass(frozen=True, eq=False)
class _Model:
    """One of the two models: all its candidates, and by image (n, 3) the number of things, of
    boxes shown, and of those that are right."""

    precision: AveragePrecision
    shown: list[tuple[int, int, int]]
    boxes: list[int]

    def figures(self, weights: Numbers) -> list[float]:
        """Return mAP, AP50, recall and precision, where image i counts `weights[i]` times."""
        by_overlap = self.precision.figures(weights)
        things, shown, right = weights @ np.array(self.shown, np.float64)
        recall = right / things if things else np.nan
        return [by_overlap.mean(), by_overlap[0], recall, right / shown if shown else np.nan]


class _Comparer:
    """Compares image by image; keeps what COCO's mAP needs, and counts."""

    def __init__(self, judged: Judged) -> None:
        self._judged = judged
        self._shown = make(judged.decoder)
        most = max(MOST, judged.decoder.get("max", 0))
        self._every = make({**judged.decoder, "score": SCORE, "max": most})
        self._differences = RawComparer()
        self._agreed = self._either = 0
        self._models = tuple(_Model(AveragePrecision(), [], []) for _ in range(2))

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], seen: Seen) -> None:
        """Compare the boxes of one image."""
        context = self._judged.context(seen.image)
        named = (dict(zip(context.output_names, o, strict=True)) for o in (reference, artifact))
        self._differences.add(*named)
        try:
            every = [found(self._every, outputs, context) for outputs in (reference, artifact)]
            shown = [found(self._shown, outputs, context) for outputs in (reference, artifact)]
        except EngineError as error:  # finite outputs, but not what they mean
            raise GateError(str(error)) from error
        same = len(pairs(shown[0], shown[1]))
        self._agreed += same
        self._either += len(shown[0].scores) + len(shown[1].scores) - same
        if isinstance(seen.truth, Boxes):
            things = _things(seen.truth, seen)
            for model, candidates, visible in zip(self._models, every, shown, strict=True):
                model.precision.add(things, candidates)
                model.shown.append(hits(things, visible))
                model.boxes.append(len(candidates.scores))

    def result(self) -> Judgement:
        """Return the comparison so far; DataError with no images, or with boxes for some only."""
        n, judged = self._differences.n, len(self._models[0].shown)
        if not n:
            raise DataError("a comparison needs at least one sample; the data set gave none")
        if judged not in (0, n):
            raise DataError(f"{judged} of {n} images have boxes; give them to all or to none")
        agreement = wilson(self._agreed, self._either) if self._either else None
        outputs = self._differences.result()
        if not judged:
            return Judgement(n, None, None, None, None, agreement, outputs)
        reference, artifact, drop = self._figures()
        metric = TERMS.figures[0].name
        more = {"areas": [self._areas(model) for model in self._models]}
        return Judgement(n, metric, reference, artifact, drop, agreement, outputs, more)

    def _figures(self) -> tuple[dict[str, Any], dict[str, Any], Interval | None]:
        """Return the figures of both, and the drop in points."""
        boxes = sum(sum(model.boxes) for model in self._models)
        times = int(np.clip(_WORK / max(boxes, 1), 100, _TIMES))

        def both(weights: Numbers) -> list[float]:
            one, other = (model.figures(weights) for model in self._models)
            return [*one, *other, one[0] - other[0]]

        found = [
            interval if np.isfinite(interval.value) else None
            for interval in bootstrap(len(self._models[0].shown), both, times)
        ]
        keys = [figure.key for figure in TERMS.figures]
        one, other = found[: len(keys)], found[len(keys) : -1]
        drop = found[-1].scaled(100) if found[-1] else None
        return dict(zip(keys, one, strict=True)), dict(zip(keys, other, strict=True)), drop

    def _areas(self, model: _Model) -> dict[str, float | None]:
        """Return mAP among the things of each size; None where there are none."""
        means = {name: model.precision.figures(None, name).mean() for name in AREAS}
        return {name: float(mean) if np.isfinite(mean) else None for name, mean in means.items()}


def start(judged: Judged) -> _Comparer:
    """Start comparing two detectors."""
    return _Comparer(judged)


def answer(result: Detections, outputs: Sequence[Array]) -> Answer:
    """Return the boxes that are shown, with the names of their classes."""
    boxes = np.array([item.box for item in result.items], np.float64).reshape(-1, 4)
    return Answer({"labels": [item.label for item in result.items]}, (boxes,))


def agreement(one: Answer, other: Answer) -> float | None:
    """Return the share of the boxes of two models that both have (F1), by the names of their
    classes; None where neither has any."""
    sides = [(a.arrays[0].astype(np.float64), a.facts["labels"]) for a in (one, other)]
    total = sum(len(labels) for _, labels in sides)
    if not total:
        return None
    names = {name: number for number, name in enumerate({*sides[0][1], *sides[1][1]})}
    (boxes, classes), (others, other_classes) = (
        (found, np.array([names[label] for label in labels], np.int64)) for found, labels in sides
    )
    return 2 * len(_matched(boxes, classes, others, other_classes, OVERLAP)) / total


def found(decode: Decode, outputs: Sequence[Array], context: TaskContext) -> Found:
    """Return what `decode` finds in one picture, best first."""
    items = decode(outputs, context).items  # type: ignore[attr-defined]
    boxes = np.array([item.box for item in items], np.float64).reshape(-1, 4)
    scores = np.array([item.score for item in items], np.float64)
    return Found(boxes, scores, np.array([item.index for item in items], np.int64))


def pairs(one: Found, other: Found, least: float = OVERLAP) -> list[tuple[int, int]]:
    """Return which boxes of two models are of one thing: of one class, with an intersection over
    union above `least`, each in one pair, so that they overlap the most."""
    return _matched(one.boxes, one.classes, other.boxes, other.classes, least)


def hits(things: Things, shown: Found, least: float = OVERLAP) -> tuple[int, int, int]:
    """Return how many things there are, how many boxes `shown`, and how many of these are right.

    Crowds are no things; a box that is not right, but lies in a crowd of its class by more than
    `least`, is not counted.
    """
    alone = ~things.crowd
    matched = _matched(
        shown.boxes, shown.classes, things.boxes[alone], things.classes[alone], least
    )
    right = {row for row, _ in matched}
    inside = intersection(shown.boxes, things.boxes[things.crowd])
    same = shown.classes[:, None] == things.classes[things.crowd]
    among = (same & (inside > least * area_of(shown.boxes)[:, None])).any(axis=1)
    idle = sum(bool(flag) for row, flag in enumerate(among) if row not in right)
    return int(alone.sum()), len(shown.scores) - idle, len(right)


def _matched(
    boxes: Numbers, classes: Indices, others: Numbers, other_classes: Indices, least: float
) -> list[tuple[int, int]]:
    overlap = iou(boxes, others)
    overlap[(classes[:, None] != other_classes) | (overlap <= least)] = 0.0
    return assign(overlap)


def _things(truth: Boxes, seen: Seen) -> Things:
    """Return the ground truth in the model's numbering of classes."""
    boxes = truth.boxes
    corners = np.array([(b.left, b.top, b.right, b.bottom) for b in boxes], np.float64)
    corners = corners.reshape(-1, 4)
    areas = np.array([b.area for b in boxes], np.float64)
    return Things(
        corners,
        np.array([seen.to_model(b.label) for b in boxes], np.int64),
        np.array([b.crowd for b in boxes], bool),
        np.where(areas > 0, areas, area_of(corners)),
    )

"""How a segmentation's artifact compares with its reference, on the same images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError, EngineError, GateError
from runtime.datasets.base import MaskFile
from runtime.evaluate._intervals import Interval, Weights, bootstrap
from runtime.evaluate._judgement import Judgement
from runtime.evaluate.base import Answer, Array, Figure, Judged, Seen, Terms
from runtime.evaluate.raw import RawComparer
from runtime.masks import IGNORED, read_mask
from runtime.tasks import decoder
from runtime.tasks.segment import SegmentationMap

TERMS = Terms(
    truth=MaskFile,
    figures=(Figure("miou", "mIoU"), Figure("pixels", "pixel accuracy")),
    agreement="pixels",
    intervals="bootstrap over images",
)
Counts = NDArray[np.int64]
Shares = NDArray[np.float64]


@dataclass(eq=False)
class _Counted:
    """Pixels of one model by image, each (n, classes): right, of the class in the truth, and found
    to be of it."""

    right: list[Counts] = field(default_factory=list)
    true: list[Counts] = field(default_factory=list)
    found: list[Counts] = field(default_factory=list)

    def add(self, truth: Counts, answer: Counts, classes: int) -> None:
        """Count one image, of which `truth` and `answer` are the judged pixels."""
        pairs = np.bincount(truth * (classes + 1) + answer, minlength=classes * (classes + 1))
        table = pairs.reshape(classes, classes + 1)
        self.right.append(table.diagonal().astype(np.int64))
        self.true.append(table.sum(1))
        self.found.append(table.sum(0)[:classes])

    def ious(self, weights: Weights) -> Shares:
        """Return the intersection over union of each class over all images, image i counted
        `weights[i]` times; NaN for a class that is in no truth."""
        right, true, found = (weights @ np.array(part) for part in vars(self).values())
        shares: Shares = np.full(right.shape, np.nan)
        np.divide(right, true + found - right, out=shares, where=true > 0)
        return shares

    def figures(self, weights: Weights) -> list[float]:
        """Return the mean over the classes in the truth, and the share of pixels that are right."""
        ious = self.ious(weights)
        right, true = (weights @ np.array(part).sum(1) for part in (self.right, self.true))
        some = np.isfinite(ious)
        return [ious[some].mean() if some.any() else np.nan, right / true if true else np.nan]

    def by_image(self) -> Shares:
        """Return of each class the mean over the images that have it of its IoU there."""
        right, true, found = (np.array(part, np.float64) for part in vars(self).values())
        union, has = true + found - right, true > 0
        each = np.divide(right, union, out=np.zeros_like(right), where=has)
        means: Shares = np.full(each.shape[1], np.nan)
        np.divide(each.sum(0), has.sum(0), out=means, where=has.any(0))
        return means


class _Comparer:
    """Compares image by image; keeps three counts for each class of an image."""

    def __init__(self, judged: Judged) -> None:
        self._judged = judged
        self._decode = decoder("segment", judged.decoder)
        self._differences = RawComparer()
        self._models = _Counted(), _Counted()
        self._labels: tuple[str, ...] = ()
        self._same: list[tuple[int, int]] = []

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], seen: Seen) -> None:
        """Compare the classes of the pixels of one image, those that the model saw and the truth
        does not leave out; GateError when an answer is none."""
        context = self._judged.context(seen.image)
        named = (dict(zip(context.output_names, o, strict=True)) for o in (reference, artifact))
        self._differences.add(*named)
        try:
            maps = [
                cast(SegmentationMap, self._decode(outputs, context))
                for outputs in (reference, artifact)
            ]
        except EngineError as error:
            raise GateError(str(error)) from error
        same = maps[0].classes == maps[1].classes
        self._same.append((int(same.sum()), same.size))
        if not isinstance(seen.truth, MaskFile):
            return
        truth = _truth(seen.truth, maps[0])
        judged = truth != IGNORED
        classes = len(maps[0].labels)
        self._labels = maps[0].labels
        for model, answer in zip(self._models, maps, strict=True):
            # What the model did not see is wrong, as a class of its own.
            numbers = np.minimum(answer.classes[judged].astype(np.int64), classes)
            model.add(truth[judged].astype(np.int64), numbers, classes)

    def result(self) -> Judgement:
        """Return the comparison so far; DataError with no images, or with masks for some only."""
        n, judged = self._differences.n, len(self._models[0].right)
        if not n:
            raise DataError("a comparison needs at least one sample; the data set gave none")
        if judged not in (0, n):
            raise DataError(f"{judged} of {n} images have a mask; give one to all or to none")
        outputs, same = self._differences.result(), np.array(self._same, np.float64)

        def agreement(weights: Weights) -> list[float]:
            equal, pixels = weights @ same
            return [equal / pixels]

        (agreed,) = bootstrap(n, agreement)
        if not judged:
            return Judgement(n, None, None, None, None, agreed, outputs)
        reference, artifact, drop = self._figures()
        more = {"classes": [self._classes(model) for model in self._models]}
        metric = TERMS.figures[0].name
        return Judgement(n, metric, reference, artifact, drop, agreed, outputs, more)

    def _figures(self) -> tuple[dict[str, Any], dict[str, Any], Interval | None]:
        """Return the figures of both, and the drop in points."""

        def both(weights: Weights) -> list[float]:
            one, other = (model.figures(weights) for model in self._models)
            return [*one, *other, one[0] - other[0]]

        found = [
            interval if np.isfinite(interval.value) else None
            for interval in bootstrap(len(self._same), both)
        ]
        keys = [figure.key for figure in TERMS.figures]
        one, other = found[: len(keys)], found[len(keys) : -1]
        drop = found[-1].scaled(100) if found[-1] else None
        return dict(zip(keys, one, strict=True)), dict(zip(keys, other, strict=True)), drop

    def _classes(self, model: _Counted) -> dict[str, dict[str, float]]:
        """Return, for each class in the truth, its IoU over all pixels, and the mean of its IoU
        over the images that it is in."""
        pooled = model.ious(np.ones(len(self._same)))
        rows = zip(self._labels, pooled, model.by_image(), strict=True)
        return {
            label: {"iou": float(over), "image_iou": float(mean)}
            for label, over, mean in rows
            if np.isfinite(over)
        }


def start(judged: Judged) -> _Comparer:
    """Start comparing two models that segment."""
    return _Comparer(judged)


def answer(result: SegmentationMap, outputs: Sequence[Array]) -> Answer:
    """Return the class of each pixel, and what the classes are called."""
    facts = {"labels": list(result.labels), "background": result.background}
    return Answer(facts, (result.classes,))


def agreement(one: Answer, other: Answer) -> float | None:
    """Return the share of pixels that two models call the same, of those that are something to
    either: neither background to both nor seen by none. None where there are no such pixels.

    Of a picture that is mostly background a model that finds nothing would else have most right.
    """
    names: dict[str, int] = {}
    (first, idle), (second, other_idle) = (_named(found, names) for found in (one, other))
    if first.shape != second.shape:
        raise GateError(f"one map of a frame is {first.shape}, the other {second.shape}")
    some = ~(idle & other_idle)
    return float((first == second)[some].mean()) if some.any() else None


def _named(found: Answer, names: dict[str, int]) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return each pixel's class by the number that its name has in `names` (-1: it was not seen),
    and which pixels are nothing to this model. Names that are new are given a number."""
    classes, labels = found.arrays[0], found.facts["labels"]
    table = np.full(256**classes.dtype.itemsize, -1, np.int32)
    table[: len(labels)] = [names.setdefault(label, len(names)) for label in labels]
    numbers = table[classes]
    idle = numbers == -1
    if found.facts["background"] >= 0:
        idle |= classes == found.facts["background"]
    return numbers, idle


def _truth(file: MaskFile, answer: SegmentationMap) -> NDArray[np.uint8]:
    """Return the mask; DataError when its size or its classes are not those of the answer."""
    mask = read_mask(file.path)
    if mask.shape != answer.classes.shape:
        raise DataError(
            f"{file.path} is a mask of {mask.shape}, its picture is of {answer.classes.shape}; "
            "they must be of one size (and the picture not turned by its EXIF data)"
        )
    highest = int(mask[mask != IGNORED].max(initial=0))
    if highest >= len(answer.labels):
        raise DataError(
            f"{file.path} has class {highest}, the model has {len(answer.labels)}; give masks in "
            f"the model's numbering, {IGNORED} for what is not judged"
        )
    return mask

"""Run contenders beside a reference over the same frames and compare what they answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError, GateError
from edge_sdk.workflows.data import Frames
from runtime.datasets import Dataset, Sample
from runtime.evaluate import Judged, Seen, start
from runtime.labels import LabelMap, match_labels

Array = NDArray[np.generic]
Run = Callable[[NDArray[np.uint8]], Sequence[Array]]
Key = TypeVar("Key", int, str)
Found = dict[Key, dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """What is compared: `frames`, the `task` that says how, the model that is `judged`, and how
    labels map to classes."""

    frames: Frames
    task: str
    judged: Judged
    labels: LabelMap | None = None

    def seen(self, sample: Sample, image: NDArray[np.uint8]) -> Seen:
        """Return what is known of a sample, its class in the model's numbering."""
        if self.labels is None:
            return Seen(image, None, sample.truth)
        label = None if sample.label is None else self.labels.to_model(sample.label)
        return Seen(image, label, sample.truth, self.labels.to_model)


def compare(question: Question, reference: Run, contenders: Mapping[Key, Run]) -> Found[Key]:
    """Return for each contender its comparison with the reference on the same frames.

    One whose answers cannot be compared, since they are not finite or of another shape, has
    nothing but a `fault`. Frames stream through: memory does not grow with their number.
    """
    comparisons = {key: start(question.task, question.judged) for key in contenders}
    faults: Found[Key] = {}
    for sample, image, frame in question.frames.labelled():
        seen = question.seen(sample, image)
        answer = reference(frame)
        for key in [key for key in contenders if key not in faults]:
            try:
                comparisons[key].add(answer, contenders[key](frame), seen)
            except GateError as error:
                faults[key] = {"fault": str(error)}
    return {
        key: faults.get(key) or comparison.result().to_json()
        for key, comparison in comparisons.items()
    }


def classes_of(shape: Sequence[int]) -> int:
    """Return how many classes an output of `shape` (batch, ...) scores; 0 where it scores none."""
    sizes = shape[1:]
    return max(sizes) if sizes and math.prod(sizes) == max(sizes) > 0 else 0


def map_labels(
    dataset: Dataset, labels: tuple[str, ...], classes: int, offset: int | None
) -> LabelMap | None:
    """Return how the data set's classes map to the model's; DataError rather than a guess.

    None where there is nothing to map: the model has no `classes` (0), or the images no labels.
    """
    if not classes or dataset.samples[0].label is None:
        if offset is not None:
            raise DataError(
                "a label offset needs a classifier, and images with labels: one of them is not "
                f"given with {dataset.root}; leave the offset out"
            )
        return None
    present = {sample.label for sample in dataset.samples if sample.label is not None}
    return match_labels(dataset.class_names, labels, classes, offset, present)

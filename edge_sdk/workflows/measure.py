"""Run contenders beside a reference over the same frames and compare what they answer."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError, GateError
from edge_sdk.workflows.data import Frames
from runtime.datasets import Dataset, Sample
from runtime.datasets.base import Boxes
from runtime.evaluate import Judged, Seen, Terms, start
from runtime.labels import LabelMap, match_labels

Array = NDArray[np.generic]
Run = Callable[[NDArray[np.uint8]], Sequence[Array]]
# One that may answer later, so that several work at a time.
Asked = Callable[[NDArray[np.uint8]], "Sequence[Array] | Future[list[Array]]"]
Key = TypeVar("Key", bound=Hashable)
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


@dataclass(frozen=True)
class _Asked(Generic[Key]):
    """A frame that everybody was asked about, some of whom may still be at it."""

    seen: Seen
    reference: Sequence[Array]
    answers: Mapping[Key, Sequence[Array] | Future[list[Array]]]


def compare(
    question: Question, reference: Run, contenders: Mapping[Key, Asked], ahead: int = 0
) -> Found[Key]:
    """Return for each contender its comparison with the reference on the same frames.

    One whose answers cannot be compared, since they are not finite or of another shape, has
    nothing but a `fault`. Frames stream through: memory does not grow with their number. A
    contender may answer with a future; the next `ahead` frames are asked for while it works.
    """
    comparisons = {key: start(question.task, question.judged) for key in contenders}
    faults: Found[Key] = {}
    waiting: deque[_Asked[Key]] = deque()

    def settle() -> None:
        asked = waiting.popleft()
        for key, given in asked.answers.items():
            result = given.result() if isinstance(given, Future) else given
            if key in faults:
                continue
            try:
                comparisons[key].add(asked.reference, result, asked.seen)
            except GateError as error:
                faults[key] = {"fault": str(error)}

    for sample, image, frame in question.frames.labelled():
        seen, answer = question.seen(sample, image), reference(frame)
        answers = {key: ask(frame) for key, ask in contenders.items() if key not in faults}
        waiting.append(_Asked(seen, answer, answers))
        if len(waiting) > ahead:
            settle()
    while waiting:
        settle()
    return {
        key: faults.get(key) or comparison.result().to_json()
        for key, comparison in comparisons.items()
    }


def classes_of(shape: Sequence[int]) -> int:
    """Return how many classes an output of `shape` (batch, ...) scores; 0 where it scores none."""
    sizes = shape[1:]
    return max(sizes) if sizes and math.prod(sizes) == max(sizes) > 0 else 0


def has_truth(dataset: Dataset, said: Terms) -> bool:
    """Say whether the samples have the ground truth that `said` judges by."""
    sample = dataset.samples[0]
    known = sample.label if sample.truth is None else sample.truth
    return said.truth is not None and isinstance(known, said.truth)


def map_labels(
    dataset: Dataset,
    said: Terms,
    labels: tuple[str, ...],
    outputs: Sequence[Sequence[int]],
    offset: int | None,
) -> LabelMap | None:
    """Return how the data set's classes map to the model's; DataError rather than a guess.

    `labels` and shapes of `outputs` are the model's. None where there is nothing to map: the task
    knows no classes, or the samples none that it judges by.
    """
    present = _present(dataset) if has_truth(dataset, said) else set()
    classes = 0
    if present and said.truth is int:
        classes = classes_of(outputs[0]) if outputs else 0
    elif present:  # a detector's outputs say less plainly how many classes it has
        classes = len(labels) or max(len(dataset.class_names or ()), max(present) + 1)
    if not classes:
        if offset is not None:
            raise DataError(
                "a label offset needs a model that tells classes, and images with labels: one of "
                f"them is not given with {dataset.root}; leave the offset out"
            )
        return None
    return match_labels(dataset.class_names, labels, classes, offset, present)


def _present(dataset: Dataset) -> set[int]:
    """Return the classes that occur in the samples, as labels or in boxes."""
    present = {sample.label for sample in dataset.samples if sample.label is not None}
    truths = [sample.truth for sample in dataset.samples]
    return present | {b.label for truth in truths if isinstance(truth, Boxes) for b in truth.boxes}

"""Run contenders beside a reference over the same frames and compare what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edge_sdk.workflows.data import Frames
from runtime.datasets import Dataset
from runtime.labels import LabelMap, match_labels
from runtime.plugins import load

Array = NDArray[np.generic]
Run = Callable[[NDArray[np.uint8]], Sequence[Array]]


class Comparison(Protocol):
    """What a comparison says: numbers, ready for JSON."""

    def to_json(self) -> dict[str, Any]:
        """Return every figure with its sample count and interval."""


@dataclass(frozen=True)
class Question:
    """What is compared: `frames`, the `task` that says how, and how labels map to classes."""

    frames: Frames
    task: str
    labels: LabelMap | None = None


def compare(question: Question, reference: Run, contenders: Mapping[str, Run]) -> dict[str, Any]:
    """Return for each contender its comparison with the reference on the same frames.

    Frames stream through: memory does not grow with their number.
    """
    make = load("runtime.evaluate", question.task).Comparer
    comparers = {name: make() for name in contenders}
    for sample, frame in question.frames.labelled():
        label = None
        if question.labels is not None and sample.label is not None:
            label = question.labels.to_model(sample.label)
        answer = reference(frame)
        for name, run in contenders.items():
            comparers[name].add(answer, run(frame), label)
    return {name: comparer.result() for name, comparer in comparers.items()}


def map_labels(
    dataset: Dataset, labels: tuple[str, ...], classes: int, offset: int | None
) -> LabelMap:
    """Return how the data set's classes map to the model's; DataError rather than a guess."""
    present = {sample.label for sample in dataset.samples if sample.label is not None}
    return match_labels(dataset.class_names, labels, classes, offset, present)

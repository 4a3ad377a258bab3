"""Run contenders beside a reference over the same frames and compare what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from edge_sdk.workflows.data import Frames
from runtime.datasets import Dataset
from runtime.evaluate import start
from runtime.labels import LabelMap, match_labels

Array = NDArray[np.generic]
Run = Callable[[NDArray[np.uint8]], Sequence[Array]]
Key = TypeVar("Key", int, str)
Found = dict[Key, dict[str, Any]]


@dataclass(frozen=True)
class Question:
    """What is compared: `frames`, the `task` that says how, the names of the model's `outputs`,
    and how labels map to classes."""

    frames: Frames
    task: str
    outputs: tuple[str, ...]
    labels: LabelMap | None = None


def compare(question: Question, reference: Run, contenders: Mapping[Key, Run]) -> Found[Key]:
    """Return for each contender its comparison with the reference on the same frames.

    Frames stream through: memory does not grow with their number.
    """
    comparisons = {key: start(question.task, question.outputs) for key in contenders}
    for sample, frame in question.frames.labelled():
        label = None
        if question.labels is not None and sample.label is not None:
            label = question.labels.to_model(sample.label)
        answer = reference(frame)
        for key, run in contenders.items():
            comparisons[key].add(answer, run(frame), label)
    return {key: comparison.result().to_json() for key, comparison in comparisons.items()}


def map_labels(
    dataset: Dataset, labels: tuple[str, ...], classes: int, offset: int | None
) -> LabelMap:
    """Return how the data set's classes map to the model's; DataError rather than a guess."""
    present = {sample.label for sample in dataset.samples if sample.label is not None}
    return match_labels(dataset.class_names, labels, classes, offset, present)

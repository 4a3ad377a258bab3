"""What every evaluation is: the outputs of a reference and of an artifact, compared."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.contract import InputContract
from runtime.datasets.base import Truth
from runtime.tasks.base import TaskContext

Array = NDArray[np.generic]


@dataclass(frozen=True)
class Judged:
    """What is judged: a model with `outputs` of these names, and how its task reads them."""

    outputs: tuple[str, ...]
    contract: InputContract
    labels: tuple[str, ...] = ()
    decoder: Mapping[str, Any] = field(default_factory=dict)

    def context(self, image: NDArray[np.uint8]) -> TaskContext:
        """Return what decoding the outputs for `image`, uint8 BGR or grey, may need."""
        height, width = image.shape[:2]
        return TaskContext(self.labels, self.contract, height, width, self.outputs, image)


@dataclass(frozen=True, eq=False)
class Seen:
    """One sample: the picture (uint8 BGR, as it was read), the model's class (its numbering) or
    other ground truth (the data set's numbering) where known, and how the data set's class numbers
    become the model's."""

    image: NDArray[np.uint8]
    label: int | None = None
    truth: Truth | None = None
    to_model: Callable[[int], int] = int


class Result(Protocol):
    """What a comparison comes to."""

    def to_json(self) -> dict[str, Any]:
        """Return every figure, with its sample count and interval, as JSON-ready values."""


class Comparison(Protocol):
    """Compares two models sample by sample; memory does not grow with their number."""

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], seen: Seen) -> None:
        """Take all outputs of both models for one sample, and what is known of it."""

    def result(self) -> Result:
        """Return what was found so far; DataError when that is nothing."""


class Evaluation(Protocol):
    """The one function of an evaluation module: `start(judged) -> Comparison`."""

    def __call__(self, judged: Judged) -> Comparison:
        """Start comparing two executions of one model."""

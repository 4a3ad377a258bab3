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


@dataclass(frozen=True)
class Figure:
    """A figure of one model against the truth: its `key` in the JSON of a result, its name in
    tables, and its unit, `%` for a share of 1."""

    key: str
    name: str
    unit: str = "%"


@dataclass(frozen=True)
class Terms:
    """In what terms an evaluation speaks, for tables, sentences and budgets.

    `truth` is the kind of ground truth that samples must have for it: one of
    `runtime.datasets.base`, or int for a class. `figures` are those of one model, where the truth
    is known; `drop` is of the first. `agreement`
    is what the share is of on which artifact and reference agree (`images`), empty where there is
    no such share. `allowed` is the drop that goes without saying, in `lost`. `intervals` says how
    intervals of figures are made.
    """

    truth: type | None = None
    figures: tuple[Figure, ...] = ()
    agreement: str = ""
    allowed: float = 2.0
    intervals: str = ""

    @property
    def lost(self) -> str:
        """The unit of `drop`: points for shares, else that of the figure."""
        unit = self.figures[0].unit if self.figures else "%"
        return "points" if unit == "%" else unit


@dataclass(frozen=True, eq=False)
class Answer:
    """What two models are compared by that share nothing but their task: of one result for a
    frame, JSON-ready `facts` and arrays of numbers."""

    facts: Mapping[str, Any] = field(default_factory=dict)
    arrays: tuple[Array, ...] = ()


class Result(Protocol):
    """What a comparison comes to."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values, whatever the task:

        * `n`, the number of samples, and `metric`, the name of what `drop` is of, or None;
        * `reference` and `artifact`: an interval for each of the terms' figures, or None for one
          that the model does not have; both None without ground truth;
        * `drop`, an interval in the terms' `lost`, reference minus artifact (paired), or None;
        * `agreement`, the interval of a share of 1, or None;
        * `outputs`, one `raw.OutputDifference` for each; or `snr_db` and `max_abs_difference`.
        """


class Comparison(Protocol):
    """Compares two models sample by sample; memory does not grow with their number."""

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], seen: Seen) -> None:
        """Take all outputs of both models for one sample, and what is known of it."""

    def result(self) -> Result:
        """Return what was found so far; DataError when that is nothing."""


class Evaluation(Protocol):
    """What a module of this folder offers: `TERMS`, and `start(judged) -> Comparison`; and, where
    different models can be compared, `answer` and `agreement`."""

    TERMS: Terms

    def start(self, judged: Judged) -> Comparison:
        """Start comparing two executions of one model."""

    def answer(self, result: Any, outputs: Sequence[Array]) -> Answer:
        """Return what is compared of a task's result, which was decoded from `outputs`."""

    def agreement(self, one: Answer, other: Answer) -> float | None:
        """Return how far two models agree on a frame, 0..1; None where there is nothing to agree
        on, GateError where their answers cannot be compared."""

"""How a classifier's artifact compares with its reference, on the same images."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from device_profiles.errors import DataError
from runtime.evaluate._intervals import Interval, paired_difference, wilson
from runtime.evaluate.base import Answer, Figure, Judged, Seen, Terms
from runtime.evaluate.raw import Array, Difference, finite
from runtime.tasks.classify import Classification

TERMS = Terms(
    truth=int,
    figures=(Figure("top1", "top-1"), Figure("top5", "top-5")),
    agreement="images",
    intervals="Wilson",
)
_TOP = 5


@dataclass(frozen=True)
class Accuracy:
    """Share of `n` labelled images, 0..1, whose class was first, or among the first five.

    `top5` is None for a model with no more than five classes.
    """

    n: int
    top1: Interval
    top5: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        top5 = self.top5.to_json() if self.top5 else None
        return {"n": self.n, "top1": self.top1.to_json(), "top5": top5}


@dataclass(frozen=True)
class Comparison:
    """What an artifact's outputs on `n` images say about it, against its reference.

    `reference`, `artifact` and `drop` are None without labels. `drop` is top-1 of the reference
    minus top-1 of the artifact in percentage points, with its paired interval. `agreement` is the
    share of images with the same first class. `snr_db` (infinite when equal) and
    `max_abs_difference` are over all outputs.
    """

    n: int
    reference: Accuracy | None
    artifact: Accuracy | None
    drop: Interval | None
    agreement: Interval
    snr_db: float
    max_abs_difference: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values; an infinite `snr_db` is null."""
        nested = {
            key: value.to_json() if isinstance(value, (Accuracy, Interval)) else value
            for key, value in vars(self).items()
        }
        metric = TERMS.figures[0].name if self.reference else None
        return {**nested, "metric": metric, "snr_db": finite(self.snr_db)}


class Comparer:
    """Compares the outputs of two classifiers image by image, and keeps only counts and sums."""

    def __init__(self) -> None:
        """Start with nothing compared."""
        self._n = self._agreed = self._labelled = self._classes = 0
        self._difference = Difference()
        self._first: Counter[tuple[bool, bool]] = Counter()
        self._among: Counter[str] = Counter()

    def add(self, reference: Array, artifact: Array, label: int | None = None) -> None:
        """Compare the outputs of one image, each K scores in any shape such as (1, K).

        `label` is the model's class, None when unknown; all images have one or none has. Of equal
        scores the lowest class is first. Raises GateError when the outputs differ in size or are
        not finite, DataError for a label outside the K classes.
        """
        reference, artifact = np.ravel(reference), np.ravel(artifact)
        self._difference.add(reference, artifact)
        self._classes = reference.size
        self._n += 1
        self._agreed += bool(reference.argmax() == artifact.argmax())
        if label is None:
            return
        if not 0 <= label < self._classes:
            raise DataError(f"label {label} is outside the model's {self._classes} classes")
        self._labelled += 1
        ranks = _rank(reference, label), _rank(artifact, label)
        self._first[ranks[0] == 0, ranks[1] == 0] += 1
        self._among.update(
            name for name, rank in zip(("reference", "artifact"), ranks, strict=True) if rank < _TOP
        )

    def result(self) -> Comparison:
        """Return the comparison so far; DataError with no images, or with labels for some only."""
        if self._labelled not in (0, self._n):
            raise DataError(
                f"{self._labelled} of {self._n} images have a label; give one to all or to none"
            )
        first = self._first
        cells = [first[key] for key in ((True, True), (True, False), (False, True), (False, False))]
        labelled = self._labelled > 0
        return Comparison(
            n=self._n,
            reference=self._accuracy("reference", cells[0] + cells[1]) if labelled else None,
            artifact=self._accuracy("artifact", cells[0] + cells[2]) if labelled else None,
            drop=paired_difference(*cells).scaled(100) if labelled else None,
            agreement=wilson(self._agreed, self._n),
            snr_db=self._difference.snr_db,
            max_abs_difference=self._difference.max_abs,
        )

    def _accuracy(self, name: str, first: int) -> Accuracy:
        among = wilson(self._among[name], self._n) if self._classes > _TOP else None
        return Accuracy(self._n, wilson(first, self._n), among)


class _First:
    """Compares the first output: a classifier's scores."""

    def __init__(self) -> None:
        self._comparer = Comparer()

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], seen: Seen) -> None:
        self._comparer.add(reference[0], artifact[0], seen.label)

    def result(self) -> Comparison:
        return self._comparer.result()


def start(judged: Judged) -> _First:
    """Start comparing two classifiers, whose first output is one score per class."""
    return _First()


def answer(result: Classification, outputs: Sequence[Array]) -> Answer:
    """Return the name of the first class."""
    return Answer({"label": result.label})


def agreement(one: Answer, other: Answer) -> float:
    """Return 1 where two models name the same class first, else 0."""
    return float(one.facts["label"] == other.facts["label"])


def compare(reference: Array, artifact: Array, labels: Sequence[int] | None = None) -> Comparison:
    """Return how `artifact` (N, K) compares with `reference` (N, K), both scores per class.

    `labels` are the model's classes of the N images. Raises as `Comparer` does, and DataError
    when the numbers of images differ.
    """
    count = len(reference)
    if len(artifact) != count or (labels is not None and len(labels) != count):
        raise DataError("reference, artifact and labels are of different numbers of images")
    comparer = Comparer()
    for index in range(count):
        label = None if labels is None else int(labels[index])
        comparer.add(reference[index], artifact[index], label)
    return comparer.result()


def _rank(scores: Array, label: int) -> int:
    """Return how many classes come before `label`: better ones, and equal ones of lower index."""
    own = scores[label]
    return int((scores > own).sum() + (scores[:label] == own).sum())

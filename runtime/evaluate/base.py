"""What every evaluation is: the outputs of a reference and of an artifact, compared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.generic]


class Result(Protocol):
    """What a comparison comes to."""

    def to_json(self) -> dict[str, Any]:
        """Return every figure, with its sample count and interval, as JSON-ready values."""


class Comparison(Protocol):
    """Compares two models sample by sample; memory does not grow with their number."""

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], label: int | None) -> None:
        """Take all outputs of both models for one sample, and the model's class where known."""

    def result(self) -> Result:
        """Return what was found so far; DataError when that is nothing."""


class Evaluation(Protocol):
    """The one function of an evaluation module: `start(output_names) -> Comparison`."""

    def __call__(self, names: Sequence[str]) -> Comparison:
        """Start comparing models with outputs of these names."""

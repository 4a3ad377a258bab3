"""What every decoder is: a model's outputs in, candidate boxes in the model's pixels out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.tasks.base import Array, TaskContext

Options = Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Candidates:
    """Boxes of one picture before the best are chosen.

    `boxes` is (n, 4), left, top, right, bottom in pixels of the model's input, measured from the
    picture's edge; `scores` (n,), 0 to 1; `classes` (n,), whole numbers from 0, without a
    background; `points` (n, k, 2) are landmarks, x and y in the same pixels, or None.
    """

    boxes: NDArray[np.floating[Any]]
    scores: NDArray[np.floating[Any]]
    classes: NDArray[np.integer[Any]]
    points: NDArray[np.floating[Any]] | None = None


class DecodeHead(Protocol):
    """What reads one family of outputs: `decode(outputs, context, options) -> Candidates`."""

    def __call__(
        self, outputs: Sequence[Array], context: TaskContext, options: Options
    ) -> Candidates:
        """Return the candidates of one picture.

        `outputs` are in the model's order, each with its batch dimension of 1. Candidates with a
        score below `options["score"]` may be left out early, which is cheaper; they are not shown.
        Raises RequestError for outputs of another family.
        """

"""Task: which class is in the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EngineError, RequestError
from runtime.drawing import bars
from runtime.supervision import supervision
from runtime.tasks.base import Array, Decode, TaskContext, refuse_decoder

EVALUATION = "classification"
TOP = 5
_DRAWN = 3
_SUM_TOLERANCE = 0.02
"""How far probabilities may be from a sum of 1: ten classes, each rounded to a step of 1/256."""


@dataclass(frozen=True)
class Ranked:
    """One class with its score (a probability, 0 to 1)."""

    index: int
    label: str
    score: float


@dataclass(frozen=True)
class Classification:
    """The best class, and the best five in `top`, best first.

    `softmax` says that the model gave logits and the scores were made from them here.
    """

    index: int
    label: str
    score: float
    top: tuple[Ranked, ...]
    softmax: bool

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {**vars(self), "top": [dict(vars(ranked)) for ranked in self.top]}

    def draw(self, image: NDArray[np.uint8]) -> None:
        """Draw the best classes with their scores as bars on `image` (uint8 BGR), in place."""
        bars(image, [(ranked.label, ranked.score) for ranked in self.top[:_DRAWN]])

    def to_supervision(self) -> Any:
        """Return the classes of `top` as `supervision.Classifications`.

        Raises MissingError when the package supervision is not installed.
        """
        return supervision().Classifications(
            class_id=np.array([ranked.index for ranked in self.top], int),
            confidence=np.array([ranked.score for ranked in self.top], np.float32),
        )


def make(spec: Mapping[str, Any]) -> Decode:
    """Return `decode`; RequestError when `spec` says anything."""
    refuse_decoder("classify", spec)
    return decode


def decode(outputs: Sequence[Array], context: TaskContext) -> Classification:
    """Read the first output as one score per class, shape (1, classes) or (1, classes, 1, 1).

    Scores that are negative or do not add up to 1 are logits and go through a softmax; as for the
    sum, TFLite rounds every probability to a step of 1/256 (its quantization specification). Of
    equal scores the lower index is better. Raises RequestError when the labels do not fit the
    output, EngineError when the output is not finite.
    """
    scores = np.asarray(outputs[0], np.float64).reshape(-1)
    if outputs[0].shape[0] != 1 or scores.size != max(outputs[0].shape):
        raise RequestError(
            f"an output of shape {outputs[0].shape} is not one score per class; "
            "use another task for this model (raw shows any output)"
        )
    if context.labels and len(context.labels) != scores.size:
        raise RequestError(
            f"the model scores {scores.size} classes, but there are {len(context.labels)} labels; "
            "give the label file that it was trained with"
        )
    if not np.isfinite(scores).all():
        raise EngineError("the model's output is not finite; check the bundle with edge-sdk check")
    rounded = scores.max() <= 1 and not (scores * 256 % 1).any()
    tolerance = max(_SUM_TOLERANCE, scores.size / 512 * rounded)
    softmax = bool(scores.min() < 0 or abs(scores.sum() - 1) > tolerance)
    if softmax:
        scores = np.exp(scores - scores.max())
        scores /= scores.sum()
    order = np.argsort(-scores, kind="stable")[:TOP]
    labels = context.labels or tuple(map(str, range(scores.size)))
    top = tuple(Ranked(int(i), labels[i], float(scores[i])) for i in order)
    return Classification(top[0].index, top[0].label, top[0].score, top, softmax)

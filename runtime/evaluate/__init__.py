"""Numbers against a reference: one file per kind of answer, each with `TERMS` and `start(judged)`
(`base.Evaluation`)."""

from __future__ import annotations

from typing import cast

from device_profiles.errors import RequestError
from runtime.evaluate.base import Answer, Comparison, Evaluation, Judged, Seen, Terms
from runtime.plugins import load

__all__ = [
    "Answer",
    "Comparison",
    "Evaluation",
    "Judged",
    "Seen",
    "Terms",
    "between_models",
    "start",
    "terms",
]


def start(task: str, judged: Judged) -> Comparison:
    """Start comparing two executions of the model `judged` for `task`.

    Raises RequestError when there is no such task.
    """
    return _evaluation(task).start(judged)


def terms(task: str) -> Terms:
    """Return the terms in which answers to `task` are judged; RequestError when there is none."""
    return _evaluation(task).TERMS


def between_models(task: str) -> Evaluation:
    """Return the evaluation of `task`, by whose `answer` and `agreement` different models can be
    compared; RequestError where there is none, or it has no such."""
    evaluation = _evaluation(task)
    if not hasattr(evaluation, "agreement"):
        raise RequestError(
            f"answers to task {task} of different models cannot be compared; its evaluation has "
            "no agreement"
        )
    return evaluation


def _evaluation(task: str) -> Evaluation:
    """Return the file of this folder that the task's module names by `EVALUATION`."""
    name = load("runtime.tasks", task).EVALUATION
    return cast(Evaluation, load("runtime.evaluate", name))

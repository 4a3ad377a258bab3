"""Numbers against a reference: one file per kind of answer, each with `TERMS` and `start(judged)`
(`base.Evaluation`)."""

from __future__ import annotations

from typing import cast

from runtime.evaluate.base import Comparison, Evaluation, Judged, Seen, Terms
from runtime.plugins import load

__all__ = ["Comparison", "Judged", "Seen", "Terms", "start", "terms"]


def start(task: str, judged: Judged) -> Comparison:
    """Start comparing two executions of the model `judged` for `task`.

    Raises RequestError when there is no such task.
    """
    return _evaluation(task).start(judged)


def terms(task: str) -> Terms:
    """Return the terms in which answers to `task` are judged; RequestError when there is none."""
    return _evaluation(task).TERMS


def _evaluation(task: str) -> Evaluation:
    """Return the file of this folder that the task's module names by `EVALUATION`."""
    name = load("runtime.tasks", task).EVALUATION
    return cast(Evaluation, load("runtime.evaluate", name))

"""Numbers against a reference: one file per kind of answer, each with `start(judged)`."""

from __future__ import annotations

from runtime.evaluate.base import Comparison, Judged, Seen
from runtime.plugins import load

__all__ = ["Comparison", "Judged", "Seen", "start"]


def start(task: str, judged: Judged) -> Comparison:
    """Start comparing two executions of the model `judged` for `task`.

    The task's module says by `EVALUATION` which file of this folder judges its answers.
    Raises RequestError when there is no such task.
    """
    evaluation = load("runtime.tasks", task).EVALUATION
    comparison: Comparison = load("runtime.evaluate", evaluation).start(judged)
    return comparison

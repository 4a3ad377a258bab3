"""Numbers against a reference: one file per kind of answer, each with `start(names)`."""

from __future__ import annotations

from collections.abc import Sequence

from runtime.evaluate.base import Comparison
from runtime.plugins import load

__all__ = ["Comparison", "start"]


def start(task: str, names: Sequence[str]) -> Comparison:
    """Start comparing two models for `task` whose outputs are called `names`.

    The task's module says by `EVALUATION` which file of this folder judges its answers.
    Raises RequestError when there is no such task.
    """
    evaluation = load("runtime.tasks", task).EVALUATION
    comparison: Comparison = load("runtime.evaluate", evaluation).start(names)
    return comparison

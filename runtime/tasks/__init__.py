"""Tasks: one file per kind of answer, each with `decode(outputs, context) -> Result`
and `EVALUATION`, the file of `runtime/evaluate` that judges its answers."""

from __future__ import annotations

from runtime.plugins import load
from runtime.tasks.base import Decode, Result, TaskContext

__all__ = ["Decode", "Result", "TaskContext", "decoder"]


def decoder(task: str) -> Decode:
    """Return the decode function of the task called `task`; RequestError when there is none."""
    decode: Decode = load("runtime.tasks", task).decode
    return decode

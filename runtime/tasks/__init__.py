"""Tasks: one file per kind of answer, each with `make(decoder) -> Decode` and `EVALUATION`, the
file of `runtime/evaluate` that judges its answers; and, where results can be followed from frame
to frame, `follower() -> Follow`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from device_profiles.errors import RequestError
from runtime.plugins import load, names
from runtime.tasks.base import Decode, Follow, Result, TaskContext

__all__ = ["Decode", "Follow", "Result", "TaskContext", "decoder", "follower"]


def decoder(task: str, spec: Mapping[str, Any] | None = None) -> Decode:
    """Return what decodes the outputs for `task`; `spec` is the manifest's `decoder`.

    Raises RequestError when there is no such task, or it cannot do what `spec` says.
    """
    decode: Decode = load("runtime.tasks", task).make(spec or {})
    return decode


def follower(task: str) -> Follow:
    """Return what follows things through the results of one source; RequestError for a task whose
    results cannot be followed."""
    module = load("runtime.tasks", task)
    if not hasattr(module, "follower"):
        able = [
            name
            for name in names("runtime.tasks")
            if hasattr(load("runtime.tasks", name), "follower")
        ]
        raise RequestError(
            f"results of task {task} cannot be tracked; those of {', '.join(able) or 'none'} can"
        )
    follow: Follow = module.follower()
    return follow

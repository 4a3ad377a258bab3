"""A model that sleeps: what a pipeline runs when the work is not what is measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from runtime.contract import InputContract
from runtime.engines import Engine, EngineOptions, open_engine
from runtime.engines.null import null_model
from runtime.manifest import TensorSpec

SIDE = 224
INPUT = TensorSpec("image", "uint8", (-1, SIDE, SIDE, 3))
OUTPUT = TensorSpec("scores", "float32", (-1, 2))


@dataclass(frozen=True)
class Sleeper:
    """A classifier of two classes, as a pipeline takes it."""

    engine: Engine
    contract: InputContract = field(default_factory=lambda: InputContract(SIDE, SIDE))
    labels: tuple[str, ...] = ("zero", "one")
    task: str = "classify"
    decoder: Mapping[str, Any] = field(default_factory=dict)


def sleeping_runner(work_s: float) -> Sleeper:
    """Return a model that takes `work_s` seconds for every frame, and no CPU."""
    model = null_model((INPUT,), (OUTPUT,), delay_ms=work_s * 1000)
    return Sleeper(open_engine("null", model, EngineOptions()))

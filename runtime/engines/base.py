"""What every engine is: a loaded artifact on one provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.manifest import TensorSpec

Array = NDArray[np.generic]


@dataclass(frozen=True)
class EngineOptions:
    """How an artifact is to be run.

    `provider` must really be used or EngineError is raised. `threads` 0 lets the engine choose.
    `simulate` computes quantized operators in float exactly as the file's own QuantizeLinear and
    DequantizeLinear define them, instead of by this CPU's integer kernels: it is how the result
    on another CPU is foretold.
    """

    provider: str = "cpu"
    threads: int = 0
    simulate: bool = False


class Engine(Protocol):
    """A loaded artifact. `run` takes the inputs in order and returns the outputs in order."""

    name: str
    version: str
    provider: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once. Arrays must have the dtype and shape of `inputs`; EngineError otherwise."""

    def close(self) -> None:
        """Free what the engine holds; it cannot be used afterwards."""

"""What every engine is: a loaded artifact on one provider."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
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
    on another CPU is foretold. `alone` says that the process may be lost: an engine then needs not
    try out elsewhere first what may crash.
    """

    provider: str = "cpu"
    threads: int = 0
    simulate: bool = False
    alone: bool = False


@dataclass(frozen=True)
class Traits:
    """What is to be known of an engine before it is imported; its file states it as `TRAITS`.

    Any of `packages` (import names) is needed, which `extra` of edge-sdk installs. `in_process` are
    the providers that are plain code for the CPU: they may run in our own process once they are
    proven. Any other gets one of its own, as a driver may crash, hang, or leave the process
    unusable (CUDA error 700). `patience_s` holds, by provider, how long loading a model or its
    first run may take where that is longer than elsewhere.
    """

    packages: tuple[str, ...] = ()
    extra: str = ""
    in_process: Collection[str] = ()
    patience_s: Mapping[str, float] = field(default_factory=dict)


class Engine(Protocol):
    """A loaded artifact. `run` takes the inputs in order and returns the outputs in order."""

    @property
    def name(self) -> str:
        """The interpreter's name, as in `runtime.engines`."""

    @property
    def version(self) -> str:
        """The interpreter's version."""

    @property
    def provider(self) -> str:
        """What it really runs on."""

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once. Arrays must have the dtype and shape of `inputs`; EngineError otherwise."""

    def close(self) -> None:
        """Free what the engine holds; it cannot be used afterwards."""

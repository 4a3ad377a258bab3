"""The null engine: no interpreter, no weights, but answers that follow the input; for rehearsals.

Its model is a few lines of JSON (`null_model` writes them), so that bundles, pipelines and devices
can be tried out, and their failures provoked, without any inference package.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EngineError
from runtime.engines._check import check_inputs
from runtime.engines.base import Array, Engine, EngineOptions, Traits
from runtime.manifest import TensorSpec

NAME = "null"
TRAITS = Traits(in_process=("cpu",))
_FEATURES = 64
_LIMITS = ("fail_after", "crash_after", "hang_after", "nan_after", "wrong_after")
Floats = NDArray[np.float64]


def null_model(
    inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], **behaviour: Any
) -> bytes:
    """Return the bytes of a null model.

    The first dimension of every tensor is the batch; in inputs, -1 is any size. `behaviour` may
    hold `delay_ms` (time of a run), `providers` (those it claims to run on, `["cpu"]` when left
    out), `seed` (another seed answers differently), `noise` (added to every answer, in the
    outputs' unit) and, after how many successful runs each further one fails: by EngineError
    (`fail_after`), by the end of the process (`crash_after`), by never ending (`hang_after`), by
    answering with NaN (`nan_after`) or to another input (`wrong_after`); -1 has the process end, or
    hang, when the model is loaded.
    """
    fields = {
        "inputs": [vars(spec) for spec in inputs],
        "outputs": [vars(spec) for spec in outputs],
        **behaviour,
    }
    return json.dumps(fields, sort_keys=True).encode()


def open_engine(model: bytes, options: EngineOptions) -> Engine:
    """Load a null model; EngineError when it is not one or lacks the provider asked for."""
    return NullEngine(model, options)


class NullEngine:
    """Answers with fixed projections of the means of parts of its input."""

    name = NAME
    version = "1"

    def __init__(self, model: bytes, options: EngineOptions) -> None:
        try:
            fields = json.loads(model)
            self.inputs = _specs(fields["inputs"], least=-1)
            self.outputs = _specs(fields["outputs"], least=1)
            self._delay_s = float(fields.get("delay_ms", 0)) / 1000
            self._limits = {limit: float(fields.get(limit, math.inf)) for limit in _LIMITS}
            self._seed = int(fields.get("seed", 0))
            self._noise = float(fields.get("noise", 0))
            providers = list(fields.get("providers", ["cpu"]))
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise EngineError(f"the null engine cannot load the model: {error!r}") from error
        if options.provider not in providers:
            raise EngineError(
                f"the null model runs on {', '.join(providers)}, not on {options.provider}"
            )
        self.provider = options.provider
        self._open = True
        self._fail_if_due(-1)
        self._runs = 0

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once. Arrays must have the dtype and shape of `inputs`; EngineError otherwise."""
        if not self._open:
            raise EngineError("the null engine is closed; open it again")
        check_inputs(NAME, self.inputs, inputs)
        self._fail_if_due(self._runs)
        time.sleep(self._delay_s)
        batch = len(inputs[0])
        means: Floats = np.stack([_means(array, batch) for array in inputs]).sum(axis=0)
        if self._runs >= self._limits["nan_after"]:
            means = means * math.nan
        if self._runs >= self._limits["wrong_after"]:
            means = means[:, ::-1]
        self._runs += 1
        return [self._answer(spec, means) for spec in self.outputs]

    def close(self) -> None:
        """Refuse further runs."""
        self._open = False

    def _fail_if_due(self, runs: int) -> None:
        if runs >= self._limits["crash_after"]:
            os.abort()
        while runs >= self._limits["hang_after"]:
            time.sleep(3600)
        if runs >= self._limits["fail_after"]:
            raise EngineError("the null engine fails now, as its model says (fail_after)")

    def _answer(self, spec: TensorSpec, means: Floats) -> Array:
        shape = spec.shape[1:]
        rows, columns = np.arange(_FEATURES)[:, None], np.arange(math.prod(shape))
        # Whole numbers below 2001, the same on every machine; no generator's stream to depend on.
        mixed = rows * 7919 + columns * 104729 + rows * columns * 31 + self._seed * 613
        weights = (mixed % 2001 - 1000) / 1000
        answer = (means @ weights + self._noise).reshape(len(means), *shape)
        if np.dtype(spec.dtype).kind in "iu":
            limits = np.iinfo(spec.dtype)
            answer = np.clip(np.rint(answer), limits.min, limits.max)
        return answer.astype(spec.dtype)


def _means(array: Array, batch: int) -> Floats:
    """Return the means of 64 interleaved parts of each row, bytes about 0: float64 (batch, 64)."""
    centre = 127.5 if array.dtype == np.uint8 else 0.0
    flat = array.reshape(batch, -1).astype(np.float64) - centre
    flat = np.pad(flat, ((0, 0), (0, -flat.shape[1] % _FEATURES)))
    means: Floats = flat.reshape(batch, -1, _FEATURES).mean(axis=1)
    return means


def _specs(items: Sequence[Mapping[str, Any]], least: int) -> tuple[TensorSpec, ...]:
    """Return the tensors; ValueError when a size other than the batch is below `least`."""
    specs = tuple(
        TensorSpec(str(t["name"]), np.dtype(t["dtype"]).name, tuple(int(d) for d in t["shape"]))
        for t in items
    )
    for spec in specs:
        sizes = spec.shape[1:]
        if not spec.shape or min(sizes, default=least) < least:
            raise ValueError(f"tensor {spec.name!r} has shape {list(spec.shape)}")
        if np.dtype(spec.dtype).kind not in "biuf":
            raise ValueError(f"tensor {spec.name!r} has dtype {spec.dtype}")
    if not specs:
        raise ValueError("a model needs inputs and outputs")
    return specs

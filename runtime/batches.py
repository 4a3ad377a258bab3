"""Running a batch on an artifact that may take one picture at a time."""

from __future__ import annotations

import numpy as np

from device_profiles.errors import EngineError
from runtime.engines.base import Array, Engine


def run_batch(engine: Engine, batch: Array) -> list[Array]:
    """Return the outputs for `batch` (n, ...), each (n, ...): what row after row gives.

    The batch is run whole where the artifact's own is free (-1) or n; where it is 1, row by row.
    Raises EngineError where it is of another size, and where an output has no row for each
    picture.
    """
    count, (spec, *others) = len(batch), engine.inputs
    if others or not count or not spec.shape or spec.shape[0] not in (-1, 1, count):
        raise EngineError(
            f"{engine.name}: the model takes {[list(s.shape) for s in engine.inputs]}, which no "
            f"batch of {count} fits; export it with one input and a batch of 1"
        )
    if count == 1:
        return engine.run([batch])
    if spec.shape[0] != 1:
        outputs = engine.run([batch])
    else:
        rows = [engine.run([batch[i : i + 1]]) for i in range(count)]
        outputs = [np.concatenate(column) for column in zip(*rows, strict=True)]
    for output, declared in zip(outputs, engine.outputs, strict=True):
        if output.shape[:1] != (count,):
            raise EngineError(
                f"{engine.name}: output {declared.name!r} of {count} pictures has shape "
                f"{list(output.shape)}; a frame in tiles needs one row for each"
            )
    return outputs

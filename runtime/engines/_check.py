"""What every engine does with its inputs before it runs: compare them with the specs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from device_profiles.errors import EngineError
from runtime.engines.base import Array
from runtime.manifest import TensorSpec


def check_inputs(engine: str, specs: Sequence[TensorSpec], arrays: Sequence[Array]) -> None:
    """Raise EngineError unless `arrays` have the number, dtypes and shapes that `specs` state."""
    if len(arrays) != len(specs):
        raise EngineError(
            f"{engine}: the model takes {len(specs)} inputs, {len(arrays)} were given"
        )
    for spec, array in zip(specs, arrays, strict=True):
        if str(array.dtype) != spec.dtype or not fits(array.shape, spec.shape):
            raise EngineError(
                f"{engine}: input {spec.name!r} takes {spec.dtype} {list(spec.shape)}, "
                f"not {array.dtype} {list(array.shape)}"
            )


def fits(shape: Sequence[int], spec: Sequence[int]) -> bool:
    """Say whether `shape` is one that `spec` allows, where -1 on either side allows any."""
    return len(shape) == len(spec) and all(
        a == b or -1 in (a, b) for a, b in zip(shape, spec, strict=True)
    )


def sample_inputs(specs: Sequence[TensorSpec]) -> list[Array]:
    """Return inputs to try an engine with: noise, the same each time; free sizes are 1.

    Wide integers are zeros: they may be indices.
    """
    random = np.random.default_rng(0)
    found: list[Array] = []
    for spec in specs:
        shape, dtype = tuple(max(size, 1) for size in spec.shape), np.dtype(spec.dtype)
        if dtype.itemsize == 1 and dtype.kind in "iu":
            found.append(random.integers(0, 256, shape, np.uint8).view(dtype))
        elif dtype.kind == "f":
            found.append(random.random(shape).astype(dtype))
        else:
            found.append(np.zeros(shape, dtype))
    return found

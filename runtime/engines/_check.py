"""What every engine does with its inputs before it runs: compare them with the specs."""

from __future__ import annotations

from collections.abc import Sequence

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

"""An engine for our frames around a model that wants a picture of its own kind.

Between them lies one table of 256 entries for each channel, which normalises and quantizes exactly.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import ContractError, ModelError
from runtime.contract import InputContract
from runtime.engines import Array, Engine
from runtime.engines._check import check_inputs
from runtime.manifest import TensorSpec
from runtime.preprocess import byte_values
from runtime.tflite import Quantization, Tensor, TfliteFile

# How far, in steps of the input's quantization, the normalised bytes may lie outside of what it
# can hold: -1..1 in steps of 1/128 ends at 127/128.
_SLACK = 2.0


def picture_size(file: TfliteFile) -> tuple[int, int, int, bool]:
    """Return height, width (-1: free) and channels of the input, and whether channels come first.

    Raises ModelError where the model does not take one picture.
    """
    shape = file.inputs[0].shape if len(file.inputs) == 1 else ()
    if len(shape) == 4 and shape[3] in (1, 3):
        return shape[1], shape[2], shape[3], False
    if len(shape) == 4 and shape[1] in (1, 3):
        return shape[2], shape[3], shape[1], True
    takes = ", ".join(f"{tensor.name} {list(tensor.shape)}" for tensor in file.inputs)
    raise ModelError(
        f"the model takes {takes or 'nothing'}; only models of one picture, (1, height, width, "
        "3 or 1), can be run"
    )


class AdaptedEngine:
    """An engine that takes our frames for a model that wants its own kind of input."""

    def __init__(self, engine: Engine, contract: InputContract, file: TfliteFile) -> None:
        self._engine = engine
        self.name, self.version = engine.name, engine.version
        self.provider = engine.provider
        self.inputs: tuple[TensorSpec, ...] = (TensorSpec("frames", "uint8", (1, *contract.shape)),)
        self.outputs = engine.outputs
        self._first = picture_size(file)[3]
        self._tables = _codes(file.inputs[0], contract)
        channels = range(contract.channels)
        self._order = list(channels)[::-1] if contract.color == "RGB" else list(channels)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once on frames, uint8 (1, height, width, channels); EngineError otherwise."""
        check_inputs(self.name, self.inputs, inputs)
        frames = inputs[0]
        picture: NDArray[Any] = np.empty(frames.shape, self._tables.dtype)
        for index, source in enumerate(self._order):
            # A byte is always inside the table; "clip" spares the check.
            self._tables[index].take(frames[..., source], out=picture[..., index], mode="clip")
        if self._first:
            picture = np.ascontiguousarray(picture.transpose(0, 3, 1, 2))
        return self._engine.run([picture])

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


def _codes(tensor: Tensor, contract: InputContract) -> NDArray[Any]:
    """Return what the model takes for each of the 256 bytes, (channels, 256), in its own dtype."""
    values = byte_values(contract)
    dtype = np.dtype(tensor.dtype)
    if dtype.kind == "f":
        return values.astype(dtype)
    if dtype.kind not in "iu":
        raise ModelError(f"the model takes {tensor.dtype} for a picture; only numbers can be given")
    codes = tensor.quantization or Quantization((1.0,), (0,))
    limits = np.iinfo(dtype)
    exact = values / codes.scale[0] + codes.zero_point[0]
    if exact.min() < limits.min - _SLACK or exact.max() > limits.max + _SLACK:
        low, high = (
            (limit - codes.zero_point[0]) * codes.scale[0] for limit in (limits.min, limits.max)
        )
        raise ContractError(
            f"the preprocessing gives {values.min():.3g} to {values.max():.3g}, the model's "
            f"quantized input holds {low:.3g} to {high:.3g}; give the --preprocess that it was "
            "trained with"
        )
    return np.clip(np.rint(exact), limits.min, limits.max).astype(dtype)

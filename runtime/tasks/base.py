"""What every task is: tensors in, one frozen result out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from runtime.contract import InputContract

Array = NDArray[np.generic]


@dataclass(frozen=True)
class TaskContext:
    """What decoding may need: class labels and names of the outputs (either may be empty), the
    contract, and the frame's size in pixels."""

    labels: tuple[str, ...]
    contract: InputContract
    frame_height: int
    frame_width: int
    output_names: tuple[str, ...] = ()


class Result(Protocol):
    """A frozen value that serialises to JSON and draws itself on a BGR frame."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""

    def draw(self, image: NDArray[np.uint8]) -> None:
        """Draw the result on `image` (uint8 BGR), in place."""


class Decode(Protocol):
    """The one function of a task module: `decode(outputs, context) -> Result`."""

    def __call__(self, outputs: Sequence[Array], context: TaskContext) -> Result:
        """Decode the outputs of one frame; each array still has its batch dimension of 1."""

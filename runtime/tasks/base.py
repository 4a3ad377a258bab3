"""What every task is: tensors in, one frozen result out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import RequestError
from runtime.contract import InputContract

Array = NDArray[np.generic]


@dataclass(frozen=True)
class TaskContext:
    """What decoding may need: class labels and names of the outputs (either may be empty), the
    contract, the frame's size in pixels, and the frame itself, uint8 BGR or grey, where there is
    one."""

    labels: tuple[str, ...]
    contract: InputContract
    frame_height: int
    frame_width: int
    output_names: tuple[str, ...] = ()
    image: NDArray[np.uint8] | None = None


class Result(Protocol):
    """A frozen value that serialises to JSON and draws itself on a BGR frame."""

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""

    def draw(self, image: NDArray[np.uint8]) -> None:
        """Draw the result on `image` (uint8 BGR), in place."""


class Decode(Protocol):
    """What a task module makes: `decode(outputs, context) -> Result`."""

    def __call__(self, outputs: Sequence[Array], context: TaskContext) -> Result:
        """Decode the outputs of one frame; each array still has its batch dimension, which is 1
        unless the frame was cut into tiles."""


class Follow(Protocol):
    """Follows things from result to result of one source: `follow(result) -> Result`."""

    def __call__(self, result: Any, captured_ns: int) -> Result:
        """Return `result` with what is known from those before it."""


def refuse_decoder(task: str, decoder: Mapping[str, Any]) -> None:
    """Raise RequestError when something is said of a decoder, for a task that has none."""
    if decoder:
        raise RequestError(f"task {task} has no decoder to choose; leave {dict(decoder)} out")

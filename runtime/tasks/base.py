"""What every task is: tensors in, one frozen result out."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import RequestError
from device_profiles.nearest import hint
from runtime.contract import InputContract

Array = NDArray[np.generic]
Options = TypeVar("Options")


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


def read_options(task: str, spec: Mapping[str, Any], kind: type[Options]) -> Options:
    """Return a manifest's `decoder` as `kind`, a dataclass that checks its values.

    Raises RequestError, naming the nearest known one, for an option that there is not.
    """
    known = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in spec:
        if key not in known:
            raise RequestError(
                f"task {task} has no decoder option {key!r:.50}; {hint(str(key), known)}"
            )
    return kind(**spec)


def wrong_option(name: str, value: object, remedy: str) -> RequestError:
    """Return the error for a value that an option of a decoder cannot have."""
    return RequestError(f"decoder option {name} {value!r:.50} is not valid; {remedy}")

"""Task: what a model gives, in figures, where nothing here decodes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from runtime.drawing import letter_height, panel, shortened, text, text_width
from runtime.tasks.base import Array, Decode, TaskContext, refuse_decoder

EVALUATION = "raw"


@dataclass(frozen=True)
class Output:
    """One output in figures: over its finite values (NaN and infinities are counted apart)."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    min: float | None
    max: float | None
    mean: float | None
    not_finite: int

    def line(self) -> str:
        """Return the output as one line of text."""
        figures = "no finite value"
        if self.mean is not None:
            figures = f"min {self.min:.3g}  mean {self.mean:.3g}  max {self.max:.3g}"
        return f"{self.name} {'x'.join(map(str, self.shape))}  {figures}"


@dataclass(frozen=True)
class Raw:
    """The outputs of one frame, in the model's order."""

    outputs: tuple[Output, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {"outputs": [{**vars(o), "shape": list(o.shape)} for o in self.outputs]}

    def draw(self, image: NDArray[np.uint8]) -> None:
        """Write one line per output on `image` (uint8 BGR), in place."""
        if not self.outputs:
            return
        height = letter_height(image)
        room = image.shape[1] - 2 * height
        lines = [shortened(output.line(), room, height) for output in self.outputs]
        # A net with dozens of outputs must not hide the picture.
        lines = lines[: max(1, image.shape[0] // 2 // (2 * height))]
        widest = max(text_width(line, height) for line in lines)
        panel(image, (2 * len(lines) + 1) * height, widest + 2 * height)
        for row, line in enumerate(lines):
            text(image, line, (height, (2 * row + 2) * height), height)


def make(spec: Mapping[str, Any]) -> Decode:
    """Return `decode`; RequestError when `spec` says anything."""
    refuse_decoder("raw", spec)
    return decode


def decode(outputs: Sequence[Array], context: TaskContext) -> Raw:
    """Summarise every output."""
    names = context.output_names or tuple(f"output {i}" for i in range(len(outputs)))
    return Raw(tuple(_summary(name, array) for name, array in zip(names, outputs, strict=True)))


def _summary(name: str, array: Array) -> Output:
    values = np.asarray(array, np.float64)
    finite = values[np.isfinite(values)]
    low, high, mean = None, None, None
    if finite.size:
        low, high, mean = float(finite.min()), float(finite.max()), float(finite.mean())
    shape, dtype = tuple(array.shape), str(array.dtype)
    return Output(name, shape, dtype, low, high, mean, values.size - finite.size)

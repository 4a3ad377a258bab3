"""Float arithmetic on tensors in the words of a formula."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net

# Operators whose options class goes by another name, or that have none.
_OPTIONS = {"MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum"}


class Float:
    """Adds operators to `net`; operands are tensors that broadcast, or numbers."""

    def __init__(self, net: Net) -> None:
        self.net = net

    def __call__(self, code: str, *operands: Tensor | float) -> Tensor:
        """Add the operator called `code` in the schema and return its result."""
        tensors = [self._tensor(one) for one in operands]
        shape = np.broadcast_shapes(*(tensor.shape for tensor in tensors))
        made = self.net.temporary(shape, tensors[0].dtype)
        self.net.builder.operator(code, tensors, [made], self.options(code))
        return made

    def reduce(self, code: str, tensor: Tensor, axes: Sequence[int], keep: bool = True) -> Tensor:
        """Add a reduction over axes of the tensor, which stay with size 1 or (not `keep`) go."""
        shape = [1 if i in axes else n for i, n in enumerate(tensor.shape) if keep or i not in axes]
        made = self.net.temporary(shape, tensor.dtype)
        where = self.net.builder.constant("axes", np.array(axes, np.int32))
        options = self.net.options.ReducerOptionsT(keepDims=keep)
        self.net.builder.operator(code, [tensor, where], [made], options)
        return made

    def options(self, code: str) -> Any:
        """Return the plain options of an operator, None where it has none."""
        name = _OPTIONS.get(code, code.title().replace("_", ""))
        kind = getattr(self.net.options, f"{name}OptionsT", None)
        return None if kind is None else kind()

    def _tensor(self, one: Tensor | float) -> Tensor:
        if isinstance(one, Tensor):
            return one
        return self.net.builder.constant("number", np.array(one, np.float32))

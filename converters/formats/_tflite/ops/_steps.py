"""Steps: a function of one value, composed from operators one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net


class Steps:
    """Writes the operators of `node`: `x` is its input, and numbers stand for constants.

    `steps("ADD", steps.x, 3.0)` is a step on the way, `steps.end(...)` the last one.
    """

    def __init__(self, net: Net, node: ir.Node) -> None:
        self.net, self.node = net, node
        self.source = net.read(node)
        self.x = self.source.tensor

    def __call__(self, code: str, *operands: Tensor | float, **options: Any) -> Tensor:
        """Add an operator of float operands and return its result."""
        made = self.options(code, **options)
        return self.net.step(code, [self._tensor(one) for one in operands], self.x, made)

    def end(self, code: str, *operands: Tensor | float | None, options: Any = None) -> None:
        """Add the operator that gives the result of the node; of `x` alone if nothing is said."""
        tensors = [self._tensor(one) for one in operands or (self.x,)]
        made = options or self.options(code)
        self.net.put(self.node.outputs[0], code, tensors, self.source.perm, made)

    def options(self, code: str, **values: Any) -> Any:
        """Return the options of an operator, as the schema has them by its name."""
        name = {"MAXIMUM": "MaximumMinimum", "MINIMUM": "MaximumMinimum"}.get(
            code, code.title().replace("_", "")
        )
        kind = getattr(self.net.options, f"{name}OptionsT", None)
        return None if kind is None else kind(**values)

    def _tensor(self, one: Tensor | float | None) -> Tensor | None:
        if one is None or isinstance(one, Tensor):
            return one
        return self.net.constant(np.array(one, np.float32))


def real(node: ir.Node, name: str, default: float) -> float:
    """Return a FLOAT attribute of `node`."""
    found = node.attributes.get(name)
    return default if found is None else found.as_float()

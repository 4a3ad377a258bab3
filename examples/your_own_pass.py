"""A graph pass of your own: x ** 2, written as Pow, becomes x * x, which integer kernels know.

    edge-sdk convert MODEL --profile raspberry-pi-5 --calibration DATA -o OUT.edge \\
        --pass examples/your_own_pass.py

It runs along with the passes of the SDK until none of them changes anything, and the result is
checked like every other; `edge-sdk inspect` tells how often it fired. One file holds one pass, and
the file's name is the pass's name.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from converters.passes import Decline, Pass, is_op, make, needed, replace


class SquareToMul(Pass):
    """Turn Pow(x, 2) into Mul(x, x): the same number to the last bit."""

    after = ("constant_folding",)  # by then a computed exponent is a constant

    def rewrite(self, node: ir.Node) -> bool:
        """Rewrite one Pow: True when done, False when `node` is none, Decline with the reason."""
        if not is_op(node, "Pow"):
            return False
        value, exponent = node.inputs
        if not np.array_equal(needed(exponent, "its exponent"), 2):
            raise Decline("its exponent is not the single number 2")
        replace(node, make("Mul", [value, value], node))
        return True

"""Products of two matrices, or of many at once."""

from __future__ import annotations

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.placed import Perm, Placed, identity, same_numbers


def product(net: Net, sides: tuple[Placed, Placed], made: Tensor) -> None:
    """Add BATCH_MATMUL of two values, as they are or turned in the last two axes, to `made`."""
    (left, turn_left), (right, turn_right) = (_matrices(net, one) for one in sides)
    options = net.options.BatchMatMulOptionsT(adjX=turn_left, adjY=turn_right)
    net.builder.operator("BATCH_MATMUL", [left, right], [made], options)


def _matrices(net: Net, placed: Placed) -> tuple[Tensor, bool]:
    """Return a tensor of matrices, and whether they lie there with rows and columns exchanged."""
    rank = len(placed.perm)
    plain = identity(rank)
    turned: Perm = (*plain[:-2], rank - 1, rank - 2)
    exchanged = not same_numbers(placed.shape, placed.perm, plain) and same_numbers(
        placed.shape, placed.perm, turned
    )
    return net.arrange(placed, turned if exchanged else plain).tensor, exchanged

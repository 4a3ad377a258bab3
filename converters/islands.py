"""Islands: what an artifact of integers does not compute by integer kernels, where, and why.

Each costs its own work in float and two conversions. The plan knows of ops without a kernel; what
an engine makes of the file is asked of the engine itself, as its optimizer may leave a
DequantizeLinear, op, QuantizeLinear as it is, or hand an op to slower kernels.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from converters.produce import Product
from converters.recipe import FORMATS
from converters.work import Work, total
from runtime.engines import traits
from runtime.plugins import load


@dataclass(frozen=True)
class Island:
    """A node that no integer kernel computes, or a slower one than the others'.

    `line` is its line in the model's source, "" where nobody knows. It lies `inside` where integers
    are computed before and after it, else at an end. Its cost: the shares, from 0 to 1, that it has
    in the multiply-adds and in the activations that move.
    """

    node: str
    op: str
    line: str
    reason: str
    inside: bool
    macs_share: float
    moved_share: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values; shares are rounded to a hundredth of a percent."""
        return {
            "node": self.node,
            "op": self.op,
            **({"line": self.line} if self.line else {}),
            "reason": self.reason,
            "inside": self.inside,
            "macs_share": round(self.macs_share, 4),
            "moved_share": round(self.moved_share, 4),
        }


def islands(product: Product, arch: str) -> tuple[Island, ...]:
    """Return the islands of an artifact for a CPU of `arch`, in the order of its graph.

    There are none in an artifact of floats. An engine other than the CPU's is not asked.
    """
    if not any(work.bits < 32 for work in product.work) or not product.recipe.calibrates:
        return ()
    asked = product.recipe.provider in traits(product.recipe.engine).in_process
    writer = load(FORMATS, product.recipe.format)
    left = writer.leftovers(product.data, arch) if asked else {}
    return tuple(_found(product.work, left))


def _found(work: Sequence[Work], left: Mapping[str, str]) -> Iterable[Island]:
    macs, moved = total(work)
    within = _within(work)
    for node in work:
        reason = node.reason if node.bits == 32 else _leftover(node, left)
        if reason:
            yield Island(
                node.node,
                node.op,
                node.line,
                reason,
                node.node in within,
                node.macs / max(macs, 1),
                node.numbers / max(moved, 1),
            )


def _leftover(node: Work, left: Mapping[str, str]) -> str:
    """Return what the engine says of a node: by its name, or by that of its result."""
    results = (name for output in node.outputs for name in (output, f"{output}/exact"))
    return next((left[name] for name in (node.node, *results) if name in left), "")


def _within(work: Sequence[Work]) -> set[str]:
    """Return the nodes that have an integer node somewhere before and somewhere after them."""

    def reached(nodes: Iterable[Work], back: bool) -> set[str]:
        values: set[str] = set()
        found: set[str] = set()
        for node in nodes:
            here, there = (node.outputs, node.inputs) if back else (node.inputs, node.outputs)
            if not values.isdisjoint(here):
                found.add(node.node)
            if node.node in found or (node.bits < 32 and not node.moves):
                values.update(there)
        return found

    return reached(work, back=False) & reached(reversed(work), back=True)

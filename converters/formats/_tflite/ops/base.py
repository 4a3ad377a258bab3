"""Form: how one ONNX op is written in TFLite, and which integers LiteRT computes it on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache

import numpy as np
import onnx_ir as ir

from converters.formats._tflite.net import Net
from converters.quantize.grid import Grid
from runtime.plugins import load_all

Test = Callable[[ir.Node], bool]


def always(node: ir.Node) -> bool:
    """Say yes to every node of the op."""
    return True


def never(node: ir.Node) -> bool:
    """Say no to every node of the op."""
    return False


@dataclass(frozen=True)
class Form:
    """`write(net, node)` adds a node of the op to the file, or raises `refusal(node, why)`.

    `integer` tells which nodes have a kernel on int8 that gives its result on a grid of its own,
    and `wide` which have one on int16; `moves` which nodes only move numbers, so that they run on
    integers as they are. `keeps` says that the integer kernel gives its result on the grid of its
    (first) input. `dynamic` tells which nodes have a kernel, a fast one, that takes float beside
    int8 weights and rounds it by itself. `fixed` is the (scale, zero point) that LiteRT demands of
    the result, by dtype.
    """

    write: Callable[[Net, ir.Node], None]
    integer: Test = never
    wide: Test = never
    moves: Test = never
    keeps: bool = False
    dynamic: Test = never
    fixed: Mapping[str, tuple[float, int]] = field(default_factory=dict)


@cache
def forms() -> dict[str, Form]:
    """Return the form of every ONNX op that has one, by the op's name."""
    found: dict[str, Form] = {}
    for module in load_all("converters.formats._tflite.ops"):
        found.update(module.OPS)
    return found


def fixed_grid(form: Form, dtype: np.dtype[np.integer]) -> Grid | None:
    """Return the grid that LiteRT demands of a result, as the plan counts it (uint8 too)."""
    signed = "int8" if dtype == np.uint8 else str(dtype)
    if signed not in form.fixed:
        return None
    scale, zero = form.fixed[signed]
    return Grid(np.array(scale, np.float32), np.array(zero + 128 * (dtype == np.uint8), dtype))

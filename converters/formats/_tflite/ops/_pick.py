"""Numbers taken by where they lie along an axis: as a run, with a stride, or one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from converters.formats._tflite.builder import Tensor
from converters.formats._tflite.net import Net
from converters.formats._tflite.placed import Placed

Indices = NDArray[np.int64]


def pick(net: Net, placed: Placed, axis: int, indices: Indices) -> Placed:
    """Return what lies at `indices` (one axis, none negative) along `axis` of a value."""
    if placed.order is not None and placed.order[0] == axis:
        indices = np.argsort(placed.order[1])[indices]
        placed = replace(placed, order=None)
    run = _run(indices)
    if run is not None:
        return cut(net, placed, {axis: run})
    at = placed.axis(axis)
    shape = list(placed.tensor.shape)
    shape[at] = len(indices)
    places = net.builder.constant("indices", indices.astype(np.int32))
    made = net.like(placed.tensor, shape)
    options = net.options.GatherOptionsT(axis=at)
    net.builder.operator("GATHER", [placed.tensor, places], [made], options)
    return replace(placed, tensor=made)


def cut(net: Net, placed: Placed, runs: Mapping[int, range]) -> Placed:
    """Return the part of a value that `runs` name, by axis; nothing is added for all of it."""
    if placed.order is not None and placed.order[0] in runs:
        placed = net.settle(placed)
    tensor = placed.tensor
    full = [range(size) for size in tensor.shape]
    wanted = list(full)
    for axis, run in runs.items():
        wanted[placed.axis(axis)] = run
    if wanted == full:
        return placed
    return replace(placed, tensor=_cut(net, tensor, wanted))


def _cut(net: Net, tensor: Tensor, runs: Sequence[range]) -> Tensor:
    made = net.like(tensor, [len(run) for run in runs])
    begins = [run.start for run in runs]
    if all(run.step == 1 for run in runs):
        numbers, code, options = [begins, made.shape], "SLICE", net.options.SliceOptionsT()
    else:
        # An end of -1 would be the last place; the mask stands for "beyond the first".
        mask = sum(1 << k for k, run in enumerate(runs) if run.stop < 0)
        numbers = [begins, [run.stop for run in runs], [run.step for run in runs]]
        code, options = "STRIDED_SLICE", net.options.StridedSliceOptionsT(endMask=mask)
    constants = [net.builder.constant("cut", np.array(row, np.int32)) for row in numbers]
    net.builder.operator(code, [tensor, *constants], [made], options)
    return made


def _run(indices: Indices) -> range | None:
    """Return the range that `indices` are, None where they are none."""
    if len(indices) == 1:
        return range(int(indices[0]), int(indices[0]) + 1)
    steps = np.unique(np.diff(indices))
    if len(steps) != 1 or steps[0] == 0:
        return None
    first, step = int(indices[0]), int(steps[0])
    return range(first, first + step * len(indices), step)

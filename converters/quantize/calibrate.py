"""What flows through the float graph: ranges and channel means, over samples, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.graphs import clone, constant, name_of, to_bytes
from device_profiles.errors import DataError
from runtime.engines import Engine, EngineOptions, open_engine

Range = tuple[float, float]
Frames = NDArray[np.uint8]


@dataclass(frozen=True)
class Statistics:
    """`ranges`: smallest and largest number seen per value; `means`: per output channel, for the
    values asked for; `count`: frames seen."""

    ranges: dict[str, Range]
    means: dict[str, NDArray[np.float64]]
    count: int


def observe(model: ir.Model, frames: Iterable[Frames], mean_of: Sequence[str] = ()) -> Statistics:
    """Run `frames`, each uint8 (1, H, W, C), through the float graph and return its statistics.

    Memory does not grow with the number of frames: one frame's values are alive at a time.
    Raises DataError when there is no frame, or when a value is not finite.
    """
    engine = _open_with_all_outputs(model)
    names = [spec.name for spec in engine.outputs]
    wanted = set(mean_of)
    low = np.full(len(names), np.inf)
    high = np.full(len(names), -np.inf)
    sums: dict[str, NDArray[np.float64]] = {}
    count = 0
    for frame in frames:
        count += 1
        for i, (name, value) in enumerate(zip(names, engine.run([frame]), strict=True)):
            low[i], high[i] = min(low[i], value.min()), max(high[i], value.max())
            if name in wanted:
                sums[name] = sums.get(name, 0.0) + channel_mean(value)
    engine.close()
    if not count:
        raise DataError("calibration needs at least one frame; give a folder with images")
    bad = [n for n, a, b in zip(names, low, high, strict=True) if not np.isfinite([a, b]).all()]
    if bad:
        raise DataError(
            f"calibration found numbers that are not finite in {bad[0]}: is the model whole?"
        )
    ranges = {n: (float(a), float(b)) for n, a, b in zip(names, low, high, strict=True)}
    return Statistics(ranges, {name: total / count for name, total in sums.items()}, count)


def channel_mean(value: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the mean over all axes but 1, the channel axis, in float64."""
    axes = tuple(axis for axis in range(value.ndim) if axis != 1)
    return value.mean(axis=axes, dtype=np.float64)


def _open_with_all_outputs(model: ir.Model) -> Engine:
    model = clone(model)
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            floating = value.dtype in (None, ir.DataType.FLOAT)
            if floating and value not in outputs and name_of(value) and constant(value) is None:
                model.graph.outputs.append(value)
    return open_engine("onnxruntime", to_bytes(model), EngineOptions(simulate=True))

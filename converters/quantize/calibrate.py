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
    """`ranges`: smallest and largest number seen per float value, (0, 0) where there never was a
    number; `means`: per output channel, for the values asked for; `count`: frames seen."""

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
    ranges: dict[str, Range] = {}
    sums: dict[str, NDArray[np.float64]] = {}
    count = 0
    for frame in frames:
        count += 1
        for name, value in zip(names, engine.run([frame]), strict=True):
            if value.dtype.kind == "f":
                ranges[name] = _widened(ranges.get(name, (np.inf, -np.inf)), value)
            if name in wanted:
                sums[name] = sums.get(name, 0.0) + channel_mean(value)
    engine.close()
    if not count:
        raise DataError("calibration needs at least one frame; give a folder with images")
    ranges = {
        name: (0.0, 0.0) if low > high else (low, high) for name, (low, high) in ranges.items()
    }
    bad = [name for name, limits in ranges.items() if not np.isfinite(limits).all()]
    if bad:
        raise DataError(
            f"calibration found numbers that are not finite in {bad[0]}; check the model's weights "
            "and its preprocessing"
        )
    return Statistics(ranges, {name: total / count for name, total in sums.items()}, count)


def channel_mean(value: NDArray[np.generic]) -> NDArray[np.float64]:
    """Return the mean over all axes but 1, the channel axis, in float64."""
    axes = tuple(axis for axis in range(value.ndim) if axis != 1)
    return np.asarray(value.mean(axis=axes, dtype=np.float64))


def _widened(known: Range, value: NDArray[np.generic]) -> Range:
    # np.minimum hands NaN on; Python's min would lose it to the next frame.
    low, high = np.min(value, initial=np.inf), np.max(value, initial=-np.inf)
    return float(np.minimum(known[0], low)), float(np.maximum(known[1], high))


def _open_with_all_outputs(model: ir.Model) -> Engine:
    model = clone(model)
    outputs = set(model.graph.outputs)
    for node in model.graph:
        for value in node.outputs:
            floating = value.dtype in (None, ir.DataType.FLOAT)
            if floating and value not in outputs and name_of(value) and constant(value) is None:
                model.graph.outputs.append(value)
    return open_engine("onnxruntime", to_bytes(model), EngineOptions(simulate=True))

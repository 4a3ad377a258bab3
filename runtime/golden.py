"""The golden set: what a model must answer, replayed before a device trusts an artifact."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import BundleError, DataError
from runtime.archive import Archive, pack
from runtime.engines.base import Array, Engine
from runtime.manifest import Tolerance

MIN_FRAMES = 16

# Trained nets change by 0.1 to 1 of their largest output from one frame to the next; nets of
# random weights whose answer is their bias by 5e-4 (8 layers) and less (16 layers: 2e-7).
MIN_VARIATION = 1e-3

# Unit roundoff of fp32.
ROUNDOFF = 2.0**-24
# Higham & Mary's lambda: one sum stays within its bound with probability 1 - 2 exp(-8) = 0.9993.
CONFIDENCE = 4.0
# Two for the two executions that are compared, two for sums whose terms cancel.
SAFETY = 4.0

Outputs = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class GoldenSet:
    """Frames, and what is answered to them.

    `frames` is uint8 (N, height, width, channels) as prepared for the model. `reference` holds
    the original model's outputs by name, `artifacts` those of every rung of the ladder; each
    array is (N, ...), frame by frame. Raises DataError when the arrays do not belong together.
    """

    frames: NDArray[np.uint8]
    reference: Outputs
    artifacts: tuple[Outputs, ...]

    def __post_init__(self) -> None:
        if self.frames.dtype != np.uint8 or self.frames.ndim != 4:
            raise DataError(
                f"golden frames are uint8 (N, height, width, channels), not {self.frames.dtype} "
                f"{list(self.frames.shape)}"
            )
        for outputs in (self.reference, *self.artifacts):
            for name, array in outputs.items():
                if not array.ndim or len(array) != len(self.frames):
                    raise DataError(
                        f"golden output {name!r} has shape {list(array.shape)}; it needs one row "
                        f"for each of the {len(self.frames)} frames"
                    )
                if not np.isfinite(array).all():
                    raise DataError(f"golden output {name!r} is not finite; check the model")

    def first(self, count: int) -> GoldenSet:
        """Return the set of the first `count` frames; the arrays are views of these."""
        reference, *artifacts = (
            {name: array[:count] for name, array in outputs.items()}
            for outputs in (self.reference, *self.artifacts)
        )
        return GoldenSet(self.frames[:count], reference, tuple(artifacts))

    def to_bytes(self) -> bytes:
        """Return the set as an `.npz` file; the same set gives the same bytes."""
        groups = (self.reference, *self.artifacts)
        names = [list(group) for group in groups]
        files = {"outputs.json": json.dumps(names).encode(), "frames.npy": _encode(self.frames)}
        for i, group in enumerate(groups):
            files |= {f"{i}/{j}.npy": _encode(array) for j, array in enumerate(group.values())}
        return b"".join(pack(files))

    @classmethod
    def from_bytes(cls, data: bytes) -> GoldenSet:
        """Read what `to_bytes` wrote; BundleError when it is anything else."""
        archive = Archive(io.BytesIO(data), "golden.npz")
        try:
            names = json.loads(archive.read("outputs.json"))
            frames = _decode(archive.read("frames.npy"))
            groups = tuple(
                {str(name): _decode(archive.read(f"{i}/{j}.npy")) for j, name in enumerate(group)}
                for i, group in enumerate(names)
            )
            if len(archive.members) != 2 + sum(len(group) for group in groups):
                raise ValueError("it holds files that outputs.json does not name")
            return cls(frames.astype(np.uint8, casting="no"), groups[0], groups[1:])
        except BundleError:
            raise
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise BundleError(f"golden.npz is not a golden set: {error!r}") from error


@dataclass(frozen=True)
class Difference:
    """How far one output was from its golden one: the largest difference and the frame that has
    it, the root mean square over all frames, and the tolerance that was allowed."""

    worst: float
    frame: int
    rms: float
    tolerance: Tolerance

    @property
    def within(self) -> bool:
        """True when both differences are within the tolerance."""
        return self.worst <= self.tolerance.absolute and self.rms <= self.tolerance.rms


@dataclass(frozen=True)
class Replay:
    """The outcome of a replay; `reason` is one line, for either outcome."""

    passed: bool
    reason: str
    differences: tuple[Difference, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the outcome as JSON-ready values."""
        outputs = [
            {
                "output": d.tolerance.output,
                "worst": d.worst,
                "frame": d.frame,
                "rms": d.rms,
                "allowed": d.tolerance.absolute,
                "allowed_rms": d.tolerance.rms,
            }
            for d in self.differences
        ]
        return {"passed": self.passed, "reason": self.reason, "outputs": outputs}


def replay(engine: Engine, golden: GoldenSet, rung: int, tolerances: Sequence[Tolerance]) -> Replay:
    """Run the golden frames one by one and compare with what rung `rung` answered to them.

    Every output of the engine needs a tolerance. An output that is not finite fails at once, as
    does one of another shape. Raises EngineError when the engine fails.
    """
    expected = golden.artifacts[rung]
    names = [spec.name for spec in engine.outputs]
    allowed = {tolerance.output: tolerance for tolerance in tolerances}
    if not len(golden.frames) or not set(names) == set(expected) == set(allowed):
        return Replay(False, f"the golden set does not cover the outputs {', '.join(names)}")
    sums = {name: _Sum() for name in names}
    for frame, image in enumerate(golden.frames):
        for name, output in zip(names, engine.run([image[None]]), strict=True):
            fault = sums[name].add(frame, output, expected[name][frame : frame + 1])
            if fault:
                return Replay(False, f"frame {frame}: output {name!r} {fault}")
    differences = tuple(sums[name].difference(allowed[name]) for name in names)
    return Replay(all(d.within for d in differences), _reason(differences), differences)


def glance(
    engine: Engine, golden: GoldenSet, rung: int, tolerances: Sequence[Tolerance], count: int = 1
) -> Replay:
    """Replay the first `count` frames, as `replay` does all of them.

    What is allowed is the largest difference alone: the root mean square is that of the whole set,
    and that of a single frame may rightly be above it.
    """
    if count >= len(golden.frames):
        return replay(engine, golden, rung, tolerances)
    loose = [dataclasses.replace(t, rms=t.absolute) for t in tolerances]
    return replay(engine, golden.first(count), rung, loose)


def check_not_degenerate(reference: Outputs) -> None:
    """Raise DataError when a golden set of these outputs, each (N, ...), would prove nothing.

    Every output must change from frame to frame: the median, over neighbouring frames, of the
    largest change of an element is at least MIN_VARIATION of the largest magnitude. The median,
    because one odd frame must not vouch for the rest; changes of single elements, because a stuck
    net still differs between elements; relative to the magnitude and not to the range, because
    the range of a stuck softmax is as small as its changes. Fewer than MIN_FRAMES frames, and
    outputs that are not finite, are refused as well.
    """
    for name, array in reference.items():
        if len(array) < MIN_FRAMES:
            raise DataError(f"the golden set has {len(array)} frames; give at least {MIN_FRAMES}")
        rows = array.reshape(len(array), -1).astype(np.float64)
        if not np.isfinite(rows).all():
            raise DataError(f"the model's output {name!r} is not finite on the golden frames")
        changes = [np.abs(a - b).max(initial=0.0) for a, b in pairwise(rows)]
        scale = np.abs(rows).max(initial=0.0)
        if float(np.median(changes)) <= MIN_VARIATION * scale:
            raise DataError(
                f"the model's output {name!r} hardly varies with the input, so nothing can be "
                "proved by it; check the weights and that the images differ, or remove the output"
            )


def float_tolerance(output: str, reference: Array, length: int, layers: int) -> Tolerance:
    """Return how far two correct fp32 executions of one net may be apart in one output.

    A sum of `length` products, in whatever order, is within lambda * sqrt(length) * u of the
    exact one, relative to the sum of magnitudes (Higham & Mary, A New Approach to Probabilistic
    Rounding Error Analysis, SIAM J. Sci. Comput. 41(5), 2019, theorem 3.1); the independent
    errors of `layers` layers grow as the square root of their number. Relative to the largest
    magnitude of `reference`, times SAFETY. Measured between onnxruntime's optimisation levels and
    thread counts on six trained nets: at most a quarter of it.
    """
    scale = float(np.abs(reference).max(initial=0))
    rms = SAFETY * math.sqrt(layers * length) * ROUNDOFF * scale
    reason = (
        f"fp32 rounding of {layers} layers of sums of up to {length} products, at outputs up to "
        f"{scale:.4g} (Higham & Mary 2019, lambda {CONFIDENCE:g}, safety {SAFETY:g})"
    )
    return Tolerance(output=output, absolute=CONFIDENCE * rms, rms=rms, reason=reason)


def _encode(array: Array) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(array), (1, 0), allow_pickle=False)
    return file.getvalue()


def _decode(data: bytes) -> Array:
    """Return the array of an `.npy` file: numbers only, exactly as many as its header says."""
    file = io.BytesIO(data)
    if np.lib.format.read_magic(file) != (1, 0):
        raise ValueError("an array has another version of .npy than 1.0")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
    content = data[file.tell() :]
    size = math.prod(shape) * dtype.itemsize
    if fortran or dtype.kind not in "biuf" or min(shape, default=0) < 0 or size != len(content):
        raise ValueError("an array is not made of plain numbers, or its size lies")
    return np.frombuffer(content, dtype).reshape(shape)


class _Sum:
    """Accumulates the difference of one output over the frames."""

    def __init__(self) -> None:
        self._worst, self._frame, self._square, self._count = 0.0, 0, 0.0, 0

    def add(self, frame: int, output: Array, golden: Array) -> str:
        """Take one frame; returns what makes the output incomparable, or nothing."""
        if output.shape != golden.shape:
            return f"has shape {list(output.shape)}, the golden one {list(golden.shape)}"
        if not np.isfinite(output).all():
            return "is not finite (NaN or infinite)"
        difference = np.abs(output.astype(np.float64) - golden.astype(np.float64))
        worst = float(difference.max(initial=0.0))
        if worst > self._worst:
            self._worst, self._frame = worst, frame
        self._square += float((difference**2).sum())
        self._count += difference.size
        return ""

    def difference(self, tolerance: Tolerance) -> Difference:
        """Return what was found, beside what is allowed."""
        rms = math.sqrt(self._square / max(self._count, 1))
        return Difference(self._worst, self._frame, rms, tolerance)


def _reason(differences: Sequence[Difference]) -> str:
    for d in differences:
        if not d.within:
            return (
                f"output {d.tolerance.output!r} is off by {d.worst:.3g} in frame {d.frame} "
                f"(allowed {d.tolerance.absolute:.3g}), rms {d.rms:.3g} (allowed "
                f"{d.tolerance.rms:.3g}: {d.tolerance.reason})"
            )
    return "every output is within its tolerance"

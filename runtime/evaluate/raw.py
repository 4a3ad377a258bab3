"""How far an artifact's outputs are from the reference's, whatever they mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError, GateError
from runtime.evaluate.base import Answer, Judged, Seen, Terms

Array = NDArray[Any]

TERMS = Terms()


class Difference:
    """Running sums over pairs of arrays; memory does not grow with their number."""

    def __init__(self) -> None:
        """Start with nothing compared."""
        self.max_abs = 0.0
        self._reference = self._artifact = self._product = self._noise = 0.0

    def add(self, reference: Array, artifact: Array) -> None:
        """Compare one pair of arrays; GateError when shapes differ or a value is not finite."""
        if reference.shape != artifact.shape:
            raise GateError(
                f"the artifact's output has shape {artifact.shape}, the reference's "
                f"{reference.shape}; compare outputs of the same model and batch"
            )
        r, a = (np.asarray(x, np.float64).ravel() for x in (reference, artifact))
        for name, values in (("reference", r), ("artifact", a)):
            if not np.isfinite(values).all():
                raise GateError(f"an output of the {name} is not finite (NaN or infinity)")
        error = r - a
        self.max_abs = max(self.max_abs, float(np.abs(error).max(initial=0.0)))
        self._reference += float(r @ r)
        self._artifact += float(a @ a)
        self._product += float(r @ a)
        self._noise += float(error @ error)

    @property
    def snr_db(self) -> float:
        """Signal-to-noise ratio 10 log10(sum r^2 / sum (r - a)^2) in dB; infinite when equal."""
        if self._noise == 0:
            return math.inf
        return 10 * math.log10(self._reference / self._noise) if self._reference else -math.inf

    @property
    def cosine(self) -> float:
        """Cosine of the angle between all outputs, -1..1; 1 for two zeros, 0 for one."""
        norm = math.sqrt(self._reference) * math.sqrt(self._artifact)
        return self._product / norm if norm else float(self._reference == self._artifact)


@dataclass(frozen=True)
class OutputDifference:
    """What one output's difference comes to; `snr_db` is infinite when there is none."""

    name: str
    max_abs: float
    snr_db: float
    cosine: float

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values; an infinite ratio is null."""
        return {**vars(self), "snr_db": finite(self.snr_db)}


class RawComparer:
    """Compares every output of two models, sample by sample."""

    def __init__(self) -> None:
        """Start with nothing compared."""
        self.n = 0
        self._differences: dict[str, Difference] = {}

    def add(self, reference: Mapping[str, Array], artifact: Mapping[str, Array]) -> None:
        """Compare the outputs of one sample or batch; GateError when they do not correspond."""
        if reference.keys() != artifact.keys():
            raise GateError(
                f"the artifact's outputs are {', '.join(artifact)}, the reference's "
                f"{', '.join(reference)}; compare outputs of the same model"
            )
        for name, values in reference.items():
            self._differences.setdefault(name, Difference()).add(values, artifact[name])
        self.n += 1

    def result(self) -> tuple[OutputDifference, ...]:
        """Return the differences so far, one per output."""
        return tuple(
            OutputDifference(name, d.max_abs, d.snr_db, d.cosine)
            for name, d in self._differences.items()
        )


@dataclass(frozen=True)
class RawComparison:
    """The differences of every output over `n` samples."""

    n: int
    outputs: tuple[OutputDifference, ...]

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values: there is nothing to measure, and no answer to agree on."""
        nothing = dict.fromkeys(("metric", "reference", "artifact", "drop", "agreement"))
        return {"n": self.n, **nothing, "outputs": [output.to_json() for output in self.outputs]}


class _Named:
    """Compares outputs in their order, and calls them by name."""

    def __init__(self, names: Sequence[str]) -> None:
        self._names = tuple(names)
        self._comparer = RawComparer()

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], seen: Seen) -> None:
        named = (dict(zip(self._names, o, strict=True)) for o in (reference, artifact))
        self._comparer.add(*named)

    def result(self) -> RawComparison:
        if not self._comparer.n:
            raise DataError("a comparison needs at least one sample; the data set gave none")
        return RawComparison(self._comparer.n, self._comparer.result())


def start(judged: Judged) -> _Named:
    """Start comparing two models output by output, whatever these mean."""
    return _Named(judged.outputs)


def answer(result: Any, outputs: Sequence[Array]) -> Answer:
    """Return all outputs: nothing is known of what they mean."""
    return Answer(arrays=tuple(outputs))


def agreement(one: Answer, other: Answer) -> float:
    """Return the cosine of the outputs that differ most, 0 for a negative one; GateError where
    two models' outputs are not of the same shapes."""
    shapes = [[list(array.shape) for array in found.arrays] for found in (one, other)]
    if shapes[0] != shapes[1]:
        raise GateError(f"one has outputs of shapes {shapes[0]}, the other of {shapes[1]}")
    least = 1.0
    for first, second in zip(one.arrays, other.arrays, strict=True):
        difference = Difference()
        difference.add(first, second)
        least = min(least, difference.cosine)
    return max(least, 0.0)


def finite(value: float) -> float | None:
    """Return `value`, or None when it is infinite: JSON has no infinity."""
    return value if math.isfinite(value) else None

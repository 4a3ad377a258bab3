"""Recipe: what will be done to a model for one rung of a device, derived from its profile."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from converters.quantize.grid import WeightRule
from converters.quantize.plan import Scheme
from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from device_profiles.sections import EngineRung
from runtime.plugins import load, names

FORMATS = "converters.formats"

# What the converters can produce, fewest bits first: that is the order in which a ladder tries
# them. A profile may allow more.
PRECISIONS = ("int8", "fp16", "fp32")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of an artifact, given the model and the samples.

    `half` is how fp16 is meant: `weights` (stored) or `compute`. `pair_safe` keeps pairs of int8
    products within 16 bits, for CPUs whose kernels saturate there.
    """

    format: str
    engine: str
    provider: str
    precision: str
    activation_type: str = "uint8"
    symmetric: bool = False
    per_channel: bool = True
    pair_safe: bool = False
    half: str = "weights"
    bias_correction: bool = True

    @property
    def scheme(self) -> Scheme:
        """The integer types and rules, for the planner."""
        return Scheme(
            self.activation_type, self.symmetric, WeightRule(self.per_channel, self.pair_safe)
        )

    @property
    def calibrates(self) -> bool:
        """Whether activations become integers, whose grids samples have to show."""
        return self.precision == "int8"

    @property
    def file(self) -> str:
        """The artifact's path inside a bundle; recipes that differ only in provider share it."""
        return f"models/model.{self.precision}{load(FORMATS, self.format).SUFFIX}"

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready values, without what does not concern its precision."""
        fields = dataclasses.asdict(self)
        integer = ("activation_type", "symmetric", "per_channel", "pair_safe", "bias_correction")
        for name in integer if self.precision != "int8" else ():
            del fields[name]
        if self.precision != "fp16":
            del fields["half"]
        return fields


def recipes(profile: Profile, format_name: str = "auto", precision: str = "auto") -> list[Recipe]:
    """Return what the profile's ladder allows of the format and precision asked for, best first.

    The rungs keep the profile's order; on each, fewer bits come first. Float32 always follows on
    a rung that allows it: it is the fallback, and what the others are judged by.
    Raises RequestError when no rung allows what was asked for, naming what it does allow.
    """
    by_engine = {load(FORMATS, name).ENGINE: name for name in names(FORMATS)}
    if format_name != "auto":
        by_engine = {load(FORMATS, format_name).ENGINE: format_name}
    found = [
        _recipe(profile, rung, by_engine[rung.engine], level)
        for rung in profile.engines
        if rung.engine in by_engine
        for level in _levels(rung, precision)
    ]
    if not found or precision not in ("auto", *(recipe.precision for recipe in found)):
        raise RequestError(
            f"{profile.name} has no rung for format {format_name} at precision {precision}; "
            f"it allows {_allowed(profile)}"
        )
    return found


def _allowed(profile: Profile) -> str:
    """Say what may be asked for: formats with their precisions."""
    writers = [(name, load(FORMATS, name).ENGINE) for name in names(FORMATS)]
    found = {
        name: [p for p in PRECISIONS if any(p in r.precisions for r in rungs)]
        for name, engine in writers
        if (rungs := [rung for rung in profile.engines if rung.engine == engine])
    }
    engines = ", ".join(sorted({rung.engine for rung in profile.engines}))
    said = "; ".join(f"{name}: {', '.join(levels)}" for name, levels in found.items())
    return said or f"only engines without a format here ({engines})"


def _levels(rung: EngineRung, precision: str) -> list[str]:
    wanted = PRECISIONS if precision == "auto" else (precision, "fp32")
    return [level for level in PRECISIONS if level in rung.precisions and level in wanted]


def _recipe(profile: Profile, rung: EngineRung, format_name: str, precision: str) -> Recipe:
    wants = profile.quantization
    return Recipe(
        format=format_name,
        engine=rung.engine,
        provider=rung.provider,
        precision=precision,
        activation_type=wants.activation_type,
        symmetric=wants.symmetric_activations,
        per_channel=wants.per_channel,
        pair_safe=profile.saturates_int8_pairs or wants.reduced_range,
        half=wants.fp16,
    )

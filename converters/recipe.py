"""Recipe: what will be done to a model for one rung of a device, derived from its profile.

`auto` tries int8, fp16 and fp32 on each rung. The other precisions are made only when they are
asked for by name: each costs the time of one more artifact per rung, and they are for models that
int8 fails (`int16x8`) or that have no samples to calibrate with (`int8-dynamic`).
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from converters.quantize.grid import WeightRule
from converters.quantize.plan import Scheme
from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from device_profiles.sections import AUTOMATIC, EngineRung
from runtime.plugins import load, names

FORMATS = "converters.formats"

# What the converters can produce, fewest bits first: that is the order in which a ladder tries
# them. A profile may allow more.
PRECISIONS = ("int8", "int16x8", "int8-dynamic", "fp16", "fp32")

# The fields of a recipe that decide about one precision and not about every other.
_INTEGER = (
    *("activation_type", "symmetric", "per_channel", "pair_safe", "bias_correction", "io_type"),
)
_CONCERNS = {
    "int8": _INTEGER,
    "int16x8": _INTEGER,
    "int8-dynamic": ("per_channel",),
    "fp16": ("half",),
}


@dataclass(frozen=True)
class Recipe:
    """Everything that decides the bytes of an artifact, given the model and the samples.

    `half` is how fp16 is meant: `weights` (stored) or `compute`. `pair_safe` keeps pairs of int8
    products within 16 bits, for CPUs whose kernels saturate there. `io_type` is the
    profile's.
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
    io_type: str = "float32"

    @property
    def scheme(self) -> Scheme:
        """The integer types and rules, for the planner."""
        rule = WeightRule(self.per_channel, self.pair_safe)
        return Scheme(self.activation_type, self.symmetric, rule, self.io_type)

    @property
    def calibrates(self) -> bool:
        """Whether activations become integers, whose grids samples have to show."""
        return self.precision in ("int8", "int16x8")

    @property
    def file(self) -> str:
        """The artifact's path inside a bundle; recipes that differ only in provider share it."""
        return f"models/model.{self.precision}{load(FORMATS, self.format).SUFFIX}"

    def to_json(self) -> dict[str, Any]:
        """Return the recipe as JSON-ready values, without what does not concern its precision."""
        fields = dataclasses.asdict(self)
        some = {name for names_ in _CONCERNS.values() for name in names_}
        for name in some.difference(_CONCERNS.get(self.precision, ())):
            del fields[name]
        return fields


def recipes(profile: Profile, format_name: str = "auto", precision: str = "auto") -> list[Recipe]:
    """Return what the profile's ladder allows of the format and precision asked for, best first.

    The rungs keep the profile's order; on each, fewer bits come first. Float32 always follows on
    a rung that allows it: it is the fallback, and what the others are judged by. A precision asked
    for by name is on the first rung that is returned.
    Raises RequestError when no rung allows what was asked for, naming what it does allow.
    """
    by_engine = {load(FORMATS, name).ENGINE: name for name in names(FORMATS)}
    if format_name != "auto":
        by_engine = {load(FORMATS, format_name).ENGINE: format_name}
    found = [
        _recipe(profile, rung, by_engine[rung.engine], level)
        for rung in profile.engines
        if rung.engine in by_engine
        for level in _levels(rung, by_engine[rung.engine], precision)
    ]
    if precision != "auto":  # rungs above the first that allows it would be taken instead of it
        levels = [recipe.precision for recipe in found]
        found = found[levels.index(precision) if precision in levels else 0 :]
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
        name: [p for p in PRECISIONS if any(p in _common(r, name) for r in rungs)]
        for name, engine in writers
        if (rungs := [rung for rung in profile.engines if rung.engine == engine])
    }
    engines = ", ".join(sorted({rung.engine for rung in profile.engines}))
    said = "; ".join(f"{name}: {', '.join(levels)}" for name, levels in found.items())
    return said or f"only engines without a format here ({engines})"


def _common(rung: EngineRung, format_name: str) -> set[str]:
    """Return what both the device may run and the format can hold."""
    return {*rung.precisions} & {*load(FORMATS, format_name).PRECISIONS}


def _levels(rung: EngineRung, format_name: str, precision: str) -> list[str]:
    wanted = AUTOMATIC if precision == "auto" else (precision, "fp32")
    common = _common(rung, format_name)
    return [level for level in PRECISIONS if level in common and level in wanted]


def _recipe(profile: Profile, rung: EngineRung, format_name: str, precision: str) -> Recipe:
    wants = profile.quantization
    wide = precision == "int16x8"  # LiteRT's kernels of 16 bits know no zero point
    pairs = precision in AUTOMATIC  # only kernels of uint8 x int8 add products in pairs
    return Recipe(
        format=format_name,
        engine=rung.engine,
        provider=rung.provider,
        precision=precision,
        activation_type="int16" if wide else wants.activation_type,
        symmetric=wide or wants.symmetric_activations,
        per_channel=wants.per_channel,
        pair_safe=pairs and (profile.saturates_int8_pairs or wants.reduced_range),
        half=wants.fp16,
        io_type="float32" if wide else wants.io_type,
    )

"""Weigh by a model calibrated on the device: of instructions counted on its emulated double.

Without a calibration the limits would be as wide as the roofline's, for minutes of counting.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from device_profiles.errors import EngineError, MissingError, RequestError
from device_profiles.profile import Profile
from edge_sdk.emulation.counts import count
from edge_sdk.emulation.device import emulator
from edge_sdk.targets import Target
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.workflows.latency import Basis, basis
from edge_sdk.workflows.weigh_model import model
from edge_sdk.workflows.weight import Contender, Weight
from runtime.engines import traits
from runtime.progress import track

AFFORDABLE = 500e6
"""Multiply-adds of all contenders up to which they are counted: a few minutes at the worst, as an
emulator computes 10 to 100 million of them in a second, and runs each artifact five times."""


def emulated(profile: Profile, contenders: Sequence[Contender]) -> list[Weight]:
    """Return what calibrated counts say of each, and `model` of what cannot be counted."""
    target, ground = EmulatedTarget(f"emulated:{profile.name}", profile), basis(profile)
    modelled = model(profile, contenders)
    with tempfile.TemporaryDirectory(prefix="edge-sdk-") as folder:
        return [
            _weight(target, ground, contender, Path(folder)) or weight
            for contender, weight in zip(track(list(contenders), "counting"), modelled, strict=True)
        ]


def can_count(profile: Profile, contenders: Sequence[Contender]) -> bool:
    """Whether there is a calibration of the device, its emulator, and few enough to compute."""
    if sum(work.macs for each in contenders for work in each.work) > AFFORDABLE:
        return False
    if not basis(profile).calibrated:
        return False
    try:
        emulator(profile)
    except (MissingError, RequestError):
        return False
    return True


def _weight(target: Target, ground: Basis, contender: Contender, folder: Path) -> Weight | None:
    recipe = contender.recipe
    if recipe.provider not in traits(recipe.engine).in_process:
        return None
    path = folder / "artifact"
    path.write_bytes(contender.data)
    try:
        counted = count(target, path, f"{recipe.engine}/{recipe.provider}", runs=1)
    except (EngineError, MissingError):  # what does not run there is for the gate to tell
        return None
    found = ground.estimate(counted.inference, len(contender.data))
    doubt = ground.doubt(counted.engine, counted.version)
    how = f"modelled from counted instructions, {doubt or ground.label}"
    return Weight(found.ms, found.low, found.high, how, trusted=not doubt)

"""Weigh artifacts for a device: measured where this machine is of its kind, else modelled.

Decisions follow from it, figures do not enter the bundle: see docs/adr/0003.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from device_profiles.errors import RequestError
from device_profiles.profile import Profile
from edge_sdk.workflows.ways import check_way
from edge_sdk.workflows.weigh_emulated import can_count, emulated
from edge_sdk.workflows.weigh_measure import another_kind, measure
from edge_sdk.workflows.weigh_model import model
from edge_sdk.workflows.weight import Contender, Weigher, Weight
from runtime.host import host


def weigh(profile: Profile, contenders: Sequence[Contender], way: str = "auto") -> list[Weight]:
    """Return the weight of each contender on the device, in order.

    RequestError where `measure` is asked for on a machine of another kind.
    """
    check_way(way)
    if way == "none":
        return [Weight.unknown("it was not asked for")] * len(contenders)
    if len(contenders) < 2 and profile.budget.latency_ms is None:
        return [Weight.unknown("there is nothing to weigh it against")] * len(contenders)
    return _weigher(profile, contenders, way)(profile, contenders)


def _weigher(profile: Profile, contenders: Sequence[Contender], way: str) -> Weigher:
    foreign = another_kind(profile, host())
    if way == "measure" and foreign:
        raise RequestError(
            f"{profile.name} cannot be measured here: {foreign}; leave --weigh out, or measure "
            "there: edge-sdk bench BUNDLE --on TARGET"
        )
    if way == "auto" and foreign and can_count(profile, contenders):
        return emulated
    if way == "model" or foreign:
        return model
    return partial(measure, anew=way == "measure")

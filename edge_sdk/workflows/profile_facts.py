"""Workflow: a device profile as a page that says of each fact what it changes."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from device_profiles.profile import Profile
from device_profiles.sections import (
    Accelerator,
    Cluster,
    EngineRung,
    Figure,
    Hardware,
    Pin,
)
from edge_sdk.report import Report, Table
from edge_sdk.workflows.profile_effects import FEATURES, effect, on_cpu

Row = tuple[str, str, str]

_COLUMNS = ("fact", "value", "what it changes")
_MIB = 1024


def explain(profile: Profile) -> Report:
    """Return the page of `profile`: a table for each of its sections that says anything."""
    sections = (
        ("The machine", _section(profile.hardware, profile)),
        ("Its system", _section(profile.software, profile)),
        ("The ladder of engines, best first", _ladder(profile)),
        ("How numbers are stored", _section(profile.quantization, profile)),
        ("Camera", _section(profile.camera, profile)),
        ("Budget", _section(profile.budget, profile)),
        ("Cost", _section(profile.cost, profile)),
        ("Emulation", _emulation(profile)),
    )
    tables = tuple(Table(name, _COLUMNS, rows) for name, rows in sections if rows)
    return Report(f"{profile.title} ({profile.name})", summary(profile), tables)


def summary(profile: Profile) -> str:
    """Return one sentence of what the device is and what is done for it first."""
    first = profile.engines[0]
    where = "its CPU" if on_cpu(first) else first.provider
    return (
        f"{cores(profile)} {profile.hardware.arch} cores, {memory(profile)}; first "
        f"{first.engine} on {where} is tried, then {len(profile.engines) - 1} more. Profile "
        f"{profile.digest[:12]}."
    )


def cores(profile: Profile) -> str:
    """Return the number of cores: "4", or "4+4" of big and little ones."""
    hardware = profile.hardware
    return f"{hardware.big_cores}" + f"+{hardware.little_cores}" * bool(hardware.little_cores)


def memory(profile: Profile) -> str:
    """Return the memory in words, such as "512 MiB" or "8 GiB"."""
    size = profile.hardware.memory_mb
    if size is None:
        return "memory not known"
    return f"{size} MiB" if size < _MIB or size % _MIB else f"{size // _MIB} GiB"


def emulatable(profile: Profile) -> str:
    """Return whether an emulator has the device's CPU: "yes", "stand-in" or "no"."""
    emulation = profile.emulation
    if emulation.cpu is None:
        return "no"
    return "stand-in" if emulation.stands_in else "yes"


def ladder(profile: Profile) -> str:
    """Return the engines in their order, each with its providers: "onnxruntime (cuda, cpu)"."""
    providers: dict[str, list[str]] = {}
    for rung in profile.engines:
        providers.setdefault(rung.engine, []).append(rung.provider)
    return ", ".join(f"{engine} ({', '.join(found)})" for engine, found in providers.items())


def _section(section: Any, profile: Profile) -> tuple[Row, ...]:
    return tuple(
        row for field in dataclasses.fields(section) for row in _rows(section, field, profile)
    )


def _rows(section: Any, field: dataclasses.Field[Any], profile: Profile) -> Iterator[Row]:
    """Yield the rows of a field: one, one for each of several things, or none when not known."""
    value, kind = getattr(section, field.name), type(section)
    if isinstance(section, Hardware) and field.name == "features":
        yield from _features(section)
    elif isinstance(value, tuple) and value and dataclasses.is_dataclass(value[0]):
        for item in value:
            yield _item(item, effect(kind, field.name, item, profile))
    elif value is False or value not in (None, (), 0):
        name = field.name.removesuffix("_mb").replace("_", " ")
        yield name, _said(field.name, value), effect(kind, field.name, value, profile)


def _said(name: str, value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, tuple):
        return ", ".join(value)
    if isinstance(value, float):
        return f"{value:g}"
    return f"{value} MiB" if name.endswith("_mb") else str(value)


def _features(hardware: Hardware) -> Iterator[Row]:
    known = FEATURES[hardware.arch]
    for name, (there, missing) in known.items():
        if name in hardware.features:
            yield name, "yes", there
        elif missing:
            yield name, "no", missing


def _item(item: Any, changes: str) -> Row:
    """Return the row of one thing of several."""
    if isinstance(item, Accelerator):
        return "accelerator", item.name, changes
    if isinstance(item, Cluster):
        return "cores", _cluster(item), changes
    if isinstance(item, Pin):
        return f"pin {item.package}", item.specifier, item.reason
    assert isinstance(item, Figure)
    threads = f", {item.threads} threads" if item.threads else ""
    what = f"{item.model}, {item.precision}, {item.engine}{threads}"
    return what, f"{item.latency_ms:g} ms", changes


def _cluster(cluster: Cluster) -> str:
    lowest = f"{cluster.min_mhz} to " if cluster.min_mhz else ""
    text = f"{cluster.cores}x {cluster.name}, {lowest}{cluster.max_mhz} MHz"
    caches = {
        "L1d": cluster.l1d_kb,
        "L1i": cluster.l1i_kb,
        "L2": cluster.l2_kb,
        "L3": cluster.l3_kb,
    }
    sizes = [f"{name} {size}" for name, size in caches.items() if size]
    return f"{text}; KiB: {', '.join(sizes)}" if sizes else text


def _ladder(profile: Profile) -> tuple[Row, ...]:
    rows = []
    for number, rung in enumerate(profile.engines, start=1):
        changes = effect(EngineRung, "precisions", rung.precisions, profile)
        if not on_cpu(rung):
            changes += f"; {effect(EngineRung, 'provider', rung.provider, profile)}"
        rows.append((f"rung {number}", f"{rung.engine} on {rung.provider}", changes))
    return tuple(rows)


def _emulation(profile: Profile) -> tuple[Row, ...]:
    if profile.emulation.cpu is None:
        return (("cpu", "none", "no emulator stands for it: check and bench it on the machine"),)
    return _section(profile.emulation, profile)

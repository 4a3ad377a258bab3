"""A flash as a report: what changed, what each step took, what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from edge_sdk.report import Gate, Report, Table
from edge_sdk.shipping.carriers import Delivered, Medium, Sent
from edge_sdk.workflows.cells import percent

if TYPE_CHECKING:  # it needs numpy, and a rollback does not
    from edge_sdk.shipping.parcel import Parcel

SHORT = 12
"""How much of an id is shown."""

_MS = "golden run, ms"
NO_CLOCK = "the seconds are an emulator's, and say nothing of the device"
_CHANGED = ("what", "before", "now")
_STEPS = ("step", "seconds")
Rows = tuple[tuple[str, Any, Any], ...]


@dataclass(frozen=True)
class Flashed:
    """A flash that held: what was sent, the journal of the device before and after, and the steps
    as (name, seconds). What an `emulated` device timed is not shown."""

    uri: str
    parcel: Parcel
    steps: Sequence[tuple[str, float]]
    told: Mapping[str, Mapping[str, Any]]
    sent: Sequence[Sent]
    before: Mapping[str, Any]
    state: Mapping[str, Any]
    notes: Sequence[str]
    emulated: bool = False


def flash_report(done: Flashed) -> Report:
    """Return what a flash did."""
    release = done.parcel.release
    old = done.before.get("current")
    new = done.state["current"]
    known = done.state["releases"]
    before = {**done.before["releases"], **known}.get(old, {}) if old else {}
    seconds = sum(step[1] for step in done.steps)
    sent = sum(one.bytes_out for one in done.sent)
    runs = done.told.get("health", {})
    serves = f"; {runs['results']} results, it serves" if runs.get("results") else ""
    return Report(
        title=f"{release.name} on {done.uri}",
        summary=(
            f"release {new[:SHORT]} runs on {known[new]['rung']}, in {seconds:.1f} s, "
            f"{sent / 1e6:.2f} MB sent{serves}."
        ),
        tables=(
            Table("What changed", _CHANGED, _rows(done, _changed(old, before, new, known[new]))),
            Table("Steps", _STEPS, tuple(done.steps)),
        ),
        gates=tuple(_gates(done)),
        facts={
            "uri": done.uri,
            "release": new,
            "replaces": old,
            "bytes_sent": sent,
            "bytes_received": sum(one.bytes_in for one in done.sent),
            "seconds": round(seconds, 3),
            "steps": [dict(zip(_STEPS, row, strict=True)) for row in done.steps],
            "told": done.told,
            "now": known[new],
            "before": before,
            "needs": asdict(release.needs),
        },
        notes=(*done.notes, *_refused(done), *_step_notes(done), *_clock(done)),
    )


def _rows(done: Flashed, rows: Rows) -> Rows:
    """Return the rows without what an emulator's clock said."""
    return tuple(row for row in rows if not (done.emulated and row[0] == _MS))


def _clock(done: Flashed) -> list[str]:
    return [NO_CLOCK] if done.emulated else []


def _changed(old: str | None, before: Mapping[str, Any], new: str, now: Mapping[str, Any]) -> Rows:
    def row(name: str, value: Any) -> tuple[str, Any, Any]:
        return name, value(before) if before else None, value(now)

    return (
        ("release", old[:SHORT] if old else None, new[:SHORT]),
        row("bundle", lambda f: f"{f.get('name')} {str(f.get('bundle'))[:SHORT]}"),
        row("signed", signed),
        row("runs", lambda f: f.get("rung")),
        row("engine", lambda f: f"{f.get('engine')} {f.get('engine_version')}"),
        row("provider", lambda f: f.get("provider")),
        row("lost, points or dB", lambda f: _figure(f.get("accuracy", {}).get("drop"))),
        row("agreement, %", _percent),
        row(_MS, lambda f: _figure(f.get("ms"))),
        row("size, MB", lambda f: round(f.get("size", 0) / 1e6, 2)),
    )


def signed(facts: Mapping[str, Any]) -> str:
    """Return who signed a release, and as what."""
    if not facts.get("channel"):
        return "not by a trusted key"
    return f"{facts['signed_by']}: {facts['channel']} {facts['version']}"


def _figure(value: Any) -> float | None:
    if isinstance(value, Mapping):  # with its interval
        value = value.get("value")
    return round(float(value), 3) if isinstance(value, (int, float)) else None


def _percent(facts: Mapping[str, Any]) -> str | None:
    agreement = facts.get("accuracy", {}).get("agreement")
    return percent(agreement) if agreement else None


def _gates(done: Flashed) -> list[Gate]:
    found = [
        Gate(f"golden set, {rung['label']}", bool(rung["passed"]), _rung(done, rung))
        for rung in done.told.get("golden", {}).get("rungs", ())
        if rung["passed"]
    ]
    canary = done.told.get("shadow", {})
    if canary.get("frames"):
        found.append(Gate("canary", True, _canary(canary)))
    health = done.told.get("health")
    if health is not None:
        detail = f"{health['results']} results within {health['first_s']:.1f} s"
        found.append(Gate("health", True, detail))
    return found


def _rung(done: Flashed, rung: Mapping[str, Any]) -> str:
    ms = "" if done.emulated else f", {rung['ms']:.3g} ms a run"
    return f"reproduced on the device{ms}"


def _canary(found: Mapping[str, Any]) -> str:
    ms = found["ms"]
    return (
        f"agrees with the release before it on {found['agreement']:.1%} of {found['judged']} of "
        f"{found['frames']} frames of {found['source']}; {ms['new']:.3g} ms a run, {ms['old']:.3g} "
        "before"
    )


def _refused(done: Flashed) -> list[str]:
    """Say which rungs the device does not have, or has refused."""
    rungs = done.told.get("golden", {}).get("rungs", ())
    return [f"not on {rung['label']}: {rung['reason']}" for rung in rungs if not rung["passed"]]


def _step_notes(done: Flashed) -> list[str]:
    steps = ("shadow", "service")
    return [str(note) for step in steps for note in done.told.get(step, {}).get("notes", ())]


def delivery_report(
    medium: Medium, parcel: Parcel, done: Delivered, notes: Sequence[str]
) -> Report:
    """Return what was laid on a medium, and what is to be done with it."""
    release = parcel.release
    return Report(
        title=f"{release.name} on {medium.uri}",
        summary=(
            f"release {release.id[:SHORT]} lies in {done.folder}: {done.files} files, "
            f"{done.bytes / 1e6:.1f} MB, in {done.seconds:.1f} s. Nothing runs yet: the device "
            "verifies and installs it when it starts."
        ),
        facts={"uri": medium.uri, "release": release.id, "folder": str(done.folder)},
        notes=(*notes, *done.notes),
    )

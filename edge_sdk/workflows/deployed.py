"""Workflows on what a device runs: status, rollback, logs, uninstall."""

from __future__ import annotations

import time
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from device_profiles.errors import ReleaseError
from edge_sdk.report import Report, Table
from edge_sdk.shipping.carriers import Carrier, open_live
from edge_sdk.shipping.device_wheel import DeviceWheel
from edge_sdk.shipping.session import Session
from edge_sdk.workflows.flash_report import NO_CLOCK, SHORT, signed
from runtime.progress import step

_EVENTS = 12
_RESIDENT = "agent"
# The agent that is there is asked; to make the wheel of what runs here takes a tenth of a second.
_NO_WHEEL = DeviceWheel(Path("none.whl"), "none.whl", "0" * 64, 0, "0")


def status(to: str) -> Report:
    """Return what a device runs, what it holds and what happened to it.

    Raises ReleaseError where nothing was flashed there, EngineError where it is not reached.
    """
    with closing(open_live(to)) as carrier:
        return _status_report(carrier.uri, _asked(carrier, "status"))


def rollback(to: str) -> Report:
    """Let a device go back to the release before; ReleaseError where there is none, or it fails.

    The report's fact `seconds` is from the call to results.
    """
    start = time.monotonic()
    with closing(open_live(to)) as carrier:
        before = time.monotonic()
        state = _asked(carrier, "rollback")
        end = time.monotonic()
    now = state["releases"].get(state["current"], {})
    was = state["releases"].get(state["previous"], {})
    rows = (
        ("release", _short(state["previous"]), _short(state["current"])),
        ("bundle", was.get("name"), now.get("name")),
        ("runs", was.get("rung"), now.get("rung")),
    )
    return Report(
        title=f"Rolled back on {to}",
        summary=(
            f"release {_short(state['current'])} serves again, {end - start:.2f} s after the call "
            f"({end - before:.2f} s of it on the device)."
        ),
        tables=(Table("What changed", ("what", "before", "now"), rows),),
        facts={"seconds": round(end - start, 3), "state": state},
        notes=() if carrier.profile is None else (NO_CLOCK,),
    )


def logs(to: str, lines: int = 100) -> list[str]:
    """Return the last lines that a device's service wrote."""
    with closing(open_live(to)) as carrier:
        return [str(line) for line in _asked(carrier, "logs", str(lines))]


def uninstall(to: str) -> Report:
    """Take all of Edge SDK off a device; ReleaseError where it does not let us."""
    with closing(open_live(to)) as carrier:
        found = _asked(carrier, "uninstall")
    left = ", ".join(found["left"])
    return Report(
        title=f"Uninstalled from {to}",
        summary=f"{found['root']} is gone." if not left else f"{found['root']} still has {left}.",
        facts=found,
    )


def _asked(carrier: Carrier, command: str, *words: str) -> Any:
    """Give the resident agent a command and return its answer."""
    seat = carrier.look(_NO_WHEEL)
    if not seat.resident:
        raise ReleaseError(f"nothing was flashed to {carrier.uri} ({seat.root}); flash a bundle")
    process = carrier.run([command, seat.root, *words], _RESIDENT)
    with closing(Session(process, carrier.uri, _told)) as session:
        return session.finish()


def _told(message: Mapping[str, Any]) -> None:
    if message.get("state") == "begin":
        step(f"{message.get('step')} ...")


def _status_report(uri: str, found: Mapping[str, Any]) -> Report:
    state, running = found["state"], found["running"]
    known = state["releases"]
    service, stats = found["service"], found["stats"]
    events = tuple(
        (_when(event["at"]), event["what"], _short(event["release"]), event["reason"])
        for event in state["events"][-_EVENTS:]
    )
    newest = sorted(known, key=lambda i: -float(known[i].get("at", 0.0)))
    tables = [Table("Releases", _COLUMNS, tuple(_release_row(i, known, state) for i in newest))]
    if events:
        tables.append(Table("Events", ("when", "what", "release", "why"), events))
    return Report(
        title=f"{uri}: {found['root']}",
        summary=_summary(known.get(running, {}), running, service, stats, state["trial"]),
        tables=tuple(table for table in tables if table.rows),
        facts=found,
        notes=tuple(_status_notes(found)),
    )


_COLUMNS = ("release", "is", "bundle", "runs", "signed", "flashed")


def _release_row(
    identity: str, known: Mapping[str, Any], state: Mapping[str, Any]
) -> tuple[Any, ...]:
    facts, trial = known[identity], state["trial"] or {}
    place = (
        "on trial" if identity == trial.get("release")
        else "current" if identity == state["current"]
        else "previous" if identity == state["previous"]
        else "kept"
    )  # fmt: skip
    return (
        _short(identity), place, facts.get("name"), facts.get("rung"), signed(facts),
        _when(facts.get("at", 0.0)),
    )  # fmt: skip


def _summary(
    facts: Mapping[str, Any],
    running: str | None,
    service: Mapping[str, Any],
    stats: Mapping[str, Any],
    trial: Any,
) -> str:
    if running is None:
        return "nothing is flashed."
    does = "runs" if service["running"] else f"does not run ({service['reason'] or 'stopped'})"
    if not facts.get("run"):
        does = "is installed, with nothing to run"
    said = f"{facts.get('name')}, release {_short(running)}, {does}"
    if service["running"] and stats:
        engine = stats.get("engine", {})
        said += (
            f": {stats.get('results', 0)} results since it was started, on "
            f"{engine.get('label') or engine.get('name', '')}"
        )
    return f"{said}{' (on trial)' if trial else ''}."


def _status_notes(found: Mapping[str, Any]) -> list[str]:
    notes = [f"started again {found['service']['restarts']} times"] if (
        found["service"]["restarts"]
    ) else []  # fmt: skip
    trusted = ", ".join(f"{key['name']} ({key['id']})" for key in found["keys"])
    anybody = f"trusts {trusted}" if trusted else "trusts any bundle; pin a key: flash --pin"
    notes.append(found.get("doubt") or anybody)  # an agent of before has no word for it
    notes.append(f"supervised by {found['service']['kind']}")
    return notes


def _short(identity: str | None) -> str:
    return (identity or "")[:SHORT]


def _when(at: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))

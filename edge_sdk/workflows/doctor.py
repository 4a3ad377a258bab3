"""Workflow: what is wrong with a machine, with the line that mends it."""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_profiles.errors import EngineError
from device_profiles.profile import Profile
from edge_sdk.looks.base import Finding
from edge_sdk.report import Gate, Report, Table
from edge_sdk.targets import Start, Target, open_target

PATIENCE_S = 300.0
"""How long the looks may take on a machine: some providers compile their kernels for a minute."""

EMULATED_PATIENCE_S = 900.0
"""The same where the CPU is an emulator's."""

_LOCAL = "local"
_UNSEEN = (
    "Disk, memory, clocks, cameras and the board are not looked at: an emulator shows its host's."
)


def doctor(root: Path = Path("/"), on: str = _LOCAL, profile: Profile | None = None) -> Report:
    """Look at a machine; a fault is a failed gate.

    `on` is the address of the target that is looked at, `profile` what it is meant to be (default:
    what the target says of itself), `root` where its /sys, /proc and /dev are. EngineError where
    its Python does not start or does not answer, and what opening the target raises.
    """
    target = open_target(on)
    try:
        meant = profile or target.profile
        request = {
            "root": str(root),
            "folder": os.getcwd() if on == _LOCAL else None,
            "profile": meant and {"name": meant.name, **meant.to_json()},
            "emulated": target.emulated,
            "local": on == _LOCAL,
        }
        findings = _look(target, request)
        notes = (*target.notes, *((_UNSEEN,) if target.emulated else ()))
    finally:
        target.close()
    return _report(on, findings, notes, meant)


def _report(
    on: str, findings: list[Finding], notes: tuple[str, ...], profile: Profile | None
) -> Report:
    faults = [finding for finding in findings if finding.level == "fault"]
    notable = sum(finding.level == "note" for finding in findings)
    rows = tuple((f.name, f.level, f.detail, f.remedy) for f in findings)
    where = "This machine" if on == _LOCAL else on
    return Report(
        title="Doctor" if on == _LOCAL else f"Doctor: {on}",
        summary=f"{len(faults)} faults and {notable} notes in {len(findings)} findings.",
        tables=(Table(where, ("what", "", "found", "what to do"), rows),),
        charts=(),
        gates=tuple(Gate(f.name, False, f"{f.detail}: {f.remedy}") for f in faults),
        facts={
            "target": on,
            "profile": profile.name if profile else None,
            "findings": [vars(finding) for finding in findings],
        },
        notes=notes,
    )


def _look(target: Target, request: Mapping[str, Any]) -> list[Finding]:
    """Return what the target's own Python finds."""
    process = target.start(["-m", "edge_sdk.looks", json.dumps(request)], Start(bare=True))
    patience_s = EMULATED_PATIENCE_S if target.emulated else PATIENCE_S
    said, words, late = _hear(process, patience_s)
    try:
        found = json.loads((said.splitlines() or [""])[-1])["findings"]
        return [Finding(**finding) for finding in found]
    except (ValueError, KeyError, TypeError) as error:
        if late:
            raise EngineError(
                f"{target.uri} did not finish within {patience_s:.3g} s; see that it is not "
                "overloaded"
            ) from error
        raise EngineError(
            f"the Python of {target.uri} does not get as far as the doctor (code "
            f"{process.returncode}){words}; start it there by hand and see what it prints"
        ) from error


def _hear(process: subprocess.Popen[bytes], patience_s: float) -> tuple[str, str, bool]:
    """Return what a process writes until it ends, its last words, and whether it had to be ended.

    Its standard input stays open meanwhile: a target may end with that.
    """
    assert process.stdin and process.stdout and process.stderr
    errors = process.stderr
    late = threading.Event()
    printed: list[bytes] = []

    def end() -> None:
        late.set()
        process.kill()

    timer = threading.Timer(patience_s, end)
    listener = threading.Thread(target=lambda: printed.append(errors.read()), daemon=True)
    timer.start()
    listener.start()
    try:
        said = process.stdout.read().decode(errors="replace")
        process.wait()
    finally:
        timer.cancel()
        if process.poll() is None:  # interrupted
            process.kill()
        listener.join(2.0)
        for pipe in (process.stdin, process.stdout, process.stderr):
            pipe.close()
    lines = b"".join(printed).decode(errors="replace").strip().splitlines()
    return said, f": {lines[-1].strip()[:300]}" if lines else "", late.is_set()

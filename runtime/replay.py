"""Replay a bundle's golden set here, rung by rung: `python -m runtime.replay BUNDLE [OPTIONS]`.

Each `--source URI` that it is to run on must be one. Prints one JSON line: `rungs` (label, passed,
reason, absent, ms), `chosen` (what would run, as `Ladder.status`), or `error`. Rungs on plain CPU
code must all pass; one on a driver may be refused, which is told, where another runs.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from device_profiles.errors import EdgeError, EngineError, MissingError
from runtime.bundle import Bundle, open_bundle
from runtime.demand import parse_demand
from runtime.engines import traits
from runtime.ladder import LadderOptions, open_ladder
from runtime.rungs import Rungs
from runtime.sources import check_source


def replay_all(path: Path, options: LadderOptions) -> dict[str, Any]:
    """Return what became of every rung, and which is taken; EdgeError where none may be."""
    with open_bundle(path) as bundle:
        rungs = [_tried(bundle, rung, options) for rung in range(len(bundle.manifest.artifacts))]
        failed = [r for r in rungs if r["plain"] and not (r["passed"] or r["absent"])]
        if failed:
            return {
                "rungs": rungs,
                "chosen": {},
                "error": "; ".join(f"{r['label']}: {r['reason']}" for r in failed),
            }
        # What was just proven need not be proven again.
        with closing(open_ladder(bundle, replace(options, cached=True))) as ladder:
            return {"rungs": rungs, "chosen": ladder.status()}


def _tried(bundle: Bundle, rung: int, options: LadderOptions) -> dict[str, Any]:
    artifact = bundle.manifest.artifacts[rung]
    found: dict[str, Any] = {"label": artifact.label, "passed": False, "absent": False, "ms": None}
    reason = ""
    try:
        found["plain"] = artifact.provider in traits(artifact.engine).in_process
        opened = Rungs(bundle, options).open(rung, doubted=True)
    except MissingError as error:
        reason, found["absent"] = str(error), True
    except EngineError as error:
        reason = str(error)
    else:
        opened.engine.close()
        found |= {"passed": True, "ms": round(opened.verdict.ms, 4)}
    return {"plain": False, **found, "reason": reason}


def main(arguments: Sequence[str] | None = None) -> int:
    """Replay and print; the exit code is 1 where the bundle may not run here."""
    parser = argparse.ArgumentParser(prog="runtime.replay")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--provider", default="auto")
    parser.add_argument("--source", action="append", default=[])
    asked = parser.parse_args(arguments)
    found: dict[str, Any] = {"rungs": [], "chosen": {}}
    try:
        for source in asked.source:  # what could never be opened is no reason to switch
            check_source(source)
        options = LadderOptions(demand=parse_demand(asked.provider), threads=asked.threads)
        found = replay_all(asked.bundle, options)
    except EdgeError as error:
        found["error"] = str(error)
    sys.stdout.write(json.dumps(found) + "\n")
    return 1 if "error" in found else 0


if __name__ == "__main__":
    sys.exit(main())

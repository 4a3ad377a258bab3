"""Workflow: what does a bundle cost on an emulated device, in instructions, and is it more now?

Instructions are exact and repeatable where wall time under an emulator means nothing. They are not
milliseconds: a load that misses the cache costs as many as one that hits it.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from device_profiles.errors import EngineError, MissingError, RequestError
from edge_sdk.emulation.counts import THREADS, Cost, count
from edge_sdk.report import Bar, Bars, Gate, Report, Table
from edge_sdk.targets import Target, open_target
from edge_sdk.targets.emulated import EmulatedTarget
from edge_sdk.workflows.cost_baseline import by_name, gates, increase, read_cost_file, require_same
from edge_sdk.workflows.latency import Basis, basis, estimated
from runtime.bundle import Bundle, open_bundle
from runtime.manifest import Artifact
from runtime.progress import step, track

FLOAT = "fp32"
"""The precision that the others are weighed against."""


@dataclass(frozen=True)
class CostOptions:
    """`runs` counted inferences per rung, of which the median counts.

    `against` is an earlier bundle, counted now as well, or a file of an earlier cost;
    `max_increase`, in percent, makes the comparison a gate.
    """

    runs: int = 5
    against: Path | None = None
    max_increase: float | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.runs <= 1000:
            raise RequestError(f"{self.runs} runs cannot be counted; ask for 1 to 1000")
        if self.max_increase is not None and self.against is None:
            raise RequestError(
                "--max-cost-increase needs something to compare with: add --against and an earlier "
                "bundle or COST.json"
            )


@dataclass(frozen=True)
class Counted:
    """A rung and what it costs, or why that cannot be told."""

    artifact: Artifact
    cost: Cost | None
    fault: str = ""


def cost(bundle: str | Path, target_uri: str, options: CostOptions | None = None) -> Report:
    """Count what every rung of a bundle costs on an emulated device.

    A rung that does not run there is a failed gate with its reason, EngineError when none does;
    RequestError for a target that is not emulated, and for a comparison with what was counted on
    another CPU, with other wheels or another number of threads.
    """
    options = options or CostOptions()
    target = open_target(target_uri)
    try:
        if not isinstance(target, EmulatedTarget):
            raise RequestError(
                f"{target_uri} cannot count instructions; use --on with an emulated device, such "
                "as emulated:raspberry-pi-4b"
            )
        return _compared(Path(bundle), target, options)
    finally:
        target.close()


def _compared(path: Path, target: EmulatedTarget, options: CostOptions) -> Report:
    where, before = str(options.against), None
    if options.against is not None and _is_file_of_cost(options.against):
        before = read_cost_file(options.against)
        require_same(before, _device(target), where)  # before minutes of counting
    facts, counted = _counted(path, target, options)
    if options.against is not None and before is None:
        before, _ = _counted(options.against, target, options)
    judged = [
        Gate(each.artifact.label, each.cost is not None, each.fault or "counted")
        for each in counted
    ]
    if before is not None:
        require_same(before, facts, where)
        if options.max_increase is not None:
            judged += gates(before, facts, options.max_increase, where)
    return _report(facts, before, judged, target)


def _is_file_of_cost(path: Path) -> bool:
    return path.suffix.lower() == ".json"


def _counted(
    path: Path, target: EmulatedTarget, options: CostOptions
) -> tuple[dict[str, Any], list[Counted]]:
    """Count every rung of a bundle; as many at once as the target has lanes."""
    with open_bundle(path) as bundle:
        about, rungs = _about(bundle), bundle.manifest.artifacts
    step(f"counting {path.name} on {target.uri}")
    target.device  # noqa: B018 - built once, before the lanes ask for it
    with ThreadPoolExecutor(target.lanes) as lanes:
        waiting = [lanes.submit(_one, target, path, i, options) for i in range(len(rungs))]
        found = [future.result() for future in track(waiting, "counting")]
    counted = [
        Counted(rung, *each) if isinstance(each, tuple) else Counted(rung, each)
        for rung, each in zip(rungs, found, strict=True)
    ]
    if all(each.cost is None for each in counted):
        raise EngineError(f"{path}: no rung runs on {target.uri}: {counted[0].fault}")
    artifacts = [_fields(each) for each in counted if each.cost is not None]
    return {"kind": "cost", **_device(target), **about, "artifacts": artifacts}, counted


def _one(target: Target, path: Path, rung: int, options: CostOptions) -> Cost | tuple[None, str]:
    try:
        return count(target, path, rung, options.runs)
    except MissingError:
        raise  # what is missing here, no rung can do without
    except EngineError as error:
        return None, str(error)


def _about(bundle: Bundle) -> dict[str, Any]:
    return {"bundle": {"id": bundle.id, "name": bundle.manifest.name}}


def _device(target: EmulatedTarget) -> dict[str, Any]:
    """Return what a count depends on beside the model."""
    emulation = target.profile.emulation
    return {
        "target": target.uri,
        "profile": target.profile.name,
        "cpu": emulation.cpu,
        "wheels": target.lock.digest,
        "python": f"Debian {emulation.debian}",
        "threads": THREADS,
    }


def _fields(counted: Counted) -> dict[str, Any]:
    assert counted.cost is not None
    artifact = counted.artifact
    return {
        "artifact": artifact.label,
        "precision": artifact.precision,
        "size_bytes": artifact.file.size,
        **counted.cost.to_json(),
    }


def _report(
    facts: Mapping[str, Any],
    before: Mapping[str, Any] | None,
    judged: list[Gate],
    target: EmulatedTarget,
) -> Report:
    rungs = facts["artifacts"]
    first = rungs[0]
    bars = tuple(
        Bar(r["artifact"], r["inference"]["total"] / 1e6, highlight=r is first) for r in rungs
    )
    notes = (
        "instructions are not milliseconds: a CPU runs several at once, and waits for memory; "
        "what they are good for is comparing versions of one model on one CPU",
        "counted with one thread, on one frame, warm; loading and the first inference apart",
        *target.notes,
    )
    name, cpu = facts["bundle"]["name"], facts["cpu"]
    return Report(
        title=f"{name} on an emulated {cpu}",
        summary=f"{first['artifact']}: {first['inference']['total'] / 1e6:.2f} million "
        "instructions per inference.",
        tables=(_totals(rungs, before, basis(target.profile)), _classes(rungs)),
        charts=(Bars("Instructions per inference", "millions", bars),),
        gates=tuple(judged),
        facts={**facts, "against": None if before is None else before["bundle"]},
        notes=notes,
    )


def _totals(
    rungs: list[Mapping[str, Any]], before: Mapping[str, Any] | None, ground: Basis
) -> Table:
    old = {} if before is None else by_name(before)
    floats = {r["engine"]: r["inference"]["total"] for r in rungs if r["precision"] == FLOAT}
    columns = ["artifact", "million instructions", "of fp32", "MB moved", "runs differ, %",
               "load, millions", "first run, millions"]  # fmt: skip
    note = "of fp32: of the same engine"
    estimates = [estimated(ground, rung) for rung in rungs]
    if any(estimates):
        columns.append("estimate, ms")
        note += f"; the estimate is of one thread, {ground.label}"
    if before is not None:
        columns.insert(2, "before, %")
    rows = []
    for rung, guess in zip(rungs, estimates, strict=True):
        total, base = rung["inference"]["total"], floats.get(rung["engine"])
        more = increase(old.get(rung["artifact"]), rung)
        row: list[Any] = [
            rung["artifact"],
            round(total / 1e6, 3),
            None if base is None else round(total / base, 2),
            round(sum(rung["inference"]["bytes"].values()) / 1e6, 2),
            round(100 * rung["spread"], 3),
            round(rung["load"]["total"] / 1e6, 1),
            round(rung["first"]["total"] / 1e6, 1),
        ]
        if any(estimates):
            row.append(guess)
        if before is not None:
            row.insert(2, None if more is None else f"{more:+.2f}")
        rows.append(tuple(row))
    return Table("Cost of an inference", tuple(columns), tuple(rows), note)


def _classes(rungs: list[Mapping[str, Any]]) -> Table:
    """Return millions by class, of the classes that any rung has more than a thousand of."""
    kinds = [each["inference"]["instructions"] for each in rungs]
    used = [name for name in kinds[0] if any(kind[name] > 1000 for kind in kinds)]
    rows = tuple(
        (rung["artifact"], *(round(kind[name] / 1e6, 3) for name in used))
        for rung, kind in zip(rungs, kinds, strict=True)
    )
    columns = ("artifact", *(name.replace("_", " ") for name in used))
    return Table("Instructions by class, millions", columns, rows)

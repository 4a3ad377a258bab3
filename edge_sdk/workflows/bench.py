"""Workflow: how fast, how heavy, how soon ready are bundles or files on a target?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from device_profiles.errors import BundleError, EngineError, MissingError, RequestError
from edge_sdk.report import Gate, Report
from edge_sdk.targets import Target, open_target
from edge_sdk.targets._engine import RemoteEngine
from edge_sdk.targets._session import Session
from edge_sdk.workflows.bench_card import against, read_card, require_same
from edge_sdk.workflows.bench_entrants import Entrant, model_file, rungs, told_apart
from edge_sdk.workflows.bench_figures import Latency, Ratio, marks_of, marks_of_machine
from edge_sdk.workflows.bench_measure import (
    STARTS,
    Flow,
    Start,
    Timed,
    flows,
    give,
    look,
    start_once,
    started,
    time_in_turns,
)
from edge_sdk.workflows.bench_options import BenchOptions
from edge_sdk.workflows.bench_report import bench_report
from edge_sdk.workflows.bench_result import Found, Opened, Timing
from runtime.bundle import Bundle, opened
from runtime.model_file import is_model_file
from runtime.progress import step

Given = str | Path | Bundle


def bench(bundles: Given | Sequence[Given], options: BenchOptions | None = None) -> Report:
    """Time every rung of bundles that a target can open, interleaved in one run.

    A bundle may be a .tflite file, which is timed as it is, on noise of its input's own kind. All
    runs in processes of the target: what is timed in one that stays, the rungs in turns; cold
    start and memory in new ones. A rung that does not open is a failed gate with its reason;
    EngineError when none does. A run that was disturbed is marked, never shown as good.
    RequestError for an emulated target, whose clock says nothing of the device, and for a card of
    another machine to compare with.
    """
    options = options or BenchOptions()
    given = [bundles] if isinstance(bundles, (str, Path, Bundle)) else list(bundles)
    if not given:
        raise RequestError("there is nothing to time; name a bundle or a .tflite file")
    with ExitStack() as kept:
        target = kept.enter_context(closing(open_target(options.on or "local")))
        if target.emulated:
            raise RequestError(
                f"{target.uri} is emulated: no clock there says anything of the device; count its "
                "instructions with --cost"
            )
        entrants: list[Entrant] = []
        for each in given:
            if is_model_file(each):
                entrants.append(model_file(Path(str(each)), options.provider))
            else:
                entrants += rungs(kept.enter_context(opened(each)))
        return _bench(target, told_apart(entrants), options)


def _bench(target: Target, entrants: Sequence[Entrant], options: BenchOptions) -> Report:
    card = read_card(options.against) if options.against else None
    with Session(target) as session:
        machine, before = session.about(), look(session)
        if card is not None and options.against is not None:
            setting = {"threads": options.threads, "governor": before.get("governor")}
            require_same(card, machine, setting, options.against)
        starts, faults = _started(target, entrants, options.threads)
        engines = _opened(session, starts, options.threads, faults)
        if not engines:
            first = entrants[0]
            raise EngineError(f"{first.model.path}: no rung opens on {target.uri}: {faults[first]}")
        timed = time_in_turns(session, list(engines.values()), options.runs)
    timings = [
        _timing(timed, column, entrant, engine, starts[entrant])
        for column, (entrant, engine) in enumerate(engines.items())
    ]
    looks = (before, *timed.looks)
    marks = tuple(marks_of_machine(looks, machine["cores"]))
    found = Found(target.uri, machine, options, timed, looks, marks, tuple(timings))
    if options.throughput:
        found = _with_throughput(target, found)
    if card is not None and options.against is not None:
        found = _with_card(found, card, options.against)
    gates = [
        Gate(e.label, e not in faults, faults.get(e, "opened on the provider asked for"))
        for e in entrants
    ]
    return bench_report(found, gates)


def _started(
    target: Target, entrants: Sequence[Entrant], threads: int
) -> tuple[dict[Entrant, Start], dict[Entrant, str]]:
    """Return the cold starts of each, and why others did not start: the first is their trial."""
    probes: dict[Entrant, list[Mapping[str, float]]] = {entrant: [] for entrant in entrants}
    faults: dict[Entrant, str] = {}
    for turn in range(STARTS):
        for entrant in list(probes):
            if turn == 0:
                step(f"cold start of {entrant.label}")
            try:
                probes[entrant].append(start_once(target, entrant, threads))
            except EngineError as error:
                faults[entrant] = str(error)
                del probes[entrant]
    return {entrant: started(found) for entrant, found in probes.items()}, faults


def _opened(
    session: Session, entrants: Mapping[Entrant, Start], threads: int, faults: dict[Entrant, str]
) -> dict[Entrant, RemoteEngine]:
    """Open all in one process and send what they are given; adds to `faults` where one fails."""
    engines = {}
    for entrant in entrants:
        try:
            engine = entrant.open(session, threads)
        except BundleError:
            raise
        except (EngineError, MissingError, RequestError) as error:
            if session.closed:
                raise
            faults[entrant] = str(error)
        else:
            give(session, engine, entrant)
            engines[entrant] = engine
    return engines


def _timing(
    timed: Timed, column: int, entrant: Entrant, engine: RemoteEngine, start: Start
) -> Timing:
    took = timed.took[:, column]
    return Timing(
        entrant=entrant,
        opened=Opened(engine.name, engine.version, engine.provider, dict(engine.placement)),
        latency=Latency.of(took),
        start=start,
        marks=tuple(marks_of(took)),
        ratio=Ratio.paired(took, timed.took[:, 0]) if column else None,
    )


def _with_throughput(target: Target, found: Found) -> Found:
    """Measure it in a process of its own: of many engines, a small machine may have no room."""
    known: dict[Entrant, list[Flow]] = {timing.entrant: [] for timing in found.timings}
    notes = found.notes
    try:
        with Session(target) as session:
            for entrant, flow in flows(session, list(known), found.machine["cores"] or 1):
                known[entrant].append(flow)
    except EngineError as error:
        notes = (*notes, f"the throughput ends early: {error}")
    timings = tuple(replace(t, flows=tuple(known[t.entrant])) for t in found.timings)
    return replace(found, timings=timings, notes=notes)


def _with_card(found: Found, card: Mapping[str, Any], where: Path) -> Found:
    """Compare each artifact with itself in the card; RequestError as of `against`."""
    ratios = against(card, found.facts(), where)
    pairs = zip(found.timings, ratios, strict=True)
    notes = [f"{where} is of {card.get('made')}: what was not done in turns may differ by itself"]
    doubts = card.get("condition", {}).get("marks") or []
    notes += [f"DOUBTFUL, {where}: {mark}" for mark in doubts]
    timings = tuple(replace(timing, against=ratio) for timing, ratio in pairs)
    return replace(found, timings=timings, notes=(*found.notes, *notes))

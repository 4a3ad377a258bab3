"""Who is compared in a check: the artifacts of a bundle, here or on a target."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from dataclasses import field as field_
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EngineError, MissingError
from edge_sdk.report import Gate
from edge_sdk.targets import open_target
from edge_sdk.targets._crew import Crew
from edge_sdk.workflows.measure import Array, Asked
from edge_sdk.workflows.proof import notes_of, opened_there, prove, rungs_of
from edge_sdk.workflows.reference import runner
from runtime.batches import run_batch
from runtime.bundle import Bundle
from runtime.engines import Engine, EngineOptions
from runtime.golden import Replay, replay
from runtime.host import host
from runtime.worker import open_tried

HERE = "here"


@dataclass(frozen=True)
class Contender:
    """One artifact at one place: what asks it, its golden replay (None where that is of no
    account), and why it is simulated where it is. `where` is empty where there is one place."""

    rung: int
    ask: Asked
    replay: Replay | None
    why_simulated: str = ""
    where: str = ""


@dataclass(frozen=True)
class Field:
    """All contenders, those that count first; the gates of rungs that never came to be one, what
    there is to say, the facts of the target, and how many frames to ask about ahead."""

    contenders: tuple[Contender, ...]
    gates: tuple[Gate, ...] = ()
    notes: tuple[str, ...] = ()
    target: Mapping[str, Any] = field_(default_factory=dict)
    ahead: int = 0


@contextmanager
def contending_here(bundle: Bundle, precisions: Collection[str] = ()) -> Iterator[Field]:
    """Yield one rung per file, on this machine's kernels where these are fit to judge by."""
    with ExitStack() as stack:
        rungs = rungs_of(bundle, precisions)
        yield Field(tuple(_contender(bundle, rung, stack) for rung in rungs))


def _contender(bundle: Bundle, rung: int, stack: ExitStack) -> Contender:
    """Open a rung on this machine's kernels, if these reproduce the golden set.

    Where they do not, and this is another architecture than the device's, that says nothing about
    the device: the artifact is then computed as its file defines it. On the device's own
    architecture it is a fault, and the golden gate fails; as it is where a bundle does not say
    for which architecture it was made.
    """
    here = host().arch
    foreign = bundle.manifest.profile.get("arch", here) != here
    try:
        engine, verdict = _native(bundle, rung, stack)
    except (EngineError, MissingError) as error:
        if not foreign:
            raise
        reason = str(error)
    else:
        if verdict.passed or not foreign:
            return Contender(rung, runner(engine), verdict)
        engine.close()
        reason = verdict.reason
    engine = bundle.open_engine(rung, EngineOptions(simulate=True), open_tried)
    stack.callback(engine.close)
    tolerances = bundle.manifest.golden.tolerances[rung]
    return Contender(
        rung, runner(engine), replay(engine, bundle.golden(), rung, tolerances), reason
    )


def _native(bundle: Bundle, rung: int, stack: ExitStack) -> tuple[Engine, Replay]:
    asked = EngineOptions(bundle.manifest.artifacts[rung].provider)
    engine = bundle.open_engine(rung, asked, open_tried)
    stack.callback(engine.close)
    return engine, replay(engine, bundle.golden(), rung, bundle.manifest.golden.tolerances[rung])


@contextmanager
def contending_there(
    bundle: Bundle, uri: str, beside: bool = True, precisions: Collection[str] = ()
) -> Iterator[Field]:
    """Yield every rung that could be proven or refuted on the target at `uri`; and `beside` them
    what this machine's own kernels make of the same files, which counts for nothing.

    Raises EngineError where no rung of the bundle can be tried there.
    """
    with ExitStack() as stack:
        target = stack.enter_context(closing(open_target(uri)))
        crew = stack.enter_context(Crew(target))
        about = crew.submit(lambda member: member.about()).result()
        proofs = prove(bundle, crew, rungs_of(bundle, precisions))
        found = [_on(bundle, crew, p.rung, p.replay) for p in proofs if p.replay]
        gates = [p.gate for p in proofs if p.gate and not p.replay]
        notes = [f"{p.label} was not tried on {uri}: {p.absent}" for p in proofs if p.absent]
        if not found and not gates:
            raise EngineError(f"{bundle.path}: nothing of it can be tried: {'; '.join(notes)}")
        if beside:
            found += [c for p in proofs if (c := _beside(bundle, p.rung, stack))]
            notes.append(
                f"what is computed {HERE} is by this machine's own kernels, for comparison: it is "
                "no gate, and says nothing of the device"
            )
        facts = {"uri": uri, "emulated": target.emulated, "about": about}
        lines = (*notes_of(bundle, target), *notes)
        yield Field(tuple(found), tuple(gates), lines, facts, 2 * crew.size)


def _on(bundle: Bundle, crew: Crew, rung: int, verdict: Replay) -> Contender:
    opened = opened_there(bundle, rung)

    def ask(frame: NDArray[np.uint8]) -> Future[list[Array]]:
        return crew.submit(lambda member: run_batch(opened(member), frame))

    return Contender(rung, ask, verdict, where=crew.target.uri)


def _beside(bundle: Bundle, rung: int, stack: ExitStack) -> Contender | None:
    try:
        engine, _ = _native(bundle, rung, stack)
    except (EngineError, MissingError):  # this machine need not be able to run it
        return None
    return Contender(rung, runner(engine), None, where=HERE)

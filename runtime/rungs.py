"""The rungs of a bundle's ladder, each opened with the proof that it works here."""

from __future__ import annotations

import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from device_profiles.errors import EdgeError, EngineError, MissingError, RequestError, missing
from runtime.bundle import Bundle
from runtime.demand import Demand
from runtime.engines import Engine, EngineOptions, traits
from runtime.golden import glance, replay
from runtime.host import fingerprint, installed
from runtime.manifest import Tolerance
from runtime.verdicts import Verdict, Verdicts, cache_folder

if TYPE_CHECKING:  # a start whose verdicts are known needs no process
    from runtime.worker import Worker

RECHECK_MS = 50.0
"""What may be spent on golden frames when a rung is opened whose verdict is known: one frame at the
least, which warms the engine up as well. It shows an engine that is another one in this process."""

PAYS = 1.1
"""How many times as long as plain code for the CPU a rung may take: two medians of 16 runs on a
busy machine are that far apart by chance."""

GRACE_S, GRACE_RUNS = 2.0, 20.0
"""A run in a worker may take two seconds (a machine that swaps) and 20 times its slowest golden run
(a throttled one) before it counts as hanging."""


@dataclass(frozen=True)
class LadderOptions:
    """How rungs are chosen and opened.

    `threads` 0 lets the engine choose. `isolate` keeps every rung in a process of its own, not
    only those on drivers. `cached` lets verdicts of earlier starts count. `patience_s` bounds
    each answer of a rung that is being proven, None for what its engine says. A rung that was
    dropped in mid-run is tried again after `cooldown_s`, which doubles. Every `recheck_s` a golden
    frame goes in between, since a device may come to answer wrong without another sign.
    """

    demand: Demand = field(default_factory=Demand)
    threads: int = 0
    isolate: bool = False
    cached: bool = True
    patience_s: float | None = None
    cooldown_s: float = 30.0
    recheck_s: float = 60.0


@dataclass(frozen=True)
class Opened:
    """A rung that runs, the verdict on it, and whether it has a process of its own."""

    engine: Engine
    verdict: Verdict
    isolated: bool


class Rungs:
    """Opens the rungs of an open bundle; for use from any thread."""

    def __init__(self, bundle: Bundle, options: LadderOptions) -> None:
        self._bundle, self._options = bundle, options
        self._artifacts = bundle.manifest.artifacts
        self._here = fingerprint()
        self._since = time.time()
        self._verdicts = Verdicts(bundle.id, cache_folder() if options.cached else None)

    def open(self, rung: int, doubted: bool = False) -> Opened:
        """Return a rung that reproduced its golden outputs on this machine, and pays.

        It is proven in a child process, unless that was done before and is not `doubted`. Raises
        EngineError, or MissingError for a package, with the reason when it is refused, and
        BundleError when the model is not what the manifest says.
        """
        self._require_installed(rung)
        known = None if doubted else self._known(rung)
        if known is None:
            return self._proven(rung)
        self._require_good(rung, known)
        try:
            return self._opened(rung, known)
        except (EngineError, MissingError):  # what was known is no longer so
            return self._proven(rung)

    def remembered(self, rung: int) -> bool:
        """Whether an earlier start refused the rung, and that would still count."""
        try:
            self._require_installed(rung)
        except EdgeError:
            return False
        known = self._known(rung)
        return known is not None and bool(known.reason) and known.at < self._since

    def _proven(self, rung: int) -> Opened:
        verdict, worker = self._prove(rung)
        if worker is None:
            raise EngineError(verdict.reason)
        if self._isolated(rung):
            try:
                self._require_good(rung, verdict)
            except BaseException:
                worker.close()
                raise
            worker.run_s = _deadline_s(verdict.slowest_ms)
            return Opened(worker, verdict, isolated=True)
        worker.close()  # before the model is in memory a second time
        return self._opened(rung, verdict)

    def _prove(self, rung: int) -> tuple[Verdict, Worker | None]:
        """Replay the golden set in a child process, and return the verdict with the healthy one."""
        with ExitStack() as stack:
            try:
                worker = stack.enter_context(closing(self._worker(rung)))
                golden = self._bundle.golden()
                start = time.perf_counter()
                worker.run([golden.frames[:1]])  # it also sets up what is used by all
                worker.run_s = _deadline_s(1e3 * (time.perf_counter() - start))
                found = replay(worker, golden, rung, self._tolerances(rung))
                reason = "" if found.passed else found.reason
            except (EngineError, MissingError) as error:
                reason = str(error)
            if reason:
                verdict = Verdict(reason, at=time.time())
            else:
                times = [t[0 if self._isolated(rung) else 1] for t in list(worker.times_ms)[1:]]
                verdict = Verdict("", float(np.median(times)), max(times), time.time())
                stack.pop_all()
            self._verdicts.put(rung, self._key(rung), verdict)
            return verdict, None if reason else worker

    def _opened(self, rung: int, verdict: Verdict) -> Opened:
        """Open a rung of which the verdict is known, and see that it still holds."""
        isolated = self._isolated(rung)
        engine = self._worker(rung) if isolated else self._in_process(rung)
        with ExitStack() as stack:
            stack.callback(engine.close)
            frames = max(1, int(RECHECK_MS / max(verdict.ms, 1e-3)))
            found = glance(engine, self._bundle.golden(), rung, self._tolerances(rung), frames)
            if not found.passed:
                raise EngineError(f"it was healthy in another process, and here {found.reason}")
            stack.pop_all()
        if isolated:
            engine.run_s = _deadline_s(verdict.slowest_ms)
        return Opened(engine, verdict, isolated)

    def _worker(self, rung: int) -> Worker:
        from runtime.worker import PATIENCE_S, Worker

        artifact, patience_s = self._artifacts[rung], self._options.patience_s
        if patience_s is None:
            patience_s = traits(artifact.engine).patience_s.get(artifact.provider, PATIENCE_S)
        opened_by = partial(Worker, load_s=patience_s)
        worker: Any = self._bundle.open_engine(rung, self._asked(rung), opened_by)
        worker.run_s = patience_s
        found: Worker = worker
        return found

    def _in_process(self, rung: int) -> Any:
        return self._bundle.open_engine(rung, self._asked(rung))

    def _asked(self, rung: int) -> EngineOptions:
        return EngineOptions(self._artifacts[rung].provider, self._options.threads)

    def _tolerances(self, rung: int) -> tuple[Tolerance, ...]:
        return self._bundle.manifest.golden.tolerances[rung]

    def _plain(self, rung: int) -> bool:
        artifact = self._artifacts[rung]
        return artifact.provider in traits(artifact.engine).in_process

    def _isolated(self, rung: int) -> bool:
        return self._options.isolate or not self._plain(rung)

    def _known(self, rung: int) -> Verdict | None:
        return self._verdicts.get(rung, self._key(rung))

    def _key(self, rung: int) -> dict[str, Any]:
        """Return all that the verdict on a rung depends on, beside the bundle (and its profile)."""
        artifact = self._artifacts[rung]
        return {
            "files": installed(traits(artifact.engine).packages),
            "here": self._here,
            "isolated": self._isolated(rung),
            "threads": self._options.threads,
        }

    def _require_installed(self, rung: int) -> None:
        """Raise EngineError or MissingError for what is seen without importing an interpreter."""
        try:
            found = traits(self._artifacts[rung].engine)
        except (RequestError, ImportError) as error:  # of an engine that another package adds
            raise EngineError(" ".join(str(error).split())) from error
        if found.packages and not installed(found.packages):
            raise missing(found.packages[0].replace("_", "-"), found.extra)

    def _require_good(self, rung: int, verdict: Verdict) -> None:
        """Raise EngineError for a rung that is not healthy, or slower than plain code."""
        if verdict.reason:
            raise EngineError(verdict.reason)
        if self._plain(rung) or self._options.demand.provider == self._artifacts[rung].provider:
            return
        for other in range(rung + 1, len(self._artifacts)):
            rival = self._plain_verdict(other)
            if rival is not None and verdict.ms > PAYS * rival.ms:
                raise EngineError(
                    f"it is slower here: {verdict.ms:.3g} ms a run, {rival.ms:.3g} ms for "
                    f"{self._artifacts[other].label}; ask for its provider to have it all the same"
                )
            if rival is not None:
                return

    def _plain_verdict(self, rung: int) -> Verdict | None:
        """Return the verdict on a healthy rung of plain code; None for any other."""
        try:
            self._require_installed(rung)
        except EdgeError:
            return None
        if not self._plain(rung):
            return None
        verdict = self._known(rung)
        if verdict is None:
            verdict, worker = self._prove(rung)
            if worker is not None:
                worker.close()
        return None if verdict.reason else verdict


def _deadline_s(slowest_ms: float) -> float:
    return GRACE_S + GRACE_RUNS * slowest_ms / 1e3

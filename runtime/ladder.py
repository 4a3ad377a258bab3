"""The ladder of a bundle as one engine: it runs on the best rung that is proven here.

What a rung was refused or dropped for is kept, logged and told; nothing falls back in silence.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from device_profiles.errors import BundleError, EdgeError, EngineError, MissingError
from runtime.bundle import Bundle, open_bundle
from runtime.engines import Array, Engine
from runtime.engines._check import check_inputs
from runtime.golden import glance
from runtime.manifest import TensorSpec
from runtime.rungs import LadderOptions, Opened, Rungs

__all__ = ["Drop", "Ladder", "LadderOptions", "Refusal", "open_ladder"]

RETRIES = 3
"""How often a rung that was dropped is tried again before it is left alone."""

_LOG = logging.getLogger("edge_sdk.ladder")


@dataclass(frozen=True)
class Refusal:
    """A rung that was not taken, by its index and label, and the reason."""

    rung: int
    label: str
    reason: str


@dataclass(frozen=True)
class Drop:
    """A rung that failed while it ran: its index and label, the reason, and when (`time.time`)."""

    rung: int
    label: str
    reason: str
    at: float


def open_ladder(bundle: str | Path | Bundle, options: LadderOptions | None = None) -> Ladder:
    """Return an engine that runs on the first rung of a bundle that is proven here, and pays.

    A bundle given as a path is closed with the ladder; an open one has to stay open as long, since
    a rung may have to be opened while another runs. Raises EngineError, with every reason, when
    no rung that `options.demand` allows is healthy, RequestError when it names a provider that the
    bundle has no rung for, and BundleError when a file is not what the manifest says.
    """
    options = options or LadderOptions()
    if isinstance(bundle, Bundle):
        return Ladder(bundle, options)
    own = open_bundle(bundle)
    try:
        return Ladder(own, options, owned=True)
    except BaseException:
        own.close()
        raise


class Ladder:
    """An engine that is a whole ladder. `run` may be called from one thread, the rest from any.

    `rung` is the index of the one that runs, `label` its name, `refusals` and `drops` the others;
    `bundle` is whose they are. A rung that fails in mid-run (it says so, crashes, hangs, answers
    wrong) is dropped, and the run is done again on the next: no frame is lost. It is proven
    anew after a pause, in the background, and taken back when it is healthy.
    """

    def __init__(self, bundle: Bundle, options: LadderOptions, owned: bool = False) -> None:
        self.bundle, self._options, self._owned = bundle, options, owned
        self._artifacts = bundle.manifest.artifacts
        self._order = options.demand.order([a.provider for a in self._artifacts])
        self._rungs = Rungs(bundle, options)
        self._refused: dict[int, str] = {}
        self._dropped: set[int] = set()
        self._retried: dict[int, int] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._risen: tuple[int, Opened] | None = None
        self._not_finite = 0
        self._recheck_at = time.monotonic() + options.recheck_s
        self.drops: tuple[Drop, ...] = ()
        self._active = self._next()

    @property
    def rung(self) -> int:
        """The index of the rung that runs."""
        return self._active[0]

    @property
    def label(self) -> str:
        """The name of the rung that runs."""
        return self._artifacts[self.rung].label

    @property
    def name(self) -> str:
        """The engine that runs."""
        return self._engine.name

    @property
    def version(self) -> str:
        """Its version."""
        return self._engine.version

    @property
    def provider(self) -> str:
        """The provider that it really runs on."""
        return self._engine.provider

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `run` takes."""
        return self._engine.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `run` returns."""
        return self._engine.outputs

    @property
    def refusals(self) -> tuple[Refusal, ...]:
        """The rungs that were tried and not taken, in the order of the ladder."""
        found = sorted(dict(self._refused).items())
        return tuple(Refusal(rung, self._artifacts[rung].label, why) for rung, why in found)

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once, on the next rung where the first fails. EngineError when none is left."""
        if self._closed.is_set():
            raise EngineError("the ladder is closed; open it again")
        self._rise()
        while True:
            check_inputs(self.name, self.inputs, inputs)  # the caller's fault, not the rung's
            try:
                return self._answer(inputs)
            except (EngineError, BundleError) as error:
                self._drop(str(error))

    def status(self) -> dict[str, Any]:
        """Return what runs and what does not, as JSON-ready values; times are Unix seconds."""
        rung, opened = self._active
        return {
            "name": opened.engine.name,
            "version": opened.engine.version,
            "provider": opened.engine.provider,
            "rung": rung,
            "label": self._artifacts[rung].label,
            "isolated": opened.isolated,
            "proven_ms": round(opened.verdict.ms, 4),
            "demand": str(self._options.demand),
            "refused": [asdict(refusal) for refusal in self.refusals],
            "drops": [asdict(drop) for drop in self.drops],
            "not_finite": self._not_finite,
        }

    def close(self) -> None:
        """Close the rung that runs, and the bundle where the ladder opened it."""
        self._closed.set()
        with self._lock:
            risen, self._risen = self._risen, None
        if risen is not None:
            risen[1].engine.close()
        self._engine.close()
        if self._owned:
            self.bundle.close()

    @property
    def _engine(self) -> Engine:
        return self._active[1].engine

    def _answer(self, inputs: Sequence[Array]) -> list[Array]:
        """Run the active rung; EngineError where that shows that it is broken."""
        if time.monotonic() >= self._recheck_at:
            self._recheck("")
        outputs = self._engine.run(inputs)
        if _finite(outputs):
            return outputs
        self._recheck("it answers with NaN or infinity, and ")
        if not self._not_finite:  # it is the model that answers so, on whatever it runs
            text = "the model answers with NaN or infinity; see what its input is"
            self._log(logging.WARNING, "not_finite", self.rung, text)
        self._not_finite += 1
        return outputs

    def _recheck(self, before: str) -> None:
        """Raise EngineError unless the active rung still answers a golden frame as it should."""
        tolerances = self.bundle.manifest.golden.tolerances[self.rung]
        found = glance(self._engine, self.bundle.golden(), self.rung, tolerances)
        if not found.passed:
            raise EngineError(f"{before}while it ran, golden {found.reason}")
        self._recheck_at = time.monotonic() + self._options.recheck_s

    def _next(self) -> tuple[int, Opened]:
        """Open the best rung that is neither refused nor dropped; EngineError with every reason."""
        for rung, again in self._candidates():
            try:
                opened = self._rungs.open(rung, doubted=again)
            except (EngineError, MissingError, BundleError) as error:
                if isinstance(error, BundleError) and not self.drops:
                    raise
                self._refused[rung] = str(error)
                self._log(logging.WARNING, "refused", rung, str(error))
            else:
                self._refused.pop(rung, None)
                self._log(logging.INFO, "chosen", rung, f"{opened.verdict.ms:.3g} ms a run")
                return rung, opened
        known = {**self._refused, **{drop.rung: drop.reason for drop in self.drops}}
        reasons = "; ".join(f"{self._artifacts[r].label}: {known[r]}" for r in sorted(known))
        demand = self._options.demand
        asked = f" ({demand} was asked for)" if demand.only else ""
        raise EngineError(
            f"{self.bundle.path}: no rung of the ladder is healthy here{asked}: {reasons}"
        )

    def _candidates(self) -> Iterator[tuple[int, bool]]:
        """Yield the rungs to try, and whether to doubt what is known of them."""
        for rung in self._order:
            if rung not in self._dropped and rung not in self._refused:
                yield rung, False
        # What an earlier start found does not end this one: in need it is looked at again.
        for rung in self._order:
            if rung not in self._dropped and self._rungs.remembered(rung):
                yield rung, True

    def _drop(self, reason: str) -> None:
        """Leave the active rung for the next, and try it again later."""
        rung = self.rung
        self._engine.close()
        self._dropped.add(rung)
        self.drops += (Drop(rung, self._artifacts[rung].label, reason, time.time()),)
        self._log(logging.WARNING, "dropped", rung, reason)
        try:
            self._active = self._next()
        except BaseException:
            self.close()
            raise
        threading.Thread(target=self._retry, args=(rung,), name="ladder-retry", daemon=True).start()

    def _retry(self, rung: int) -> None:
        """Prove a dropped rung again after pauses that double, and offer it when it is healthy."""
        while (tries := self._retried.get(rung, 0)) < RETRIES:
            if self._closed.wait(self._options.cooldown_s * 2**tries):
                return
            self._retried[rung] = tries + 1
            try:
                opened = self._rungs.open(rung, doubted=True)
            except EdgeError as error:
                if not self._closed.is_set():
                    self._log(logging.WARNING, "refused", rung, str(error))
                continue
            with self._lock:
                late = self._closed.is_set() or self._risen is not None
                if not late:
                    self._risen = rung, opened
            if late:
                opened.engine.close()
            return
        self._log(logging.WARNING, "left", rung, f"it failed {RETRIES + 1} times; not tried again")

    def _rise(self) -> None:
        """Go over to a dropped rung that is healthy again."""
        if self._risen is None:
            return
        with self._lock:
            (rung, opened), self._risen = self._risen, None
        self._dropped.discard(rung)
        if self._order.index(rung) > self._order.index(self.rung):  # it is good to have below
            opened.engine.close()
            return
        before, self._active = self._engine, (rung, opened)
        before.close()
        self._log(logging.WARNING, "restored", rung, "it is healthy again")

    def _log(self, level: int, event: str, rung: int, reason: str) -> None:
        facts = {"event": event, "rung": rung, "label": self._artifacts[rung].label}
        _LOG.log(level, "%s: %s: %s", event, facts["label"], reason, extra=facts)


def _finite(outputs: Sequence[Array]) -> bool:
    """Say whether no number is NaN or infinite: 0.1 ms for 84 x 8400 of them."""
    return all(output.dtype.kind != "f" or np.isfinite(output).all() for output in outputs)

"""The ladder of a bundle: take the first rung that is proven here, and say why others were not."""

from __future__ import annotations

from dataclasses import dataclass, replace

from device_profiles.errors import BundleError, EngineError, MissingError, RequestError
from runtime.bundle import Bundle
from runtime.engines import Engine, EngineOptions
from runtime.golden import GoldenSet, replay


@dataclass(frozen=True)
class Refusal:
    """A rung that was not taken, by its index and label, and the reason."""

    rung: int
    label: str
    reason: str


@dataclass(frozen=True)
class Choice:
    """The rung taken: its index, its open engine, and the rungs refused before it."""

    rung: int
    engine: Engine
    refusals: tuple[Refusal, ...]


def choose_rung(bundle: Bundle, options: EngineOptions | None = None) -> Choice:
    """Open the rungs in order and return the first that reproduces its golden outputs here.

    `options` sets threads; the provider is each rung's own. Raises EngineError, with every
    reason, when no rung is healthy, and BundleError when a file is not what the manifest says.
    """
    refusals: list[Refusal] = []
    golden = bundle.golden()
    for index, artifact in enumerate(bundle.manifest.artifacts):
        asked = replace(options or EngineOptions(), provider=artifact.provider)
        try:
            engine = bundle.open_engine(index, asked)
        except BundleError:
            raise
        except (EngineError, MissingError, RequestError) as error:  # Request: no such engine here
            refusals.append(Refusal(index, artifact.label, str(error)))
            continue
        reason = _fault(engine, bundle, golden, index)
        if not reason:
            return Choice(index, engine, tuple(refusals))
        engine.close()
        refusals.append(Refusal(index, artifact.label, reason))
    reasons = "; ".join(f"{r.label}: {r.reason}" for r in refusals)
    raise EngineError(f"{bundle.path}: no rung of the ladder is healthy here: {reasons}")


def _fault(engine: Engine, bundle: Bundle, golden: GoldenSet, rung: int) -> str:
    """Return why the engine does not reproduce its golden outputs, or nothing when it does."""
    try:
        verdict = replay(engine, golden, rung, bundle.manifest.golden.tolerances[rung])
    except EngineError as error:
        return str(error)
    return "" if verdict.passed else verdict.reason

"""What is timed: each rung of a bundle, or a model file, with what is known of it beforehand."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

from device_profiles.errors import BundleError
from edge_sdk.targets._engine import RemoteEngine
from edge_sdk.targets._session import Session
from edge_sdk.workflows.cells import scale, worst_snr
from runtime.bundle import Bundle
from runtime.engines import Array, Engine, EngineOptions
from runtime.engines._check import sample_inputs
from runtime.evaluate import Terms, terms
from runtime.manifest import Artifact, Manifest
from runtime.model_file import ENGINE, file_label, read_model_file
from runtime.plugins import names


@dataclass(frozen=True)
class Model:
    """A bundle or a file; `facts` say which one, JSON-ready."""

    name: str
    path: Path
    facts: Mapping[str, Any]


@dataclass(frozen=True, eq=False)
class Entrant:
    """One artifact to time.

    `label` tells it from the others, `artifact` is its own name; `which` is what `runtime.probe`
    calls it by. `open(session, threads)` opens it there, `inputs(engine)` is what it is given in
    turn. `accuracy` is what its bundle knows of it: `metric`, `unit`, `value`, and `low`, `high`
    and `n` where there is an interval.
    """

    label: str
    artifact: str
    model: Model
    precision: str
    size: int
    which: str
    open: Callable[[Session, int], RemoteEngine]
    inputs: Callable[[Engine], Sequence[Sequence[Array]]]
    accuracy: Mapping[str, Any] | None = None


def rungs(bundle: Bundle) -> Iterator[Entrant]:
    """Yield the rungs of an open bundle; BundleError for evidence of another form than ours."""
    manifest = bundle.manifest
    frames = [[frame[None]] for frame in bundle.golden().frames]
    facts = {
        "name": manifest.name,
        "bundle": bundle.id,
        "task": manifest.task,
        "profile": manifest.profile["name"],
    }
    model = Model(manifest.name, bundle.path, facts)

    def opens(rung: int, artifact: Artifact) -> Callable[[Session, int], RemoteEngine]:
        def open_there(session: Session, threads: int) -> RemoteEngine:
            asked = EngineOptions(artifact.provider, threads)
            return cast(RemoteEngine, bundle.open_engine(rung, asked, session.open))

        return open_there

    for rung, artifact in enumerate(manifest.artifacts):
        yield Entrant(
            label=artifact.label,
            artifact=artifact.label,
            model=model,
            precision=artifact.precision,
            size=artifact.file.size,
            which=str(rung),
            open=opens(rung, artifact),
            inputs=lambda _: frames,
            accuracy=_known(bundle.path, manifest, artifact),
        )


def model_file(path: Path, provider: str) -> Entrant:
    """Return a .tflite file, which is given noise; ModelError when it is damaged."""
    data, file = read_model_file(path)
    label = file_label(file, provider)
    return Entrant(
        label=label,
        artifact=label,
        model=Model(path.stem, path, {"name": path.stem, "file": hashlib.sha256(data).hexdigest()}),
        precision=file.precision,
        size=len(data),
        which=provider,
        open=lambda session, threads: session.open(ENGINE, data, EngineOptions(provider, threads)),
        inputs=lambda engine: [sample_inputs(engine.inputs)],
    )


def told_apart(entrants: Sequence[Entrant]) -> list[Entrant]:
    """Return them with labels that say which model each is of, where there are several."""
    models = {id(entrant.model): entrant.model for entrant in entrants}
    if len(models) < 2:
        return list(entrants)
    same_name = len({model.name for model in models.values()}) < len(models)
    called: dict[int, str] = {}
    for key, model in models.items():
        name = model.path.name if same_name else model.name
        again = sum(other == name or other.startswith(f"{name} (") for other in called.values())
        called[key] = f"{name} ({again + 1})" if again else name
    return [replace(e, label=f"{called[id(e.model)]}: {e.artifact}") for e in entrants]


def _known(path: Path, manifest: Manifest, artifact: Artifact) -> Mapping[str, Any] | None:
    try:
        found = manifest.evidence.get("accuracy", {}).get(artifact.file.path)
        # A bundle can be timed also where what would judge it is not installed.
        said = terms(manifest.task) if manifest.task in names("runtime.tasks") else Terms()
        return _accuracy(found, said) if found else None
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise BundleError(
            f"{path}: its evidence is not of the form that Edge SDK writes "
            f"({type(error).__name__}); convert the model again"
        ) from error


def _accuracy(found: Mapping[str, Any], said: Terms) -> Mapping[str, Any] | None:
    """Return the first figure of a comparison that was measured, in its unit."""
    for figure in said.figures[:1]:
        if interval := (found.get("artifact") or {}).get(figure.key):
            return _in_units(figure.name, figure.unit, scale(figure), interval, found["n"])
    if interval := found.get("agreement"):
        return _in_units("agreement", "%", 100.0, interval, found["n"])
    ratio = worst_snr(found)
    return None if ratio is None else {"metric": "SNR", "unit": "dB", "value": ratio}


def _in_units(
    metric: str, unit: str, factor: float, interval: Mapping[str, float], n: int
) -> Mapping[str, Any]:
    values = {key: factor * float(interval[key]) for key in ("value", "low", "high")}
    return {"metric": metric, "unit": unit, **values, "n": int(n)}

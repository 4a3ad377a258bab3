"""Workflow: does the bundle's artifact answer as the original did, on these images?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import (
    BundleError,
    EngineError,
    GateError,
    MissingError,
    ModelError,
    RequestError,
)
from edge_sdk.report import Report
from edge_sdk.workflows.check_report import Row, check_report
from edge_sdk.workflows.data import CALIBRATION, Frames, digests
from edge_sdk.workflows.limits import check_budget
from edge_sdk.workflows.measure import Question, Run, classes_of, compare, map_labels
from runtime.bundle import Bundle, opened
from runtime.datasets import Dataset, Sampling, open_dataset
from runtime.engines import Engine, EngineOptions
from runtime.golden import Replay, replay
from runtime.host import host
from runtime.labels import LabelMap
from runtime.preprocess import normalize

if TYPE_CHECKING:
    from converters.capture import Captured


@dataclass(frozen=True)
class CheckOptions:
    """What may be said of a check beside bundle and data.

    `reference` is the MODEL that the bundle was made from (with `weights`), or what `capture`
    returned for it; without it the bundle's own float32 artifact is the reference. `max_drop` is
    a gate in points. `samples` images are taken (None: all).
    """

    reference: str | Captured | None = None
    weights: Path | None = None
    max_drop: float | None = None
    samples: int | None = None
    seed: int = 0
    label_offset: int | None = None

    def __post_init__(self) -> None:
        check_budget(self.max_drop)
        if self.weights is not None and not isinstance(self.reference, str):
            raise RequestError(
                f"weights {self.weights} belong to no reference; pass --reference MODEL as well"
            )


@dataclass(frozen=True)
class _Contender:
    """One artifact, open: its golden replay, and why it is simulated where it is."""

    engine: Engine
    verdict: Replay
    why_simulated: str = ""


def check(
    bundle: str | Path | Bundle, data: str | Path, options: CheckOptions | None = None
) -> Report:
    """Compare every artifact of a bundle with its reference on `data`, prepared as on the device.

    Where this machine is not of the device's architecture and its kernels do not reproduce the
    golden set, an artifact is computed exactly as its file defines it; the report says so. The
    report's gates fail when golden outputs are not reproduced or `max_drop` is exceeded. Raises
    RequestError and its kin for bad input, EngineError when the reference cannot run here.
    """
    with opened(bundle) as found:
        return _check(found, data, options or CheckOptions())


def _check(bundle: Bundle, data: str | Path, options: CheckOptions) -> Report:
    dataset = open_dataset(data, Sampling(options.samples, options.seed))
    frames = Frames(dataset, bundle.manifest.input, "checking")
    labels = _label_map(bundle, dataset, options)
    name, reference = _reference(bundle, options)
    contenders = _contenders(bundle)
    outputs = tuple(spec.name for spec in bundle.manifest.artifacts[0].outputs)
    question = Question(frames, bundle.manifest.task, outputs, labels)
    runs = {rung: _runner(contender.engine) for rung, contender in contenders.items()}
    results = compare(question, reference, runs)
    rows = []
    for rung, contender in contenders.items():
        contender.engine.close()
        artifact, verdict = bundle.manifest.artifacts[rung], contender.verdict
        if "fault" in results[rung]:
            raise GateError(f"{bundle.path}: {artifact.label}: {results[rung]['fault']}")
        rows.append(Row(artifact, results[rung], verdict, contender.why_simulated))
    facts = {
        "bundle": {"id": bundle.id, "name": bundle.manifest.name},
        "profile": bundle.manifest.profile["name"],
        "data": str(data),
        "reference": name,
        "labels": labels.how if labels else None,
        "unreadable": [str(path) for path in frames.unreadable],
        "calibration_overlap": _overlap(bundle, frames),
    }
    return check_report(facts, rows, options.max_drop)


def _label_map(bundle: Bundle, dataset: Dataset, options: CheckOptions) -> LabelMap | None:
    shapes = [spec.shape for spec in bundle.manifest.artifacts[0].outputs]
    classes = classes_of(shapes[0]) if shapes and bundle.manifest.task == "classify" else 0
    return map_labels(dataset, bundle.labels, classes, options.label_offset)


def _reference(bundle: Bundle, options: CheckOptions) -> tuple[str, Run]:
    if options.reference is not None:
        return _original(bundle, options.reference, options.weights)
    for rung, artifact in enumerate(bundle.manifest.artifacts):
        if artifact.precision == "fp32":
            engine = bundle.open_engine(rung, EngineOptions(simulate=True))
            return "the bundle's own float32 artifact", _runner(engine)
    raise RequestError(
        f"{bundle.path} holds no float32 artifact to compare with; pass --reference MODEL"
    )


def _original(bundle: Bundle, model: str | Captured, weights: Path | None) -> tuple[str, Run]:
    contract = bundle.manifest.input
    if isinstance(model, str):
        from converters.loaders import LoadOptions, load_model

        name, captured = model, load_model(model, LoadOptions(weights, contract))
    else:
        name, captured = f"the original {model.name}", model
    _check_fits(bundle, captured, name)

    def run(frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return captured.reference(normalize(frames, contract))

    return name, run


def _check_fits(bundle: Bundle, captured: Captured, name: str) -> None:
    """Raise ModelError when a reference cannot be the one that the bundle was made from."""
    from converters.graphs import shape_of

    graph = captured.graph.graph
    frame = sorted(shape_of(graph.inputs[0])[1:])  # height, width and channels in either layout
    answers = [shape_of(value)[1:] for value in graph.outputs]
    wanted = [spec.shape[1:] for spec in bundle.manifest.artifacts[0].outputs]
    if frame != sorted(bundle.manifest.input.shape) or answers != wanted:
        raise ModelError(
            f"{name} takes {shape_of(graph.inputs[0])} and answers {answers}, the bundle "
            f"{bundle.manifest.input.shape} and {wanted}; give the model that it was made from"
        )


def _runner(engine: Engine) -> Run:
    return lambda frame: engine.run([frame])


def _contenders(bundle: Bundle) -> dict[int, _Contender]:
    """Open one rung per file."""
    files = [artifact.file.path for artifact in bundle.manifest.artifacts]
    return {
        rung: _contender(bundle, rung)
        for rung, path in enumerate(files)
        if path not in files[:rung]
    }


def _contender(bundle: Bundle, rung: int) -> _Contender:
    """Open a rung on this machine's kernels, if these reproduce the golden set.

    Where they do not, and this is another architecture than the device's, that says nothing about
    the device: the artifact is then computed as its file defines it. On the device's own
    architecture it is a fault, and the golden gate fails; as it is where a bundle does not say
    for which architecture it was made.
    """
    here = host().arch
    foreign = bundle.manifest.profile.get("arch", here) != here
    tolerances = bundle.manifest.golden.tolerances[rung]
    try:
        engine = bundle.open_engine(rung)
        verdict = replay(engine, bundle.golden(), rung, tolerances)
    except (EngineError, MissingError) as error:
        if not foreign:
            raise
        reason = str(error)
    else:
        if verdict.passed or not foreign:
            return _Contender(engine, verdict)
        engine.close()
        reason = verdict.reason
    engine = bundle.open_engine(rung, EngineOptions(simulate=True))
    return _Contender(engine, replay(engine, bundle.golden(), rung, tolerances), reason)


def _overlap(bundle: Bundle, frames: Frames) -> int | None:
    """Count the images that also calibrated the bundle; None when it does not say which did."""
    entry = next((f for f in bundle.manifest.extra_files if f.path == CALIBRATION), None)
    if entry is None:
        return None
    try:
        known = set(json.loads(bundle.read(entry))["sha256"])
    except (ValueError, LookupError, TypeError, RecursionError) as error:
        raise BundleError(
            f"{bundle.path}: {CALIBRATION} does not list SHA-256s ({type(error).__name__}); "
            "convert the model again"
        ) from error
    return sum(digest in known for digest in digests(frames.dataset))

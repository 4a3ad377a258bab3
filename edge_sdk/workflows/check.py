"""Workflow: does the bundle's artifact answer as the original did, on these images?"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EngineError, MissingError, RequestError
from edge_sdk.report import Report
from edge_sdk.workflows.check_report import Row, check_report
from edge_sdk.workflows.data import Frames
from edge_sdk.workflows.measure import Question, Run, compare, map_labels
from runtime.bundle import Bundle, opened
from runtime.datasets import Dataset, Sampling, open_dataset
from runtime.engines import Engine, EngineOptions
from runtime.golden import Replay, replay
from runtime.host import host
from runtime.labels import LabelMap

if TYPE_CHECKING:
    from converters.capture import Captured
from runtime.preprocess import normalize


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
    if bundle.manifest.task != "classify" or dataset.samples[0].label is None:
        return None
    classes = bundle.manifest.artifacts[0].outputs[0].shape[-1]
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

    def run(frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return captured.reference(normalize(frames, contract))

    return name, run


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
    architecture it is a fault, and the golden gate fails.
    """
    foreign = host().arch != bundle.manifest.profile["arch"]
    tolerances = bundle.manifest.golden.tolerances[rung]
    try:
        engine = bundle.open_engine(rung)
    except (EngineError, MissingError) as error:
        if not foreign:
            raise
        reason = str(error)
    else:
        verdict = replay(engine, bundle.golden(), rung, tolerances)
        if verdict.passed or not foreign:
            return _Contender(engine, verdict)
        engine.close()
        reason = verdict.reason
    engine = bundle.open_engine(rung, EngineOptions(simulate=True))
    return _Contender(engine, replay(engine, bundle.golden(), rung, tolerances), reason)


def _overlap(bundle: Bundle, frames: Frames) -> int | None:
    """Count the images that also calibrated the bundle; None when it does not say which did."""
    entry = next((f for f in bundle.manifest.extra_files if "calibration" in f.path), None)
    if entry is None:
        return None
    digests = set(json.loads(bundle.read(entry))["images"].values())
    paths = [sample.path for sample in frames.dataset.samples]
    return sum(hashlib.sha256(path.read_bytes()).hexdigest() in digests for path in paths)

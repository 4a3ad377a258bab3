"""Workflow: does an artifact answer as the original did, on these images?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import (
    BundleError,
    EngineError,
    GateError,
    MissingError,
    RequestError,
)
from edge_sdk.report import Report
from edge_sdk.workflows.check_file import check_file
from edge_sdk.workflows.check_options import CheckOptions
from edge_sdk.workflows.check_report import Row, check_report
from edge_sdk.workflows.data import CALIBRATION, Frames, digests
from edge_sdk.workflows.measure import Question, Run, compare, map_labels
from edge_sdk.workflows.reference import Subject, original, runner
from runtime.bundle import Bundle, opened
from runtime.datasets import Sampling, open_dataset
from runtime.decoders import merged
from runtime.engines import Engine, EngineOptions
from runtime.evaluate import Judged, terms
from runtime.golden import Replay, replay
from runtime.host import host
from runtime.model_file import is_model_file
from runtime.worker import open_tried


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

    `bundle` may be a .tflite file: see `check_file`.
    """
    options = options or CheckOptions()
    if is_model_file(bundle):
        return check_file(Path(str(bundle)), data, options)
    options.file.refuse(bundle)
    with opened(bundle) as found:
        return _check(found, data, options)


def _check(bundle: Bundle, data: str | Path, options: CheckOptions) -> Report:
    dataset = open_dataset(data, Sampling(options.samples, options.seed))
    frames = Frames(dataset, bundle.manifest.input, "checking")
    manifest, said = bundle.manifest, terms(bundle.manifest.task)
    outputs = manifest.artifacts[0].outputs
    shapes = [spec.shape for spec in outputs]
    labels = map_labels(dataset, said, bundle.labels, shapes, options.label_offset)
    name, reference = _reference(bundle, options)
    contenders = _contenders(bundle)
    names = tuple(spec.name for spec in outputs)
    how = merged(manifest.decoder, options.file.decoder)
    judged = Judged(names, manifest.input, bundle.labels, how)
    question = Question(frames, manifest.task, judged, labels)
    runs = {rung: runner(contender.engine) for rung, contender in contenders.items()}
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
    return check_report(facts, rows, said, options.max_drop)


def _reference(bundle: Bundle, options: CheckOptions) -> tuple[str, Run]:
    if options.reference is not None:
        outputs = bundle.manifest.artifacts[0].outputs
        subject = Subject(bundle.manifest.input, outputs, "the bundle")
        return original(options.reference, options.weights, subject)
    for rung, artifact in enumerate(bundle.manifest.artifacts):
        if artifact.precision == "fp32":
            engine = bundle.open_engine(rung, EngineOptions(simulate=True), open_tried)
            return "the bundle's own float32 artifact", runner(engine)
    raise RequestError(
        f"{bundle.path} holds no float32 artifact to compare with; pass --reference MODEL"
    )


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
        asked = EngineOptions(bundle.manifest.artifacts[rung].provider)
        engine = bundle.open_engine(rung, asked, open_tried)
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
    engine = bundle.open_engine(rung, EngineOptions(simulate=True), open_tried)
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

"""Workflow: does an artifact answer as the original did, on these images?"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from device_profiles.errors import BundleError, GateError, RequestError
from edge_sdk.report import Report
from edge_sdk.workflows.check_file import check_file
from edge_sdk.workflows.check_golden import check_golden
from edge_sdk.workflows.check_options import CheckOptions
from edge_sdk.workflows.check_report import Row, check_report
from edge_sdk.workflows.contenders import Contender, Field, contending_here, contending_there
from edge_sdk.workflows.data import CALIBRATION, Frames, digests
from edge_sdk.workflows.measure import Question, Run, compare, map_labels
from edge_sdk.workflows.reference import Subject, original, runner
from runtime.bundle import Bundle, opened
from runtime.datasets import Sampling, open_dataset
from runtime.decoders import merged
from runtime.engines import EngineOptions
from runtime.evaluate import Judged, terms
from runtime.model_file import is_model_file
from runtime.worker import open_tried


def check(
    bundle: str | Path | Bundle, data: str | Path | None, options: CheckOptions | None = None
) -> Report:
    """Compare every artifact of a bundle with its reference on `data`, prepared as on the device.

    Where this machine is not of the device's architecture and its kernels do not reproduce the
    golden set, an artifact is computed exactly as its file defines it; the report says so. The
    report's gates fail when golden outputs are not reproduced or `max_drop` is exceeded. Raises
    RequestError and its kin for bad input, EngineError when the reference cannot run here.

    With `options.on` the artifacts are computed on that target, beside this machine's own kernels;
    without `data` their golden set is replayed there and no more.

    `bundle` may be a .tflite file: see `check_file`.
    """
    options = options or CheckOptions()
    if data is None and options.on is None:
        raise RequestError("there is nothing to check by; give --data DATA, or --on TARGET")
    if is_model_file(bundle):
        return check_file(Path(str(bundle)), data, options)
    options.file.refuse(bundle)
    with opened(bundle) as found:
        if data is None:
            return check_golden(found, str(options.on), options)
        with _field(found, options) as field:
            return _check(found, data, options, field)


def _field(bundle: Bundle, options: CheckOptions) -> AbstractContextManager[Field]:
    if options.on is None:
        return contending_here(bundle, options.precisions)
    return contending_there(bundle, options.on, options.beside, options.precisions)


def _check(bundle: Bundle, data: str | Path, options: CheckOptions, field: Field) -> Report:
    dataset = open_dataset(data, Sampling(options.samples, options.seed))
    frames = Frames(dataset, bundle.manifest.input, "checking")
    manifest, said = bundle.manifest, terms(bundle.manifest.task)
    outputs = manifest.artifacts[0].outputs
    shapes = [spec.shape for spec in outputs]
    labels = map_labels(dataset, said, bundle.labels, shapes, options.label_offset)
    name, reference = _reference(bundle, options)
    names = tuple(spec.name for spec in outputs)
    how = merged(manifest.decoder, options.file.decoder)
    judged = Judged(names, manifest.input, bundle.labels, how)
    question = Question(frames, manifest.task, judged, labels)
    asked = {key: contender.ask for key, contender in enumerate(field.contenders)}
    results = compare(question, reference, asked, field.ahead)
    rows = [_row(bundle, c, results[key]) for key, c in enumerate(field.contenders)]
    facts = {
        "bundle": {"id": bundle.id, "name": bundle.manifest.name},
        "profile": bundle.manifest.profile["name"],
        "data": str(data),
        "reference": name,
        "labels": labels.how if labels else None,
        "unreadable": [str(path) for path in frames.unreadable],
        "calibration_overlap": _overlap(bundle, frames),
        "target": dict(field.target) or None,
        "said": list(field.notes),
    }
    report = check_report(facts, rows, said, options.max_drop)
    return replace(report, gates=(*field.gates, *report.gates))


def _row(bundle: Bundle, contender: Contender, result: Mapping[str, Any]) -> Row:
    artifact = bundle.manifest.artifacts[contender.rung]
    if "fault" in result and contender.replay is not None:
        raise GateError(f"{bundle.path}: {artifact.label}: {result['fault']}")
    return Row(artifact, result, contender.replay, contender.why_simulated, contender.where)


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

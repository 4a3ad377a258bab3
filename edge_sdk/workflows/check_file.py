"""Workflow: how good is a .tflite file, alone or beside a reference, on these images?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import GateError, RequestError
from edge_sdk.report import Report, Table
from edge_sdk.workflows.cells import heading, measured
from edge_sdk.workflows.check_options import CheckOptions
from edge_sdk.workflows.check_report import Row, check_report, remarks
from edge_sdk.workflows.data import Frames
from edge_sdk.workflows.measure import Array, Question, Run, compare, has_truth, map_labels
from edge_sdk.workflows.reference import Subject, original, runner
from runtime.batches import run_batch
from runtime.datasets import Sampling, open_dataset
from runtime.engines import Engine
from runtime.evaluate import Judged, Terms, terms
from runtime.manifest import Artifact
from runtime.model_file import ModelFile, open_model_file


def check_file(path: Path, data: str | Path, options: CheckOptions) -> Report:
    """Judge a .tflite file on `data`: its accuracy, and how it compares with a reference if given.

    Raises RequestError and its kin for bad input, and where there is nothing to judge by: no
    reference, and no labels or no classes. EngineError when the file does not run here.
    """
    file = open_model_file(path, options.file)
    dataset = open_dataset(data, Sampling(options.samples, options.seed))
    engine = file.open_engine()
    frames = Frames(dataset, file.contract, "checking")
    said = terms(file.task)
    shapes = [spec.shape for spec in engine.outputs]
    labels = map_labels(dataset, said, file.labels, shapes, options.label_offset)
    if options.reference is None and not has_truth(dataset, said):
        raise _nothing_to_judge_by(file)
    name, reference, contender = _pair(file, engine, options)
    names = tuple(spec.name for spec in engine.outputs)
    judged = Judged(names, file.contract, file.labels, file.decoder)
    question = Question(frames, file.task, judged, labels)
    found = compare(question, reference, {0: contender})[0]
    artifact = file.artifact(engine)
    engine.close()
    if "fault" in found:
        raise GateError(f"{path}: {found['fault']}")
    facts = {
        "file": {"sha256": hashlib.sha256(file.data).hexdigest(), "name": file.name},
        "data": str(data),
        "reference": name or None,
        "labels": labels.how if labels else None,
        "unreadable": [str(unreadable) for unreadable in frames.unreadable],
        "calibration_overlap": None,
        "said": list(file.notes),
    }
    if name:
        return check_report(facts, [Row(artifact, found)], said, options.max_drop)
    if found["artifact"] is None:
        raise _nothing_to_judge_by(file)
    return _alone(facts, artifact, found, said)


def _nothing_to_judge_by(file: ModelFile) -> RequestError:
    return RequestError(
        f"there is nothing to judge {file.path} by: give data with the ground truth of its task "
        f"({file.task}; --task says another, such as classify), or what it was made from as "
        "--reference MODEL"
    )


def _pair(file: ModelFile, engine: Engine, options: CheckOptions) -> tuple[str, Run, Run]:
    """Return the name of the reference, its function, and that of the file.

    Without one, the file stands beside itself, and is run once.
    """
    if options.reference is not None:
        subject = Subject(file.contract, engine.outputs, "the file")
        name, run = original(options.reference, options.weights, subject, options.file)
        return name, run, runner(engine)
    if options.max_drop is not None:
        raise RequestError("--max-drop compares with a reference; pass --reference MODEL as well")
    answer: list[Array] = []

    def once(frame: NDArray[np.uint8]) -> list[Array]:
        answer[:] = run_batch(engine, frame)
        return answer

    return "", once, lambda _: answer


def _alone(
    facts: Mapping[str, Any], artifact: Artifact, found: Mapping[str, Any], said: Terms
) -> Report:
    """Return the report of a file with nothing to compare it with."""
    name = f"{artifact.format} {artifact.precision}"
    accuracy = found["artifact"]
    figures = [figure for figure in said.figures if accuracy.get(figure.key)]
    cells = tuple(measured(accuracy, figure) for figure in figures)
    note = f"n = {found['n']}; in brackets 95 % confidence intervals ({said.intervals})"
    columns = ("file", *(heading(figure) for figure in figures))
    first = f"{cells[0].replace(' (', f' {figures[0].unit} (', 1)}"
    return Report(
        title=facts["file"]["name"],
        summary=f"{name} has a {figures[0].name} of {first}, n = {found['n']}.",
        tables=(Table("Accuracy", columns, ((name, *cells),), note),),
        charts=(),
        gates=(),
        facts={**facts, "accuracy": accuracy, "artifact": artifact.label},
        notes=tuple(remarks([], facts)),
    )

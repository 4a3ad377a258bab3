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
from edge_sdk.workflows.cells import percent, share
from edge_sdk.workflows.check_options import CheckOptions
from edge_sdk.workflows.check_report import Row, check_report, remarks
from edge_sdk.workflows.data import Frames
from edge_sdk.workflows.measure import Array, Question, Run, classes_of, compare, map_labels
from edge_sdk.workflows.reference import Subject, original, runner
from runtime.datasets import Sampling, open_dataset
from runtime.engines import Engine
from runtime.evaluate import Judged
from runtime.labels import LabelMap
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
    labels = _label_map(file, engine, frames, options)
    name, reference, contender = _pair(file, engine, labels, options)
    names = tuple(spec.name for spec in engine.outputs)
    judged = Judged(names, file.contract, file.labels)
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
        return check_report(facts, [Row(artifact, found)], options.max_drop)
    return _alone(facts, artifact, found["artifact"])


def _label_map(
    file: ModelFile, engine: Engine, frames: Frames, options: CheckOptions
) -> LabelMap | None:
    shapes = [spec.shape for spec in engine.outputs]
    classes = classes_of(shapes[0]) if shapes and file.task == "classify" else 0
    return map_labels(frames.dataset, file.labels, classes, options.label_offset)


def _pair(
    file: ModelFile, engine: Engine, labels: LabelMap | None, options: CheckOptions
) -> tuple[str, Run, Run]:
    """Return the name of the reference, its function, and that of the file.

    Without one, the file stands beside itself, and is run once.
    """
    if options.reference is not None:
        subject = Subject(file.contract, engine.outputs, "the file")
        name, run = original(options.reference, options.weights, subject, options.file)
        return name, run, runner(engine)
    if labels is None:
        raise RequestError(
            f"there is nothing to judge {file.path} by: give labelled images and a classifier "
            "(--task classify), or what it was made from as --reference MODEL"
        )
    if options.max_drop is not None:
        raise RequestError("--max-drop compares with a reference; pass --reference MODEL as well")
    answer: list[Array] = []

    def once(frame: NDArray[np.uint8]) -> list[Array]:
        answer[:] = engine.run([frame])
        return answer

    return "", once, lambda _: answer


def _alone(facts: Mapping[str, Any], artifact: Artifact, accuracy: Mapping[str, Any]) -> Report:
    """Return the report of a file with nothing to compare it with."""
    top1, top5 = accuracy["top1"], accuracy["top5"]
    row = (f"{artifact.format} {artifact.precision}", percent(top1), percent(top5))
    note = f"n = {accuracy['n']}; in brackets 95 % confidence intervals (Wilson)"
    table = Table("Accuracy", ("file", "top-1, %", "top-5, %"), (row,), note)
    return Report(
        title=facts["file"]["name"],
        summary=f"{row[0]} is right on {share(top1)} of the images, n = {accuracy['n']}.",
        tables=(table,),
        charts=(),
        gates=(),
        facts={**facts, "accuracy": accuracy, "artifact": artifact.label},
        notes=tuple(remarks([], facts)),
    )

"""Workflow: how good is a .tflite file, alone or beside a reference, on these images?"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import GateError, RequestError
from edge_sdk.report import Report, Table
from edge_sdk.targets import open_target
from edge_sdk.targets._crew import Crew, Member
from edge_sdk.workflows.cells import heading, measured
from edge_sdk.workflows.check_options import CheckOptions
from edge_sdk.workflows.check_report import Row, check_report, remarks
from edge_sdk.workflows.data import Frames
from edge_sdk.workflows.measure import Array, Asked, Question, Run, compare, has_truth, map_labels
from edge_sdk.workflows.reference import Subject, original, runner
from runtime.batches import run_batch
from runtime.datasets import Sampling, open_dataset
from runtime.engines import Engine, EngineOptions
from runtime.evaluate import Judged, Terms, terms
from runtime.manifest import Artifact
from runtime.model_file import ENGINE, ModelFile, open_model_file


def check_file(path: Path, data: str | Path | None, options: CheckOptions) -> Report:
    """Judge a .tflite file on `data`: its accuracy, and how it compares with a reference if given.

    Raises RequestError and its kin for bad input, and where there is nothing to judge by: no
    reference, and no labels or no classes. EngineError when the file does not run here, or on the
    target that was named.
    """
    if data is None:
        raise RequestError(f"{path} has no golden set to replay; give --data DATA to judge it by")
    with ExitStack() as stack:
        file = open_model_file(path, options.file)
        return _check(file, _place(file, options.on, stack), data, options)


@dataclass(frozen=True)
class _Place:
    """Where a file runs: one engine of it, what asks it, and the facts of a target."""

    engine: Engine
    ask: Asked
    target: Mapping[str, Any] | None = None
    notes: tuple[str, ...] = ()
    ahead: int = 0


def _place(file: ModelFile, uri: str | None, stack: ExitStack) -> _Place:
    if uri is None:
        engine = file.open_engine()
        stack.callback(engine.close)
        return _Place(engine, runner(engine))
    target = stack.enter_context(closing(open_target(uri)))
    crew = stack.enter_context(Crew(target))
    options = EngineOptions(file.provider, threads=1)

    def opened(member: Member) -> Engine:
        return file.adapt(member.open(0, ENGINE, lambda: file.data, options))

    def ask(frame: NDArray[np.uint8]) -> Future[list[Array]]:
        return crew.submit(lambda member: run_batch(opened(member), frame))

    about = crew.submit(lambda member: member.about()).result()
    facts = {"uri": uri, "emulated": target.emulated, "about": about}
    engine = crew.submit(opened).result()
    return _Place(engine, ask, facts, (f"computed on {uri}", *target.notes), 2 * crew.size)


def _check(file: ModelFile, place: _Place, data: str | Path, options: CheckOptions) -> Report:
    engine = place.engine
    dataset = open_dataset(data, Sampling(options.samples, options.seed))
    frames = Frames(dataset, file.contract, "checking")
    said = terms(file.task)
    shapes = [spec.shape for spec in engine.outputs]
    labels = map_labels(dataset, said, file.labels, shapes, options.label_offset)
    if options.reference is None and not has_truth(dataset, said):
        raise _nothing_to_judge_by(file)
    name, reference, contender = _pair(file, place, options)
    names = tuple(spec.name for spec in engine.outputs)
    judged = Judged(names, file.contract, file.labels, file.decoder)
    question = Question(frames, file.task, judged, labels)
    found = compare(question, reference, {0: contender}, place.ahead if name else 0)[0]
    artifact = file.artifact(engine)
    if "fault" in found:
        raise GateError(f"{file.path}: {found['fault']}")
    facts = {
        "file": {"sha256": hashlib.sha256(file.data).hexdigest(), "name": file.name},
        "data": str(data),
        "reference": name or None,
        "labels": labels.how if labels else None,
        "unreadable": [str(unreadable) for unreadable in frames.unreadable],
        "calibration_overlap": None,
        "said": [*file.notes, *place.notes],
        "target": place.target,
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


def _pair(file: ModelFile, place: _Place, options: CheckOptions) -> tuple[str, Run, Asked]:
    """Return the name of the reference, its function, and that of the file.

    Without one, the file stands beside itself, and is run once.
    """
    if options.reference is not None:
        subject = Subject(file.contract, place.engine.outputs, "the file")
        name, run = original(options.reference, options.weights, subject, options.file)
        return name, run, place.ask
    if options.max_drop is not None:
        raise RequestError("--max-drop compares with a reference; pass --reference MODEL as well")
    answer: list[Array] = []

    def once(frame: NDArray[np.uint8]) -> list[Array]:
        given = place.ask(frame)
        answer[:] = given.result() if isinstance(given, Future) else given
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

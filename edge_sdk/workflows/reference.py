"""The original that an artifact is compared with: a MODEL of any kind, as a function of frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import ContractError, ModelError
from edge_sdk.workflows.measure import Run
from runtime.batches import run_batch
from runtime.contract import InputContract
from runtime.engines import Engine
from runtime.manifest import TensorSpec
from runtime.model_file import FileOptions, is_model_file, open_model_file
from runtime.preprocess import normalize

if TYPE_CHECKING:
    from converters.capture import Captured


@dataclass(frozen=True)
class Subject:
    """What is compared with an original: its input contract and outputs, and for messages what
    it is (`a bundle`)."""

    contract: InputContract
    outputs: tuple[TensorSpec, ...]
    what: str


def original(
    model: str | Captured,
    weights: Path | None,
    subject: Subject,
    said: FileOptions | None = None,
) -> tuple[str, Run]:
    """Return the name and the function of a reference; ModelError when it cannot be the original.

    `said` is for a reference that is a .tflite file; other models take the subject's contract.
    """
    if is_model_file(model):
        return _from_file(str(model), subject, said or FileOptions())
    contract = subject.contract
    if isinstance(model, str):
        from converters.loaders import LoadOptions, load_model

        name, captured = model, load_model(model, LoadOptions(weights, contract))
    else:
        name, captured = f"the original {model.name}", model
    _check_captured(captured, name, subject)

    def run(frames: NDArray[np.uint8]) -> list[NDArray[np.float32]]:
        return captured.reference(normalize(frames, contract))

    return name, run


def runner(engine: Engine) -> Run:
    """Return an engine as a function of one prepared frame, which may be of several tiles."""
    return lambda frame: run_batch(engine, frame)


def _from_file(path: str, subject: Subject, said: FileOptions) -> tuple[str, Run]:
    try:
        file = open_model_file(path, said)
    except ContractError:
        if said.preprocess is not None:
            raise
        # One that says nothing of its input was fed as what was made from it.
        file = open_model_file(path, replace(said, preprocess=subject.contract))
    engine = file.open_engine()
    answers = [list(spec.shape[1:]) for spec in engine.outputs]
    _check(path, file.contract.shape, answers, subject)
    return path, runner(engine)


def _check_captured(captured: Captured, name: str, subject: Subject) -> None:
    from converters.graphs import shape_of

    graph = captured.graph.graph
    frame = shape_of(graph.inputs[0])[1:]
    _check(name, frame, [list(shape_of(value)[1:]) for value in graph.outputs], subject)


def _check(name: str, frame: Sequence[int], answers: list[list[int]], subject: Subject) -> None:
    """Raise ModelError when a reference cannot be the one that the subject was made from."""
    wanted = [list(spec.shape[1:]) for spec in subject.outputs]
    # Height, width and channels come in either layout.
    if sorted(frame) != sorted(subject.contract.shape) or answers != wanted:
        raise ModelError(
            f"{name} takes {list(frame)} and answers {answers}, {subject.what} "
            f"{list(subject.contract.shape)} and {wanted}; give the model that it was made from"
        )

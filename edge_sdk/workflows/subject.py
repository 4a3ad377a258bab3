"""What is converted: a captured model, and everything that has to be known about it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from converters.capture import Captured
from converters.graphs import name_of, shape_of
from converters.loaders import LoadOptions, load_model
from device_profiles.errors import ContractError, DataError, RequestError
from device_profiles.profile import Profile
from edge_sdk.workflows.convert_options import ConvertOptions
from edge_sdk.workflows.data import Frames
from edge_sdk.workflows.measure import classes_of
from runtime.contract import InputContract
from runtime.decoders import said, written
from runtime.evaluate import Judged, terms
from runtime.labels import read_labels
from runtime.preprocess import normalize
from runtime.progress import step
from runtime.tasks import decoder


@dataclass(frozen=True)
class Subject:
    """What is converted: the captured model with everything that had to be known about it."""

    captured: Captured
    contract: InputContract
    task: str
    labels: tuple[str, ...]
    decoder: Mapping[str, Any]

    @property
    def outputs(self) -> list[str]:
        """Names of the model's outputs, in order."""
        return [name_of(value) for value in self.captured.graph.graph.outputs]

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """Shapes of the model's outputs, in order."""
        return [shape_of(value) for value in self.captured.graph.graph.outputs]

    @property
    def judged(self) -> Judged:
        """The model as an evaluation sees it."""
        return Judged(tuple(self.outputs), self.contract, self.labels, self.decoder)

    def reference(self, frames: NDArray[np.uint8]) -> list[NDArray[np.generic]]:
        """Run the original model on prepared frames, uint8 (N, H, W, C), one by one."""
        batches = [
            self.captured.reference(normalize(frames[i : i + 1], self.contract))
            for i in range(len(frames))
        ]
        return [np.concatenate(parts) for parts in zip(*batches, strict=True)]


def captured_of(model: str | Captured, options: ConvertOptions) -> Captured:
    """Return the model, captured now where it is a MODEL of the command line."""
    if isinstance(model, str):
        step("capturing the model")
        return load_model(model, LoadOptions(options.weights, options.preprocess))
    if options.weights is not None:
        raise RequestError(f"{model.name} is captured with its weights; leave weights out")
    return model


def subject_of(captured: Captured, options: ConvertOptions) -> Subject:
    """Return what has to be known of a captured model; ContractError, RequestError or DataError
    where something does not fit."""
    contract = LoadOptions(preprocess=options.preprocess).contract(captured.contract)
    if contract is None:
        raise ContractError(
            f"{captured.name} does not say how its input is prepared; pass --preprocess, for "
            "example: --preprocess imagenet (or unit, tf, raw; see the README)"
        )
    shapes = [shape_of(value) for value in captured.graph.graph.outputs]
    classes = classes_of(shapes[0])
    scores = len(shapes) == 1 and len(shapes[0]) == 2 and classes > 1
    task = options.task or captured.task or ("classify" if scores else "raw")
    how = said(options.decoder if options.decoder is not None else captured.decoder)
    decoder(task, how)
    if task == "classify" and not classes:
        raise RequestError(
            f"task classify needs one score per class, {captured.name} has outputs {shapes}; "
            "pass --task raw"
        )
    labels = read_labels(options.labels) if options.labels else ()
    # Of other answers the decoder knows how many classes they are of.
    if labels and terms(task).truth in (int, None) and len(labels) != classes:
        raise DataError(
            f"{options.labels} has {len(labels)} labels, the model has {classes or 'no'} classes "
            f"(outputs {shapes}); give one line per class, in the order of the outputs"
        )
    return Subject(captured, contract, task, labels, how)


def try_decoder(subject: Subject, frames: Frames) -> None:
    """Decode the original's answer to one image: a decoder that cannot read it is refused here,
    and not on the device."""
    _, image, frame = next(frames.labelled())
    outputs = subject.reference(frame)
    decoder(subject.task, subject.decoder)(outputs, subject.judged.context(image))


def facts_of(subject: Subject, profile: Profile) -> dict[str, str]:
    """Return the facts that an artifact carries in its own metadata."""
    labels = {"edge_sdk.labels": "\n".join(subject.labels)} if subject.labels else {}
    how = json.dumps(written(subject.decoder), sort_keys=True)
    return {
        **labels,
        **({"edge_sdk.decoder": how} if subject.decoder else {}),
        "edge_sdk.name": subject.captured.name,
        "edge_sdk.input": json.dumps(subject.contract.to_json(), sort_keys=True),
        "edge_sdk.profile": profile.name,
        "edge_sdk.task": subject.task,
    }

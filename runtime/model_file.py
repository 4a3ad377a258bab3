"""A .tflite file as a model to run: what a bundle says of its artifact, found in the file itself.

A file of ours holds its contract and takes the camera's bytes; any other takes its own kind of
input, which `runtime.adapted` makes of them.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from device_profiles.errors import ContractError, DataError, ModelError, RequestError
from runtime.adapted import AdaptedEngine, picture_size
from runtime.bundle import Runner, file_entry
from runtime.contract import InputContract
from runtime.decoders import merged
from runtime.engines import Engine, EngineOptions, open_engine
from runtime.evaluate import terms
from runtime.labels import read_labels
from runtime.manifest import Artifact
from runtime.presets import parse_contract
from runtime.tasks import decoder
from runtime.tflite import TfliteFile, read_tflite

SUFFIX = ".tflite"
_FORMAT, ENGINE = "tflite", "litert"


@dataclass(frozen=True)
class FileOptions:
    """What is said of a model file: before what it says itself, and where it says nothing.

    `preprocess`, `task` and `labels` are as for converting a model. `decoder` says how the task
    reads the outputs, `name,option=value` or a manifest's `decoder`; this may be said of a bundle,
    too, before its own.
    """

    preprocess: str | InputContract | None = None
    task: str | None = None
    labels: Path | None = None
    provider: str = "cpu"
    decoder: str | Mapping[str, Any] | None = None

    def refuse(self, what: object) -> None:
        """Raise RequestError where something is said of `what`, which knows it all."""
        if replace(self, decoder=None) != FileOptions():
            raise RequestError(
                f"{what} is a bundle, which knows its preprocessing, task, labels and provider; "
                "leave these out"
            )


@dataclass(frozen=True)
class ModelFile:
    """A .tflite file with all that is needed to run it; `notes` say where that comes from."""

    path: Path
    data: bytes
    file: TfliteFile
    contract: InputContract
    task: str
    labels: tuple[str, ...]
    provider: str
    notes: tuple[str, ...]
    decoder: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The file's name without its ending."""
        return self.path.stem

    def artifact(self, engine: Engine) -> Artifact:
        """Return what a manifest would say of the file, opened as `engine`."""
        return Artifact(
            file=file_entry(self.path.name, self.data),
            format=_FORMAT,
            engine=engine.name,
            provider=engine.provider,
            precision=self.file.precision,
            opset=0,
            inputs=engine.inputs,
            outputs=engine.outputs,
        )

    def open_engine(self, threads: int = 0, tried: bool = False) -> Engine:
        """Load the file; the engine takes frames, uint8 (1, height, width, channels), BGR or grey.

        Tries it out as `open_plain` does. EngineError when it fails.
        """
        return self.adapt(_opened(self.data, EngineOptions(self.provider, threads), tried))

    def adapt(self, engine: Engine) -> Engine:
        """Return what takes frames for an engine that the file is open in, wherever that runs."""
        if _is_ours(self.file):
            return engine
        return AdaptedEngine(engine, self.contract, self.file)

    def runner(self, threads: int = 0) -> Runner:
        """Return what a pipeline takes; close its engine at the end."""
        engine = self.open_engine(threads)
        return Runner(self.contract, self.labels, self.task, engine, self.decoder)


def file_label(file: TfliteFile, provider: str) -> str:
    """Return the short name for tables, as for an artifact of a bundle."""
    return f"{_FORMAT} {file.precision} on {ENGINE}/{provider}"


def is_model_file(path: object) -> bool:
    """Say whether `path` is that of a model file, and not of a bundle."""
    return isinstance(path, (str, Path)) and Path(path).suffix.lower() == SUFFIX


def read_model_file(path: Path) -> tuple[bytes, TfliteFile]:
    """Return a file's bytes and what is in it; ModelError when it cannot be read or is damaged."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(
            f"{path}: cannot be read ({error.strerror}); give a .tflite file"
        ) from error
    try:
        return data, read_tflite(data)
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error


def open_plain(
    path: str | Path, provider: str = "cpu", threads: int = 0, tried: bool = True
) -> Engine:
    """Load a file with its input as it is; EngineError when it fails, ModelError when damaged.

    Nobody vouches for a file: where it was not `tried`, it is first run once in a child process,
    so that one which crashes the interpreter does no harm.
    """
    data, _ = read_model_file(Path(path))
    return _opened(data, EngineOptions(provider, threads), tried)


def _opened(data: bytes, options: EngineOptions, tried: bool) -> Engine:
    if not tried and options.provider == EngineOptions.provider:  # others, the engine tries out
        from runtime.worker import try_out

        try_out(ENGINE, data, options)
    return open_engine(ENGINE, data, options)


def open_model_file(path: str | Path, options: FileOptions | None = None) -> ModelFile:
    """Read a .tflite file and find out how it is to be run.

    Raises ModelError when it is damaged or no model of one picture, ContractError when neither it
    nor `options` say how a picture becomes its input, DataError for labels that do not fit.
    """
    path, options = Path(path), options or FileOptions()
    data, file = read_model_file(path)
    try:
        contract, source = _contract(file, options)
    except ContractError as error:
        raise ContractError(f"{path}: {error}") from error
    task = options.task or file.facts.get("edge_sdk.task") or _task(file, contract)
    # Of other answers the decoder knows how many classes they are of.
    classes = _classes(file) if terms(task).truth in (int, None) else 0
    labels, named = _labels(path, file, options, classes)
    how = merged(_own_decoder(path, file), options.decoder)
    decoder(task, how)
    notes = (f"its input is prepared {source}", *named)
    return ModelFile(path, data, file, contract, task, labels, options.provider, notes, how)


def _own_decoder(path: Path, file: TfliteFile) -> Mapping[str, Any]:
    try:
        found = json.loads(file.facts.get("edge_sdk.decoder", "{}"))
    except (ValueError, RecursionError) as error:
        raise ModelError(f"{path}: its facts hold no decoder; convert the model again") from error
    if not isinstance(found, dict):
        raise ModelError(f"{path}: its facts hold no decoder; convert the model again")
    return found


def _is_ours(file: TfliteFile) -> bool:
    return "edge_sdk.input" in file.facts


def _contract(file: TfliteFile, options: FileOptions) -> tuple[InputContract, str]:
    """Return how a picture becomes the input, and the words for where that is known from."""
    if _is_ours(file):
        if options.preprocess is not None:
            raise ContractError("its preprocessing is inside, as Edge SDK made it; leave that out")
        return _own_contract(file), "as it was when Edge SDK made it"
    height, width, channels, _ = picture_size(file)
    size = (None if height < 0 else height, None if width < 0 else width)
    if isinstance(options.preprocess, InputContract):
        contract, source = options.preprocess, "as given"
    elif options.preprocess is not None:
        contract, source = parse_contract(options.preprocess, *size), "as given"
    else:
        contract, source = _told(file, size, channels)
    wanted = (contract.height if height < 0 else height, contract.width if width < 0 else width)
    if contract.shape != (*wanted, channels):
        raise ContractError(
            f"the preprocessing gives {contract.shape}, the model takes {(*wanted, channels)}; "
            "say otherwise with ,height=H,width=W and ,color=RGB (or BGR, GRAY)"
        )
    return contract, source


def _own_contract(file: TfliteFile) -> InputContract:
    try:
        fields = json.loads(file.facts["edge_sdk.input"])
    except (ValueError, RecursionError) as error:
        raise ContractError("its facts hold no preprocessing; convert the model again") from error
    contract = InputContract.from_json(fields)
    spec = file.inputs[0] if len(file.inputs) == 1 else None
    if spec is None or spec.dtype != "uint8" or spec.shape[1:] != contract.shape:
        raise ContractError("its facts belong to another model; convert the model again")
    return contract


def _told(
    file: TfliteFile, size: tuple[int | None, int | None], channels: int
) -> tuple[InputContract, str]:
    """Return the contract that the file itself tells: by metadata, or by quantization."""
    tensor, said = file.inputs[0], file.described
    height, width = size
    remedy = "give --preprocess, for example imagenet, tf, unit or raw (see the README)"
    if height is None or width is None:
        raise ContractError(
            f"the file leaves the size of its input open; {remedy},height=H,width=W"
        )
    fields: dict[str, Any] = {"height": height, "width": width}
    fields["color"] = "GRAY" if channels == 1 else "RGB"
    how = "the whole frame is stretched, as the file says nothing on that"
    if said is not None and said.mean and said.std:
        contract = InputContract(**fields, scale=1.0, mean=said.mean, std=said.std)
        return contract, f"as its TFLite metadata says ({how})"
    codes = tensor.quantization
    if codes is None or len(codes.scale) != 1 or tensor.dtype not in ("uint8", "int8"):
        raise ContractError(f"the file does not say how its input is prepared; {remedy}")
    first = -128 if tensor.dtype == "int8" else 0
    scale, lowest = codes.scale[0], first - codes.zero_point[0]
    contract = InputContract(**fields, scale=scale, mean=(-lowest * scale,))
    return contract, f"as its quantization says: the bytes as they are ({how})"


def _labels(
    path: Path, file: TfliteFile, options: FileOptions, classes: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the labels, and what is to be said about them; 0 `classes` are not counted."""
    if options.labels is not None:
        labels = read_labels(options.labels)
        if classes and len(labels) != classes:
            raise DataError(
                f"{options.labels} has {len(labels)} labels, {path} has {classes} classes; give "
                "one line per class, in the order of the outputs"
            )
        return labels, ()
    labels = file.described.labels if file.described else ()
    if labels and classes and len(labels) != classes:
        return (), (f"its {len(labels)} labels do not fit its {classes} classes and are not used",)
    return labels, (f"{len(labels)} labels are packed with it",) if labels else ()


def _classes(file: TfliteFile) -> int:
    """Return how many classes the first output scores; 0 where it scores none."""
    sizes = file.outputs[0].shape[1:] if file.outputs else ()
    return max(sizes) if sizes and math.prod(sizes) == max(sizes) > 1 else 0


def _task(file: TfliteFile, contract: InputContract) -> str:
    """Return the task by the outputs: one score per class, unless it is one per pixel."""
    classes = _classes(file)
    scores = len(file.outputs) == 1 and classes not in (0, contract.height * contract.width)
    return "classify" if scores else "raw"

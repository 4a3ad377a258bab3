"""The LiteRT (TensorFlow Lite) engine, on the CPU or on a delegate that was seen to work."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EngineError, ModelError, missing
from device_profiles.nearest import hint
from runtime.engines._check import check_inputs
from runtime.engines._delegated import untaken
from runtime.engines.base import Array, Engine, EngineOptions, Traits
from runtime.manifest import TensorSpec
from runtime.tflite import Quantization, Tensor, TfliteFile, read_tflite

NAME = "litert"

# Where the interpreter lives: LiteRT, and its predecessor for older Pythons and 32-bit ARM.
_PACKAGES = (("ai_edge_litert", "ai-edge-litert"), ("tflite_runtime", "tflite-runtime"))

# Provider -> the shared library of its delegate, and its options. Any other: `delegate:PATH`.
DELEGATES: Mapping[str, tuple[str, Mapping[str, str]]] = {
    "edgetpu": ("libedgetpu.so.1", {}),  # Coral
    "ethosu": ("libethosu_delegate.so", {}),  # NXP i.MX 93
    "vx": ("libvx_delegate.so", {}),  # NXP i.MX 8M Plus
}
# Provider -> its kernels on the CPU: XNNPACK's and, where it has none, LiteRT's optimised ones; the
# latter alone; and plain loops, slow, which define what an operator means. They round otherwise.
KERNELS: Mapping[str, str | None] = {
    "cpu": None,
    "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES",
    "reference": "BUILTIN_REF",
}
_BY_PATH = "delegate:"

TRAITS = Traits(
    packages=tuple(package for package, _ in _PACKAGES),
    extra="tflite",
    in_process=tuple(KERNELS),
)


def open_engine(model: bytes, options: EngineOptions) -> Engine:
    """Load a .tflite file.

    `simulate` changes nothing: the integer arithmetic of a provider's kernels is the same function
    on every CPU, so that what runs here is what is foretold.

    A delegate is tried out in a child process first, as broken ones crash; not where the process
    may be lost (`alone`). Raises MissingError
    without an interpreter, EngineError when the file is damaged or does not load, or when the
    delegate is not there, crashes, or takes none of the operators.
    """
    if options.provider not in KERNELS and not options.alone:
        from runtime.worker import try_out

        _library(options.provider)  # what is not known or not there needs no trial
        try_out(NAME, model, options)
    return LiteRtEngine(model, options)


class LiteRtEngine:
    """An interpreter of LiteRT.

    Quantized outputs are handed out as the float32 numbers that they stand for, integers without
    a scale as they are, and outputs named in our layouts as transposed views in the model's own
    layout. `metadata` are our facts, `quantization` belongs to the inputs, `file` is what was
    read of the file. A free size (-1) of an input may change from run to run.
    """

    name = NAME

    def __init__(self, model: bytes, options: EngineOptions) -> None:
        try:
            self.file: TfliteFile = read_tflite(model)
        except ModelError as error:
            raise EngineError(f"litert cannot load the model: {error}") from error
        module, self.version = _import()
        self.provider = options.provider
        self.metadata: dict[str, str] = dict(self.file.facts)
        self.quantization = tuple(tensor.quantization for tensor in self.file.inputs)
        layouts = _layouts(self.metadata)
        self._signed = self.metadata.get("edge_sdk.io_type") == "int8"
        specs = [_spec(tensor) for tensor in self.file.inputs]
        self.inputs = tuple(replace(s, dtype="uint8") if self._signed else s for s in specs)
        self._results = tuple(_Result(t, layouts.get(t.name)) for t in self.file.outputs)
        self.outputs = tuple(result.spec for result in self._results)
        delegates = _delegates(module, options.provider)
        try:
            self._interpreter: Any = module.Interpreter(
                model_content=model,
                num_threads=options.threads or len(os.sched_getaffinity(0)),
                experimental_delegates=delegates,
                **_kernels(module, options.provider),
            )
            if delegates:
                self._require_nodes(len(self.file.operators))
            self._interpreter.allocate_tensors()
            details = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        except EngineError:
            raise
        except Exception as error:  # ValueError and RuntimeError, and what a delegate may raise
            raise EngineError(f"litert cannot load the model: {_line(error)}") from error
        self._input_ids, self._output_ids = ([int(d["index"]) for d in side] for side in details)
        self._shapes = [tuple(d["shape"]) for d in details[0]]

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once. Arrays must have the dtype and shape of `inputs`; EngineError otherwise.

        Inputs are copied once and outputs once (measured: as fast as LiteRT's views, which must
        not outlive a run).
        """
        if self._interpreter is None:
            raise EngineError("the litert engine is closed; open it again")
        check_inputs(NAME, self.inputs, inputs)
        try:
            self._resize([array.shape for array in inputs])
            for index, array in zip(self._input_ids, inputs, strict=True):
                # Bytes less 128, as int8 counts them.
                given = (array.view(np.uint8) ^ 0x80).view(np.int8) if self._signed else array
                self._interpreter.set_tensor(index, given)
            self._interpreter.invoke()
            answers = [self._interpreter.get_tensor(index) for index in self._output_ids]
        except Exception as error:
            raise EngineError(f"litert failed while it ran: {_line(error)}") from error
        return [result.real(answer) for result, answer in zip(self._results, answers, strict=True)]

    @property
    def untaken(self) -> tuple[int, ...]:
        """The operators, by their index in the file, that no delegate took (nor XNNPACK)."""
        if self._interpreter is None:
            raise EngineError("the litert engine is closed; open it again")
        return untaken(self._interpreter._get_ops_details(), len(self.file.operators))

    def close(self) -> None:
        """Free the interpreter; the engine cannot be used afterwards."""
        self._interpreter = None

    def _resize(self, shapes: list[tuple[int, ...]]) -> None:
        if shapes == self._shapes:
            return
        for index, shape in zip(self._input_ids, shapes, strict=True):
            self._interpreter.resize_tensor_input(index, shape, strict=True)
        self._interpreter.allocate_tensors()
        self._shapes = shapes

    def _require_nodes(self, operators: int) -> None:
        """Raise EngineError unless the delegate took operators: each group adds a node."""
        if len(self._interpreter._get_ops_details()) <= operators:
            raise EngineError(
                f"{self.provider} took none of the model's {operators} operators; give a model "
                "that was made for it, or ask for provider cpu"
            )


class _Result:
    """How one output of the file becomes what the engine hands out."""

    def __init__(self, tensor: Tensor, perm: Sequence[int] | None) -> None:
        spec = _spec(tensor)
        self._scale, self._table = tensor.quantization, None
        if self._scale is not None:
            if len(self._scale.scale) != 1:
                raise EngineError(f"litert: output {spec.name!r} has a scale for each channel")
            if np.dtype(spec.dtype).itemsize == 1:
                codes = np.arange(256, dtype=np.uint8).view(spec.dtype)
                self._table = _real(codes, self._scale)[np.argsort(codes.view(np.uint8))]
            spec = TensorSpec(spec.name, "float32", spec.shape)
        self._axes: tuple[int, ...] | None = None
        if perm is not None:
            if sorted(perm) != list(range(len(spec.shape))):
                raise EngineError(f"litert: the layout {perm} does not fit output {spec.name!r}")
            self._axes = tuple(int(axis) for axis in np.argsort(perm))
            spec = TensorSpec(spec.name, spec.dtype, tuple(spec.shape[a] for a in self._axes))
        self.spec = spec

    def real(self, answer: Array) -> Array:
        """Return the output as real numbers in the model's own layout."""
        if self._table is not None:
            answer = self._table[answer.view(np.uint8)]
        elif self._scale is not None:
            answer = _real(answer, self._scale)
        return answer if self._axes is None else answer.transpose(self._axes)


def _real(codes: Array, quantization: Quantization) -> NDArray[np.float32]:
    shifted = codes.astype(np.float64) - quantization.zero_point[0]
    return (shifted * quantization.scale[0]).astype(np.float32)


def _import() -> tuple[ModuleType, str]:
    """Return the interpreter's module and version."""
    first: ImportError | None = None
    for package, distribution in _PACKAGES:
        try:
            return importlib.import_module(f"{package}.interpreter"), version(distribution)
        except ImportError as error:
            first = first or error
    raise missing("ai-edge-litert", "tflite") from first


def _library(provider: str) -> tuple[str, Mapping[str, str]]:
    """Return the delegate's library and options; EngineError when it is not on this machine."""
    if provider.startswith(_BY_PATH):
        path = Path(provider.removeprefix(_BY_PATH)).absolute()
        if not path.is_file():
            raise EngineError(f"there is no delegate {path}; give the path of its shared library")
        return str(path), {}
    if provider not in DELEGATES:
        known = [*KERNELS, *DELEGATES, f"{_BY_PATH}PATH"]
        raise EngineError(f"litert has no provider {provider!r}; {hint(provider, known)}")
    return DELEGATES[provider]


def _delegates(module: ModuleType, provider: str) -> list[Any]:
    if provider in KERNELS:
        return []
    library, settings = _library(provider)
    try:
        return [module.load_delegate(library, dict(settings))]
    except Exception as error:  # OSError from the linker, ValueError and worse from the delegate
        raise EngineError(
            f"litert cannot load the delegate {library}: {_line(error)}; install the driver and "
            "libraries of its device, or ask for provider cpu"
        ) from error


def _kernels(module: ModuleType, provider: str) -> dict[str, Any]:
    """Return the argument that chooses the kernels, where it has to be said."""
    name = KERNELS.get(provider)
    if name is None:
        return {}
    if not hasattr(module, "OpResolverType"):
        raise EngineError(
            f"this tflite-runtime cannot choose the kernels of provider {provider}; "
            "install a newer one, or ask for provider cpu"
        )
    return {"experimental_op_resolver_type": getattr(module.OpResolverType, name)}


def _layouts(facts: Mapping[str, str]) -> Mapping[str, list[int]]:
    """Return the layouts that we wrote into the file: by output, its axes in the model's terms."""
    try:
        layouts = json.loads(facts.get("edge_sdk.layouts", "{}"))
        return {name: [int(axis) for axis in perm] for name, perm in layouts.items()}
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise EngineError(f"litert: the layouts in the file are none: {error!r:.80}") from error


def _spec(tensor: Tensor) -> TensorSpec:
    try:
        np.dtype(tensor.dtype)
    except TypeError as error:
        raise EngineError(
            f"litert: {tensor.name!r} is of type {tensor.dtype}, which numpy has not"
        ) from error
    return TensorSpec(tensor.name, tensor.dtype, tensor.shape)


def _line(error: Exception) -> str:
    """Return the message of an exception on one line."""
    return " ".join(str(error).split())[:300]

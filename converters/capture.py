"""Anything trained -> Captured: a float graph in onnx-ir, and the original as a callable.

This is the one place that calls torch's exporter.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from device_profiles.errors import ContractError, ModelError, missing
from runtime.contract import InputContract

FloatArray = NDArray[np.float32]

# The opset of every graph after capture: the newest that torch 2.13's exporter writes by default
# and that onnxruntime 1.20 already runs.
OPSET = 20


class Reference(Protocol):
    """The original model: float32 (1, C, H, W), normalised, in; its outputs out."""

    def __call__(self, batch: FloatArray) -> list[FloatArray]:
        """Return the outputs of the original model for one batch."""


@dataclass(frozen=True)
class Captured:
    """A trained model, captured once and convertible for many devices.

    `graph` is float32 with one NCHW input of batch 1. `reference` runs the original (not the
    graph). `contract` and `task` are what the model says of itself, where it does. `origin` tells
    where it came from (JSON-ready).
    """

    name: str
    graph: ir.Model
    reference: Reference
    contract: InputContract | None = None
    task: str | None = None
    origin: Mapping[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    # torch's exporter logs and warns about its own internals (missing torchvision, deprecated
    # copyreg calls); nothing of it concerns the user's model. Its errors are exceptions.
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something, for a one-line message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def capture(
    module: Any, example: Any, preprocess: InputContract | None = None, name: str | None = None
) -> Captured:
    """Capture a trained `torch.nn.Module` for conversion.

    `example` is a float32 tensor or array (1, C, H, W) such as the module was trained on (its
    values do not matter); `preprocess` says how a picture becomes such a tensor. Raises ModelError
    when torch cannot export the module.
    """
    array = np.asarray(example, np.float32)
    captured = capture_module(module, array, name or type(module).__name__.lower(), {})
    if preprocess is None:
        return captured
    return dataclasses.replace(captured, contract=preprocess)


def capture_module(
    module: Any, example: FloatArray, name: str, origin: Mapping[str, Any]
) -> Captured:
    """Capture a `torch.nn.Module` with the example input `example`, float32 (1, C, H, W).

    The module is put into eval mode. Raises ModelError when torch cannot export it.
    """
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "convert") from error
    module = module.eval()
    try:
        with _quiet_exporter(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (torch.from_numpy(example),),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise ModelError(
            f"{name}: torch could not export it for input {tuple(example.shape)}: "
            f"{first_line(error)}; see docs of torch.export for what a model may do"
        ) from error
    if program is None:
        raise ModelError(f"{name}: torch returned no exported program; export it to ONNX yourself")
    return Captured(
        name=name,
        graph=program.model,
        reference=TorchReference(module),
        contract=getattr(module, "input_contract", None),
        task=getattr(module, "task", None),
        origin={**origin, "exporter": f"torch {torch.__version__.split('+')[0]}"},
    )


class TorchReference:
    """The original torch module as a `Reference`."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def __call__(self, batch: FloatArray) -> list[FloatArray]:
        """Run the module on a float32 (N, C, H, W) batch."""
        import torch

        with torch.inference_mode():
            outputs = self._module(torch.from_numpy(np.ascontiguousarray(batch)))
        return [t.numpy().astype(np.float32, copy=False) for t in _tensors(outputs)]


def _tensors(outputs: Any) -> list[Any]:
    # Same flattening as the exporter's: tuples and lists in order, dictionaries by insertion.
    if isinstance(outputs, Mapping):
        outputs = list(outputs.values())
    if isinstance(outputs, (tuple, list)):
        return [tensor for item in outputs for tensor in _tensors(item)]
    return [outputs]


def example_for(contract: InputContract | None, name: str) -> FloatArray:
    """Return a seeded random input of the contract's shape, float32 (1, C, H, W).

    Raises ContractError when there is no contract, since nothing else tells the input's shape.
    """
    if contract is None:
        raise ContractError(
            f"{name} does not say how its input is prepared; pass --preprocess, "
            "for example: --preprocess imagenet (or unit,height=320,width=320)"
        )
    height, width, channels = contract.shape
    generator = np.random.default_rng(0)
    return generator.standard_normal((1, channels, height, width), dtype=np.float32)

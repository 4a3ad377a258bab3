"""Anything trained -> Captured: a float graph in onnx-ir, and the original as a callable.

This is the one place that calls torch's exporter.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import io
import logging
import re
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from converters.graphs import integer
from device_profiles.errors import ContractError, ModelError, missing
from runtime.contract import InputContract

FloatArray = NDArray[np.float32]

# The opset of every graph after capture: the newest that torch 2.13's exporter writes by default
# and that onnxruntime 1.20 already runs; and the IR version that goes with it.
OPSET = 20
IR_VERSION = 10


# Where a node says which line of the model it comes from, as `net.py:12: x = self.conv(x)`.
SOURCE = "edge_sdk.source"

_FRAME = re.compile(r'File "(?P<path>[^"]+)", line (?P<line>\d+), in [^\n]*\n\s*(?P<code>[^\n]*)')


class Reference(Protocol):
    """The original model: float32 (1, C, H, W), normalised, in; its outputs out."""

    def __call__(self, batch: FloatArray) -> list[FloatArray]:
        """Return the outputs of the original model for one batch."""


@dataclass(frozen=True)
class Captured:
    """A trained model, captured once and convertible for many devices.

    `graph` has opset 20 and one float32 input of batch 1, NCHW (or NHWC, where an ONNX file has
    it so). `reference` runs the original (not the graph) and always takes NCHW. `contract`, `task`
    and `decoder` (as in a manifest) are what the model says of itself, where it does. `origin`
    tells where it came from (JSON-ready).
    """

    name: str
    graph: ir.Model
    reference: Reference
    contract: InputContract | None = None
    task: str | None = None
    decoder: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)


@contextlib.contextmanager
def quiet_torch() -> Iterator[None]:
    """Keep back what torch's exporter logs, prints and warns about."""
    # It speaks of its own internals (missing torchvision, every strategy that it tries in vain);
    # what concerns the user's model it raises.
    level = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


def first_line(error: BaseException) -> str:
    """Return the first line of an error that says something, for a one-line message."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def _root(error: BaseException) -> BaseException:
    # The exporter wraps what went wrong in advice on how to report bugs in the exporter.
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def capture(
    module: Any, example: Any, preprocess: InputContract | None = None, name: str | None = None
) -> Captured:
    """Capture a trained `torch.nn.Module` for conversion.

    `example` is a float32 tensor or array (1, C, H, W) such as the module was trained on (its
    values do not matter); `preprocess` says how a picture becomes such a tensor. What is captured
    is a copy, in eval mode on the CPU: the module itself stays as it is, also in training. Raises
    ModelError when torch cannot export the module.
    """
    name = name or type(module).__name__.lower()
    try:
        module = copy.deepcopy(module)
    except Exception as error:
        raise ModelError(
            f"{name} cannot be copied: {first_line(error)}; give a module without such members"
        ) from error
    if hasattr(example, "detach"):
        example = example.detach().cpu()
    array = np.asarray(example, np.float32)
    if array.ndim != 4:
        raise ModelError(f"{name}: the example has shape {array.shape}; give one of (1, C, H, W)")
    captured = capture_module(evaluating(module, "capture was given"), array[:1], name, {})
    if preprocess is None:
        return captured
    return dataclasses.replace(captured, contract=preprocess)


def evaluating(net: Any, whose: str) -> Any:
    """Put `net` into eval mode on the CPU and return it; ModelError when it is no torch module.

    `whose` opens the message: "net.py:factory returned".
    """
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "convert") from error
    if not isinstance(net, torch.nn.Module):
        raise ModelError(f"{whose} {type(net).__name__}; it must be a torch.nn.Module")
    return net.cpu().eval()


def capture_module(
    module: Any, example: FloatArray, name: str, origin: Mapping[str, Any]
) -> Captured:
    """Capture a torch module in eval mode with the input `example`, float32 (1, C, H, W).

    Raises ModelError when torch cannot export it, or when it acts as in training even so.
    """
    import torch

    contract = stated_contract(module, name)
    try:
        with quiet_torch(), torch.no_grad():
            program = torch.onnx.export(
                module,
                (torch.from_numpy(np.ascontiguousarray(example)),),
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                verbose=False,
            )
    except Exception as error:
        raise ModelError(
            f"{name}: torch could not export it for input {tuple(example.shape)}: "
            f"{first_line(_root(error))}; see docs of torch.export for what a model may do"
        ) from error
    if program is None:
        raise ModelError(f"{name}: torch returned no exported program; export it to ONNX yourself")
    refuse_training(program.model, name)
    for node in program.model.graph:
        # Whole paths of the exporting machine would make equal graphs unequal.
        line = _source_line(node.metadata_props.pop("pkg.torch.onnx.stack_trace", ""))
        if line:
            node.metadata_props[SOURCE] = line
    task, decoder = getattr(module, "task", None), getattr(module, "decoder", None)
    return Captured(
        name=name,
        graph=program.model,
        reference=TorchReference(module),
        contract=contract,
        task=task if isinstance(task, str) else None,
        decoder=dict(decoder) if isinstance(decoder, Mapping) else {},
        origin={**origin, "exporter": f"torch {torch.__version__.split('+')[0]}"},
    )


def _source_line(trace: str) -> str:
    """Return the innermost line of a stack trace that is not torch's own, "" without one."""
    import torch

    home = str(Path(torch.__file__).parent)
    frames = [f for f in _FRAME.finditer(trace) if not f["path"].startswith(home)]
    if not frames:
        return ""
    return f"{Path(frames[-1]['path']).name}:{frames[-1]['line']}: {frames[-1]['code'].strip()}"


def stated_contract(module: Any, name: str) -> InputContract | None:
    """Return the module's `input_contract`, if it has one; ContractError when it is none."""
    contract = getattr(module, "input_contract", None)
    if contract is None or isinstance(contract, InputContract):
        return contract
    raise ContractError(
        f"{name}.input_contract is of type {type(contract).__name__}; "
        "make it an edge_sdk.InputContract, or remove it and pass --preprocess"
    )


def refuse_training(model: ir.Model, name: str) -> None:
    """Raise ModelError when a node of `model` acts as in training: at random, or on the batch."""
    for node in model.graph.all_nodes():
        flag = node.inputs[2] if node.op_type == "Dropout" and len(node.inputs) > 2 else None
        drops = flag is not None and ir.convenience.get_const_tensor(flag)
        learns = node.op_type == "BatchNormalization" and integer(node, "training_mode", 0)
        if learns or (drops and drops.numpy().any()):
            raise ModelError(
                f"{name}: {node.op_type} {node.name} is in training mode; call model.eval() "
                "before the export, and give functions such as dropout training=self.training"
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
            "for example: --preprocess imagenet,height=224,width=224"
        )
    height, width, channels = contract.shape
    return noise((1, channels, height, width))


def noise(shape: tuple[int, ...]) -> FloatArray:
    """Return standard normal float32 numbers, the same every time."""
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)

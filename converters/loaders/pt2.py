"""`net.pt2`: a program saved by `torch.export.save`."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path
from typing import Any

import numpy as np

from converters.capture import Captured, capture_module, first_line, quiet_torch
from converters.loaders.base import LoadOptions
from device_profiles.errors import ModelError, missing


def accepts(spec: str) -> bool:
    """Tell whether `spec` ends in `.pt2`."""
    return spec.endswith(".pt2")


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Read the program and capture it at the input shape that it was exported with.

    torch may run code that a .pt2 holds, so one from elsewhere is to be trusted like a program.
    """
    path = Path(spec)
    if options.weights:
        raise ModelError(f"{spec} carries its weights; leave --weights out")
    if not path.is_file():
        raise ModelError(f"{spec}: no such file; give the path of a .pt2 program")
    program = _read(path)
    example = _example(program, spec)
    _refuse_training(program, spec)
    origin = {"model": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    captured = capture_module(program.module(), example, path.stem, origin)
    height, width = example.shape[2:]
    return dataclasses.replace(captured, contract=options.contract(None, (height, width)))


def _read(path: Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "convert") from error
    try:
        with quiet_torch():
            return torch.export.load(path)
    except Exception as error:
        raise ModelError(
            f"{path} is not a whole .pt2 program: {first_line(error)}; "
            "save it again with torch.export.save"
        ) from error


def _example(program: Any, spec: str) -> np.ndarray[Any, np.dtype[np.float32]]:
    arguments, keywords = program.example_inputs or ([], {})
    inputs = [*arguments, *keywords.values()]
    shapes = [tuple(getattr(one, "shape", ())) for one in inputs]
    if len(arguments) != 1 or keywords or len(shapes[0]) != 4:
        found = ", ".join(map(str, shapes)) or "none"
        raise ModelError(
            f"{spec} must take one tensor (1, C, H, W), by position; its inputs are: {found}"
        )
    if shapes[0][0] != 1 and _is_fixed(program):
        raise ModelError(
            f"{spec} was exported for batches of {shapes[0][0]}; export it with a batch of 1"
        )
    return np.asarray(arguments[0][:1].detach().cpu(), np.float32)


def _is_fixed(program: Any) -> bool:
    # The batch is free when the first dimension of the user's input is a symbol.
    (name,) = program.graph_signature.user_inputs
    (node,) = (node for node in program.graph.nodes if node.name == name)
    return isinstance(node.meta["val"].shape[0], int)


def _refuse_training(program: Any, spec: str) -> None:
    # The mode is fixed at export, as an argument that torch's operators call `train(ing)`.
    for node in program.graph.nodes:
        schema = getattr(node.target, "_schema", None)
        for argument, value in zip(schema.arguments if schema else (), node.args, strict=False):
            if argument.name in ("train", "training") and value is True:
                raise ModelError(
                    f"{spec} was exported in training mode ({node.name}); "
                    "call model.eval() before torch.export.export"
                )

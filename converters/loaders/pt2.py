"""`net.pt2`: a program saved by `torch.export.save`."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np

from converters.capture import Captured, capture_module, first_line
from converters.loaders.base import LoadOptions
from device_profiles.errors import ModelError, missing


def accepts(spec: str) -> bool:
    """Tell whether `spec` ends in `.pt2`."""
    return spec.endswith(".pt2")


def load_model(spec: str, options: LoadOptions) -> Captured:
    """Read the program and capture it at the input shape that it was exported with."""
    try:
        import torch
    except ImportError as error:
        raise missing("torch", "convert") from error
    path = Path(spec)
    if options.weights:
        raise ModelError(f"{spec} carries its weights; leave --weights out")
    if not path.is_file():
        raise ModelError(f"{spec}: no such file")
    try:
        program = torch.export.load(path)
    except Exception as error:
        raise ModelError(f"{spec} is not a whole .pt2 program: {first_line(error)}") from error
    inputs = list(program.example_inputs[0]) if program.example_inputs else []
    if len(inputs) != 1 or inputs[0].ndim != 4:
        raise ModelError(f"{spec} must take one 4-D tensor; it takes {len(inputs)} inputs")
    example = inputs[0][:1].numpy().astype(np.float32)
    # eval() is refused by exported modules: the mode was fixed when the program was exported.
    module = program.module()
    module.eval = lambda: module  # type: ignore[method-assign]
    captured = capture_module(module, example, path.stem, {"model": path.name})
    height, width = example.shape[2:]
    return dataclasses.replace(captured, contract=options.contract(None, (height, width)))

"""What is said of a node that cannot be written."""

from __future__ import annotations

import onnx_ir as ir

from converters.capture import SOURCE
from converters.graphs import name_of
from device_profiles.errors import ModelError


def refusal(node: ir.Node, what: str) -> ModelError:
    """Return the error for a node that cannot be written, with its line in the model."""
    line = node.metadata_props.get(SOURCE)
    where = f"at {line}" if line else f"node {node.name or name_of(node.outputs[0])}"
    return ModelError(f"{what} ({where}); use --format onnx, or change the model there")

"""What is said of a node that cannot be written."""

from __future__ import annotations

import onnx_ir as ir

from converters.graphs import name_of
from device_profiles.errors import ModelError


def refusal(node: ir.Node, what: str) -> ModelError:
    """Return the error for a node that cannot be written, with its line in the model."""
    return ModelError(
        f"{what} (node {node.name or name_of(node.outputs[0])}{_source(node)}); "
        "use --format onnx, or change the model there"
    )


def _source(node: ir.Node) -> str:
    """Return the line of the model that the exporter noted for `node`, where it did."""
    trace = str(node.metadata_props.get("pkg.torch.onnx.stack_trace", ""))
    lines = [line.strip() for line in trace.splitlines() if line.strip().startswith("File ")]
    return f", {lines[-1]}" if lines else ""

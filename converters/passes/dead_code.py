"""Nodes, initializers and opset imports that nobody uses are removed."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import RemoveUnusedNodesPass, RemoveUnusedOpsetsPass

from converters.passes.base import Pass, Skip, label
from device_profiles.errors import ModelError


class DeadCode(Pass):
    """Remove what no output of the graph depends on."""

    after = ("constant_folding", "fold_affine", "fuse_activation", "eliminate_identity")

    def ensures(self, model: ir.Model) -> None:
        """Every node and every initializer is used."""
        for node in model.graph:
            if not any(out.uses() or out.is_graph_output() for out in node.outputs):
                raise ModelError(f"node {label(node)} is unused and could not be removed")

    def apply(self, model: ir.Model) -> tuple[int, list[Skip]]:
        """Remove; fired counts what is gone."""
        count = _parts(model)
        RemoveUnusedNodesPass()(model)
        RemoveUnusedOpsetsPass()(model)
        return count - _parts(model), []


def _parts(model: ir.Model) -> int:
    nodes = sum(1 for _ in ir.traversal.RecursiveGraphIterator(model.graph))
    kept = sum(len(graph.initializers) for graph in model.graphs())
    return nodes + kept + len(model.opset_imports)

"""Nodes that compute the same from the same inputs become one."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import CommonSubexpressionEliminationPass

from converters.passes.base import Pass, Skip


class CommonSubexpressions(Pass):
    """Merge nodes of equal operator, attributes and inputs; random operators are left alone."""

    after = ("constant_folding",)

    def apply(self, model: ir.Model) -> tuple[int, list[Skip]]:
        """Merge; fired counts the nodes that are gone."""
        count = len(model.graph)
        CommonSubexpressionEliminationPass()(model)
        return count - len(model.graph), []

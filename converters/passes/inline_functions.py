"""Functions of a model are written out where they are called."""

from __future__ import annotations

import onnx_ir as ir
from onnx_ir.passes.common import InlinePass

from converters.passes.base import Pass, Skip
from device_profiles.errors import ModelError


class InlineFunctions(Pass):
    """Replace every call of a model-local function by its body."""

    def requires(self, model: ir.Model) -> None:
        """Functions are what this pass is for."""

    def ensures(self, model: ir.Model) -> None:
        """No function is left."""
        if model.functions:
            raise ModelError(f"{len(model.functions)} functions could not be inlined")

    def apply(self, model: ir.Model) -> tuple[int, list[Skip]]:
        """Inline all functions."""
        calls = len(model.functions)
        if calls:
            InlinePass()(model)
        return calls, []

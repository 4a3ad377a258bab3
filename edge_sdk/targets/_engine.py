"""An engine that runs on a target, as an engine of ours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from runtime.engines._check import check_inputs
from runtime.engines.base import Array
from runtime.manifest import TensorSpec

if TYPE_CHECKING:
    from edge_sdk.targets._session import Session


class RemoteEngine:
    """An engine of a session. `ms` is how long the last run took there; `load_ms`, the loading."""

    def __init__(self, session: Session, number: int, facts: Mapping[str, Any]) -> None:
        self.session, self.number = session, number
        self.name, self.version = str(facts["name"]), str(facts["version"])
        self.provider = str(facts["provider"])
        self.placement: Mapping[str, int] = facts["placement"]
        self.load_ms = float(facts["load_ms"])
        self.ms = 0.0
        self.inputs, self.outputs = (
            tuple(TensorSpec(name, dtype, tuple(shape)) for name, dtype, shape in facts[side])
            for side in ("inputs", "outputs")
        )

    def run(self, inputs: Sequence[Array]) -> list[Array]:
        """Run once. Arrays must have the dtype and shape of `inputs`; EngineError otherwise."""
        check_inputs(self.name, self.inputs, inputs)
        request = {"do": "run", "number": self.number}
        answer, outputs = self.session.ask(request, inputs, f"ran {self.name}/{self.provider}")
        self.ms = float(answer["ms"])
        return outputs

    def close(self) -> None:
        """Free it there; the session stays open."""
        self.session.ask({"do": "close", "number": self.number})

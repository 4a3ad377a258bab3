"""What every loader takes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from runtime.contract import InputContract
from runtime.presets import parse_contract


@dataclass(frozen=True)
class LoadOptions:
    """`weights` to load into the architecture; `preprocess` as the user stated it, if at all."""

    weights: Path | None = None
    preprocess: str | InputContract | None = None

    def contract(
        self, said: InputContract | None, size: tuple[int, int] | None = None
    ) -> InputContract | None:
        """Return the contract that holds: the user's word before what the model `said` of itself.

        `size` is the (height, width) that the model's own input fixes, where it does.
        """
        if isinstance(self.preprocess, InputContract):
            return self.preprocess
        if self.preprocess is None:
            return said
        if size is None and said is not None:
            size = said.height, said.width
        height, width = size or (None, None)
        return parse_contract(self.preprocess, height, width)

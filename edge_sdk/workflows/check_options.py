"""What may be said of a check."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from device_profiles.errors import RequestError
from edge_sdk.workflows.limits import check_budget
from runtime.model_file import FileOptions

if TYPE_CHECKING:
    from converters.capture import Captured


@dataclass(frozen=True)
class CheckOptions:
    """What may be said of a check beside bundle and data.

    `reference` is the MODEL that the bundle was made from (with `weights`), or what `capture`
    returned for it; without it the bundle's own float32 artifact is the reference. `max_drop` is
    a gate in points. `samples` images are taken (None: all). `file` is what is said of a model
    file; of a bundle nothing can be said. `on` is the TARGET that computes the artifacts
    (None: this machine, in the way that says most of the device), and `beside` it this machine's
    own kernels are shown. `precisions` are those of the artifacts to check (none: all).
    """

    reference: str | Captured | None = None
    weights: Path | None = None
    max_drop: float | None = None
    samples: int | None = None
    seed: int = 0
    label_offset: int | None = None
    file: FileOptions = field(default_factory=FileOptions)
    on: str | None = None
    beside: bool = True
    precisions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_budget(self.max_drop)
        if self.weights is not None and not isinstance(self.reference, str):
            raise RequestError(
                f"weights {self.weights} belong to no reference; pass --reference MODEL as well"
            )

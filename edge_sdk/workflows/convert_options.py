"""What may be said of a conversion."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edge_sdk.workflows.gate import GateOptions
from edge_sdk.workflows.limits import check_budget
from edge_sdk.workflows.ways import check_way
from runtime.contract import InputContract


@dataclass(frozen=True)
class ConvertOptions:
    """What may be said of a conversion beside model, profile, calibration data and output.

    `preprocess`, `task` and `decoder` override what the model says of itself; `decoder` is what
    reads the outputs for the task, `name,option=value` or a mapping (see `runtime.decoders.said`).
    `precision` and `format` are `auto` or a name. `max_drop` is the budget: how many points of
    accuracy (or dB, as the task measures it) may be lost; of agreement, where the data has no
    ground truth. `samples` frames calibrate, others judge, up to `judges`. `passes` are files with
    graph passes of the user's own. `weigh` is how latency is known: `auto`, `measure`, `model` or
    `none` (see `edge_sdk.workflows.weigh`). `gate` is how the bundle is proven on the device's CPU
    before it is written.
    """

    weights: Path | None = None
    preprocess: str | InputContract | None = None
    task: str | None = None
    decoder: str | Mapping[str, Any] | None = None
    labels: Path | None = None
    label_offset: int | None = None
    validation: Path | None = None
    format: str = "auto"
    precision: str = "auto"
    max_drop: float | None = None
    samples: int = 128
    judges: int = 256
    seed: int = 0
    passes: tuple[Path, ...] = ()
    weigh: str = "auto"
    gate: GateOptions = field(default_factory=GateOptions)

    def __post_init__(self) -> None:
        check_budget(self.max_drop)
        check_way(self.weigh)

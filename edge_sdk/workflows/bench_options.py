"""What a bench is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from device_profiles.errors import RequestError
from edge_sdk.workflows.limits import check_threads


@dataclass(frozen=True)
class BenchOptions:
    """`runs` counted inferences per rung, interleaved over the rungs; `threads` 0: the engine's.

    `provider` is for a model file; a bundle's rungs have their own. `on` is the target's address,
    None for this machine. `throughput` also counts frames per second by threads and by streams,
    which needs the memory of as many engines as there are cores. `against` is a card, as an
    earlier bench wrote it, that is compared with.
    """

    runs: int = 200
    threads: int = 0
    provider: str = "cpu"
    on: str | None = None
    throughput: bool = False
    against: Path | None = None

    def __post_init__(self) -> None:
        if self.runs < 10:
            raise RequestError(f"{self.runs} runs give no percentiles; ask for at least 10")
        check_threads(self.threads)

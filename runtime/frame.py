"""Frame: one picture with the time at which it was captured."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture of a source.

    `image` is uint8, (height, width, 3) in BGR order or (height, width) for grey. `index` counts
    from 0. `captured_ns` is `time.monotonic_ns()` at capture, so that the age of a result can be
    measured. `name` is the file name, or what else identifies the frame to a person; `truth` is
    the ground truth where a source knows it (synthetic scenes), else None. `source` is the URI of
    the source, without passwords, which a pipeline adds.
    """

    image: NDArray[np.uint8]
    index: int
    captured_ns: int
    name: str = ""
    truth: Any = None
    source: str = ""

"""Are the files there that a table of a data set names?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from device_profiles.errors import DataError
from runtime.datasets.base import Sample


def check_files(table: Path, root: Path, samples: Sequence[Sample]) -> None:
    """Raise DataError where `table` names files that are not in `root`, or one of them twice."""
    missing = [s.path.name for s in samples if not s.path.is_file()]
    if missing:
        raise DataError(
            f"{table} names {len(missing)} files of {len(samples)} that are not in {root} "
            f"(first: {', '.join(missing[:3])}); correct {table.name} or add them"
        )
    seen: set[Path] = set()
    for sample in samples:
        if sample.path in seen:
            raise DataError(f"{table} lists {sample.path.name} twice; remove one of the lines")
        seen.add(sample.path)

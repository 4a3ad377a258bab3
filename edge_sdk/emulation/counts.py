"""Instructions that a model costs on an emulated CPU: per inference, and to load it.

A count is of the guest's instructions, so that it is the same however loaded this machine is. What
would still change it is held fixed: one thread, one frame, seeds, no garbage collection between
(`runtime.marks`).
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from statistics import median_low
from typing import Any

from device_profiles.errors import CrashError, EngineError, RequestError
from edge_sdk.emulation.plugin import instruction_plugin
from edge_sdk.targets.base import Start, Target
from edge_sdk.targets.emulated import EmulatedTarget
from runtime.deaths import signal_words
from runtime.marks import FIRST, LOADED, START, WARM

THREADS = 1
"""What the counted process runs by: the order of several threads is not repeatable."""

PATIENCE_S = 3600.0
"""How long one rung may take: emulated float arithmetic takes seconds an inference."""

# What seeds anything in the guest: hashes of Python, and the random bytes that QEMU hands to the C
# library. One arena, because glibc picks among several by contention.
_FIXED = {
    "PYTHONHASHSEED": "0",
    "QEMU_RAND_SEED": "1",
    "MALLOC_ARENA_MAX": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(frozen=True)
class Counts:
    """Instructions by class (those of instructions.h), and bytes by what moved them.

    `bytes` has `load` and `store` for general registers, `vector_load` and `vector_store` for
    floating-point and SIMD ones. Differences are of two reports of one process.
    """

    instructions: Mapping[str, int] = field(default_factory=dict)
    bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All instructions."""
        return sum(self.instructions.values())

    @property
    def moved(self) -> int:
        """All bytes loaded and stored."""
        return sum(self.bytes.values())

    def __sub__(self, before: Counts) -> Counts:
        """Return what came after `before`."""
        return Counts(
            {name: n - before.instructions[name] for name, n in self.instructions.items()},
            {name: n - before.bytes[name] for name, n in self.bytes.items()},
        )

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "total": self.total,
            "instructions": dict(self.instructions),
            "bytes": dict(self.bytes),
        }


@dataclass(frozen=True)
class Cost:
    """What one artifact costs on an emulated CPU by one thread, and what ran it.

    `inference` are the counts of the counted run whose total is the median (the lower of two
    middle ones); `runs` the totals of all. `load` is from the model's bytes to an engine that is
    ready, `first` the first inference, which may pack weights and allocate.
    """

    engine: str
    version: str
    provider: str
    inference: Counts
    load: Counts
    first: Counts
    runs: tuple[int, ...]

    @property
    def spread(self) -> float:
        """(Largest - smallest) / median of the totals within the process."""
        return (max(self.runs) - min(self.runs)) / self.inference.total

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return {
            "engine": self.engine,
            "version": self.version,
            "provider": self.provider,
            "inference": self.inference.to_json(),
            "load": self.load.to_json(),
            "first": self.first.to_json(),
            "runs": list(self.runs),
            "spread": self.spread,
        }


def count(target: Target, path: Path, which: int | str, runs: int = 5) -> Cost:
    """Count what rung `which` of the bundle at `path` costs on an emulated `target`, in `runs`.

    `path` may be a .tflite file; `which` is then a provider. Its input is the bundle's first golden
    frame, every time. Several may count at once. RequestError where the target is not emulated,
    MissingError where counting needs something that is not here, CrashError where the device's
    process dies, EngineError for what else goes wrong there.
    """
    if not isinstance(target, EmulatedTarget):
        raise RequestError(
            f"{target.uri} does not count instructions; name an emulated device, such as "
            "emulated:raspberry-pi-4b"
        )
    plugin = instruction_plugin(target.device.qemu)
    with tempfile.TemporaryDirectory(prefix="edge-sdk-") as folder:
        out = Path(folder, "counts.jsonl")
        options = f"{_escaped(plugin)},out={_escaped(out)}"
        arguments = ["-m", "runtime.marks", target.send(path.absolute()), str(which), str(runs)]
        process = target.start(arguments, Start(env=_FIXED, plugin=options))
        facts = json.loads(_result(target, process).splitlines()[-1])
        return read_cost(out.read_text(), facts)


def read_cost(reports: str, facts: Mapping[str, str]) -> Cost:
    """Read the plugin's reports, one JSON object a line, of a run of `runtime.marks`.

    `facts` are the engine, its version and provider. EngineError when marks are missing.
    """
    marks: dict[int, Counts] = {}
    for line in reports.splitlines():
        report = json.loads(line)
        if "mark" in report:
            marks[report["mark"]] = Counts(report["instructions"], report["bytes"])
    if not {START, LOADED, FIRST, WARM, WARM + 1} <= marks.keys():
        raise EngineError(
            f"the counter saw the marks {sorted(marks)} only; see that QEMU passes unknown system "
            "calls to its plugins (version 4.2 or newer)"
        )
    warm = [marks[number] for number in sorted(marks) if number >= WARM]
    runs = [after - before for before, after in pairwise(warm)]
    return Cost(
        facts["engine"],
        facts["version"],
        facts["provider"],
        inference=_median(runs),
        load=marks[LOADED] - marks[START],
        first=marks[FIRST] - marks[LOADED],
        runs=tuple(run.total for run in runs),
    )


def _median(runs: Sequence[Counts]) -> Counts:
    middle = median_low(run.total for run in runs)
    return next(run for run in runs if run.total == middle)


def _result(target: Target, process: subprocess.Popen[bytes]) -> str:
    """Return what the process printed; the errors of `count` where it failed."""
    try:
        out, said = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired as error:
        raise EngineError(
            f"{target.uri} was not done in {PATIENCE_S / 60:.0f} minutes; count a smaller model or "
            "fewer runs"
        ) from error
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
    if process.returncode < 0:
        number = -process.returncode
        raise CrashError(
            f"{target.uri} crashed with {signal_words(number)} while it was counted; "
            "see edge-sdk doctor --on " + target.uri,
            number,
        )
    if process.returncode:
        words = said.decode(errors="replace").strip().splitlines() or ["it said nothing"]
        raise EngineError(f"on {target.uri}: {words[-1]}")
    return out.decode()


def _escaped(path: Path) -> str:
    """Return a path for an option of QEMU, where a comma ends a value and two stand for one."""
    return str(path).replace(",", ",,")

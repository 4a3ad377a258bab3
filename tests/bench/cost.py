"""How repeatable counts of instructions are, and what a model costs on several emulated CPUs.

    python tests/bench/cost.py BUNDLE [--times 3] [--runs 5] [TARGET...]

counts every rung on every target in `--times` processes of its own, and prints a row as soon as it
is known: the median of the processes, how far they differ, and what dotprod, FMA and loads make of
it. Rungs whose engine is not installed on a target say so. Whole numbers are exact.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from statistics import median_low

from device_profiles.errors import EdgeError
from edge_sdk.emulation.counts import Cost, count
from edge_sdk.targets import open_target
from runtime.bundle import open_bundle

TARGETS = (
    "emulated:raspberry-pi-3b",
    "emulated:raspberry-pi-4b",
    "emulated:raspberry-pi-5",
    "emulated:jetson-orin-nano",
    "emulated:raspberry-pi-2b",
)
HEAD = ("target", "rung", "M instructions", "processes differ, %", "within, %", "dot, M", "fma, M",
        "multiply, M", "MB moved", "load, M", "s")  # fmt: skip


def row(target: str, label: str, costs: list[Cost], seconds: float) -> str:
    """Return one line of the table, tabs between its cells."""
    totals = [cost.inference.total for cost in costs]
    middle = median_low(totals)
    cost = costs[totals.index(middle)]
    kinds = cost.inference.instructions
    cells = (
        target.partition(":")[2],
        label,
        f"{middle / 1e6:.3f}",
        f"{100 * (max(totals) - min(totals)) / middle:.4f}",
        f"{100 * max(c.spread for c in costs):.3f}",
        *(f"{kinds[name] / 1e6:.2f}" for name in ("vector_dot", "vector_fma", "vector_multiply")),
        f"{cost.inference.moved / 1e6:.1f}",
        f"{cost.load.total / 1e6:.0f}",
        f"{seconds:.0f}",
    )
    return "\t".join(cells)


def main() -> None:
    """Count and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("targets", nargs="*", default=TARGETS)
    parser.add_argument("--times", type=int, default=3)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--only", default="", help="rungs whose name has this")
    given = parser.parse_args()
    with open_bundle(given.bundle) as bundle:
        labels = [artifact.label for artifact in bundle.manifest.artifacts]
    sys.stdout.write("\t".join(HEAD) + "\n")
    for rung, label in enumerate(labels):
        for uri in given.targets if given.only in label else ():
            started = time.monotonic()
            try:
                target = open_target(uri)
                costs = [count(target, given.bundle, rung, given.runs) for _ in range(given.times)]
            except EdgeError as error:
                sys.stdout.write(f"{uri}\t{label}\t{error}\n")
            else:
                seconds = (time.monotonic() - started) / given.times
                sys.stdout.write(row(uri, label, costs, seconds) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()

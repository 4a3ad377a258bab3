"""Memory that LiteRT would share where it must not: which tensors are copied to keep it from that.

LiteRT lets an elementwise operator write over its input where nothing else reads that, and gives
the result of a RESHAPE the memory of its source (arena_planner.cc, IdentifyInPlaceTensors). It
counts the readers of the tensor that is written over and of the one at the root of the chain of
shared memory, and of none between. So after RESHAPE an operator may write over what others of the
chain have still to read.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

# The operators that LiteRT lets write over their input (inplace_operator in their registrations).
_IN_PLACE = frozenset({"ADD", "SUB", "MUL", "DIV", "SOFTMAX"})


@dataclass(frozen=True)
class Step:
    """An operator by its name, and the tensors that it reads and writes, by index."""

    code: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]


def overwritten(steps: Sequence[Step]) -> list[tuple[int, int]]:
    """Return (position, input) of every operator that has to be given a copy of an input."""
    readers: dict[int, list[int]] = defaultdict(list)
    for position, step in enumerate(steps):
        for tensor in step.inputs:
            readers[tensor].append(position)
    roots: dict[int, int] = {}
    members: dict[int, list[int]] = defaultdict(list)
    for step in steps:
        if step.code == "RESHAPE":
            source, made = step.inputs[0], step.outputs[0]
            roots[made] = roots.get(source, source)
            members[roots[made]].append(made)
    found = []
    for made, root in roots.items():
        if len(readers[made]) != 1 or steps[readers[made][0]].code not in _IN_PLACE:
            continue
        at = readers[made][0]
        if any(p > at for other in (root, *members[root]) for p in readers[other]):
            found.append((at, steps[at].inputs.index(made)))
    return sorted(found)

"""Which operators of a graph LiteRT's delegates (XNNPACK among them) did not take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def untaken(details: Sequence[Mapping[str, Any]], operators: int) -> tuple[int, ...]:
    """Return the operators outside of every delegate, by index.

    `details` are LiteRT's: the `operators` of the file, then one node for each part that a delegate
    took, whose inputs and outputs are the edges of the part. LiteRT does not say what is inside:
    that is whatever leads from the inputs to the outputs.
    """
    maker = {int(out): i for i in range(operators) for out in details[i]["outputs"]}
    inside: set[int] = set()
    for part in details[operators:]:
        edge = {int(tensor) for tensor in part["inputs"]}
        waiting = [int(tensor) for tensor in part["outputs"]]
        while waiting:
            tensor = waiting.pop()
            index = maker.get(tensor)
            if index is None or index in inside or tensor in edge:
                continue
            inside.add(index)
            waiting += [int(source) for source in details[index]["inputs"] if source >= 0]
    return tuple(index for index in range(operators) if index not in inside)

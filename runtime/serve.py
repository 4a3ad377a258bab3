"""The device side of a session: `python -m runtime.serve` does what a host asks for.

Requests come in on standard input and are answered on standard output, as `runtime.wire` writes
them. What libraries print goes to standard error. A fault of an engine is an answer
(`{"error": ..., "kind": ...}`); anything else ends the process, with its traceback. It ends with
its standard input.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np

from device_profiles.errors import EdgeError
from runtime.condition import Watch
from runtime.engines import Engine, EngineOptions, open_engine
from runtime.timing import Subject, in_turns, side_by_side, warm_up
from runtime.wire import Array, Message, receive, send

Answer = tuple[Message, list[Array]]


@dataclass
class Served:
    """What a session holds: engines, by the number that the host calls them by, what these are
    given when they are timed, and who watches the machine meanwhile."""

    engines: dict[int, Engine] = field(default_factory=dict)
    inputs: dict[int, list[list[Array]]] = field(default_factory=dict)
    watch: Watch | None = None


def _open(served: Served, request: Message, arrays: list[Array]) -> Answer:
    """Load the model that comes as an array of bytes, in this process."""
    options = EngineOptions(**{**request["options"], "alone": True})
    start = time.perf_counter()
    engine = open_engine(request["engine"], arrays[0].tobytes(), options)
    load_ms = 1e3 * (time.perf_counter() - start)
    number = request["number"]
    served.engines[number] = engine
    facts = {
        "name": engine.name,
        "version": engine.version,
        "provider": engine.provider,
        "placement": getattr(engine, "placement", {}),
        "load_ms": load_ms,
    }
    for side, specs in (("inputs", engine.inputs), ("outputs", engine.outputs)):
        facts[side] = [[spec.name, spec.dtype, list(spec.shape)] for spec in specs]
    return facts, []


def _run(served: Served, request: Message, arrays: list[Array]) -> Answer:
    engine = served.engines[request["number"]]
    start = time.perf_counter()
    outputs = engine.run(arrays)
    ms = 1e3 * (time.perf_counter() - start)
    return {"ms": ms}, [np.asarray(output) for output in outputs]


def _give(served: Served, request: Message, arrays: list[Array]) -> Answer:
    """Keep what an engine is given when it is timed, in turn: as many arrays as it takes each."""
    number = request["number"]
    each = len(served.engines[number].inputs)
    served.inputs[number] = [arrays[i : i + each] for i in range(0, len(arrays), each)]
    return {}, []


def _subjects(served: Served, request: Message) -> list[Subject]:
    numbers = request["numbers"]
    return [Subject(served.engines[number], served.inputs[number]) for number in numbers]


def _warm_up(served: Served, request: Message, arrays: list[Array]) -> Answer:
    rounds, seconds = warm_up(_subjects(served, request))
    return {"rounds": rounds, "seconds": seconds}, []


def _time(served: Served, request: Message, arrays: list[Array]) -> Answer:
    clock = time.process_time if request.get("cpu") else time.perf_counter
    return {}, [in_turns(_subjects(served, request), request["first"], request["rounds"], clock)]


def _side_by_side(served: Served, request: Message, arrays: list[Array]) -> Answer:
    return {"fps": side_by_side(_subjects(served, request), request["seconds"])}, []


def _look(served: Served, request: Message, arrays: list[Array]) -> Answer:
    served.watch = served.watch or Watch()
    return served.watch.look(), []


def _close(served: Served, request: Message, arrays: list[Array]) -> Answer:
    served.engines.pop(request["number"]).close()
    served.inputs.pop(request["number"], None)
    return {}, []


def _about(served: Served, request: Message, arrays: list[Array]) -> Answer:
    from runtime.about import about

    return about(), []


OPERATIONS: dict[str, Callable[[Served, Message, list[Array]], Answer]] = {
    "open": _open,
    "run": _run,
    "give": _give,
    "warm_up": _warm_up,
    "time": _time,
    "side_by_side": _side_by_side,
    "look": _look,
    "close": _close,
    "about": _about,
}


def serve(requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer requests until they end."""
    served = Served()

    def read(count: int) -> bytes:
        return requests.read(count)

    while (found := receive(read)) is not None:
        request, arrays = found
        try:
            message, results = OPERATIONS[request["do"]](served, request, arrays)
        except EdgeError as error:
            send(answers, {"error": str(error), "kind": type(error).__name__})
        else:
            send(answers, message, results)
    for engine in served.engines.values():
        engine.close()


def main() -> None:
    """Serve on standard input and output; whatever else is printed goes to standard error."""
    answers: Any = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()

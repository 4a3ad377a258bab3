"""What a bundle answers to frames as they come: `python -m runtime.answers BUNDLE [OPTIONS]`.

Frames come in on standard input, one array a message of `runtime.wire`. First it tells `task`, and
then of each frame `facts` and arrays (`runtime.evaluate.base.Answer`) and the `ms` of its run, on
standard output. What libraries print goes to standard error. Instead of an answer, `error` says
why there is none. It ends with its standard input.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EdgeError
from runtime.demand import parse_demand
from runtime.evaluate import Answer, Judged, between_models
from runtime.feed import Feeder, infer
from runtime.ladder import LadderOptions
from runtime.runner import BundleRunner, open_runner
from runtime.tasks import decoder
from runtime.wire import receive, send


class Answering:
    """Answers frame by frame with a runner, which stays open."""

    def __init__(self, runner: BundleRunner) -> None:
        self._engine = runner.engine
        names = tuple(spec.name for spec in runner.engine.outputs)
        self._judged = Judged(names, runner.contract, runner.labels, runner.decoder)
        self._decode = decoder(runner.task, runner.decoder)
        self._evaluation = between_models(runner.task)
        self._feeder = Feeder(runner.contract)

    def answer(self, image: NDArray[np.uint8]) -> tuple[Answer, float]:
        """Return what is compared of the answer to a frame, and how long the run took, in ms."""
        prepared = self._feeder.prepare(image)
        start = time.perf_counter()
        outputs = infer(self._engine, [prepared])[0]
        ms = 1e3 * (time.perf_counter() - start)
        result = self._decode(outputs, self._judged.context(image))
        return self._evaluation.answer(result, outputs), ms


def answer_all(bundle: Path, options: LadderOptions, frames: BinaryIO, out: BinaryIO) -> None:
    """Answer every frame that comes in; EdgeError where that cannot go on."""
    runner = open_runner(bundle, options)
    with closing(runner.engine):
        answering = Answering(runner)
        send(out, {"task": runner.task})
        while (found := receive(frames.read)) is not None:
            image = cast(NDArray[np.uint8], found[1][0])
            answer, ms = answering.answer(image)
            send(out, {"facts": answer.facts, "ms": ms}, answer.arrays)


def main(arguments: Sequence[str] | None = None) -> int:
    """Answer on standard output; whatever else is printed goes to standard error."""
    parser = argparse.ArgumentParser(prog="runtime.answers")
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--provider", default="auto")
    asked = parser.parse_args(arguments)
    out: Any = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    try:
        demand = parse_demand(asked.provider)
        options = LadderOptions(demand=demand, threads=asked.threads, cached=True)
        answer_all(asked.bundle, options, sys.stdin.buffer, out)
    except EdgeError as error:
        send(out, {"error": str(error)})
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())

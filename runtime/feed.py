"""What an engine is fed: frames in buffers that are used again, of several sources in one batch."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from runtime.batches import run_batch
from runtime.contract import InputContract
from runtime.engines.base import Array, Engine
from runtime.pool import Pool
from runtime.preprocess import Pixels, Preparer


class Feeder:
    """Prepares the frames of one source; for one thread at a time.

    What it returns is the caller's until nobody holds it any more: then it is written again.
    """

    def __init__(self, contract: InputContract) -> None:
        self._preparer = Preparer(contract)
        self._pool = Pool()

    def prepare(self, image: Pixels) -> Pixels:
        """Return `image` as `preprocess.prepare_batch` does, uint8 (n, height, width, channels)."""
        shape = self._preparer.shape(*image.shape[:2])
        out = self._pool.free()
        if out is None or out.shape != shape:
            out = np.empty(shape, np.uint8)
            self._pool.keep(out)
        return self._preparer.prepare(image, out)


def infer(engine: Engine, pictures: Sequence[Pixels]) -> list[list[Array]]:
    """Return the outputs for each of `pictures`, uint8 (n, height, width, channels).

    Several go through the engine at once, whose artifact must take a batch of any size.
    """
    if len(pictures) == 1:
        return [run_batch(engine, pictures[0])]
    outputs = run_batch(engine, np.concatenate(pictures))
    ends = list(itertools.accumulate(map(len, pictures)))
    spans = [slice(end - len(part), end) for end, part in zip(ends, pictures, strict=True)]
    return [[output[span] for output in outputs] for span in spans]

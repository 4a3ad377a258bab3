"""Decoder: SSD-like detectors that decode their boxes themselves, such as Ultra-Light RFB-320.

Two outputs in any order: boxes (1, n, 4), left, top, right, bottom as shares of the model's sides,
and scores (1, n, 1 + classes), probabilities with the background first.
"""

from __future__ import annotations

from collections.abc import Sequence

from runtime.decoders._read import Numbers, best, floats, refuse, to_pixels
from runtime.decoders.base import Candidates, Options
from runtime.tasks.base import Array, TaskContext

OPTIONS: Options = {"multi_label": True}


def decode(outputs: Sequence[Array], context: TaskContext, options: Options) -> Candidates:
    """Return the candidates; class 0 is the first after the background."""
    boxes, scores = split("rfb", outputs)
    found = best(scores[:, 1:], context, options)
    return Candidates(to_pixels(boxes[found.rows], context), found.scores, found.classes)


def split(name: str, outputs: Sequence[Array]) -> tuple[Numbers, Numbers]:
    """Return boxes (n, 4) and scores (n, 1 + classes); RequestError for other outputs."""
    found = [floats(output)[0] for output in outputs if output.ndim == 3]
    if len(outputs) == len(found) == 2 and len(found[0]) == len(found[1]):
        # With three classes both have four columns: boxes come second then, as here.
        scores, boxes = found if found[1].shape[1] == 4 else reversed(found)
        if boxes.shape[1] == 4 and scores.shape[1] >= 2:
            return boxes, scores
    raise refuse(name, "boxes 1xNx4 and scores 1xNx(1 + classes)", outputs)

"""Task: what each pixel is, as a class (semantic segmentation) or a matte (portraits)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import EngineError, RequestError
from device_profiles.nearest import hint
from runtime.contract import InputContract
from runtime.tasks._grid import Classes, Grid, best, best_between, grid, interpolated_bytes, nearest
from runtime.tasks._segmentation import ClassShare, SegmentationMap
from runtime.tasks.base import Array, Decode, TaskContext, read_options, wrong_option

__all__ = ["EVALUATION", "ClassShare", "Options", "SegmentationMap", "make"]

EVALUATION = "segmentation"

_AXES = {"first": 1, "last": 3}
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "upsample": ("logits", "map"),
    "axis": tuple(_AXES),
    "scores": ("logits", "probabilities"),
}
_SUM_TOLERANCE = 0.02
"""How far two probabilities may be from a sum of 1: each rounded to a step of 1/128."""


@dataclass(frozen=True)
class Options:
    """What a manifest's `decoder` may say; None where the outputs tell.

    `matte`: the scores of two classes become an alpha map (one score per pixel always does), whose
    pixels are of the subject from `threshold` on, 0.5 unless said otherwise. `upsample`: `logits`
    are interpolated to the frame before the best is taken, as papers measure mIoU; of a `map` the
    nearest cell is taken, which costs a fraction and leaves edges in steps of the model's pixels.
    `background`: the class that is no thing, -1 for none. `axis`: where the classes are, `first`
    as in (1, C, H, W) or `last`. `scores`: whether those of a matte are logits or probabilities.
    `rle`: the map is in the JSON. Raises RequestError for a value of another kind.
    """

    matte: bool = False
    threshold: float | None = None
    upsample: str = "logits"
    background: int | None = None
    axis: str | None = None
    scores: str | None = None
    rle: bool = False

    def __post_init__(self) -> None:
        for name in ("matte", "rle"):
            if not isinstance(getattr(self, name), bool):
                raise wrong_option(name, getattr(self, name), "give true or false")
        for name, known in _CHOICES.items():
            value = getattr(self, name)
            if value is not None and value not in known:
                raise wrong_option(name, value, hint(str(value), known))
        background, threshold = self.background, self.threshold
        if background is not None and (type(background) is not int or background < -1):
            raise wrong_option("background", background, "give a class from 0, or -1 for none")
        if threshold is not None and not (
            type(threshold) in (int, float) and 0 < float(threshold) < 1
        ):
            raise wrong_option("threshold", threshold, "give a number between 0 and 1")


def make(spec: Mapping[str, Any]) -> Decode:
    """Return what decodes scores or a map of classes with the options `spec`, see `Options`.

    Raises RequestError, naming the nearest known one, for an option that there is not.
    """
    return _Decoder(read_options("segment", spec, Options))


class _Decoder:
    """Reads the first output, in one of the forms

    * (1, C, H, W) or (1, H, W, C), float: scores of C classes;
    * (1, 1, H, W), (1, H, W, 1), (1, H, W), or (1, H * W) at the model's size, float: a matte;
    * (1, H, W), (1, 1, H, W) or (1, H, W, 1), integers: the classes themselves.

    Scores are interpolated bilinearly between the centres of cells.
    """

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, outputs: Sequence[Array], context: TaskContext) -> SegmentationMap:
        """Decode one frame; RequestError when output, labels and options do not fit, EngineError
        when the output is not finite."""
        output = _spread(outputs[0], context.contract)
        if not output.size or output.shape[0] != 1 or output.ndim not in (3, 4):
            raise RequestError(
                f"an output of shape {outputs[0].shape} is no score or class per pixel; use "
                "another task for this model (raw shows any output)"
            )
        planes = _planes(output, context, self._options)
        place = grid(
            (context.frame_height, context.frame_width), context.contract, planes.shape[1:]
        )
        if planes.dtype.kind in "iub" and len(planes) == 1:
            return self._classes(planes[0], place, context)
        scores = np.ascontiguousarray(planes, np.float32)
        if not np.isfinite(scores).all():
            raise EngineError("the model's output is not finite; check the bundle: edge-sdk check")
        if len(scores) == 1 or self._options.matte:
            return self._matte(scores, place, context)
        return self._scores(scores, place, context)

    def _classes(self, cells: Array, place: Grid, context: TaskContext) -> SegmentationMap:
        self._refuse_matte("the model gives classes, not scores")
        low, high = int(cells.min()), int(cells.max())
        labels = context.labels or _numbered(max(high + 1, 2))
        if low < 0 or high >= min(len(labels), 65535):
            raise RequestError(
                f"the model gives class {low if low < 0 else high}, but there are {len(labels)} "
                "labels; give the label file that it was trained with"
            )
        numbers = cells.astype(np.uint8 if len(labels) <= 255 else np.uint16)
        unknown = int(np.iinfo(numbers.dtype).max)
        return self._result(nearest(numbers, place, unknown), labels, None)

    def _scores(
        self, scores: NDArray[np.float32], place: Grid, context: TaskContext
    ) -> SegmentationMap:
        self._refuse_matte(f"the model has {len(scores)} classes and no matte was declared")
        if self._options.upsample == "map":
            found = best(scores)
            classes = nearest(found, place, int(np.iinfo(found.dtype).max))
        else:
            classes = best_between(scores, place)
        return self._result(classes, context.labels or _numbered(len(scores)), None)

    def _matte(
        self, scores: NDArray[np.float32], place: Grid, context: TaskContext
    ) -> SegmentationMap:
        labels = _matte_labels(scores, context.labels)
        background = self._background(labels)
        if background not in (0, 1):
            raise RequestError(
                f"a matte has a background and a subject, but background is {background}; "
                "say 0 or 1"
            )
        subject = _probability(scores, 1 - background, self._options.scores)
        if self._options.upsample == "map":
            levels = (subject * np.float32(255) + np.float32(0.5)).astype(np.uint8)
            alpha: NDArray[np.uint8] = nearest(levels, place, 0).astype(np.uint8, copy=False)
        else:
            alpha = interpolated_bytes(subject, place)
        least = int(np.ceil((self._options.threshold or 0.5) * 255))
        whole, seen = place.blank(255, np.uint8)
        rows, columns = place.rows, place.columns
        inside = alpha[rows.start : rows.stop, columns.start : columns.stop] >= least
        seen[...] = inside if background == 0 else ~inside
        return self._result(whole, labels, alpha)

    def _refuse_matte(self, why: str) -> None:
        options = self._options
        if options.matte or options.threshold is not None or options.scores is not None:
            raise RequestError(f"{why}; leave matte, threshold and scores out of its decoder")

    def _background(self, labels: tuple[str, ...]) -> int:
        """Return the class that is no thing: as given, else by its name, else the first of two
        or of unnamed classes; -1 where all have other names."""
        if self._options.background is not None:
            return self._options.background
        named = [i for i, label in enumerate(labels) if label.lower().strip("_ ") == "background"]
        unnamed = len(labels) == 2 or labels == _numbered(len(labels))
        return named[0] if named else 0 if unnamed else -1

    def _result(
        self, classes: Classes, labels: tuple[str, ...], alpha: NDArray[np.uint8] | None
    ) -> SegmentationMap:
        background = self._background(labels)
        if background >= len(labels):
            raise RequestError(
                f"background {background} is none of the {len(labels)} classes; say another one, "
                "or -1 for none"
            )
        return SegmentationMap(classes, labels, background, alpha, self._options.rle)


def _numbered(count: int) -> tuple[str, ...]:
    return tuple(map(str, range(count)))


def _spread(output: Array, contract: InputContract) -> Array:
    """Return (1, H * W) as the picture that it is row by row; anything else as it is."""
    if output.ndim == 2 and output.shape[1] == contract.height * contract.width:
        return output.reshape(len(output), contract.height, contract.width)
    return output


def _planes(output: Array, context: TaskContext, options: Options) -> Array:
    """Return (classes, H, W) of an output of one picture; RequestError where its shape, the
    labels and the size of the model's picture do not tell which axis the classes are on."""
    if output.ndim == 3:
        return output
    labels = len(context.labels)
    possible = []
    for name, axis in _AXES.items():
        picture = output.shape[1:axis] + output.shape[axis + 1 :]
        told = options.axis == name or (
            options.axis is None and _is_picture(picture, context.contract)
        )
        if told and _counts(output, output.shape[axis], labels):
            possible.append(name)
    if len(possible) != 1:
        said = f" and {labels} labels" if labels else ""
        raise RequestError(
            f"an output of shape {output.shape}{said} does not tell which axis has the classes; "
            "give the label file that it was trained with, and say axis: first or last in the "
            "decoder"
        )
    return np.moveaxis(output[0], _AXES[possible[0]] - 1, 0)


def _counts(output: Array, classes: int, labels: int) -> bool:
    """Say whether an axis of `classes` goes with that many labels (0: none are known)."""
    if classes == 1:  # a map of any classes, or a matte: its subject, and maybe the background
        return output.dtype.kind in "iub" or labels <= 2
    return labels in (0, classes)


def _is_picture(size: tuple[int, ...], contract: InputContract) -> bool:
    """Say whether (rows, columns) are the model's picture, whole or in strides."""
    rows, columns = size
    if rows * contract.width == columns * contract.height:
        return True
    stride = max(round(contract.height / rows), 1)
    whole = (contract.height, contract.width)
    up, down = (tuple((side + odd) // stride for side in whole) for odd in (stride - 1, 0))
    return size in (up, down)


def _matte_labels(scores: NDArray[np.float32], labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(scores) > 2:
        raise RequestError(
            f"a matte has one score or two per pixel, the model gives {len(scores)}; leave matte "
            "out of its decoder"
        )
    if len(labels) > 2:
        raise RequestError(
            f"the model gives one score per pixel, but there are {len(labels)} labels; give two, "
            "or that of the subject"
        )
    return labels if len(labels) == 2 else ("background", *(labels or ("foreground",)))


def _probability(
    scores: NDArray[np.float32], subject: int, kind: str | None
) -> NDArray[np.float32]:
    """Return how likely each cell is of the subject, float32 (h, w) of 0..1.

    One score per cell is that of the subject. Where it is not said what scores are: those outside
    0..1, or of two that do not add up to 1, are logits.
    """
    whole = len(scores) == 1 or bool(np.abs(scores.sum(0) - 1).max() <= _SUM_TOLERANCE)
    if kind is None:
        inside = whole and scores.min() >= 0 and scores.max() <= 1
        kind = "probabilities" if inside else "logits"
    if kind == "probabilities":
        likely: NDArray[np.float32] = np.clip(scores[subject if len(scores) == 2 else 0], 0, 1)
        return likely
    logit = scores[0] if len(scores) == 1 else scores[subject] - scores[1 - subject]
    # The same function, which cannot overflow.
    half = np.tanh(logit * np.float32(0.5)) * np.float32(0.5)
    share: NDArray[np.float32] = half + np.float32(0.5)
    return share

"""How an enhancement's artifact compares with its reference, on the same images.

The figure is the peak signal-to-noise ratio of luma, in dB, of each image, and of all their mean,
as papers on super-resolution give it: a border of as many pixels as a side was enlarged times is
left out, and a high picture that is no multiple of the low one is cut at its right and bottom.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError, EngineError, GateError
from runtime.datasets.base import PictureFile
from runtime.evaluate._intervals import Weights, bootstrap
from runtime.evaluate._judgement import Judgement
from runtime.evaluate.base import Answer, Array, Figure, Judged, Seen, Terms
from runtime.evaluate.raw import RawComparer
from runtime.images import read_image
from runtime.tasks import decoder
from runtime.tasks.enhance import LUMA, EnhancedImage

TERMS = Terms(
    truth=PictureFile,
    figures=(Figure("psnr", "PSNR", "dB"),),
    allowed=0.5,
    intervals="bootstrap over images",
)
_MOST = 100.0
"""The PSNR of two equal pictures, which has no end: a byte has 48 dB in steps of one."""
# Luma of BT.601 (2.5.1) from blue, green, red; the tables of a byte's share in it.
_WEIGHTS = (0.114, 0.587, 0.299)
SAME_DB = 30.0
"""From which PSNR on two pictures are taken for the same: what lossy compression leaves."""
_BAND = 64  # rows that are compared at once


class _Comparer:
    """Compares image by image; keeps one number of each model for an image."""

    def __init__(self, judged: Judged) -> None:
        self._judged = judged
        self._decode = decoder("enhance", judged.decoder)
        self._step = 219 / 255 if judged.decoder.get("luma", LUMA[0]) == "bt601" else 1.0
        self._differences = RawComparer()
        self._psnr: list[tuple[float, float]] = []
        self._between: list[float] = []

    def add(self, reference: Sequence[Array], artifact: Sequence[Array], seen: Seen) -> None:
        """Compare the pictures made of one image; GateError when an answer is none."""
        context = self._judged.context(seen.image)
        named = (dict(zip(context.output_names, o, strict=True)) for o in (reference, artifact))
        self._differences.add(*named)
        try:
            pictures = [
                cast(EnhancedImage, self._decode(outputs, context))
                for outputs in (reference, artifact)
            ]
        except EngineError as error:
            raise GateError(str(error)) from error
        self._between.append(self._ratio(pictures[0], _shown(pictures[1]), 0))
        if isinstance(seen.truth, PictureFile):
            truth = _cut(read_image(seen.truth.path), pictures[0], seen.truth)
            border = math.ceil(pictures[0].scale)
            one, other = (self._ratio(picture, truth, border) for picture in pictures)
            self._psnr.append((one, other))

    def _ratio(self, picture: EnhancedImage, truth: NDArray[np.uint8], border: int) -> float:
        """Return the PSNR of a picture in dB."""
        return _psnr(_shown(picture), truth, border, self._step)

    def result(self) -> Judgement:
        """Return the comparison so far; DataError with no images, or with high pictures for some
        only."""
        n, judged = self._differences.n, len(self._psnr)
        if not n:
            raise DataError("a comparison needs at least one sample; the data set gave none")
        if judged not in (0, n):
            raise DataError(f"{judged} of {n} images have a high picture; give one to all or none")
        more: dict[str, Any] = {"psnr_between_db": float(np.mean(self._between))}
        outputs = self._differences.result()
        if not judged:
            return Judgement(n, None, None, None, None, None, outputs, more)
        pairs = np.array(self._psnr)
        more["psnr_db"] = [[round(float(ratio), 4) for ratio in pair] for pair in pairs]

        def figures(weights: Weights) -> list[float]:
            one, other = weights @ pairs / weights.sum()
            return [one, other, one - other]

        one, other, drop = bootstrap(n, figures)
        key, metric = TERMS.figures[0].key, TERMS.figures[0].name
        return Judgement(n, metric, {key: one}, {key: other}, drop, None, outputs, more)


def start(judged: Judged) -> _Comparer:
    """Start comparing two models that enhance."""
    return _Comparer(judged)


def answer(result: EnhancedImage, outputs: Sequence[Array]) -> Answer:
    """Return the picture that a model gave."""
    return Answer(arrays=(_shown(result),))


def agreement(one: Answer, other: Answer) -> float:
    """Return 1 where the luma of two pictures has a PSNR of at least `SAME_DB`, else 0; GateError
    where they are not of one size."""
    pictures = [found.arrays[0].astype(np.uint8, copy=False) for found in (one, other)]
    sizes = [picture.shape[:2] for picture in pictures]
    if sizes[0] != sizes[1]:
        raise GateError(f"one makes pictures of {sizes[0]}, the other of {sizes[1]}")
    return float(_psnr(pictures[0], pictures[1], 0, 1.0) >= SAME_DB)


def _psnr(own: NDArray[np.uint8], truth: NDArray[np.uint8], border: int, step: float) -> float:
    """Return the PSNR of two pictures' luma in dB, whose values are `step` apart."""
    height, width = truth.shape[:2]
    # A picture that is all border is judged by all of it.
    border = border if min(height, width) > 2 * border else 0
    inner, total = slice(border, width - border), 0.0
    for start in range(border, height - border, _BAND):
        rows = slice(start, min(start + _BAND, height - border))
        error = _luma(own[rows, inner]) - _luma(truth[rows, inner])
        total += float((error * error).sum())
    if not total:
        return _MOST
    mean = total * step**2 / ((height - 2 * border) * (width - 2 * border))
    return min(10 * math.log10(255**2 / mean), _MOST)


def _shown(picture: EnhancedImage) -> NDArray[np.uint8]:
    """Return what a model gave: its luma, where it gave nothing else."""
    return picture.picture if picture.luma is None else picture.luma


def _luma(picture: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Return luma 0..255, not rounded."""
    if picture.ndim == 2:
        return picture.astype(np.float64)
    luma: NDArray[np.float64] = picture @ np.array(_WEIGHTS)
    return luma


def _cut(high: NDArray[np.uint8], picture: EnhancedImage, truth: PictureFile) -> NDArray[np.uint8]:
    """Return the part of the high picture that the low one was made of."""
    height, width = picture.picture.shape[:2]
    over = high.shape[0] - height, high.shape[1] - width
    if not all(0 <= odd < max(picture.scale, 1) for odd in over):
        raise DataError(
            f"{truth.path} is {high.shape[0]}x{high.shape[1]}, the model makes {height}x{width}; "
            f"give low pictures whose sides are those of the high ones divided by {picture.scale:g}"
        )
    return high[:height, :width]

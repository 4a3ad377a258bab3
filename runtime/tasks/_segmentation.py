"""The result of a segmentation: what each pixel of the frame is."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import RequestError
from runtime.drawing import Color, color, legend
from runtime.opencv import opencv
from runtime.supervision import supervision

Pixels = NDArray[np.uint8]
Classes = NDArray[np.unsignedinteger]

_BAND = 64  # rows that are blended at once, so that what is between does not grow with the frame
_SHADE = 0.35  # of its light is left to what is not the subject
_TINT = 0.5  # the share of a class's colour in its pixels


@dataclass(frozen=True)
class ClassShare:
    """A class in the picture, and its share of the frame's pixels, 0..1."""

    index: int
    label: str
    share: float


@dataclass(frozen=True, eq=False)
class SegmentationMap:
    """The class of each pixel of the frame.

    `classes` is (height, width) of the frame, uint8, or uint16 where there are more than 255
    classes. Pixels that the model did not see, outside a centre crop, have its highest number,
    `unknown`. `labels` are the names of the classes, `background` is that of what is no thing
    (-1: every class is one). `alpha`, of a matte only, is uint8 (height, width): how far a pixel
    is of the subject, 255 wholly; 0 where the model did not see it. `rle` has the map in the JSON.
    """

    classes: Classes
    labels: tuple[str, ...]
    background: int = 0
    alpha: Pixels | None = None
    rle: bool = False

    @property
    def unknown(self) -> int:
        """The number of pixels that the model did not see."""
        return int(np.iinfo(self.classes.dtype).max)

    @cached_property
    def present(self) -> tuple[ClassShare, ...]:
        """The classes in the picture, the largest first."""
        counts = self._counts
        found = sorted(np.flatnonzero(counts[: len(self.labels)]), key=lambda i: (-counts[i], i))
        size = self.classes.size
        return tuple(ClassShare(int(i), self.labels[i], float(counts[i] / size)) for i in found)

    @cached_property
    def _counts(self) -> NDArray[np.int64]:
        numbers = self.unknown + 1
        histogram = opencv().calcHist([self.classes], [0], None, [numbers], [0, numbers])
        return np.asarray(histogram, np.int64).ravel()  # float32 is exact up to 16 million pixels

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values.

        `classes` has for each class in the picture its `index`, `label`, `share` of the pixels
        and `box` (left, top, right, bottom in pixels), and with the option `rle` its pixels as in
        COCO: `size` (height, width) and `counts` of pixels column by column, first of those that
        are not of the class. `unknown` is the share of pixels that the model did not see,
        `coverage` the mean of a matte, 0..1, null for anything else.
        """
        height, width = self.classes.shape
        runs = _Runs(self.classes) if self.rle else None
        rows = []
        for share in self.present:
            row = {**vars(share), "box": self._box(share.index)}
            if runs is not None:
                row["rle"] = {"size": [height, width], "counts": runs.counts(share.index)}
            rows.append(row)
        return {
            "height": height,
            "width": width,
            "classes": rows,
            "unknown": float(self._counts[self.unknown] / self.classes.size),
            "coverage": None if self.alpha is None else float(self.alpha.mean() / 255),
        }

    def _box(self, index: int) -> list[int]:
        mask = (self.classes == index).view(np.uint8)
        left, top, width, height = opencv().boundingRect(mask)
        return [left, top, left + width, top + height]

    def draw(self, image: Pixels) -> None:
        """Draw on `image` (uint8 BGR of the frame's size), in place: what is not the subject of
        a matte darkened; else each class but the background in its colour, with a legend."""
        cv2 = opencv()
        if self.alpha is not None:
            dark = cv2.convertScaleAbs(image, alpha=_SHADE)
            image[...] = self.composite(image, dark)
            return
        # What is no thing keeps its own pixels; classes from 255 share colours with others.
        drawn = [share for share in self.present if share.index != self.background]
        numbers = self.classes
        if numbers.dtype != np.uint8:
            outside = (numbers == self.background) | (numbers == self.unknown)
            numbers = np.where(outside, 255, numbers % 255).astype(np.uint8)
        table, things = np.zeros((256, 1, 3), np.uint8), np.zeros(256, np.uint8)
        for share in drawn:
            table[share.index % 255], things[share.index % 255] = color(share.index), 1
        painted = cv2.applyColorMap(numbers, table)
        cv2.addWeighted(image, 1 - _TINT, painted, _TINT, 0, dst=painted)
        cv2.copyTo(painted, cv2.LUT(numbers, things), image)
        legend(image, [(f"{s.label} {s.share:.0%}", color(s.index)) for s in drawn])

    def composite(self, frame: Pixels, background: Pixels | Color) -> Pixels:
        """Return `frame` (uint8 BGR) with `background` behind its subject, as a new picture.

        `background` is another picture of the same size, or one colour (blue, green, red); a
        blurred picture of the frame itself hides the room. The subject is the matte, or, without
        one, every class but the background. Values are within 1 of exact blending; no float
        picture is made. Raises RequestError when the sizes differ.
        """
        cv2 = opencv()
        ground = np.asarray(background)
        if ground.shape == (3,):
            ground = np.broadcast_to(np.asarray(background, np.uint8), frame.shape)
        if not frame.shape == ground.shape == (*self.classes.shape, 3) or ground.dtype != np.uint8:
            raise RequestError(
                f"a frame of {frame.shape} and a {ground.dtype} background of {ground.shape} "
                f"cannot be blended; give uint8 BGR of {(*self.classes.shape, 3)}, or one colour"
            )
        output = np.empty_like(frame)
        matte = self._matte()
        for start in range(0, len(frame), _BAND):
            rows = slice(start, start + _BAND)
            weight = cv2.merge([matte[rows]] * 3)
            subject = cv2.multiply(frame[rows], weight, scale=1 / 255)
            rest = cv2.multiply(
                np.ascontiguousarray(ground[rows]), cv2.bitwise_not(weight), scale=1 / 255
            )
            output[rows] = cv2.add(subject, rest)
        return output

    def cutout(self, frame: Pixels) -> Pixels:
        """Return `frame` (uint8 BGR) with its subject's matte as fourth channel, BGRA: a picture
        with a transparent background, as .png and .webp files hold it."""
        blue, green, red = opencv().split(frame)
        picture: Pixels = opencv().merge([blue, green, red, self._matte()])
        return picture

    def _matte(self) -> Pixels:
        if self.alpha is not None:
            return self.alpha
        subject = (self.classes != self.background) & (self.classes != self.unknown)
        matte: Pixels = subject.view(np.uint8) * np.uint8(255)
        return matte

    def to_supervision(self) -> Any:
        """Return `supervision.Detections`, one with its mask for each class but the background.

        Raises MissingError when the package `supervision` is not installed.
        """
        things = [share for share in self.present if share.index != self.background]
        if not things:
            return supervision().Detections.empty()
        return supervision().Detections(
            xyxy=np.array([self._box(share.index) for share in things], np.float32),
            mask=np.stack([self.classes == share.index for share in things]),
            class_id=np.array([share.index for share in things]),
            data={"class_name": np.array([share.label for share in things])},
        )


class _Runs:
    """Runs of pixels of one class, down the columns, one column after the other."""

    def __init__(self, classes: Classes) -> None:
        flat = classes.T.ravel()
        self._starts = np.concatenate([[0], np.flatnonzero(flat[1:] != flat[:-1]) + 1])
        self._stops = np.append(self._starts[1:], flat.size)
        self._classes = flat[self._starts]
        self._size = flat.size

    def counts(self, index: int) -> list[int]:
        """Return COCO's counts of the pixels of a class: others first, then its own, in turn."""
        own = self._classes == index
        edges = np.stack([self._starts[own], self._stops[own]], 1).ravel()
        counts = np.diff(np.concatenate([[0], edges, [self._size]]))
        return [int(count) for count in (counts[:-1] if counts[-1] == 0 else counts)]

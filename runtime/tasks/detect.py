"""Task: which things are in the picture, and where."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from device_profiles.errors import EngineError, RequestError
from device_profiles.nearest import hint
from runtime.boxes import strongest
from runtime.decoders import Candidates, Head, find, known
from runtime.drawing import Image, boxed, color, dots, letter_height
from runtime.preprocess import placement
from runtime.supervision import supervision
from runtime.tasks.base import Array, Decode, Follow, TaskContext
from runtime.tracking import Tracker

EVALUATION = "detection"
OPTIONS: Mapping[str, Any] = {
    "score": 0.25,
    "iou": 0.45,
    "max": 100,
    "class_wise": True,
    "clip": True,
}
"""What every decoder takes: the least `score` that is shown; the intersection over union (`iou`)
above which the better of two boxes goes alone, among boxes of one class when `class_wise`; how
many boxes there are at the `max`; and whether they are cut at the edges of the frame (`clip`). The
values are those of YOLOv5's detect.py, but for `max`."""


@dataclass(frozen=True)
class Detection:
    """One thing: its class with the score (0 to 1), and its box in pixels of the frame.

    Corners are measured from the picture's edge: pixel i reaches from i to i + 1. `id` is the same
    from frame to frame where things are followed, else None; `points` are landmarks, (x, y).
    """

    index: int
    label: str
    score: float
    left: float
    top: float
    right: float
    bottom: float
    id: int | None = None
    points: tuple[tuple[float, float], ...] = ()

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right, bottom."""
        return self.left, self.top, self.right, self.bottom

    def to_json(self) -> dict[str, Any]:
        """Return JSON-ready values: pixels to a hundredth, the score to four digits."""
        corners = {k: round(getattr(self, k), 2) for k in ("left", "top", "right", "bottom")}
        points = [[round(x, 2), round(y, 2)] for x, y in self.points]
        return {**vars(self), "score": round(self.score, 4), **corners, "points": points}


@dataclass(frozen=True)
class Detections:
    """Every thing that was found in one frame, best score first."""

    items: tuple[Detection, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {"items": [item.to_json() for item in self.items]}

    def draw(self, image: Image) -> None:
        """Draw boxes, names, scores and landmarks on `image` (uint8 BGR), in place, best on top.

        The color is that of the class, or of the thing where it is followed.
        """
        height = letter_height(image) * 3 // 4
        for item in reversed(self.items):
            shade = color(item.index if item.id is None else item.id)
            number = "" if item.id is None else f"#{item.id} "
            words = f"{number}{item.label} {item.score:.0%}"
            boxed(image, item.box, words, shade, height)
            dots(image, item.points, shade)

    def to_supervision(self) -> Any:
        """Return the result as `supervision.Detections`; things without an id have -1.

        Raises MissingError when the package supervision is not installed.
        """
        boxes = [item.box for item in self.items]
        ids = [-1 if item.id is None else item.id for item in self.items]
        return supervision().Detections(
            xyxy=np.array(boxes, np.float32).reshape(-1, 4),
            confidence=np.array([item.score for item in self.items], np.float32),
            class_id=np.array([item.index for item in self.items], int),
            tracker_id=np.array(ids, int) if any(number >= 0 for number in ids) else None,
            data={"class_name": np.array([item.label for item in self.items], str)},
        )


def make(spec: Mapping[str, Any]) -> Decode:
    """Return what decodes the outputs with the decoder that `spec` names.

    `spec` is `{"name": "yolov8", "score": 0.3, ...}`: the name of a file in `runtime.decoders`, or
    a `Given` "file.py:function", and options of the decoder and of `OPTIONS`. Raises RequestError
    for a decoder or an option that there is not, and for a value that an option cannot have.
    """
    if "name" not in spec:
        raise RequestError(
            f"task detect needs a decoder, as it was declared at conversion; {hint('', known())}"
        )
    head = find(spec["name"])
    options = _options(head, spec)

    def decode(outputs: Sequence[Array], context: TaskContext) -> Detections:
        if context.contract.resize == "tile":
            raise RequestError(
                "task detect looks at a whole picture; let the preprocessing not cut it into tiles"
            )
        # What overflows is not finite, which is said of every candidate.
        with np.errstate(over="ignore", invalid="ignore"):
            found = head.decode(outputs, context, options)
        return _chosen(head, found, options, context)

    return decode


def follower() -> Follow:
    """Return what gives the things of one source ids that stay the same from frame to frame."""
    tracker = Tracker()

    def follow(result: Detections, captured_ns: int) -> Detections:
        items = result.items
        boxes = np.array([item.box for item in items], np.float64).reshape(-1, 4)
        scores = np.array([item.score for item in items], np.float64)
        classes = np.array([item.index for item in items], np.int64)
        ids = tracker.update(boxes, scores, classes, captured_ns)
        pairs = zip(items, ids, strict=True)
        return Detections(tuple(replace(item, id=identity) for item, identity in pairs))

    return follow


def _options(head: Head, spec: Mapping[str, Any]) -> dict[str, Any]:
    options = {**OPTIONS, **head.options}
    for key, value in spec.items():
        if key == "name":
            continue
        if key not in options:
            raise RequestError(
                f"decoder {head.name} has no option {key!r:.50}; {hint(str(key), options)}"
            )
        options[key] = _checked(head.name, key, value, options[key])
    for key in ("score", "iou"):
        if not 0 <= options[key] <= 1:
            raise RequestError(f"decoder option {key} must be from 0 to 1, not {options[key]}")
    if options["max"] < 1:
        raise RequestError(f"decoder option max must be at least 1, not {options['max']}")
    return options


def _checked(name: str, key: str, value: Any, default: Any) -> Any:
    """Return `value` if it is of the kind of `default`; a whole number is a number, too."""
    kind = type(default)
    if kind is float and type(value) is int:
        value = float(value)
    if kind is tuple or (type(value) is not kind and default is not None):
        words = {bool: "true or false", int: "a whole number", float: "a number", list: "a list"}
        what = words.get(kind, "a text")
        raise RequestError(f"decoder {name}: option {key} must be {what}, not {value!r:.50}")
    if kind is float and not math.isfinite(value):
        raise RequestError(f"decoder {name}: option {key} must be finite")
    return value


def _chosen(
    head: Head, found: Candidates, options: Mapping[str, Any], context: TaskContext
) -> Detections:
    """Keep the best candidates and put them into the frame."""
    every = np.asarray(found.scores, np.float64)
    likely = np.flatnonzero(every >= options["score"])
    boxes, scores = np.asarray(found.boxes, np.float64)[likely], every[likely]
    classes = np.asarray(found.classes, np.int64)[likely]
    if not (np.isfinite(boxes).all() and np.isfinite(every).all()):
        raise EngineError("the model's boxes are not finite; check the bundle with edge-sdk check")
    groups = classes if options["class_wise"] else None
    kept = strongest(boxes, scores, groups, options["iou"], options["max"])
    place = placement(context.frame_height, context.frame_width, context.contract)
    scale, offset = (place.scale_x, place.scale_y), (place.offset_x, place.offset_y)
    corners = boxes[kept].reshape(-1, 2, 2) * scale + offset
    if options["clip"]:
        corners = np.clip(corners, 0, (context.frame_width, context.frame_height))
    points: list[Any] = [()] * len(kept)
    if found.points is not None:
        landmarks = np.asarray(found.points, np.float64)[likely[kept]] * scale + offset
        points = [tuple(map(tuple, one)) for one in landmarks.tolist()]
    sides = corners.reshape(-1, 4).tolist()
    rows = zip(classes[kept].tolist(), scores[kept].tolist(), sides, points, strict=True)
    items = []
    for index, score, (left, top, right, bottom), marks in rows:
        if right > left and bottom > top:  # else it lies in the bars of a letterbox
            label = _label(head, index, context.labels)
            items.append(Detection(index, label, score, left, top, right, bottom, points=marks))
    return Detections(tuple(items))


def _label(head: Head, index: int, labels: tuple[str, ...]) -> str:
    if not labels:
        return str(index)
    if not 0 <= index < len(labels):
        raise RequestError(
            f"decoder {head.name} found class {index}, but there are {len(labels)} labels; give "
            "the label file that it was trained with, without a background"
        )
    return labels[index]

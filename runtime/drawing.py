"""Words and bars on a frame, legible on any ground and at any size of frame.

OpenCV 4 draws letters as strokes, OpenCV 5 from a font: an outline made of thicker strokes is one
only in the first, a darkened panel serves in both.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from runtime.frame import Frame
from runtime.opencv import opencv
from runtime.tasks.base import Result

Image = NDArray[np.uint8]
Color = tuple[int, int, int]

WHITE: Color = (255, 255, 255)
GREY: Color = (90, 90, 90)
GREEN: Color = (96, 208, 64)

_SMALLEST = 9  # pixels: the height at which OpenCV's font is still legible


def annotated(frame: Frame, result: Result) -> Image:
    """Return a copy of the frame, uint8 BGR (height, width, 3), with the result drawn on it."""
    cv2 = opencv()
    grey = frame.image.ndim == 2
    image: Image = cv2.cvtColor(frame.image, cv2.COLOR_GRAY2BGR) if grey else frame.image.copy()
    result.draw(image)
    return image


def letter_height(image: Image) -> int:
    """Height in pixels of a capital letter that suits the size of the frame."""
    return max(_SMALLEST, int(min(image.shape[:2]) / 20 + 0.5))


def panel(image: Image, height: int, width: int) -> None:
    """Darken the top left of the frame, so that white words on it are legible, in place."""
    part = image[:height, :width]
    part[...] = opencv().convertScaleAbs(part, alpha=0.35)


def text(image: Image, words: str, left: int, baseline: int, height: int) -> None:
    """Write `words` in white, to stand on a dark ground; letters lose their accents."""
    font, thickness, scale = _font(height)
    smooth = opencv().LINE_AA
    place = (left, baseline)
    opencv().putText(image, _ascii(words), place, font, scale, WHITE, thickness, smooth)


def text_width(words: str, height: int) -> int:
    """Width of `words` in pixels at the given height of letters."""
    font, thickness, scale = _font(height)
    (width, _), _ = opencv().getTextSize(_ascii(words), font, scale, thickness)
    return int(width)


def shortened(words: str, width: int, height: int) -> str:
    """Return as much of `words` as fits into `width` pixels, with ".." where it was cut."""
    if text_width(words, height) <= width:
        return words
    while words and text_width(words + "..", height) > width:
        words = words[:-1]
    return words.rstrip() + ".."


def bars(image: Image, rows: Sequence[tuple[str, float]]) -> None:
    """Draw a dark panel at the top left with a label and a score bar (0 to 1) per row, in place.

    As many rows are drawn as fit into half of the frame's height, at least one.
    """
    cv2 = opencv()
    height = letter_height(image)
    gap, step = max(2, height // 2), round(height * 2.4)
    rows = rows[: max(1, image.shape[0] // 2 // step)]
    scores = [f"{score:.0%}" for _, score in rows]
    number = max(text_width(score, height) for score in scores)
    room = image.shape[1] - 4 * gap - number
    labels = [shortened(label, room, height) for label, _ in rows]
    widest = max(text_width(label, height) for label in labels)
    width = min(room, max(widest, height * 8))
    full = width + number + 2 * gap
    panel(image, len(rows) * step + gap, full + 2 * gap)
    for row, (label, score, (_, share)) in enumerate(zip(labels, scores, rows, strict=True)):
        baseline = gap + row * step + height
        text(image, label, gap, baseline, height)
        text(image, score, gap + full - text_width(score, height), baseline, height)
        top, bottom = baseline + gap, baseline + gap + max(2, height // 4)
        cv2.rectangle(image, (gap, top), (gap + full, bottom), GREY, -1)
        filled = round(full * min(max(share, 0.0), 1.0))
        cv2.rectangle(image, (gap, top), (gap + filled, bottom), GREEN, -1)


def _font(height: int) -> tuple[int, int, float]:
    """Return OpenCV's font, thickness and scale for capital letters of `height` pixels."""
    cv2 = opencv()
    thickness = max(1, round(height / 9))
    font: int = cv2.FONT_HERSHEY_SIMPLEX
    return font, thickness, float(cv2.getFontScaleFromHeight(font, height, thickness))


def _ascii(words: str) -> str:
    plain = unicodedata.normalize("NFKD", words)
    return (
        "".join(c for c in plain if not unicodedata.combining(c))
        .encode("ascii", "replace")
        .decode()
    )

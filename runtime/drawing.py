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
BLACK: Color = (0, 0, 0)

# Twenty colours that the eye tells apart, BGR, after Trubetskoy's "List of 20 Simple, Distinct
# Colors" (sashamaps.net), without its black, white and grey.
_PALETTE: tuple[Color, ...] = (
    (75, 25, 230), (75, 180, 60), (25, 225, 255), (216, 99, 67), (49, 130, 245),
    (180, 30, 145), (244, 212, 66), (230, 50, 240), (69, 239, 191), (212, 190, 250),
    (144, 153, 70), (255, 190, 220), (36, 99, 154), (200, 250, 255), (0, 0, 128),
    (195, 255, 170), (0, 128, 128), (177, 216, 255), (117, 0, 0), (169, 169, 169),
)  # fmt: skip

_SMALLEST = 9  # pixels: the height at which OpenCV's font is still legible


def annotated(frame: Frame, result: Result) -> Image:
    """Return a copy of the frame, uint8 BGR (height, width, 3), with the result drawn on it.

    A result that is a picture itself (`picture`, uint8 BGR or grey) is shown in place of the frame.
    """
    picture = getattr(result, "picture", None)
    shown = frame.image if picture is None else picture
    if shown.ndim == 2:
        image: Image = opencv().cvtColor(shown, opencv().COLOR_GRAY2BGR)
    else:
        image = shown.copy()
    if picture is None:
        result.draw(image)
    return image


def letter_height(image: Image) -> int:
    """Height in pixels of a capital letter that suits the size of the frame."""
    return max(_SMALLEST, int(min(image.shape[:2]) / 20 + 0.5))


def panel(image: Image, height: int, width: int) -> None:
    """Darken the top left of the frame, so that white words on it are legible, in place."""
    part = image[:height, :width]
    part[...] = opencv().convertScaleAbs(part, alpha=0.35)


def text(image: Image, words: str, place: tuple[int, int], height: int, ink: Color = WHITE) -> None:
    """Write `words` with their baseline beginning at `place` (x, y); letters lose their accents."""
    font, thickness, scale = _font(height)
    smooth = opencv().LINE_AA
    opencv().putText(image, _ascii(words), place, font, scale, ink, thickness, smooth)


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
        text(image, label, (gap, baseline), height)
        right = gap + full - text_width(score, height)
        text(image, score, (right, baseline), height)
        top, bottom = baseline + gap, baseline + gap + max(2, height // 4)
        cv2.rectangle(image, (gap, top), (gap + full, bottom), GREY, -1)
        filled = round(full * min(max(share, 0.0), 1.0))
        cv2.rectangle(image, (gap, top), (gap + filled, bottom), GREEN, -1)


def color(index: int) -> Color:
    """Return the colour, blue, green, red, of thing or class `index`, the same in every frame.

    Twenty differ clearly, sixty at all: each further twenty are darker.
    """
    light = (1.0, 0.7, 0.45)[index // len(_PALETTE) % 3]
    blue, green, red = _PALETTE[index % len(_PALETTE)]
    return round(blue * light), round(green * light), round(red * light)


def legend(image: Image, rows: Sequence[tuple[str, Color]]) -> None:
    """Draw a dark panel at the top left with a square of its colour before each label, in place.

    As many rows are drawn as fit into half of the frame's height, at least one; none without any.
    """
    if not rows:
        return
    height = letter_height(image)
    gap, step = max(2, height // 2), round(height * 1.7)
    rows = rows[: max(1, (image.shape[0] // 2 - gap) // step)]
    room = image.shape[1] - 3 * gap - height
    labels = [shortened(label, room, height) for label, _ in rows]
    widest = max(text_width(label, height) for label in labels)
    panel(image, len(rows) * step + gap, height + widest + 3 * gap)
    for row, (label, (_, shade)) in enumerate(zip(labels, rows, strict=True)):
        baseline = gap + row * step + height
        image[baseline - height : baseline, gap : gap + height] = shade
        text(image, label, (height + 2 * gap, baseline), height)


def boxed(
    image: Image, box: tuple[float, float, float, float], words: str, color: Color, height: int
) -> None:
    """Draw `box` (left, top, right, bottom in pixels) and its words on a ground, in place.

    Letters of `height` pixels stand above the box, in it where the frame ends; both have `color`.
    """
    cv2 = opencv()
    # OpenCV's fixed point ends at 2**15 pixels.
    left, top, right, bottom = (round(min(max(side, -32_000), 32_000)) for side in box)
    line = max(1, height // 6)
    # A dark edge, so that the line is seen on a ground of its own colour.
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), BLACK, line + 2)
    cv2.rectangle(image, (left, top), (right - 1, bottom - 1), color, line)
    gap = max(2, height // 3)
    words = shortened(words, image.shape[1] - 2 * gap, height)
    wide, high = text_width(words, height) + 2 * gap, height + 2 * gap
    x = max(0, min(left, image.shape[1] - wide))
    y = max(0, min(top - high if top >= high else top, image.shape[0] - high))
    cv2.rectangle(image, (x, y), (x + wide - 1, y + high - 1), color, -1)
    text(image, words, (x + gap, y + gap + height), height, _ink(color))


def dots(image: Image, points: Sequence[tuple[float, float]], color: Color) -> None:
    """Draw `points` (x, y in pixels) as dots with a white rim, in place."""
    cv2 = opencv()
    radius = max(1, letter_height(image) // 8)
    for x, y in points:
        centre = int(x), int(y)
        cv2.circle(image, centre, radius + 1, WHITE, -1)
        cv2.circle(image, centre, radius, color, -1)


def _font(height: int) -> tuple[int, int, float]:
    """Return OpenCV's font, thickness and scale for capital letters of `height` pixels."""
    cv2 = opencv()
    thickness = max(1, round(height / 9))
    font: int = cv2.FONT_HERSHEY_SIMPLEX
    return font, thickness, float(cv2.getFontScaleFromHeight(font, height, thickness))


def _ink(ground: Color) -> Color:
    """Return black or white, whichever is the more legible on `ground` (luma of BT.601)."""
    blue, green, red = ground
    return BLACK if 0.114 * blue + 0.587 * green + 0.299 * red > 140 else WHITE


def _ascii(words: str) -> str:
    plain = unicodedata.normalize("NFKD", words)
    return (
        "".join(c for c in plain if not unicodedata.combining(c))
        .encode("ascii", "replace")
        .decode()
    )

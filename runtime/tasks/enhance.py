"""Task: the same picture, only better: larger (super-resolution), cleaner, brighter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import ContractError, EngineError, RequestError
from device_profiles.nearest import hint
from runtime.contract import InputContract
from runtime.opencv import opencv
from runtime.tasks.base import Array, Decode, TaskContext, read_options, wrong_option
from runtime.tiles import Span, Tiling, tiling

__all__ = ["EVALUATION", "EnhancedImage", "Options", "make"]

EVALUATION = "enhancement"
LUMA = ("bt601", "full")

Pixels = NDArray[np.uint8]
Numbers = NDArray[np.float32]

_BAND = 64  # rows that are made bytes at once, so that what is between does not grow with a picture


@dataclass(frozen=True, eq=False)
class EnhancedImage:
    """A picture made from the frame: `picture` is uint8 BGR, its sides `scale` times the frame's.

    `luma`, of a model of luma only, is what it gave: uint8 (height, width), 0 black and 255 white;
    the colours of the picture are then the frame's, enlarged by cubic interpolation.
    """

    picture: Pixels
    scale: float
    luma: Pixels | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the size of the picture and its scale; pixels are for sinks that keep pictures."""
        height, width = self.picture.shape[:2]
        return {"height": height, "width": width, "scale": self.scale}

    def draw(self, image: Pixels) -> None:
        """Put the picture in the place of `image` (uint8 BGR), reduced to its size."""
        cv2 = opencv()
        size = (image.shape[1], image.shape[0])
        image[...] = cv2.resize(self.picture, size, interpolation=cv2.INTER_AREA)


@dataclass(frozen=True)
class Options:
    """What a manifest's `decoder` may say; None where it follows from the rest.

    `range`: the values that are black and white, such as [0, 1] or [-1, 1]; without it they are
    those of the model's input, as its preprocessing has them. `scale`: how much larger than its
    input the output is, which must be so. `blend`: over how many pixels of its input neighbouring
    tiles turn into each other; 0 cuts them, which leaves no trace where a net sees half of the
    overlap far; a net that sees farther needs some. `luma` says which luma it is judged by, from
    16 to 235 (`bt601`, as papers do) or from 0 to 255 (`full`). Raises RequestError for a value
    of another kind.
    """

    range: tuple[float, float] | None = None
    scale: int | None = None
    blend: int = 0
    luma: str = LUMA[0]

    def __post_init__(self) -> None:
        if self.range is not None:
            object.__setattr__(self, "range", _range(self.range))
        if self.scale is not None and (type(self.scale) is not int or self.scale < 1):
            raise wrong_option("scale", self.scale, "give a whole number from 1")
        if type(self.blend) is not int or self.blend < 0:
            raise wrong_option("blend", self.blend, "give a whole number of pixels from 0")
        if self.luma not in LUMA:
            raise wrong_option("luma", self.luma, hint(str(self.luma), LUMA))


def _range(value: object) -> tuple[float, float]:
    ends = value if isinstance(value, (list, tuple)) else ()
    numbers = [float(end) for end in ends if type(end) in (int, float) and math.isfinite(end)]
    if len(ends) == len(numbers) == 2 and numbers[0] != numbers[1]:
        return numbers[0], numbers[1]
    raise wrong_option("range", value, "give two numbers, those of black and of white")


def make(spec: Mapping[str, Any]) -> Decode:
    """Return what decodes a picture with the options `spec`, see `Options`.

    Raises RequestError, naming the nearest known one, for an option that there is not.
    """
    return _Decoder(read_options("enhance", spec, Options))


class _Decoder:
    """Reads the first output: pictures (n, C, H, W) or (n, H, W, C) of one channel, which is luma,
    or three, in the order of the model's input; one for each tile, or one of the whole frame."""

    def __init__(self, options: Options) -> None:
        self._options = options

    def __call__(self, outputs: Sequence[Array], context: TaskContext) -> EnhancedImage:
        """Decode one frame; RequestError when output, contract and options do not fit, EngineError
        when the output is not finite."""
        contract = context.contract
        tiles = _tiles(context)
        planes, scale = _planes(outputs[0], len(tiles), contract, self._options)
        if self._options.blend > contract.overlap:
            raise RequestError(
                f"tiles that overlap by {contract.overlap} pixels cannot blend over "
                f"{self._options.blend}; give a smaller blend, or a larger overlap at conversion"
            )
        whole = np.empty((tiles.height * scale, tiles.width * scale, planes.shape[3]), np.uint8)
        values = _Values(contract, self._options, planes)
        _join(planes, tiles, _Seams(scale, self._options.blend // 2), values, whole)
        enlarged = whole.shape[0] / context.frame_height
        if planes.shape[3] == 3:
            return EnhancedImage(whole, enlarged)
        luma = whole[..., 0]
        return EnhancedImage(_colored(luma, context), enlarged, luma)


def _tiles(context: TaskContext) -> Tiling:
    """Return the tiles of the frame; one of the model's size where it sees the frame stretched."""
    contract = context.contract
    if contract.resize == "tile":
        return tiling(context.frame_height, context.frame_width, contract)
    if contract.resize == "stretch":
        height, width = contract.height, contract.width
        return Tiling(height, width, (Span(0, 0, height),), (Span(0, 0, width),))
    raise ContractError(
        f"task enhance cannot undo resize={contract.resize}; convert the model with resize=tile, "
        "which keeps the frame's own pixels, or stretch"
    )


def _planes(
    output: Array, count: int, contract: InputContract, options: Options
) -> tuple[Array, int]:
    """Return the pictures as (n, H, W, C), and how much larger they are than the model's input."""
    for axis in (1, 3):
        moved = np.moveaxis(output, axis, 3) if output.ndim == 4 else output
        if moved.ndim != 4 or moved.shape[3] not in (1, contract.channels):
            continue
        scale = max(moved.shape[1] // contract.height, 1)
        fits = moved.shape[1:3] == (contract.height * scale, contract.width * scale)
        if fits and len(moved) == count and options.scale in (None, scale):
            return moved, scale
    wanted = "" if options.scale is None else f" {options.scale} times as large"
    raise RequestError(
        f"an output of shape {output.shape} is no picture{wanted} for each of {count} inputs of "
        f"{contract.height}x{contract.width}x{contract.channels}; use another task for this model "
        "(raw shows any output)"
    )


class _Values:
    """How the numbers of an output become bytes, blue first: `value * gain + offset`."""

    def __init__(self, contract: InputContract, options: Options, planes: Array) -> None:
        if planes.dtype.kind not in "f" and planes.dtype != np.uint8:
            raise RequestError(
                f"an output of {planes.dtype} is no picture; give a model whose output is float or "
                "uint8"
            )
        mean, std = (np.array(v) for v in (contract.byte_mean, contract.byte_std))
        if options.range is not None:
            black, white = options.range
            mean = np.full(contract.channels, -255 * black / (white - black))
            std = np.full(contract.channels, 255 / (white - black))
        elif planes.dtype == np.uint8:
            mean, std = np.zeros(contract.channels), np.ones(contract.channels)
        channels = planes.shape[3]
        self._flipped = contract.color == "RGB" and channels == 3
        self._gain = std[:channels].astype(np.float32)
        # A half, so that what is cut off is rounded.
        self._offset = (mean[:channels] + 0.5).astype(np.float32)

    def bytes(self, picture: Array) -> Pixels:
        """Return one picture (h, w, C), uint8 BGR or luma; EngineError when it is not finite."""
        done = np.empty(picture.shape, np.uint8)
        for start in range(0, len(picture), _BAND):
            rows = slice(start, start + _BAND)
            values = picture[rows].astype(np.float32)
            values *= self._gain
            values += self._offset
            if not np.isfinite(values).all():
                raise EngineError(
                    "the model's output is not finite; check the bundle with edge-sdk check"
                )
            np.clip(values, 0, 255, out=values)
            done[rows] = values[..., ::-1] if self._flipped else values
        return done


@dataclass(frozen=True)
class _Seams:
    """Where tiles meet: outputs are `scale` times as large as inputs, and turn into each other from
    `soft` pixels of the input before the cut to as many after it."""

    scale: int
    soft: int


def _join(planes: Array, tiles: Tiling, seams: _Seams, values: _Values, whole: Pixels) -> None:
    """Put the tiles together: into strips first, and these into the `whole` picture."""
    strip = np.empty((planes.shape[1], *whole.shape[1:]), np.uint8)
    for index, row in enumerate(tiles.rows):
        line = planes[index * len(tiles.columns) :]
        for tile, column in zip(line, tiles.columns, strict=False):
            piece = values.bytes(tile).swapaxes(0, 1)
            _lay(piece, column, tiles.width, seams, strip.swapaxes(0, 1))
        _lay(strip, row, tiles.height, seams, whole)


def _lay(piece: Pixels, span: Span, size: int, seams: _Seams, whole: Pixels) -> None:
    """Lay the lines of `piece` that its span answers for over those of `whole`, in place.

    `size` is that of the input's picture in this direction.
    """
    scale = seams.scale
    before = seams.soft if span.first else 0
    after = seams.soft if span.last < size else 0
    first, last = (span.first - before) * scale, (span.last + after) * scale
    start, soft = span.start * scale, 2 * before * scale
    if soft:
        weight = ((np.arange(soft, dtype=np.float32) + 0.5) / soft)[:, np.newaxis, np.newaxis]
        old = whole[first : first + soft].astype(np.float32)
        mixed = old + (piece[first - start : first - start + soft] - old) * weight
        whole[first : first + soft] = mixed + np.float32(0.5)
    whole[first + soft : last] = piece[first + soft - start : last - start]


def _colored(luma: Pixels, context: TaskContext) -> Pixels:
    """Return luma with the colours of the frame, which are enlarged to its size, as uint8 BGR."""
    cv2, frame = opencv(), context.image
    if frame is None:
        raise RequestError("task enhance needs the frame for the colours of a model of luma")
    if frame.ndim == 2 or frame.shape[2] == 1:
        grey: Pixels = cv2.cvtColor(luma, cv2.COLOR_GRAY2BGR)
        return grey
    size = (luma.shape[1], luma.shape[0])
    colors = cv2.cvtColor(frame, cv2.COLOR_BGR2YCrCb)
    colors = cv2.resize(colors, size, interpolation=cv2.INTER_CUBIC)
    colors[..., 0] = luma
    picture: Pixels = cv2.cvtColor(colors, cv2.COLOR_YCrCb2BGR)
    return picture

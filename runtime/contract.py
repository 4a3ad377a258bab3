"""InputContract: how a camera frame becomes the tensor that a model was trained on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from device_profiles.errors import ContractError
from device_profiles.nearest import hint

RESIZES = ("stretch", "letterbox", "center-crop", "tile")
INTERPOLATIONS = ("linear", "area", "cubic", "nearest", "antialias", "antialias-cubic")
COLORS = ("RGB", "BGR", "GRAY")
# The largest side that a JPEG file can state.
_MAX_SIDE = 65535
_LIMITS = (
    ("height", 1, _MAX_SIDE),
    ("width", 1, _MAX_SIDE),
    ("shorter_side", 0, _MAX_SIDE),
    ("pad_value", 0, 255),
    ("overlap", 0, _MAX_SIDE),
    ("upscale", 1, 16),
)
# Left out of the JSON where they say nothing: bundles from before they existed keep their id.
_LATER = {"overlap": 0, "upscale": 1}


@dataclass(frozen=True)
class InputContract:
    """What a model expects of its input; pixels are 8-bit until normalised.

    The device resizes a frame to `height` x `width` and hands the artifact uint8 bytes of shape
    (batch, height, width, channels) in the camera's order (BGR, or one channel when `color` is
    GRAY). The rest is inside the artifact: reordering to `color`, and `(pixel * scale - mean) /
    std` per channel, in the order of `color`.

    `resize` is one of `stretch` (aspect ratio lost), `letterbox` (aspect ratio kept, bars of
    `pad_value`, centred) and `center-crop` (the shorter side becomes `shorter_side` pixels, then
    the centre is cut out; 0 means the model's own size). `interpolation` names OpenCV's method;
    `antialias` is the triangle filter widened by the scale, as PIL and torchvision do it, and
    `antialias-cubic` the cubic one (a = -0.5), PIL's BICUBIC.

    The fourth, `tile`, keeps the frame's own size: it is enlarged `upscale` times by
    `interpolation`, for nets that sharpen an enlarged picture, and cut into tiles of `height` x
    `width` that overlap by `overlap` pixels or more. Where a net without strides sees `overlap /
    2` pixels far, its tiles join without a trace. A frame smaller than a tile is reflected.

    Raises ContractError, naming the field, when one is of another type or out of its range.
    """

    height: int
    width: int
    color: str = "RGB"
    resize: str = "stretch"
    shorter_side: int = 0
    interpolation: str = "linear"
    pad_value: int = 114
    scale: float = 1.0 / 255.0
    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    overlap: int = 0
    upscale: int = 1

    def __post_init__(self) -> None:
        for name, known in (
            ("color", COLORS),
            ("resize", RESIZES),
            ("interpolation", INTERPOLATIONS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ContractError(
                    f"preprocessing {name} {value!r:.50} is unknown; {hint(str(value), known)}"
                )
        for name, least, most in _LIMITS:
            object.__setattr__(self, name, _whole(name, getattr(self, name), least, most))
        object.__setattr__(self, "scale", _finite("scale", self.scale))
        for name in ("mean", "std"):
            object.__setattr__(self, name, self._per_channel(name))
        if any(s <= 0 for s in self.std) or self.scale <= 0:
            raise ContractError("preprocessing std and scale must be positive")
        self._check_tiles()

    def _check_tiles(self) -> None:
        if self.resize != "tile" and any(getattr(self, k) != v for k, v in _LATER.items()):
            raise ContractError("preprocessing overlap and upscale are for resize=tile; add that")
        if self.overlap >= min(self.height, self.width):
            raise ContractError(
                f"preprocessing overlap {self.overlap} leaves nothing of tiles of "
                f"{self.height}x{self.width}; give a smaller overlap or larger tiles"
            )

    def _per_channel(self, name: str) -> tuple[float, ...]:
        given = getattr(self, name)
        if not isinstance(given, (tuple, list)):
            raise ContractError(
                f"preprocessing {name} {given!r:.50} is not valid; give a list of one number or "
                f"{self.channels}"
            )
        values = tuple(_finite(name, value) for value in given)
        values = values * self.channels if len(values) == 1 else values
        if len(values) != self.channels:
            raise ContractError(
                f"preprocessing {name} has {len(values)} values; {self.color} needs "
                f"{self.channels} (or one for all)"
            )
        return values

    @property
    def channels(self) -> int:
        """Number of colour channels of the model's input, 1 or 3."""
        return 1 if self.color == "GRAY" else 3

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape (height, width, channels) of one prepared frame, dtype uint8."""
        return self.height, self.width, self.channels

    @property
    def byte_mean(self) -> tuple[float, ...]:
        """Per-channel mean in units of the byte (0..255), in the order of `color`."""
        return tuple(m / self.scale for m in self.mean)

    @property
    def byte_std(self) -> tuple[float, ...]:
        """Per-channel divisor in units of the byte, in the order of `color`."""
        return tuple(s / self.scale for s in self.std)

    def to_json(self) -> dict[str, Any]:
        """Return the contract as JSON-ready values."""
        return {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in vars(self).items()
            if key not in _LATER or value != _LATER[key]
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> InputContract:
        """Build a contract from JSON or TOML values; ContractError names the key at fault."""
        if not isinstance(fields, Mapping):
            raise ContractError(f"preprocessing must be an object with keys, not {fields!r:.50}")
        known = {f.name for f in dataclasses.fields(cls)}
        for key in fields:
            if key not in known:
                raise ContractError(f"preprocessing has no key {key!r:.50}; {hint(key, known)}")
        try:
            return cls(**fields)
        except ContractError:
            raise
        except (TypeError, ValueError) as error:
            raise ContractError(f"preprocessing is not valid: {error}") from error


def _whole(name: str, value: Any, least: int, most: int) -> int:
    if isinstance(value, Integral) and not isinstance(value, bool) and least <= int(value) <= most:
        return int(value)
    raise ContractError(
        f"preprocessing {name} {value!r:.50} is not valid; "
        f"give a whole number from {least} to {most}"
    )


def _finite(name: str, value: Any) -> float:
    try:
        if isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value):
            return float(value)
    except OverflowError as error:
        raise ContractError(f"preprocessing {name} is too large; give a finite number") from error
    raise ContractError(f"preprocessing {name} {value!r:.50} is not valid; give a finite number")

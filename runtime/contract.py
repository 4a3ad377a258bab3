"""InputContract: how a camera frame becomes the tensor that a model was trained on."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from device_profiles.errors import ContractError
from device_profiles.nearest import hint

RESIZES = ("stretch", "letterbox", "center-crop")
INTERPOLATIONS = ("linear", "area", "cubic", "nearest", "antialias")
COLORS = ("RGB", "BGR", "GRAY")


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
    `antialias` is the triangle filter widened by the scale, as PIL and torchvision do it.
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

    def __post_init__(self) -> None:
        for name, known in (
            ("color", COLORS),
            ("resize", RESIZES),
            ("interpolation", INTERPOLATIONS),
        ):
            value = getattr(self, name)
            if value not in known:
                raise ContractError(f"preprocessing {name} {value!r} is unknown; {hint(value, known)}")
        if self.height < 1 or self.width < 1:
            raise ContractError(f"preprocessing size {self.height}x{self.width} is not positive")
        for name in ("mean", "std"):
            values = tuple(float(v) for v in getattr(self, name))
            values = values * self.channels if len(values) == 1 else values
            if len(values) != self.channels:
                raise ContractError(
                    f"preprocessing {name} has {len(values)} values; {self.color} needs "
                    f"{self.channels} (or one for all)"
                )
            object.__setattr__(self, name, values)
        if any(s <= 0 for s in self.std) or self.scale <= 0:
            raise ContractError("preprocessing std and scale must be positive")

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
        return {k: list(v) if isinstance(v, tuple) else v for k, v in vars(self).items()}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> InputContract:
        """Build a contract from JSON or TOML values; ContractError names an unknown key."""
        known = {f.name for f in dataclasses.fields(cls)}
        for key in fields:
            if key not in known:
                raise ContractError(f"preprocessing has no key {key!r}; {hint(key, known)}")
        try:
            values = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
            return cls(**values)
        except (TypeError, AttributeError) as error:
            raise ContractError(f"preprocessing is not valid: {error}") from error

"""Where the model's picture lies in a frame."""

from __future__ import annotations

from dataclasses import dataclass

from device_profiles.errors import ContractError
from runtime.contract import InputContract


@dataclass(frozen=True)
class Placement:
    """Where the model's picture lies in the frame: `frame = model * scale + offset`, in pixels.

    Coordinates are continuous and measured from the picture's edge: pixel i reaches from i to
    i + 1 and its centre is i + 0.5. Corners of boxes are such coordinates.
    """

    scale_x: float
    scale_y: float
    offset_x: float
    offset_y: float


@dataclass(frozen=True)
class Plan:
    """Size of the resized frame, and where in it the model's picture begins (negative: bars)."""

    height: int
    width: int
    top: int = 0
    left: int = 0


def placement(height: int, width: int, contract: InputContract) -> Placement:
    """Return how the model's pixel coordinates map back to a frame of `height` x `width`.

    Raises ContractError where the model sees tiles, none of which is the whole frame.
    """
    if contract.resize == "tile":
        raise ContractError(
            "preprocessing resize=tile is for enhancement; this task needs the whole frame in one "
            "picture: say stretch, letterbox or center-crop"
        )
    plan = plan_of(height, width, contract)
    scale_x, scale_y = width / plan.width, height / plan.height
    return Placement(scale_x, scale_y, plan.left * scale_x, plan.top * scale_y)


def plan_of(height: int, width: int, contract: InputContract) -> Plan:
    """Return the plan for a frame of `height` x `width` pixels; ContractError when its
    `shorter_side` is too small for the model's picture."""
    if contract.resize == "letterbox":
        return _letterbox(height, width, contract)
    if contract.resize == "center-crop":
        return _center_crop(height, width, contract)
    return Plan(contract.height, contract.width)


def _letterbox(height: int, width: int, contract: InputContract) -> Plan:
    scale = min(contract.height / height, contract.width / width)
    rows = min(max(round(height * scale), 1), contract.height)
    columns = min(max(round(width * scale), 1), contract.width)
    return Plan(rows, columns, -((contract.height - rows) // 2), -((contract.width - columns) // 2))


def _center_crop(height: int, width: int, contract: InputContract) -> Plan:
    """Round as torchvision's Resize(shorter_side) and CenterCrop do (transforms/functional.py)."""
    side = contract.shorter_side
    if not side:
        # The smallest size that covers the model's picture: one of the two sides fits exactly.
        fits_height = contract.height * width >= contract.width * height
        side = contract.height if fits_height else contract.width
        rows, columns = (
            (side, int(side * width / height))
            if fits_height
            else (int(side * height / width), side)
        )
    elif height <= width:
        rows, columns = side, int(side * width / height)
    else:
        rows, columns = int(side * height / width), side
    if rows < contract.height or columns < contract.width:
        raise ContractError(
            f"a frame of {height}x{width} with shorter_side {side} becomes {rows}x{columns}, too "
            f"small for the model's {contract.height}x{contract.width}; raise shorter_side"
        )
    top, left = round((rows - contract.height) / 2), round((columns - contract.width) / 2)
    return Plan(rows, columns, top, left)

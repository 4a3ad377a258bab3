"""Preprocessing by name or file, as the command line takes it: `imagenet`, `unit,color=BGR`."""

from __future__ import annotations

import dataclasses
import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from device_profiles.errors import ContractError
from device_profiles.nearest import hint
from runtime.contract import InputContract

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

# `shorter_side` as a float is a share of the model's size: 256 for 224, as ImageNet is evaluated.
_CROP = {"resize": "center-crop", "interpolation": "antialias", "shorter_side": 256 / 224}

PRESETS: Mapping[str, Mapping[str, Any]] = {
    # torchvision/transforms/_presets.py, ImageClassification
    "imagenet": {**_CROP, "mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)},
    # -1..1: x / 127.5 - 1, as TensorFlow's image models (keras/applications/imagenet_utils.py)
    "tf": {**_CROP, "scale": 1 / 127.5, "mean": (1.0,)},
    # 0..1 and 0..255, the whole frame
    "unit": {"scale": 1 / 255},
    "raw": {"scale": 1.0},
}
_INTEGERS = ("height", "width", "shorter_side", "pad_value", "overlap", "upscale")
_LISTS = ("mean", "std")


def parse_contract(text: str, height: int | None = None, width: int | None = None) -> InputContract:
    """Return the contract that `text` describes for a model input of `height` x `width` pixels.

    `text` is a preset (imagenet, tf, unit, raw) or a .toml or .json file with the contract's
    keys, then any number of `,key=value`: `unit,color=BGR,scale=1/255,mean=0.485:0.456:0.406`.
    What the text says of the size goes before `height` and `width`. Raises ContractError naming
    the word at fault and the nearest known ones.
    """
    head, *overrides = [part.strip() for part in text.split(",")]
    fields: dict[str, Any] = {"height": height, "width": width, **_base(head)}
    fields.update(_override(part) for part in overrides)
    if not isinstance(fields["height"], int) or not isinstance(fields["width"], int):
        raise ContractError(
            f"preprocessing {text!r} lacks the size of the model's input; "
            "add ,height=H,width=W in pixels"
        )
    share = fields.get("shorter_side")
    if isinstance(share, float) and math.isfinite(share):
        crops = fields.get("resize") == "center-crop"
        fields["shorter_side"] = round(share * max(fields["height"], fields["width"])) * crops
    return InputContract.from_json(fields)


def _base(head: str) -> Mapping[str, Any]:
    if head in PRESETS:
        return PRESETS[head]
    path = Path(head)
    if path.suffix not in (".toml", ".json"):
        raise ContractError(
            f"no preprocessing is called {head!r}, and it is no .toml or .json file; "
            f"{hint(head, PRESETS)}"
        )
    try:
        content = path.read_text(encoding="utf-8")
        fields = tomllib.loads(content) if path.suffix == ".toml" else json.loads(content)
    except OSError as error:
        raise ContractError(f"cannot read preprocessing {path}: {error.strerror}") from error
    except ValueError as error:
        raise ContractError(f"{path} is not valid {path.suffix[1:].upper()}: {error}") from error
    if not isinstance(fields, dict):
        raise ContractError(f"{path} must hold one object with the keys of the preprocessing")
    return fields


def _override(part: str) -> tuple[str, Any]:
    key, equals, value = (word.strip() for word in part.partition("="))
    known = [field.name for field in dataclasses.fields(InputContract)]
    if key not in known:
        raise ContractError(f"preprocessing has no key {key!r}; {hint(key, known)}")
    if not equals or not value:
        raise ContractError(f"preprocessing {key} has no value; write {key}=VALUE")
    try:
        if key in _INTEGERS:
            return key, int(value)
        if key in _LISTS:
            return key, tuple(_number(word) for word in value.split(":"))
        return key, _number(value) if key == "scale" else value
    except (ValueError, ZeroDivisionError) as error:
        raise ContractError(
            f"preprocessing {key}={value} is not a number; write for example {_example(key)}"
        ) from error


def _number(word: str) -> float:
    numerator, slash, denominator = word.partition("/")
    return float(numerator) / float(denominator) if slash else float(numerator)


def _example(key: str) -> str:
    if key in _LISTS:
        return f"{key}=0.485:0.456:0.406"
    return f"{key}=224" if key in _INTEGERS else f"{key}=1/255"

"""The scenes of `synthetic:`: each makes the view at an index, the same at every run."""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from device_profiles.errors import DataError, SourceError
from runtime.images import image_files, read_image
from runtime.opencv import opencv

Image = NDArray[np.uint8]
View = tuple[Image, str, Any]
"""What a scene shows at one index: the picture, its name, its truth."""

_SHAKE = 0.03  # of the shorter side: how far the hand that holds the camera moves
_FLICKER = 0.08  # of the brightness: what auto-exposure leaves over
_GRAIN = 4.0  # standard deviation of the sensor's noise, in bytes


@dataclass(frozen=True)
class SceneOptions:
    """The options of a scene; sizes are in pixels, `fps` in frames per second."""

    width: int = 640
    height: int = 480
    fps: float = 30.0
    frames: int = 300
    seed: int = 0
    live: bool = False
    images: str = ""
    hold: int = 15
    size: float = 0.9


def _nothing(_uri: str, _options: SceneOptions) -> None:
    """Find nothing wrong."""


@dataclass(frozen=True)
class Scene:
    """How to make a view, whether the time of its capture is written into it, and what raises
    SourceError where it could not be made, without making it."""

    make: Callable[[str, SceneOptions], Callable[[int], View]]
    clock: bool = False
    check: Callable[[str, SceneOptions], object] = _nothing


def _noise(_uri: str, options: SceneOptions) -> Callable[[int], View]:
    def view(index: int) -> View:
        rng = np.random.default_rng((options.seed, index))
        size = (options.height, options.width, 3)
        return rng.integers(0, 256, size, np.uint8), f"noise {index}", None

    return view


def _shapes(_uri: str, options: SceneOptions) -> Callable[[int], View]:
    side = max(2, min(options.height, options.width) // 5)
    y, x = np.mgrid[0:side, 0:side] / (side - 1) * 2 - 1
    masks = {"disc": x**2 + y**2 <= 1, "square": np.abs(x) <= 1, "triangle": 2 * np.abs(x) <= y + 1}
    colors = ((60, 60, 220), (80, 200, 80), (220, 120, 40))
    ground = np.linspace(40, 90, options.height).astype(np.uint8)[:, None, None]
    backdrop = np.broadcast_to(ground, (options.height, options.width, 3))
    phases = np.random.default_rng(options.seed).uniform(0, 2 * math.pi, (len(masks), 2))

    def view(index: int) -> View:
        image, truth = backdrop.copy(), []
        for (label, mask), color, (a, b) in zip(masks.items(), colors, phases, strict=True):
            left = round((options.width - side) * (0.5 + 0.5 * math.sin(index / 37 + a)))
            top = round((options.height - side) * (0.5 + 0.5 * math.sin(index / 23 + b)))
            image[top : top + side, left : left + side][mask] = color
            truth.append((label, left, top, left + side, top + side))
        return image, f"shapes {index}", tuple(truth)

    return view


def _cards(uri: str, options: SceneOptions) -> Callable[[int], View]:
    cv2 = opencv()
    cards = _find_cards(uri, options)
    shake = max(1, round(_SHAKE * min(options.width, options.height)))
    rng = np.random.default_rng(options.seed)
    grain_size = (2 * options.height, 2 * options.width, 3)
    grain = (rng.standard_normal(grain_size, np.float32) * _GRAIN).astype(np.int16)
    shown: dict[Path, Image] = {}

    def view(index: int) -> View:
        path, truth = cards[index // options.hold % len(cards)]
        if path not in shown:
            shown.clear()
            shown[path] = _poster(uri, path, options, shake)
        left = shake + round(shake * math.sin(index / 19))
        top = shake + round(shake * math.sin(index / 31))
        window = shown[path][top : top + options.height, left : left + options.width]
        lit = cv2.convertScaleAbs(window, alpha=1 + _FLICKER * math.sin(index / 11))
        at = random.Random(options.seed + index)
        y, x = at.randrange(options.height), at.randrange(options.width)
        noise = grain[y : y + options.height, x : x + options.width]
        return cv2.add(lit, noise, dtype=cv2.CV_8U), path.name, truth

    return view


def _find_cards(uri: str, options: SceneOptions) -> list[tuple[Path, str | None]]:
    """Every image with its class (None for one outside a class folder), in seeded order."""
    root = Path(options.images)
    if not options.images or not root.is_dir():
        raise SourceError(f"{uri}: no such folder; give cards their images=FOLDER")
    folders = sorted(path for path in root.iterdir() if path.is_dir())
    classes = [[(path, folder.name) for path in image_files(folder)] for folder in folders]
    cards: list[tuple[Path, str | None]] = [*itertools.chain.from_iterable(classes)]
    cards += [(path, None) for path in image_files(root)]
    if not cards:
        raise SourceError(f"{uri}: {root} holds no images; put each class into a folder of its own")
    random.Random(options.seed).shuffle(cards)
    return cards


def _poster(uri: str, path: Path, options: SceneOptions, shake: int) -> Image:
    """The image, enlarged, in the middle of a backdrop that is `shake` wider on every side."""
    cv2 = opencv()
    try:
        card = read_image(path)
    except DataError as error:
        raise SourceError(f"{uri}: {error}") from error
    scale = options.size * min(options.width, options.height) / max(card.shape[:2])
    card = cv2.resize(card, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC)
    border = np.median(np.concatenate([card[0], card[-1], card[:, 0], card[:, -1]]), axis=0)
    height, width = options.height + 2 * shake, options.width + 2 * shake
    light = np.linspace(1.1, 0.9, height)[:, None, None] * border
    poster: Image = np.clip(light.repeat(width, axis=1), 0, 255).astype(np.uint8)
    top, left = (height - card.shape[0]) // 2, (width - card.shape[1]) // 2
    poster[top : top + card.shape[0], left : left + card.shape[1]] = card
    return poster


SCENES: Mapping[str, Scene] = {
    "noise": Scene(_noise),
    "shapes": Scene(_shapes),
    "clock": Scene(_shapes, clock=True),
    "cards": Scene(_cards, check=_find_cards),
}

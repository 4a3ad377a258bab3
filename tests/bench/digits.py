"""Small bundles of the digits CNN for a device, as benches flash them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import cv2

from converters.zoo.digits import load_split
from edge_sdk import ConvertOptions, convert
from edge_sdk.workflows.gate import GateOptions


def small_bundles(profile: str, folder: Path) -> list[Path]:
    """Return two int8 ONNX bundles for a device, calibrated on other digits each."""
    split = load_split()
    bundles = []
    for number in (0, 1):
        samples = folder / f"samples-{number}"
        for label in range(10):
            place = samples / str(label)
            place.mkdir(parents=True)
            images = split.train_images[split.train_labels == label][10 * number :][:10]
            for index, image in enumerate(images):
                cv2.imwrite(str(place / f"{index}.png"), image)
        bundles.append(folder / f"digits-{number}.edge")
        options = ConvertOptions(format="onnx", precision="int8", gate=GateOptions("never"))
        with _quiet():
            convert("zoo:digits_cnn", profile, bundles[-1], samples, options)
    return bundles


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with open(os.devnull, "w") as nothing, contextlib.redirect_stdout(nothing):
        yield

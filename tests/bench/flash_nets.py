"""Bundles to be flashed: MobileNetV2 in int8, and three that might follow it; and how they differ.

Made once, of the model pack that EDGE_SDK_MODELS names: some minutes.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file

from device_profiles.errors import MissingError
from runtime.bundle import open_bundle
from runtime.manifest import Manifest

ROOT = Path(__file__).resolve().parents[2]
SAMPLES = 32
_NET = "mobilenet_v2_1.0_224_imagenet"
_TUNED_SHARE = 0.02


@dataclass(frozen=True)
class Change:
    """How a bundle differs from another, in bytes: files that differ as they are and by zlib at
    level 6; what rsync's blocks do not find in the old one (`literal`), and what rsync sends of
    that by zlib at level 6."""

    files: int
    compressed: int
    literal: int
    literal_compressed: int


def nets(folder: Path) -> Mapping[str, Path]:
    """Return the bundles by what changed, made where they are not there."""
    pack = os.environ.get("EDGE_SDK_MODELS")
    if not pack:
        raise MissingError("EDGE_SDK_MODELS names no model pack; set it to the pack's folder")
    data = Path(pack) / "classification"
    weights = data / "weights"
    folder.mkdir(parents=True, exist_ok=True)
    first = weights / f"{_NET}_offgrid.safetensors"
    made = {
        "first": (first, 0),
        "calibrated anew": (first, 1),
        "last layer tuned": (_tuned(first, folder / "tuned.safetensors"), 0),
        "all weights new": (weights / f"{_NET}_dequant.safetensors", 0),
    }
    return {
        what: _converted(data, net, seed, folder / f"{what.replace(' ', '-')}.edge")
        for what, (net, seed) in made.items()
    }


def change(old: Path, new: Path) -> Change:
    """Return how `new` differs from `old`."""
    before, now = _members(old), _members(new)
    differ = [data for name, data in now.items() if before.get(name) != data]
    literal, _ = _rsync(old, new, "--no-compress")
    _, sent = _rsync(old, new, "-z", "--compress-choice=zlibx", "--compress-level=6")
    return Change(
        sum(map(len, differ)), sum(len(zlib.compress(data, 6)) for data in differ), literal, sent
    )


def _tuned(source: Path, path: Path) -> Path:
    """Write the net with its last layer a little off, as some more training leaves it."""
    if not path.exists():
        tensors = load_file(source)
        last = tensors["classifier.weight"]
        noise = np.random.default_rng(1).standard_normal(last.shape)
        tensors["classifier.weight"] = (last + _TUNED_SHARE * last.std() * noise).astype(last.dtype)
        save_file(tensors, path)
    return path


def _converted(data: Path, weights: Path, seed: int, path: Path) -> Path:
    if not path.exists():
        words = ["zoo:mobilenet_v2_tf", "--weights", str(weights), "-o", str(path)]
        words += ["--profile", "generic-x86", "--format", "onnx", "--precision", "int8"]
        words += ["--labels", str(data / "imagenet1001_labels.txt"), "--weigh", "none"]
        words += ["--calibration", str(data / "imagenet_even500"), "--prove", "never"]
        words += ["--samples", str(SAMPLES), "--seed", str(seed)]
        subprocess.run([sys.executable, "-m", "edge_sdk.cli", "convert", *words], check=True,
                       cwd=ROOT, stdout=subprocess.DEVNULL)  # fmt: skip
    return path


def _members(path: Path) -> dict[str, bytes]:
    with open_bundle(path) as bundle:
        manifest: Manifest = bundle.manifest
        files = {entry.path: bundle.read(entry) for entry in manifest.files()}
        return {**files, "manifest.json": manifest.to_bytes()}


def _rsync(old: Path, new: Path, *options: str) -> tuple[int, int]:
    """Return the literal bytes, and all bytes, that rsync sends of `new` where `old` is."""
    with tempfile.TemporaryDirectory() as folder:
        there = Path(folder, "bundle.edge")
        there.write_bytes(old.read_bytes())
        words = ["rsync", "-I", "--no-whole-file", "--stats", *options, str(new), str(there)]
        said = subprocess.run(words, check=True, capture_output=True, text=True,
                              env={**os.environ, "LC_ALL": "C"}).stdout  # fmt: skip
    found = dict(re.findall(r"(Literal data|Total bytes sent): ([\d,]+)", said))
    return tuple(  # type: ignore[return-value]
        int(found[name].replace(",", "")) for name in ("Literal data", "Total bytes sent")
    )

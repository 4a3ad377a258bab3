"""Train the digits CNN from nothing: `python -m converters.zoo.train_digits [OUT.safetensors]`.

Seeded and single-threaded, so one machine always writes the same file; about a minute.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import platform
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from converters.zoo.digits import SPLIT_SEED, WEIGHTS, DigitsCnn, Split, load_split

SEED = 0
EPOCHS = 90
BATCH = 64
PEAK_RATE = 8e-3
SMOOTHING = 0.05

_log = logging.getLogger(__name__)


def train(split: Split, epochs: int = EPOCHS) -> DigitsCnn:
    """Fit a new net to the training half of `split` with Adam and a one-cycle learning rate."""
    torch.manual_seed(SEED)
    model = DigitsCnn().train()
    images, labels = prepared(split.train_images), torch.from_numpy(split.train_labels)
    steps = math.ceil(len(images) / BATCH) * epochs
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK_RATE, total_steps=steps)
    for epoch in range(epochs):
        losses = []
        for chosen in torch.split(torch.randperm(len(images)), BATCH):
            logits = model(augment(images[chosen]))
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        _log.info("epoch %d of %d: loss %.4f", epoch + 1, epochs, sum(losses) / len(losses))
    return model.eval()


def prepared(images: NDArray[np.uint8]) -> Tensor:
    """Return uint8 images (N, 32, 32) as the model's input: float32 (N, 1, 32, 32), 0 to 1."""
    return torch.from_numpy(images).unsqueeze(1).float() / 255


def augment(images: Tensor) -> Tensor:
    """Return the digits (N, 1, 32, 32) as a camera might see them, each in its own way.

    Moved, scaled, turned and sheared; blurred; in dim or uneven light, with pale ink or grey
    paper; with sensor noise; and in the 256 levels of a byte.
    """
    ink = _soften(_move(1 - images))
    paper = _uniform(images, 0.45, 1.0) + _slopes(images)
    contrast = _uniform(images, 0.4, 1.0)
    noise = torch.randn_like(images) * _uniform(images, 0.0, 0.06)
    seen = paper * (1 - contrast * ink) + noise
    return (seen.clamp(0, 1) * 255).round() / 255


def _uniform(images: Tensor, low: float, high: float) -> Tensor:
    """Draw one number per image, shaped to broadcast."""
    return torch.empty(len(images), 1, 1, 1).uniform_(low, high)


def _move(ink: Tensor) -> Tensor:
    angle = _uniform(ink, -0.25, 0.25).flatten()
    size = _uniform(ink, 0.6, 1.1).flatten()
    shear = _uniform(ink, -0.15, 0.15).flatten()
    shift = torch.empty(len(ink), 2).uniform_(-0.2, 0.2)  # of half the image
    cos, sin = angle.cos() / size, angle.sin() / size
    rows = [cos, shear - sin, shift[:, 0], sin, cos, shift[:, 1]]
    grid = functional.affine_grid(
        torch.stack(rows, 1).view(-1, 2, 3), list(ink.shape), align_corners=False
    )
    return functional.grid_sample(ink, grid, align_corners=False)


def _soften(ink: Tensor) -> Tensor:
    """Mix each image with a blurred copy of itself, none to all of it."""
    blurred = functional.avg_pool2d(ink, 3, stride=1, padding=1)
    return torch.lerp(ink, blurred, _uniform(ink, 0.0, 1.0))


def _slopes(images: Tensor) -> Tensor:
    """Light that falls off linearly across the image, to any side."""
    axis = torch.linspace(-1, 1, images.shape[-1])
    down, across = _uniform(images, -0.15, 0.15), _uniform(images, -0.15, 0.15)
    return down * axis.view(1, 1, -1, 1) + across * axis.view(1, 1, 1, -1)


def count_correct(model: DigitsCnn, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> int:
    """Return how many of the images (N, 32, 32) the model reads as their label."""
    with torch.no_grad():
        answers = model(prepared(images)).argmax(1).numpy()
    return int((answers == labels).sum())


def facts(model: DigitsCnn, split: Split) -> dict[str, Any]:
    """Return what the weights file says of itself: accuracy, seeds, versions, the split's hash."""
    correct, total = count_correct(model, split.heldout_images, split.heldout_labels), len(split[3])
    return {
        "heldout_correct": correct,
        "heldout_total": total,
        "heldout_accuracy": round(correct / total, 6),
        "heldout_sha256": hashlib.sha256(split.heldout_images.tobytes()).hexdigest(),
        "epochs": EPOCHS,
        "seed": SEED,
        "split_seed": SPLIT_SEED,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "numpy": np.__version__,
    }


def main(out: Path = WEIGHTS) -> None:
    """Train, measure on the held-out digits, write the weights with their facts to `out`."""
    from safetensors.torch import save_file

    torch.set_num_threads(1)  # sums in one order
    split = load_split()
    model = train(split)
    stated = facts(model, split)
    # One key, because safetensors writes several in no fixed order.
    text = json.dumps(stated, sort_keys=True)
    save_file(model.state_dict(), out, metadata={"training": text})
    _log.info("%s: %s", out, text)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    main(*map(Path, sys.argv[1:]))

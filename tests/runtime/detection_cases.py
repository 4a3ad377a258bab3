"""Random scenes with what a detector may make of them, the same at every run."""

from __future__ import annotations

import numpy as np

from runtime.evaluate._average_precision import Found, Things


def scene(
    seed: int, images: int = 12, classes: int = 4, most: int = 14
) -> list[tuple[Things, Found]]:
    """Return images with things of all sizes, crowds, images and classes without any; and boxes
    near them, doubled, of wrong classes, from nowhere, with scores that are often equal."""
    rng = np.random.default_rng(seed)
    return [_image(rng, classes, most) for _ in range(images)]


def _image(rng: np.random.Generator, classes: int, most: int) -> tuple[Things, Found]:
    count = int(rng.integers(0, most))
    corner, size = rng.uniform(0, 400, (count, 2)), np.exp(rng.uniform(2, 5.5, (count, 2)))
    boxes = np.concatenate([corner, corner + size], axis=1).round(2)
    # The last class has things in no image, the one before it none but crowds.
    labels = rng.integers(0, max(classes - 1, 1), count)
    crowd = (rng.random(count) < 0.15) | (labels == classes - 2) & (classes > 2)
    areas = (size.prod(axis=1) * rng.uniform(0.4, 1, count)).round(2)
    things = Things(boxes, labels, crowd, areas)
    times = rng.integers(1, 4, count)
    near = np.repeat(boxes, times, axis=0)
    sides = np.repeat(size, times, axis=0)
    near = near + rng.normal(0, 0.08, near.shape) * np.concatenate([sides, sides], axis=1)
    stray = rng.uniform(0, 400, (int(rng.integers(0, most)), 2))
    stray = np.concatenate([stray, stray + rng.uniform(5, 150, stray.shape)], axis=1)
    every = np.concatenate([near, stray]).round(2)
    every[:, 2:] = np.maximum(every[:, 2:], every[:, :2] + 1)
    named = np.concatenate([np.repeat(labels, times), rng.integers(0, classes, len(stray))])
    wrong = rng.random(len(named)) < 0.1
    named = np.where(wrong, rng.integers(0, classes, len(named)), named)
    scores = rng.integers(1, 40, len(named)) / 40
    return things, Found(every, scores, named)

"""The embedded default: a small CNN that reads handwritten digits, and the data it learnt from.

Data: scikit-learn's `load_digits`, 1,797 real handwritten digits (Alpaydin and Kaynak, "Optical
Recognition of Handwritten Digits", UCI, 1998): 8x8 counts, 0 to 16, of the ink in 4x4 pixels of a
32x32 scan. They are brought back to 32x32 as dark ink on white paper, as a camera would see them.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from converters.weights import load_weights
from converters.zoo.base import Classifier, he_initialise
from device_profiles.errors import OutputError, missing
from runtime.contract import InputContract

WEIGHTS = Path(__file__).with_name("digits.safetensors")
SIZE = 32
HELD_OUT = 600
SPLIT_SEED = 0


class DigitsCnn(Classifier):
    """Input (N, 1, 32, 32), logits (N, 10).

    It holds one of each thing that makes a modern mobile CNN: batch normalisation, ReLU and ReLU6,
    depthwise-separable convolutions, a residual connection and global average pooling.
    """

    # Any frame will do: the square at its centre is what the model sees.
    input_contract = InputContract(
        height=SIZE, width=SIZE, color="GRAY", resize="center-crop", interpolation="area"
    )

    def __init__(self) -> None:
        super().__init__()
        self.stem = _normalised(nn.Conv2d(1, 16, 3, stride=2, padding=1, bias=False), nn.ReLU())
        self.widen = _separable(16, 40, stride=2)
        self.residual = nn.Sequential(
            _normalised(nn.Conv2d(40, 40, 3, padding=1, bias=False), nn.ReLU()),
            nn.Conv2d(40, 40, 3, padding=1, bias=False),
            nn.BatchNorm2d(40),
        )
        self.activation = nn.ReLU()
        self.deepen = nn.Sequential(_separable(40, 64, stride=2), _separable(64, 96, stride=1))
        self.head = nn.Linear(96, 10)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of prepared images."""
        x = self.widen(self.stem(x))
        x = self.activation(x + self.residual(x))
        pooled = nn.functional.adaptive_avg_pool2d(self.deepen(x), 1)
        logits: Tensor = self.head(pooled.flatten(1))
        return logits


def _normalised(conv: nn.Conv2d, activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), activation)


def _separable(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    """Filter each channel by itself, then mix them (Howard et al., 2017)."""
    depthwise = nn.Conv2d(inputs, inputs, 3, stride, padding=1, groups=inputs, bias=False)
    mix = nn.Conv2d(inputs, outputs, 1, bias=False)
    return nn.Sequential(_normalised(depthwise, nn.ReLU6()), _normalised(mix, nn.ReLU6()))


def digits_cnn(pretrained: bool = True) -> DigitsCnn:
    """Build the digits CNN with the weights that ship with it, or with random ones.

    Raises WeightsError when the shipped file is damaged or gone.
    """
    model = DigitsCnn()
    if pretrained:
        load_weights(model, WEIGHTS)
        model.needs_weights = False
    return model.eval()


class Split(NamedTuple):
    """Digits to learn from and digits held out: images uint8 (N, 32, 32), labels int64 (N,)."""

    train_images: NDArray[np.uint8]
    train_labels: NDArray[np.int64]
    heldout_images: NDArray[np.uint8]
    heldout_labels: NDArray[np.int64]


def load_split() -> Split:
    """Return 1,197 digits to learn from and 600 held out, stratified by class, always the same.

    Raises MissingError without scikit-learn, which brings the data with it (no network).
    """
    try:
        from sklearn.datasets import load_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise missing("scikit-learn", "convert") from error
    counts, labels = load_digits(return_X_y=True)
    train, heldout = train_test_split(
        np.arange(len(labels)), test_size=HELD_OUT, stratify=labels, random_state=SPLIT_SEED
    )
    images, labels = _ink_on_paper(counts.reshape(-1, 8, 8)), labels.astype(np.int64)
    return Split(images[train], labels[train], images[heldout], labels[heldout])


def _ink_on_paper(counts: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Turn ink counts (N, 8, 8), 0 to 16, into grey images (N, 32, 32), 255 where there is none.

    Bilinear, with pixel centres aligned. All weights are eighths, so every platform computes the
    same bytes.
    """
    positions = np.clip((np.arange(SIZE) + 0.5) / (SIZE // 8) - 0.5, 0, 7)
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(8)))  # (32, 8)
    ink = weights @ counts @ weights.T
    images: NDArray[np.uint8] = (255 - np.rint(ink * 255 / 16)).astype(np.uint8)
    return images


def write_image_folders(root: Path) -> tuple[Path, Path]:
    """Write the split as ImageFolder trees of PNG and return (root/train, root/heldout).

    The n-th digit of class c becomes `c/000n.png`, counted from 1 in the order of `load_split`.
    Raises OutputError when a file cannot be written, MissingError without OpenCV.
    """
    split = load_split()
    train, heldout = root / "train", root / "heldout"
    _write_tree(train, split.train_images, split.train_labels)
    _write_tree(heldout, split.heldout_images, split.heldout_labels)
    return train, heldout


def _write_tree(root: Path, images: NDArray[np.uint8], labels: NDArray[np.int64]) -> None:
    try:
        import cv2
    except ImportError as error:
        raise missing("opencv-python-headless", "camera") from error
    for label in range(10):
        folder = root / str(label)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for number, image in enumerate(images[labels == label], start=1):
                (folder / f"{number:04d}.png").write_bytes(cv2.imencode(".png", image)[1].tobytes())
        except OSError as error:
            raise OutputError(
                f"{folder} cannot be written ({error.strerror}); choose another folder"
            ) from error


MODELS = (digits_cnn,)

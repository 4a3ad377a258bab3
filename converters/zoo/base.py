"""What every model of the zoo is: a net that knows its preprocessing and its task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from runtime.contract import InputContract

IMAGENET = InputContract(
    height=224,
    width=224,
    resize="center-crop",
    shorter_side=256,
    interpolation="antialias",
    mean=(0.485, 0.456, 0.406),
    std=(0.229, 0.224, 0.225),
)
"""The usual evaluation preprocessing of ImageNet models trained in torch."""


class Net(nn.Module):
    """A CNN that takes float32 images (N, C, H, W), prepared by `input_contract`.

    `task` says what its outputs are, and `decoder` how they are read, as in a manifest.
    `needs_weights` is true of an architecture whose weights are still random: to convert it
    without `--weights` is a mistake.
    """

    input_contract: InputContract
    task: str
    decoder: Mapping[str, Any] = {}
    needs_weights = True


class Classifier(Net):
    """A net that gives logits (N, K)."""

    task = "classify"


class Upscaler(Net):
    """A net that gives a sharper picture (N, 1, H', W'), in the units of the prepared input.

    It works on luma only, as such nets are trained: colours are enlarged by interpolation. It is
    fully convolutional, so the size of its tiles is a choice, and sees half of their overlap far,
    so that they join without a trace.
    """

    task = "enhance"


def he_initialise(model: nn.Module) -> None:
    """Draw every weight so that its layer keeps the variance of its input, with biases of zero.

    Source: He et al., "Delving Deep into Rectifiers", 2015 (fan-in, ReLU gain). Nets without batch
    normalisation need it, else their output hardly depends on the input.
    """
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

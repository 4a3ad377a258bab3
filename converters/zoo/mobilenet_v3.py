"""MobileNetV3-Small, with the state-dict keys of torchvision.

Source: Howard et al., "Searching for MobileNetV3", 2019, table 2 and section 5.
"""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from converters.zoo.base import IMAGENET, Classifier, he_initialise


class _Shape(NamedTuple):
    """One row of table 2; `swish` means hard-swish, else ReLU."""

    kernel: int
    hidden: int
    outputs: int
    squeeze: bool
    swish: bool
    stride: int


_SMALL = (
    _Shape(3, 16, 16, True, False, 2),
    _Shape(3, 72, 24, False, False, 2),
    _Shape(3, 88, 24, False, False, 1),
    _Shape(5, 96, 40, True, True, 2),
    _Shape(5, 240, 40, True, True, 1),
    _Shape(5, 240, 40, True, True, 1),
    _Shape(5, 120, 48, True, True, 1),
    _Shape(5, 144, 48, True, True, 1),
    _Shape(5, 288, 96, True, True, 2),
    _Shape(5, 576, 96, True, True, 1),
    _Shape(5, 576, 96, True, True, 1),
)


def _normalised(conv: nn.Conv2d, *activation: nn.Module) -> nn.Sequential:
    # TensorFlow's epsilon, with which the published weights were trained.
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels, eps=1e-3), *activation)


def _mix(inputs: int, outputs: int, *activation: nn.Module) -> nn.Sequential:
    return _normalised(nn.Conv2d(inputs, outputs, 1, bias=False), *activation)


def _divisible(channels: float) -> int:
    """Return the multiple of 8 nearest to `channels`, but not less than 90% of it."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


class _SqueezeExcite(nn.Module):
    """Weigh each channel by a factor from 0 to 1 that follows from the means of all of them."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        squeezed = _divisible(channels / 4)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        means = functional.adaptive_avg_pool2d(x, 1)
        return x * functional.hardsigmoid(self.fc2(functional.relu(self.fc1(means))))


class _Bottleneck(nn.Module):
    """Widen, filter each channel, weigh, narrow; add the input where shapes allow."""

    def __init__(self, inputs: int, shape: _Shape) -> None:
        super().__init__()
        activation = nn.Hardswish if shape.swish else nn.ReLU
        hidden, kernel = shape.hidden, shape.kernel
        depthwise = nn.Conv2d(
            hidden, hidden, kernel, shape.stride, padding=kernel // 2, groups=hidden, bias=False
        )
        layers: list[nn.Module] = []
        if hidden != inputs:
            layers.append(_mix(inputs, hidden, activation()))
        layers.append(_normalised(depthwise, activation()))
        if shape.squeeze:
            layers.append(_SqueezeExcite(hidden))
        self.block = nn.Sequential(*layers, _mix(hidden, shape.outputs))
        self.shortcut = shape.stride == 1 and inputs == shape.outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.shortcut else y


class MobileNetV3Small(Classifier):
    """Input (N, 3, 224, 224), logits (N, 1000)."""

    input_contract = IMAGENET

    def __init__(self, classes: int = 1000) -> None:
        super().__init__()
        stem = nn.Conv2d(3, 16, 3, stride=2, padding=1, bias=False)
        inputs = (16, *(shape.outputs for shape in _SMALL))
        self.features = nn.Sequential(
            _normalised(stem, nn.Hardswish()),
            *(_Bottleneck(*pair) for pair in zip(inputs, _SMALL, strict=False)),
            _mix(96, 576, nn.Hardswish()),
        )
        self.classifier = nn.Sequential(
            nn.Linear(576, 1024), nn.Hardswish(), nn.Dropout(0.2), nn.Linear(1024, classes)
        )
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of prepared images."""
        pooled = functional.adaptive_avg_pool2d(self.features(x), 1)
        logits: Tensor = self.classifier(pooled.flatten(1))
        return logits


def mobilenet_v3_small() -> MobileNetV3Small:
    """Build MobileNetV3-Small (2,542,856 parameters)."""
    return MobileNetV3Small().eval()


MODELS = (mobilenet_v3_small,)

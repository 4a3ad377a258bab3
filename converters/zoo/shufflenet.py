"""ShuffleNetV2 at half and at full width, with the state-dict keys of torchvision.

Source: Ma et al., "ShuffleNet V2: Practical Guidelines for Efficient CNN Architecture Design",
2018, figure 3 and table 5.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.zoo.base import IMAGENET, Classifier, he_initialise

_STEM = 24
_HEAD = 1024
_BLOCKS = (4, 8, 4)
"""Blocks per stage."""


def _conv(inputs: int, outputs: int) -> list[nn.Module]:
    """Mix the channels, normalise, ReLU."""
    return [nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()]


def _depthwise(channels: int, stride: int) -> list[nn.Module]:
    """Filter each channel by itself and normalise, without activation."""
    conv = nn.Conv2d(channels, channels, 3, stride, padding=1, groups=channels, bias=False)
    return [conv, nn.BatchNorm2d(channels)]


def _shuffled(x: Tensor) -> Tensor:
    """Interleave the two halves of the channels, so that the next block sees both."""
    batch, channels, height, width = x.shape
    pairs = x.reshape(batch, 2, channels // 2, height, width).transpose(1, 2)
    return pairs.reshape(batch, channels, height, width)


class _Unit(nn.Module):
    """Half of the channels pass unchanged, half are filtered (figure 3c)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.branch2 = nn.Sequential(*_conv(half, half), *_depthwise(half, 1), *_conv(half, half))

    def forward(self, x: Tensor) -> Tensor:
        kept, filtered = x.chunk(2, dim=1)
        return _shuffled(torch.cat((kept, self.branch2(filtered)), dim=1))


class _Downsampling(nn.Module):
    """All channels go through both branches, each of which halves the sides (figure 3d)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        half = outputs // 2
        self.branch1 = nn.Sequential(*_depthwise(inputs, 2), *_conv(inputs, half))
        self.branch2 = nn.Sequential(*_conv(inputs, half), *_depthwise(half, 2), *_conv(half, half))

    def forward(self, x: Tensor) -> Tensor:
        return _shuffled(torch.cat((self.branch1(x), self.branch2(x)), dim=1))


class ShuffleNetV2(Classifier):
    """A net of three stages of `widths` channels: input (N, 3, 224, 224), logits (N, 1000)."""

    input_contract = IMAGENET

    def __init__(self, widths: Sequence[int], classes: int = 1000) -> None:
        super().__init__()
        stem = nn.Conv2d(3, _STEM, 3, stride=2, padding=1, bias=False)
        self.conv1 = nn.Sequential(stem, nn.BatchNorm2d(_STEM), nn.ReLU())
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.stage2, self.stage3, self.stage4 = (
            nn.Sequential(_Downsampling(inputs, width), *(_Unit(width) for _ in range(count - 1)))
            for inputs, width, count in zip((_STEM, *widths), widths, _BLOCKS, strict=False)
        )
        self.conv5 = nn.Sequential(*_conv(widths[-1], _HEAD))
        self.fc = nn.Linear(_HEAD, classes)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of prepared images."""
        x = self.maxpool(self.conv1(x))
        x = self.conv5(self.stage4(self.stage3(self.stage2(x))))
        logits: Tensor = self.fc(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def shufflenet_v2_x05() -> ShuffleNetV2:
    """Build ShuffleNetV2 at half its width (1,366,792 parameters)."""
    return ShuffleNetV2((48, 96, 192)).eval()


def shufflenet_v2() -> ShuffleNetV2:
    """Build ShuffleNetV2 at full width, x1.0 (2,278,604 parameters)."""
    return ShuffleNetV2((116, 232, 464)).eval()


MODELS = (shufflenet_v2_x05, shufflenet_v2)

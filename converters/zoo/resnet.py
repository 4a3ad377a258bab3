"""ResNet-18, -34 and -50 for ImageNet, with the state-dict keys of torchvision.

Source: He et al., "Deep Residual Learning for Image Recognition", 2015, table 1. As in torchvision
the bottleneck has its stride in the 3x3 convolution ("v1.5").
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from converters.zoo.base import IMAGENET, Classifier, he_initialise


class _Block(nn.Module):
    """What both blocks share: a shortcut, projected where the shape changes, and a last ReLU."""

    expansion: int

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = width * self.expansion
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(self.residual(x) + shortcut)

    def residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError


class _Basic(_Block):
    """Two 3x3 convolutions."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def residual(self, x: Tensor) -> Tensor:
        y: Tensor = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return y


class _Bottleneck(_Block):
    """A 1x1 convolution that narrows, a 3x3, and a 1x1 that widens four times."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__(inputs, width, stride)
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)

    def residual(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(self.conv1(x)))
        y = torch.relu(self.bn2(self.conv2(y)))
        z: Tensor = self.bn3(self.conv3(y))
        return z


class ResNet(Classifier):
    """Stem, four stages of residual blocks, global average pooling, one linear layer.

    `depths` counts the blocks of each stage. Input (N, 3, 224, 224), logits (N, 1000).
    """

    input_contract = IMAGENET

    def __init__(self, block: type[_Block], depths: Sequence[int], classes: int = 1000) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        channels = 64
        for stage, depth in enumerate(depths):
            width, blocks = 64 << stage, []
            for index in range(depth):
                blocks.append(block(channels, width, stride=2 if stage and not index else 1))
                channels = width * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.stages = [f"layer{stage + 1}" for stage in range(len(depths))]
        self.fc = nn.Linear(channels, classes)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of prepared images."""
        x = self.maxpool(torch.relu(self.bn1(self.conv1(x))))
        for stage in self.stages:
            x = self.get_submodule(stage)(x)
        logits: Tensor = self.fc(nn.functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def resnet18() -> ResNet:
    """Build ResNet-18 (11,689,512 parameters)."""
    return ResNet(_Basic, (2, 2, 2, 2)).eval()


def resnet34() -> ResNet:
    """Build ResNet-34 (21,797,672 parameters)."""
    return ResNet(_Basic, (3, 4, 6, 3)).eval()


def resnet50() -> ResNet:
    """Build ResNet-50 (25,557,032 parameters)."""
    return ResNet(_Bottleneck, (3, 4, 6, 3)).eval()


MODELS = (resnet18, resnet34, resnet50)

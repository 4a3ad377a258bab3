"""Preprocessing: the definition in plain Python is the oracle."""

from __future__ import annotations

import itertools
import math
import sys

import numpy as np
import pytest

from device_profiles.errors import ContractError, DataError, MissingError
from runtime.contract import InputContract
from runtime.preprocess import normalize, placement, prepare


def picture(height, width, channels=3, seed=0):
    """Noise over a ramp, so that neither filters nor geometry can hide a mistake."""
    noise = np.random.default_rng(seed).integers(0, 128, (height, width, channels))
    ramp = np.arange(width)[None, :, None] * 127 // width
    return (noise + ramp).astype(np.uint8)


def triangle_line(line, size):
    """One line resized by the triangle filter in Pillow's 22-bit integer arithmetic."""
    scale = len(line) / size
    support = max(scale, 1.0)
    result = []
    for index in range(size):
        centre = (index + 0.5) * scale
        low, high = max(int(centre - support + 0.5), 0), min(int(centre + support + 0.5), len(line))
        weights = [max(0.0, 1 - abs(i + 0.5 - centre) / support) for i in range(low, high)]
        fixed = [math.floor(w / sum(weights) * 2**22 + 0.5) for w in weights]
        total = sum(w * int(line[low + i]) for i, w in enumerate(fixed))
        result.append((total + 2**21) >> 22)
    return result


def triangle(image, height, width):
    """Across first, then down, each pass rounded: what Pillow does."""
    rows, channels = image.shape[0], image.shape[2]
    across = np.zeros((rows, width, channels), np.uint8)
    for row, channel in itertools.product(range(rows), range(channels)):
        across[row, :, channel] = triangle_line(image[row, :, channel], width)
    down = np.zeros((height, width, channels), np.uint8)
    for column, channel in itertools.product(range(width), range(channels)):
        down[:, column, channel] = triangle_line(across[:, column, channel], height)
    return down


@pytest.mark.parametrize(
    ("source", "target"),
    [
        ((40, 50), (16, 16)),
        ((16, 16), (40, 24)),
        ((61, 17), (13, 31)),
        ((9, 9), (9, 4)),
        ((1, 7), (3, 1)),
        ((33, 2), (1, 5)),
    ],
)
def test_antialias_is_the_triangle_filter(source, target):
    image = picture(*source)
    contract = InputContract(*target, interpolation="antialias")
    assert (prepare(image, contract) == triangle(image, *target)).all()


def test_antialias_equals_pillow():
    image = (np.arange(7 * 9 * 3).reshape(7, 9, 3) * 37 % 256).astype(np.uint8)
    # Image.fromarray(image).resize((3, 4), Image.BILINEAR) of Pillow 10.4.0, 11.3.0 and 12.0.0
    expected = [
        [[124, 100, 107], [121, 140, 120], [111, 105, 138]],
        [[119, 143, 134], [125, 116, 147], [147, 139, 99]],
        [[115, 116, 147], [131, 122, 118], [120, 135, 129]],
        [[158, 152, 108], [108, 142, 122], [129, 105, 141]],
    ]
    result = prepare(image, InputContract(4, 3, interpolation="antialias"))
    assert result.tolist() == expected


@pytest.mark.parametrize("interpolation", ["linear", "area", "cubic", "nearest", "antialias"])
@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center-crop"])
@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("channels", [0, 1, 3])
def test_every_contract_takes_every_frame(interpolation, resize, color, channels):
    contract = InputContract(
        24, 32, color=color, resize=resize, interpolation=interpolation, pad_value=7
    )
    frame = picture(50, 45, max(channels, 1))
    result = prepare(frame if channels else frame[:, :, 0], contract)
    assert result.shape == contract.shape
    assert result.dtype == np.uint8
    assert result.flags.c_contiguous
    assert result.std() > 1


@pytest.mark.parametrize("interpolation", ["linear", "area", "antialias"])
def test_colours_survive(interpolation):
    frame = np.full((20, 30, 3), (10, 100, 200), np.uint8)
    kept = prepare(frame, InputContract(8, 8, interpolation=interpolation))
    assert (kept == (10, 100, 200)).all()
    grey = prepare(frame, InputContract(8, 8, color="GRAY", interpolation=interpolation))
    # BT.601 luma, to the nearest level
    assert (grey == round(0.114 * 10 + 0.587 * 100 + 0.299 * 200)).all()


def test_a_prepared_frame_comes_back_as_it_is_without_opencv(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    frame = picture(8, 6)
    assert prepare(frame, InputContract(8, 6, resize="center-crop", shorter_side=9)) is frame
    grey = picture(8, 6, 1)[:, :, 0]
    assert np.shares_memory(prepare(grey, InputContract(8, 6, color="GRAY")), grey)
    assert prepare(frame[:, ::-1], InputContract(8, 6)).flags.c_contiguous
    with pytest.raises(MissingError, match=r"edge-sdk\[camera\]"):
        prepare(frame, InputContract(4, 4))


def test_letterbox_centres_the_picture_between_bars():
    frame = np.full((10, 40, 3), 200, np.uint8)
    result = prepare(frame, InputContract(21, 20, resize="letterbox", pad_value=9))
    assert (result[8:13] == 200).all()
    assert (result[:8] == 9).all()
    assert (result[13:] == 9).all()


@pytest.mark.parametrize("resize", ["letterbox", "center-crop"])
def test_aspect_ratio_is_kept(resize):
    frame = np.zeros((60, 100, 3), np.uint8)
    frame[20:40, 40:60] = 255
    result = prepare(frame, InputContract(50, 50, resize=resize))
    bright = result[:, :, 0] > 127
    # One pixel: the resized width is a whole number of pixels.
    assert abs(int(bright.any(axis=0).sum()) - int(bright.any(axis=1).sum())) <= 1


# (frame, model, shorter side) -> size and corner by torchvision's Resize and CenterCrop
@pytest.mark.parametrize(
    ("frame", "side", "resized", "corner"),
    [
        ((480, 640), 256, (256, 341), (16, 58)),
        ((640, 480), 256, (341, 256), (58, 16)),
        ((320, 320), 256, (256, 256), (16, 16)),
        ((333, 500), 257, (257, 385), (16, 80)),
        ((720, 1280), 0, (224, 398), (0, 87)),
    ],
)
def test_center_crop_rounds_as_torchvision(frame, side, resized, corner):
    contract = InputContract(224, 224, resize="center-crop", shorter_side=side)
    place = placement(*frame, contract)
    assert place.scale_y == frame[0] / resized[0]
    assert place.scale_x == frame[1] / resized[1]
    assert place.offset_y == pytest.approx(corner[0] * place.scale_y)
    assert place.offset_x == pytest.approx(corner[1] * place.scale_x)


@pytest.mark.parametrize("frame", [(100, 60), (60, 100), (24, 31), (1000, 10), (10, 1000)])
def test_zero_shorter_side_covers_the_model(frame):
    contract = InputContract(24, 32, resize="center-crop", interpolation="antialias")
    place = placement(*frame, contract)
    assert min(frame[0] / place.scale_y - 24, frame[1] / place.scale_x - 32) == 0
    assert prepare(picture(*frame), contract).shape == contract.shape


@pytest.mark.parametrize("resize", ["stretch", "letterbox", "center-crop"])
@pytest.mark.parametrize("frame", [(90, 160), (160, 90), (64, 64), (33, 200)])
def test_placement_finds_a_box_again(resize, frame):
    height, width = frame
    top, left, bottom, right = height // 2 - 8, width // 2 - 9, height // 2 + 8, width // 2 + 9
    image = np.zeros((height, width, 3), np.uint8)
    image[top:bottom, left:right] = 255
    contract = InputContract(64, 48, resize=resize, interpolation="antialias", pad_value=0)
    weight = prepare(image, contract)[:, :, 0].astype(float)
    place = placement(height, width, contract)
    rows, columns = np.arange(64) + 0.5, np.arange(48) + 0.5
    centre_y = (weight.sum(axis=1) @ rows) / weight.sum() * place.scale_y + place.offset_y
    centre_x = (weight.sum(axis=0) @ columns) / weight.sum() * place.scale_x + place.offset_x
    # Exact up to the rounding of pixels to 8 bits; half a pixel off would be 0.5 or more.
    assert centre_y == pytest.approx((top + bottom) / 2, abs=0.1)
    assert centre_x == pytest.approx((left + right) / 2, abs=0.1)


def test_too_small_a_shorter_side_is_refused():
    contract = InputContract(32, 32, resize="center-crop", shorter_side=24)
    with pytest.raises(ContractError, match="raise shorter_side"):
        prepare(picture(100, 100), contract)


@pytest.mark.parametrize(
    "image",
    [
        np.zeros((4, 4, 3), np.float32),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4,), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros((0, 4, 3), np.uint8),
        [[0, 1], [2, 3]],
    ],
)
def test_bad_frames_are_refused(image):
    with pytest.raises(DataError, match="frame"):
        prepare(image, InputContract(8, 8))


@pytest.mark.parametrize("color", ["RGB", "BGR"])
def test_normalize_reorders_and_scales(color):
    contract = InputContract(
        5, 4, color=color, scale=1 / 255, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)
    )
    batch = np.stack([picture(5, 4, seed=s) for s in range(2)])
    result = normalize(batch, contract)
    source = batch[..., ::-1] if color == "RGB" else batch
    expected = (source / 255 - contract.mean) / contract.std
    assert result.dtype == np.float32
    assert result.shape == (2, 3, 5, 4)
    # Half a unit in the last place: the value is computed in double and rounded once.
    np.testing.assert_allclose(result, expected.transpose(0, 3, 1, 2), rtol=2**-24, atol=1e-9)


def test_normalize_grey():
    contract = InputContract(5, 4, color="GRAY", scale=1 / 127.5, mean=(1.0,))
    batch = np.array([0, 255] * 10, np.uint8).reshape(1, 5, 4, 1)
    assert np.allclose(normalize(batch, contract).ravel(), [-1, 1] * 10, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 4, 3), (1, 3, 5, 4), (1, 5, 4, 1)])
def test_normalize_refuses_another_layout(shape):
    with pytest.raises(DataError, match=r"expected uint8 \(N, 5, 4, 3\)"):
        normalize(np.zeros(shape, np.uint8), InputContract(5, 4))

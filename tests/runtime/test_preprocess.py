"""Preprocessing: the definition in plain Python is the oracle."""

from __future__ import annotations

import itertools
import math
import sys
import tracemalloc

import numpy as np
import pytest

from device_profiles.errors import ContractError, DataError, MissingError
from runtime.contract import INTERPOLATIONS, InputContract
from runtime.preprocess import Preparer, normalize, placement, prepare, prepare_batch
from runtime.tiles import tiling


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


def test_cubic_antialias_equals_pillow():
    image = (np.arange(7 * 9 * 3).reshape(7, 9, 3) * 37 % 256).astype(np.uint8)
    # Image.fromarray(image).resize((3, 4), Image.BICUBIC) of Pillow 12.3.0
    smaller = [
        [[130, 95, 96], [116, 141, 120], [111, 108, 148]],
        [[121, 155, 138], [122, 106, 146], [148, 140, 98]],
        [[113, 117, 159], [138, 120, 110], [113, 134, 128]],
        [[158, 152, 107], [109, 153, 123], [128, 94, 141]],
    ]
    # and of image[:2, :3] to (6, 4), first and last line: the filter overshoots the bytes
    wider = [
        [0, 29, 66, 3, 64, 100, 76, 137, 172, 147, 121, 163, 206, 17, 72, 234, 0, 29],
        [255, 0, 37, 217, 28, 71, 113, 87, 143, 97, 158, 134, 170, 231, 43, 205, 255, 0],
    ]
    result = prepare(image, InputContract(4, 3, interpolation="antialias-cubic"))
    assert result.tolist() == smaller
    enlarged = prepare(image[:2, :3], InputContract(4, 6, interpolation="antialias-cubic"))
    assert enlarged[[0, 3]].reshape(2, -1).tolist() == wider


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
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


CONTRACTS = [
    InputContract(24, 32),
    InputContract(24, 32, color="GRAY"),
    InputContract(24, 32, resize="letterbox", interpolation="cubic"),
    InputContract(24, 32, resize="letterbox", color="GRAY", interpolation="area"),
    InputContract(24, 32, resize="center-crop", interpolation="nearest"),
    InputContract(24, 32, resize="center-crop", interpolation="antialias"),
    InputContract(24, 32, resize="center-crop", interpolation="antialias-cubic", color="GRAY"),
    InputContract(24, 32, resize="tile", overlap=6),
    InputContract(24, 32, resize="tile", overlap=6, upscale=2, interpolation="antialias-cubic"),
    InputContract(24, 32, resize="tile", overlap=6, upscale=3, interpolation="cubic", color="GRAY"),
]


@pytest.mark.parametrize("contract", CONTRACTS, ids=str)
def test_a_preparer_gives_what_the_function_gives(contract):
    preparer = Preparer(contract)
    frames = [picture(50, 45, seed=0), picture(50, 45, seed=1), picture(17, 61, 1)[..., 0]]
    frames += [picture(50, 45, seed=2), picture(5, 7), picture(1, 1), picture(24, 32)]
    for frame in frames:
        expected = prepare_batch(frame, contract)
        assert expected.shape == preparer.shape(*frame.shape[:2])
        # whatever is in the buffer
        out = np.full(expected.shape, 200, np.uint8)
        assert preparer.prepare(frame, out) is out
        assert (out == expected).all()
        assert (preparer.prepare(frame) == expected).all()


@pytest.mark.parametrize("contract", CONTRACTS, ids=str)
def test_a_preparer_writes_the_same_memory_again(contract):
    preparer = Preparer(contract)
    first = preparer.prepare(picture(50, 45, seed=0))
    assert np.shares_memory(first, preparer.prepare(picture(50, 45, seed=1)))
    assert (first == prepare_batch(picture(50, 45, seed=1), contract)).all()


@pytest.mark.parametrize("contract", CONTRACTS[:3], ids=str)
def test_prepare_writes_where_it_is_told(contract):
    out = np.zeros(contract.shape, np.uint8)
    for frame in (picture(50, 45), picture(24, 32)):
        assert np.shares_memory(prepare(frame, contract, out), out)
        assert (out == prepare(frame, contract)).all()


@pytest.mark.parametrize(
    "out",
    [
        np.zeros((1, 24, 32, 1), np.uint8),
        np.zeros((2, 24, 32, 3), np.uint8),
        np.zeros((1, 24, 32, 3), np.int8),
        np.zeros((1, 24, 64, 3), np.uint8)[:, :, ::2],
    ],
)
@pytest.mark.parametrize("frame", [picture(50, 45), picture(24, 32)])
def test_a_buffer_of_another_kind_is_refused(out, frame):
    with pytest.raises(DataError, match="cannot take this frame; give contiguous uint8"):
        Preparer(InputContract(24, 32)).prepare(frame, out)


@pytest.mark.parametrize("contract", CONTRACTS, ids=str)
def test_frames_of_a_camera_allocate_nothing(contract):
    frame = picture(480, 640)
    preparer = Preparer(contract)
    preparer.prepare(frame)
    tracemalloc.start()
    try:
        for _ in range(3):
            preparer.prepare(frame)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The objects of Python that views are; the frame has 921,600 bytes, the model's picture 2,304.
    assert peak < 5_000


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_no_float_picture_of_the_frame_is_made(interpolation):
    frame = picture(720, 1280)
    contract = InputContract(224, 224, resize="center-crop", interpolation=interpolation)
    tracemalloc.start()
    try:
        prepare(frame, contract)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # As bytes: what is seen of the frame, twice over. As float32, one of it alone has 6.2 MB.
    assert peak < 2 * frame.nbytes


def test_tiles_cover_the_frame():
    frame = picture(50, 45)
    contract = InputContract(24, 32, resize="tile", overlap=6)
    batch = prepare_batch(frame, contract)
    found = np.zeros_like(frame)
    tiles = tiling(50, 45, contract)
    corners = [(row.start, column.start) for row in tiles.rows for column in tiles.columns]
    assert len(batch) == len(tiles) == 6
    for tile, (top, left) in zip(batch, corners, strict=True):
        assert (tile == frame[top : top + 24, left : left + 32]).all()
        found[top : top + 24, left : left + 32] = tile
    assert (found == frame).all()


@pytest.mark.parametrize("size", [(5, 7), (1, 1), (2, 32), (24, 3), (24, 31)])
def test_a_frame_smaller_than_a_tile_is_reflected(size):
    frame = picture(*size)
    (tile,) = prepare_batch(frame, InputContract(24, 32, resize="tile"))
    pad = [(0, 24 - size[0]), (0, 32 - size[1]), (0, 0)]
    assert (tile == np.pad(frame, pad, mode="reflect")).all()


@pytest.mark.parametrize("interpolation", ["cubic", "antialias-cubic"])
def test_what_a_net_sharpens_is_enlarged_first(interpolation):
    frame = picture(24, 32)  # of the tile's size, which is no reason to take it as prepared
    contract = InputContract(24, 32, resize="tile", upscale=2, interpolation=interpolation)
    whole = prepare(frame, InputContract(48, 64, interpolation=interpolation))
    batch = prepare_batch(frame, contract)
    assert (batch == [whole[:24, :32], whole[:24, 32:], whole[24:, :32], whole[24:, 32:]]).all()


def test_tiles_are_no_picture_of_the_whole_frame():
    contract = InputContract(24, 32, resize="tile")
    with pytest.raises(ContractError, match="call prepare_batch"):
        prepare(picture(50, 45), contract)
    with pytest.raises(ContractError, match="say stretch, letterbox or center-crop"):
        placement(50, 45, contract)

"""Enhancement: tiles join without a trace, units and colours are those of the frame."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from device_profiles.errors import ContractError, DataError, EngineError, RequestError
from runtime.contract import InputContract
from runtime.preprocess import normalize, prepare_batch
from runtime.tasks import decoder
from runtime.tasks.base import TaskContext

KERNEL = np.array([0.05, 0.2, 0.5, 0.2, 0.05])


def picture(height, width, channels=3, seed=0):
    """Blobs of noise: neither flat nor periodic."""
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, channels), np.uint8)
    return cv2.GaussianBlur(noise, (0, 0), 1.2).reshape(height, width, channels) * 2


def net(batch, layers=2, scale=2):
    """Enlarge (n, C, H, W) and blur it: sees 2 pixels of the input far per layer, with zeros
    beyond the edges, and gives every pixel of a cell another brightness."""
    padded = batch.astype(np.float64)
    for _ in range(layers):
        for axis in (2, 3):
            wide = [(0, 0)] * axis + [(2, 2)] + [(0, 0)] * (3 - axis)
            lines = np.pad(padded, wide)
            size = padded.shape[axis]
            padded = sum(
                weight * np.take(lines, range(k, k + size), axis) for k, weight in enumerate(KERNEL)
            )
    output = padded.repeat(scale, 2).repeat(scale, 3)
    shade = 1 - 0.1 * (np.arange(output.shape[3]) % scale)
    return (output * shade).astype(np.float32)


def context(frame, contract, image=True):
    height, width = frame.shape[:2]
    return TaskContext((), contract, height, width, ("out",), frame if image else None)


def enhanced(frame, contract, model=net, **spec):
    batch = normalize(prepare_batch(frame, contract), contract)
    return decoder("enhance", spec)([model(batch)], context(frame, contract))


@pytest.mark.parametrize("color", ["RGB", "BGR", "GRAY"])
@pytest.mark.parametrize("overlap", [8, 9, 20])
@pytest.mark.parametrize("size", [(24, 32), (25, 33), (70, 101), (48, 200), (24, 400)])
def test_tiles_join_without_a_trace(size, overlap, color):
    """The net sees 4 pixels far, which is half of the overlap or less."""
    frame = picture(*size)
    tiled = InputContract(24, 32, color=color, resize="tile", overlap=overlap)
    whole = InputContract(*size, color=color)
    found, expected = enhanced(frame, tiled), enhanced(frame, whole)
    assert found.picture.shape == (size[0] * 2, size[1] * 2, 3)
    assert (found.picture == expected.picture).all()
    assert (
        found.to_json()
        == expected.to_json()
        == {
            "height": size[0] * 2,
            "width": size[1] * 2,
            "scale": 2,
        }
    )


def test_too_small_an_overlap_leaves_one():
    frame = picture(68, 92)
    tiled = InputContract(24, 32, resize="tile", overlap=2)
    difference = cv2.absdiff(
        enhanced(frame, tiled).picture, enhanced(frame, InputContract(68, 92)).picture
    )
    assert difference.max() > 1


@pytest.mark.parametrize("blend", [1, 2, 4, 7])
def test_blended_tiles_are_exact_where_the_net_has_seen_enough(blend):
    frame = picture(70, 101)
    tiled = InputContract(24, 32, resize="tile", overlap=8 + blend)
    expected = enhanced(frame, InputContract(70, 101))
    found = enhanced(frame, tiled, blend=blend)
    # Two roundings at most, to the nearest level each, of values that are already whole.
    assert (found.picture == expected.picture).all()


def test_blending_softens_the_seam():
    """Each tile is of one brightness: between them is a step, or a ramp."""
    contract = InputContract(16, 16, resize="tile", overlap=8)
    frame = picture(16, 24)

    def flat(batch):
        levels = np.linspace(0.2, 0.8, len(batch))[:, None, None, None]
        return np.broadcast_to(levels, batch.shape).astype(np.float32)

    cut = enhanced(frame, contract, flat).picture[..., 0].astype(int)
    soft = enhanced(frame, contract, flat, blend=8).picture[..., 0].astype(int)
    assert np.abs(np.diff(cut, axis=1)).max() == 153
    assert 0 < np.abs(np.diff(soft, axis=1)).max() <= 153 / 8 + 1
    assert (np.diff(soft, axis=1) >= 0).all()
    assert (soft[:, :8] == 51).all()
    assert (soft[:, 16:] == 204).all()
    assert (soft == soft[0]).all()


def copy(batch):
    return batch


@pytest.mark.parametrize(
    "contract",
    [
        InputContract(20, 30, scale=1.0),
        InputContract(20, 30, color="BGR"),
        InputContract(20, 30, scale=1 / 127.5, mean=(1.0,)),
        InputContract(20, 30, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
    ],
    ids=str,
)
@pytest.mark.parametrize("last", [False, True])
def test_a_net_that_does_nothing_gives_the_frame_back(contract, last):
    frame = picture(20, 30)

    def model(batch):
        return batch.transpose(0, 2, 3, 1) if last else batch

    result = enhanced(frame, contract, model)
    assert (result.picture == frame).all()
    assert result.luma is None
    assert result.scale == 1


@pytest.mark.parametrize(("ends", "gain"), [([0, 1], 1), ([-1, 1], 2), ([0, 255], 255)])
def test_a_range_goes_before_the_units_of_the_input(ends, gain):
    frame = picture(20, 30)

    def model(batch):
        return (batch / 3 * gain + ends[0]).astype(np.float32)

    result = enhanced(frame, InputContract(20, 30, scale=3 / 255), model, range=ends)
    assert (result.picture == frame).all()


def test_a_range_may_be_turned_round():
    frame = picture(20, 30)
    result = enhanced(frame, InputContract(20, 30), lambda b: 1 - b, range=[1, 0])
    assert (result.picture == frame).all()


def test_bytes_are_taken_as_they_are():
    frame = picture(20, 30)
    contract = InputContract(20, 30, color="BGR")
    result = decoder("enhance")([frame[None]], context(frame, contract))
    assert (result.picture == frame).all()


def test_values_beyond_black_and_white_are_cut_off():
    frame = np.full((4, 4, 3), 128, np.uint8)
    contract = InputContract(4, 4)
    for value, level in ((-0.5, 0), (1.7, 255), (0.5, 128), (1e30, 255)):
        output = np.full((1, 3, 4, 4), value, np.float32)
        assert (decoder("enhance")([output], context(frame, contract)).picture == level).all()


def test_luma_keeps_the_colours_of_the_frame():
    frame = np.zeros((20, 30, 3), np.uint8)
    frame[:, :15], frame[:, 15:] = (40, 90, 160), (150, 60, 70)
    result = enhanced(
        frame, InputContract(20, 30, color="GRAY"), lambda b: b.repeat(2, 2).repeat(2, 3)
    )
    assert (result.luma == cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).repeat(2, 0).repeat(2, 1)).all()
    away = np.r_[0:26, 34:60]  # from the edge, which cubic interpolation overshoots
    expected = frame.repeat(2, 0).repeat(2, 1)
    # YCrCb of 8 bits is within 2 levels of the colours that it stands for.
    assert cv2.absdiff(result.picture, expected)[:, away].max() <= 2


@pytest.mark.parametrize("shape", [(20, 30), (20, 30, 1)])
def test_luma_of_a_grey_frame_is_grey(shape):
    frame = picture(20, 30, 1).reshape(shape)
    result = enhanced(frame, InputContract(20, 30, color="GRAY"), copy)
    assert (result.picture == frame.reshape(20, 30, 1)).all()


@pytest.mark.parametrize("size", [(10, 10), (30, 41)])
def test_luma_of_bt_601_sharpens_the_enlarged_frame(size):
    """Between 16/255 and 235/255, as VDSR takes it; the contract alone says so."""
    frame = picture(*size)
    contract = InputContract(
        24,
        32,
        color="GRAY",
        resize="tile",
        overlap=8,
        upscale=2,
        interpolation="antialias-cubic",
        scale=219 / 255**2,
        mean=(-16 / 255,),
    )
    seen = []

    def model(batch):
        seen.append((batch.min(), batch.max()))
        return batch

    result = enhanced(frame, contract, model)
    assert result.scale == 2
    assert 16 / 255 <= seen[0][0] < seen[0][1] <= 235 / 255
    large = InputContract(size[0] * 2, size[1] * 2, color="GRAY", interpolation="antialias-cubic")
    assert (result.luma == prepare_batch(frame, large)[0, ..., 0]).all()


def test_a_picture_takes_the_place_of_the_frame():
    frame = picture(20, 30)
    result = enhanced(frame, InputContract(20, 30))
    canvas = np.zeros_like(frame)
    result.draw(canvas)
    assert (canvas == cv2.resize(result.picture, (30, 20), interpolation=cv2.INTER_AREA)).all()
    json.dumps(result.to_json())


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_output_that_is_not_finite_is_refused(value):
    output = np.zeros((1, 3, 200, 30), np.float32)
    output[0, 1, 150, 7] = value
    frame = picture(200, 30)
    with pytest.raises(EngineError, match="not finite"):
        decoder("enhance")([output], context(frame, InputContract(200, 30)))


@pytest.mark.parametrize(
    "shape",
    [(1, 3, 20, 30, 1), (1, 2, 20, 30), (1, 3, 20, 60), (1, 3, 10, 15), (2, 3, 20, 30), (1, 1800)],
)
def test_an_output_that_is_no_picture_is_refused(shape):
    frame = picture(20, 30)
    with pytest.raises(RequestError, match="is no picture for each of 1 inputs of 20x30x3"):
        decoder("enhance")([np.zeros(shape, np.float32)], context(frame, InputContract(20, 30)))


def test_an_output_of_another_type_is_refused():
    frame = picture(20, 30)
    with pytest.raises(RequestError, match="an output of int8"):
        decoder("enhance")(
            [np.zeros((1, 20, 30, 3), np.int8)], context(frame, InputContract(20, 30))
        )


def test_a_declared_scale_must_be_so():
    frame = picture(20, 30)
    output = np.zeros((1, 3, 40, 60), np.float32)
    given = context(frame, InputContract(20, 30))
    assert decoder("enhance", {"scale": 2})([output], given).scale == 2
    with pytest.raises(RequestError, match="no picture 4 times as large"):
        decoder("enhance", {"scale": 4})([output], given)


@pytest.mark.parametrize("resize", ["letterbox", "center-crop"])
def test_what_cannot_be_undone_is_refused(resize):
    frame = picture(20, 30)
    contract = InputContract(20, 20, resize=resize)
    with pytest.raises(ContractError, match=f"cannot undo resize={resize}"):
        decoder("enhance")([np.zeros((1, 3, 20, 20), np.float32)], context(frame, contract))


def test_luma_without_the_frame_is_refused():
    contract = InputContract(20, 30, color="GRAY")
    output = np.zeros((1, 1, 20, 30), np.float32)
    with pytest.raises(RequestError, match="needs the frame"):
        decoder("enhance")([output], context(picture(20, 30), contract, image=False))


def test_more_blend_than_overlap_is_refused():
    frame = picture(30, 40)
    contract = InputContract(20, 30, resize="tile", overlap=4)
    with pytest.raises(RequestError, match="overlap by 4 pixels cannot blend over 5"):
        enhanced(frame, contract, blend=5)


def test_a_frame_out_of_proportion_is_refused():
    contract = InputContract(2, 2, resize="tile", overlap=1)
    with pytest.raises(DataError, match="more than 16384"):
        decoder("enhance")(
            [np.zeros((1, 3, 2, 2), np.float32)], context(picture(400, 400), contract)
        )


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"luna": "full"}, "did you mean luma"),
        ({"luma": "bt709"}, "luma 'bt709' is not valid"),
        ({"scale": 0}, "scale 0 is not valid; give a whole number from 1"),
        ({"scale": 2.0}, "scale 2.0 is not valid"),
        ({"scale": True}, "scale True is not valid"),
        ({"blend": -1}, "blend -1 is not valid"),
        ({"blend": "8"}, "blend '8' is not valid"),
        ({"range": [0, 0]}, "two numbers"),
        ({"range": [0]}, "two numbers"),
        ({"range": [0, 1, 2]}, "two numbers"),
        ({"range": ["0", "1"]}, "two numbers"),
        ({"range": [0, float("nan")]}, "two numbers"),
        ({"range": 255}, "two numbers"),
        ({"range": [False, True]}, "two numbers"),
    ],
)
def test_mistakes_are_named(spec, message):
    with pytest.raises(RequestError, match=message):
        decoder("enhance", spec)

"""The prelude against the formula of the contract, in numpy."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import numpy_helper

from converters import passes, prelude
from device_profiles.errors import ContractError, ModelError
from runtime.contract import InputContract
from tests.converters.graph_cases import EPS, Case, build, compute, feeds, frozen, ops

IMAGENET: dict[str, Any] = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
UNIT: dict[str, Any] = {"scale": 1.0}
PADDED, PLAIN = "y = Conv <pads=[1,1,1,1]> (x, w)", "y = Conv (x, w)"
NHWC = "t = Transpose <perm=[0,3,1,2]> (x) y = Conv <pads=[1,1,1,1]> (t, w)"

CASES = [
    (PADDED, InputContract(8, 9, "RGB", **IMAGENET), "Cast Transpose Sub Conv"),
    (PLAIN, InputContract(8, 9, "RGB", **IMAGENET), "Cast Transpose Conv"),
    (PADDED, InputContract(8, 9, "BGR", **IMAGENET), "Cast Transpose Sub Conv"),
    (PADDED, InputContract(8, 9, "BGR"), "Cast Transpose Conv"),
    (PADDED, InputContract(8, 9, "RGB"), "Cast Transpose Conv"),
    (PADDED, InputContract(8, 9, "BGR", **UNIT), "Cast Transpose Conv"),
    (PADDED, InputContract(8, 9, "GRAY", mean=(0.5,), std=(0.5,)), "Cast Transpose Sub Conv"),
    (PLAIN, InputContract(8, 9, "GRAY", mean=(0.5,), std=(0.5,)), "Cast Transpose Conv"),
    (NHWC, InputContract(8, 9, "RGB", **IMAGENET), "Cast Transpose Sub Conv"),
]


def model_for(body: str, contract: InputContract, batch: str = "1") -> ir.Model:
    height, width, channels = contract.shape
    shape = (height, width, channels) if body == NHWC else (channels, height, width)
    sizes = ",".join(map(str, shape))
    return build(body, {"w": (4, channels, 3, 3)}, f"float[{batch},{sizes}] x")


def prepared(frames: np.ndarray[Any, Any], contract: InputContract) -> np.ndarray[Any, Any]:
    """What the model was trained on, (N, C, H, W), from the camera's BGR or grey bytes."""
    pixels = frames[..., ::-1] if contract.color == "RGB" else frames
    images = (pixels.astype(np.float64) * contract.scale - contract.mean) / contract.std
    return np.asarray(images.transpose(0, 3, 1, 2), np.float32)


@pytest.mark.parametrize("cleaned", [False, True], ids=["as attached", "after the passes"])
@pytest.mark.parametrize(("body", "contract", "top"), CASES)
def test_bytes_give_what_the_formula_gives(
    body: str, contract: InputContract, top: str, cleaned: bool
) -> None:
    model = model_for(body, contract)
    original = frozen(model)
    prelude.attach(model, contract)
    if cleaned:
        passes.run(model)
        assert ops(model) == top
    proto = frozen(model)
    frames = feeds(proto)["frames"]
    images = prepared(frames, contract)
    feed = {"x": images.transpose(0, 2, 3, 1) if body == NHWC else images}
    expected = compute(original, feed)[0]
    actual = compute(proto, {"frames": frames})[0]
    assert np.ptp(expected) > 0
    # 27 products and sums per output, in units of the largest input that the mean is taken from
    offsets = np.divide(contract.mean, contract.std)
    largest = max(np.abs(images).max(), offsets.max())
    weight = float(np.abs(_weight(original)).sum(axis=(1, 2, 3)).max())
    assert np.abs(expected - actual).max() <= 2 * 30 * EPS * largest * weight


def _weight(proto: Any) -> np.ndarray[Any, Any]:
    return np.asarray(numpy_helper.to_array(proto.graph.initializer[0]))


def test_the_input_is_uint8_frames_channels_last() -> None:
    contract = InputContract(8, 9, "RGB")
    model = model_for(PADDED, contract)
    prelude.attach(model, contract)
    (value,) = model.graph.inputs
    assert (value.name, value.dtype) == ("frames", ir.DataType.UINT8)
    assert list(value.shape or ()) == [1, 8, 9, 3]
    assert ops(model) == "Cast Transpose Gather Div Conv"


@pytest.mark.parametrize("batch", ["N", "4"])
def test_the_batch_stays_what_it_was(batch: str) -> None:
    contract = InputContract(8, 9, "RGB", **IMAGENET)
    model = model_for(PADDED, contract, batch)
    prelude.attach(model, contract)
    passes.run(model)
    assert str((model.graph.inputs[0].shape or [""])[0]) == batch
    frames = np.random.default_rng(0).integers(0, 256, (4, 8, 9, 3), np.uint8)
    assert compute(frozen(model), {"frames": frames})[0].shape == (4, 4, 8, 9)


def test_free_sizes_take_those_of_the_contract() -> None:
    model = build(PADDED, {"w": (4, 3, 3, 3)}, "float[1,3,H,W] x")
    prelude.attach(model, InputContract(8, 9))
    passes.run(model)
    assert list(model.graph.inputs[0].shape or ()) == [1, 8, 9, 3]


def test_a_value_called_frames_makes_room() -> None:
    model = build("frames = Relu (x) y = Conv (frames, w)", {"w": (4, 3, 3, 3)})
    prelude.attach(model, InputContract(8, 8))
    frozen(model)
    assert ops(model) == "Cast Transpose Gather Div Relu Conv"


@pytest.mark.parametrize(
    ("contract", "message"),
    [
        (InputContract(8, 8), r"input x is 1 x 3 x 8 x 9, .* RGB images of batch x 3 x 8 x 8"),
        (InputContract(8, 9, "GRAY"), r"is 1 x 3 x 8 x 9, .* GRAY images of batch x 1 x 8 x 9"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(contract: InputContract, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        prelude.attach(model_for(PADDED, InputContract(8, 9)), contract)


@pytest.mark.parametrize(
    ("inputs", "body", "message"),
    [
        ("float[1,3,8,8] x, float[1,3,8,8] z", "y = Add (x, z)", r"has 2 inputs \(x, z\)"),
        ("int64[1,3,8,8] x", "y = Cast <to=1> (x)", "input x is INT64; it must be float32"),
    ],
)
def test_other_inputs_are_refused(inputs: str, body: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        prelude.attach(build(body, {}, inputs), InputContract(8, 8))


def test_an_output_called_frames_is_refused() -> None:
    model = Case("", "frames = Relu (x)", outputs="float[N,M,O,P] frames").model()
    with pytest.raises(ModelError, match="an output of the model is called frames"):
        prelude.attach(model, InputContract(8, 8))

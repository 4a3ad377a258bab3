"""Preprocessing as text: what it means, and what is said when it means nothing."""

from __future__ import annotations

import json

import numpy as np
import pytest

from device_profiles.errors import ContractError
from runtime.contract import InputContract
from runtime.preprocess import normalize
from runtime.presets import PRESETS, parse_contract


@pytest.mark.parametrize(
    ("name", "black", "white"),
    [
        ("imagenet", [-0.485 / 0.229, -0.456 / 0.224, -0.406 / 0.225], [0.515 / 0.229]),
        ("tf", [-1, -1, -1], [1, 1, 1]),
        ("unit", [0, 0, 0], [1, 1, 1]),
        ("raw", [0, 0, 0], [255, 255, 255]),
    ],
)
def test_presets_normalise_as_they_say(name, black, white):
    contract = parse_contract(name, 1, 2)
    batch = np.array([[[[0] * 3, [255] * 3]]], np.uint8)
    result = normalize(batch, contract)[0, :, 0]
    np.testing.assert_allclose(result[:, 0], black, rtol=1e-6)
    np.testing.assert_allclose(result[: len(white), 1], white, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "size", "resize", "side", "interpolation"),
    [
        ("imagenet", 224, "center-crop", 256, "antialias"),
        ("imagenet", 299, "center-crop", 342, "antialias"),
        ("tf", 192, "center-crop", 219, "antialias"),
        ("unit", 224, "stretch", 0, "linear"),
        ("raw", 32, "stretch", 0, "linear"),
    ],
)
def test_presets_resize_as_they_say(name, size, resize, side, interpolation):
    contract = parse_contract(name, size, size)
    assert (contract.height, contract.width, contract.color) == (size, size, "RGB")
    found = contract.resize, contract.shorter_side, contract.interpolation
    assert found == (resize, side, interpolation)


@pytest.mark.parametrize(
    ("text", "field", "value"),
    [
        ("unit,color=BGR", "color", "BGR"),
        ("unit, resize = letterbox , pad_value=0", "pad_value", 0),
        ("raw,scale=1/127.5", "scale", 1 / 127.5),
        ("raw,scale=0.5", "scale", 0.5),
        ("unit,mean=0.485:0.456:0.406", "mean", (0.485, 0.456, 0.406)),
        ("raw,mean=127", "mean", (127.0, 127.0, 127.0)),
        ("raw,std=1/2:1/4:1/8", "std", (0.5, 0.25, 0.125)),
        ("unit,height=352", "height", 352),
        ("imagenet,shorter_side=300", "shorter_side", 300),
        ("imagenet,height=448", "shorter_side", 512),
        ("imagenet,resize=stretch", "shorter_side", 0),
        ("tf,color=GRAY", "mean", (1.0,)),
    ],
)
def test_overrides(text, field, value):
    assert getattr(parse_contract(text, 224, 224), field) == value


@pytest.mark.parametrize(
    ("lines", "side"),
    [
        ("resize = 'center-crop'\nshorter_side = 1.5", 336),
        ("resize = 'center-crop'\nshorter_side = 300", 300),
        ("shorter_side = 1.5", 0),
    ],
)
def test_a_file_may_state_the_shorter_side_as_a_share(tmp_path, lines, side):
    path = tmp_path / "p.toml"
    path.write_text(lines)
    assert parse_contract(str(path), 224, 224).shorter_side == side


def test_the_size_may_come_from_the_text_alone():
    assert parse_contract("unit,height=240,width=320").shape == (240, 320, 3)


def test_files(tmp_path):
    contract = InputContract(20, 30, color="BGR", resize="letterbox", scale=0.5, mean=(1, 2, 3))
    as_json, as_toml = tmp_path / "p.json", tmp_path / "p.toml"
    as_json.write_text(json.dumps(contract.to_json()))
    as_toml.write_text('height = 20\nwidth = 30\ncolor = "BGR"\nmean = [1, 2.5, 3]\n')
    assert parse_contract(str(as_json), 224, 224) == contract
    assert parse_contract(f"{as_toml},std=2").mean == (1, 2.5, 3)
    assert parse_contract(f"{as_toml},width=40").shape == (20, 40, 3)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("imagnet", "'imagnet', .*; did you mean imagenet"),
        ("", "known: imagenet, raw, tf, unit"),
        ("color=BGR", "no preprocessing is called"),
        ("unit,colour=BGR", "'colour'; did you mean color"),
        ("unit,color", "color has no value"),
        ("unit,color=", "color has no value"),
        ("unit,color=BRG", "'BRG' is unknown; did you mean"),
        ("unit,resize=leterbox", "did you mean letterbox"),
        ("unit,height=big", "height=big is not a number"),
        ("unit,height=3.5", "height=3.5 is not a number"),
        ("unit,scale=1/0", "scale=1/0 is not a number"),
        ("unit,mean=1:x:2", "mean=1:x:2 is not a number"),
        ("unit,mean=1:2", "mean has 2 values"),
        ("unit,std=0", "must be positive"),
        ("unit,mean=inf", "mean inf is not valid"),
        ("unit,scale=nan", "scale nan is not valid"),
        ("unit,height=0", "height 0 is not valid; give a whole number from 1 to 65535"),
        ("unit,pad_value=256", "pad_value 256 is not valid; give a whole number from 0 to 255"),
        ("imagenet,shorter_side=-1", "shorter_side -1 is not valid"),
        ("nowhere.toml", r"cannot read preprocessing nowhere\.toml"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ContractError, match=message) as caught:
        parse_contract(text, 224, 224)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.json", "{", "not valid JSON"),
        ("a.json", "[1]", "must hold one object"),
        ("a.toml", "x =", "not valid TOML"),
        ("a.toml", "colour = 'BGR'", "did you mean color"),
        ("a.toml", "height = '224'\nwidth = 224", "lacks the size"),
        ("a.json", '{"mean": "x"}', "mean 'x' is not valid"),
        ("a.json", '{"height": true}', "height True is not valid"),
        ("a.toml", "shorter_side = inf", "shorter_side inf is not valid"),
        ("a.toml", "resize = 'center-crop'\nshorter_side = -1.5", "shorter_side -336 is not valid"),
        ("a.json", b"\xff", "not valid JSON"),
    ],
)
def test_bad_files_are_named(tmp_path, name, content, message):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ContractError, match=message):
        parse_contract(str(path), 224, 224)


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_model_without_known_size_is_asked_about(name):
    with pytest.raises(ContractError, match=",height=H,width=W"):
        parse_contract(name, None, 224)

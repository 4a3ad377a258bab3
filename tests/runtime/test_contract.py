"""Input contracts: what they refuse, whoever writes them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from device_profiles.errors import ContractError
from runtime.contract import InputContract


def test_json_and_back() -> None:
    contract = InputContract(20, 30, color="BGR", resize="letterbox", mean=(1, 2, 3), scale=1)
    assert InputContract.from_json(contract.to_json()) == contract
    assert [type(value) for value in (*contract.mean, contract.scale)] == [float] * 4


def test_numbers_of_numpy_are_numbers() -> None:
    contract = InputContract(np.int64(20), 30, scale=np.float32(0.5), mean=(np.float32(1),))
    assert contract == InputContract(20, 30, scale=0.5, mean=(1.0,))
    assert type(contract.height) is int


def test_what_came_later_is_left_out_where_it_says_nothing() -> None:
    assert not {"overlap", "upscale"} & set(InputContract(20, 30).to_json())
    tiles = InputContract(20, 30, resize="tile", overlap=4, upscale=2)
    assert InputContract.from_json(tiles.to_json()) == tiles
    assert tiles.to_json().items() >= {"overlap": 4, "upscale": 2}.items()


@pytest.mark.parametrize("size", [(20, 30), (30, 20)])
def test_tiles_are_larger_than_their_overlap(size: tuple[int, int]) -> None:
    InputContract(*size, resize="tile", overlap=19)
    with pytest.raises(ContractError, match="overlap 20 leaves nothing"):
        InputContract(*size, resize="tile", overlap=20)


NOT_WHOLE = [-1, 65536, 1.5, 2.0, True, "2", None, [1], math.nan, 10**400]
NOT_FINITE = [math.nan, math.inf, -math.inf, 10**400, True, "1", None, [1.0], 1j]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *((key, v) for key in ("height", "width", "shorter_side") for v in NOT_WHOLE),
        ("height", 0),
        ("width", 0),
        *(("pad_value", v) for v in (*NOT_WHOLE, 256)),
        *(("scale", v) for v in NOT_FINITE),
        *((key, [v]) for key in ("mean", "std") for v in NOT_FINITE),
        *((key, v) for key in ("mean", "std") for v in ("x", "123", 0.5, None, {"x": 1}, True)),
        ("mean", []),
        ("mean", [0.0, 0.0]),
        ("std", [0.0]),
        ("std", [1.0, 1.0, -1.0]),
        ("scale", 0),
        *(
            (key, v)
            for key in ("color", "resize", "interpolation")
            for v in ("x", 1, None, ["RGB"])
        ),
        ("color", "x" * 1000),
        *((key, v) for key in ("overlap", "upscale") for v in NOT_WHOLE),
        ("upscale", 0),
        ("upscale", 17),
        ("overlap", 4),  # not without tiles
        ("upscale", 2),
    ],
    ids=lambda value: repr(value)[:20],
)
def test_values_that_mean_nothing_are_named(key: str, value: Any) -> None:
    fields: dict[str, Any] = {"height": 8, "width": 9, key: value}
    for build in (InputContract.from_json, lambda given: InputContract(**given)):
        with pytest.raises(ContractError, match=key) as caught:
            build(fields)
        assert "\n" not in str(caught.value)
        assert len(str(caught.value)) < 200


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"height": 8}, "width"),
        ({"height": 8, "width": 9, "widht": 9}, "'widht'; did you mean width"),
        ({"height": 10**5000, "width": 9}, "not valid"),
        (None, "object with keys, not None"),
        ([1], r"object with keys, not \[1\]"),
        ("height", "object with keys, not 'height'"),
    ],
)
def test_fields_that_are_no_contract(fields: Any, message: str) -> None:
    with pytest.raises(ContractError, match=message):
        InputContract.from_json(fields)

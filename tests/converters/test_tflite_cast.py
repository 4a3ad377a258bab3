"""Cast in TFLite, between all dtypes that both it and onnxruntime have."""

from __future__ import annotations

import onnx_ir as ir
import pytest

from tests.converters.op_matrix import OpCase, check_float

DTYPES = [
    *(ir.DataType.BOOL, ir.DataType.UINT8, ir.DataType.INT8, ir.DataType.UINT16),
    *(ir.DataType.INT16, ir.DataType.UINT32, ir.DataType.INT32, ir.DataType.INT64),
    *(ir.DataType.FLOAT16, ir.DataType.FLOAT, ir.DataType.DOUBLE),
]


@pytest.mark.parametrize("new", DTYPES, ids=str)
@pytest.mark.parametrize("old", DTYPES, ids=str)
def test_every_pair(old: ir.DataType, new: ir.DataType) -> None:
    # Halves from 0 to 127.5, of which whole dtypes hold the whole part.
    case = OpCase(
        "p1 = Mul (x, k) p2 = Add (p1, b) "
        f"i = Cast <to = {old.value}> (p2) j = Cast <to = {new.value}> (i) y = Cast <to = 1> (j)",
        {"k": 32.0, "b": 64.0},
    )
    check_float(case)

from __future__ import annotations

import json
import random
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema

from device_profiles.errors import ModelError
from runtime.flatbuffer import Flatbuffer
from runtime.tflite import OPERATORS, TYPES, Quantization, read_tflite
from tests.runtime.tflite_cases import T, build, facts, mean_model, theirs

LABELS = {"labels.txt": b"red\ngreen\nblue\n"}
WHOLE = mean_model(
    "uint8",
    (0.5,),
    (3,),
    metadata={**facts('{"edge_sdk.task": "classify"}'), **theirs([127.5], [64.0], "labels.txt")},
    files=LABELS,
)


def test_what_is_read() -> None:
    file = read_tflite(WHOLE)
    (image,), (mean,) = file.inputs, file.outputs
    assert (image.name, image.dtype, image.shape) == ("image", "uint8", (-1, -1, -1, 3))
    assert image.quantization == Quantization((0.5,), (3,))
    assert (mean.shape, mean.constant) == ((-1, 3), False)
    assert file.operator_counts == {"MEAN": 1}
    assert file.operators[0].inputs[1].constant
    assert file.facts == {"edge_sdk.task": "classify"}
    assert file.description == "built by a test"
    said = file.described
    assert said is not None
    assert (said.name, said.mean, said.std, said.gray) == ("a mean", (127.5,), (64.0,), False)
    assert (said.labels, said.files) == (("red", "green", "blue"), ("labels.txt",))


def test_a_file_that_says_nothing() -> None:
    file = read_tflite(mean_model())
    assert (file.facts, file.described, file.inputs[0].quantization) == ({}, None, None)


def test_the_names_are_those_of_the_schema() -> None:
    named = {v: k for k, v in vars(schema.BuiltinOperator).items() if not k.startswith("_")}
    assert dict(enumerate(OPERATORS)) == named
    types = {v: k.lower() for k, v in vars(schema.TensorType).items() if not k.startswith("_")}
    assert dict(enumerate(TYPES)) == types


@pytest.mark.parametrize(
    ("moving", "weights", "precision"),
    [
        ("float32", "float32", "fp32"),
        ("float32", "int8", "int8-dynamic"),
        ("int8", "int8", "int8"),
        ("uint8", "uint8", "uint8"),
        ("int16", "int8", "int16x8"),
        ("float32", "float16", "fp16"),
    ],
)
def test_precision(moving: str, weights: str, precision: str) -> None:
    tensors = [
        T("x", moving, (1, 2)),
        T("w", weights, (2, 2), np.ones((2, 2))),
        T("y", moving, (1, 2)),
    ]
    operator = ("FULLY_CONNECTED", (0, 1, -1), (2,), schema.FullyConnectedOptionsT())
    assert read_tflite(build(tensors, [operator], (0,), (2,))).precision == precision


def _broken() -> Iterator[tuple[str, bytes]]:
    """Truncated at every byte, and 3000 files with a few bytes overwritten."""
    for size in range(len(WHOLE)):
        yield f"first {size} bytes", WHOLE[:size]
    rng = random.Random(0)
    for seed in range(3000):
        data = bytearray(WHOLE)
        for _ in range(rng.choice((1, 1, 2, 5))):
            place = rng.randrange(len(data))
            data[place] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        yield f"mutation {seed}", bytes(data)


def test_damaged_files_are_one_error_and_no_other() -> None:
    """Some damage cannot be seen: a name, a shape. Every other is a ModelError of one line."""
    refused = 0
    start = time.monotonic()
    for name, data in _broken():
        try:
            read_tflite(data)
        except ModelError as error:
            assert "\n" not in str(error), name
            refused += 1
    assert refused > 1500
    assert time.monotonic() - start < 60


def test_offsets_out_of_range() -> None:
    for place in range(0, 200, 4):
        for value in (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, len(WHOLE) - 1):
            data = WHOLE[:place] + struct.pack("<I", value) + WHOLE[place + 4 :]
            try:
                read_tflite(data)
            except ModelError as error:
                assert str(error)


def test_a_bomb_of_shared_parts_is_refused_soon() -> None:
    """Ten thousand tensors that are one, whose shape has ten thousand sizes: 10^8 to read."""
    many = 10_000
    data = bytearray(build([T("x", "float32", (1,))], [], (0,), (0,)))
    at = len(data)
    tensor = at + 4 + 4 * many
    data += struct.pack("<I", many)
    data += b"".join(struct.pack("<I", tensor - at - 4 - 4 * i) for i in range(many))
    # The tensor: its fields are listed 8 bytes on, and its shape, the first of them, 16.
    data += struct.pack("<iIHHHH", -8, 12, 6, 8, 4, 0)
    data += struct.pack("<I", many) + struct.pack("<I", 1) * many
    place = Flatbuffer(bytes(data), b"TFL3", "test").root().tables(2)[0]._place(0)
    assert place is not None
    struct.pack_into("<I", data, place, at - place)
    start = time.monotonic()
    with pytest.raises(ModelError, match="overlap without end"):
        read_tflite(bytes(data))
    assert time.monotonic() - start < 10


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "does not begin as one"),
        (b"PK\x03\x04 a zip, not a model", "does not begin as one"),
        (mean_model(metadata=facts("{")), "not JSON"),
        (mean_model(metadata=facts("[" * 100_000)), "not JSON"),
        (mean_model(metadata=facts('{"a": 1}')), "object of strings"),
        (mean_model(metadata={"TFLITE_METADATA": b"nothing of the kind"}), "TFLite metadata"),
        (mean_model(metadata=theirs([float("nan")], [1.0])), "no number"),
        (mean_model("uint8", (float("inf"),), (0,)), "scales of a tensor"),
        (mean_model("uint8", (-1.0,), (0,)), "scales of a tensor"),
        (mean_model("uint8", (1.0, 2.0), (0, 0)), "scales of a tensor"),
        (build([T("x", "float32", (1,))], [("ABS", (7,), (0,), None)], (0,), (0,)), "not there"),
        (build([T("x", "float32", (1,))], [], (-1,), (0,)), "not there"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_refused(data: bytes, words: str) -> None:
    with pytest.raises(ModelError, match=words):
        read_tflite(data)


def test_too_much_packed_with_it() -> None:
    files = {f"{index}.txt": b"" for index in range(65)}
    with pytest.raises(ModelError, match="over 64"):
        read_tflite(mean_model(metadata=theirs([0.0], [1.0]), files=files))
    large = {"zeros.bin": bytes(17 << 20)}
    with pytest.raises(ModelError, match="over 64, or over 16 MiB"):
        read_tflite(mean_model(metadata=theirs([0.0], [1.0]), files=large))


@pytest.mark.models
def test_agrees_with_the_schemas_own_classes(model_pack: Path) -> None:
    paths = sorted(model_pack.glob("*/weights/*.tflite"))
    assert len(paths) >= 11
    for path in paths:
        data = path.read_bytes()
        model = schema.ModelT.InitFromObj(schema.Model.GetRootAs(data, 0))
        graph, ours = model.subgraphs[0], read_tflite(data)
        codes = [max(c.builtinCode, c.deprecatedBuiltinCode) for c in model.operatorCodes]
        names = [OPERATORS[codes[operator.opcodeIndex]] for operator in graph.operators]
        assert [operator.name for operator in ours.operators] == names
        for indices, tensors in ((graph.inputs, ours.inputs), (graph.outputs, ours.outputs)):
            for index, tensor in zip(indices, tensors, strict=True):
                stated = graph.tensors[index]
                assert tensor.name == stated.name.decode()
                assert tensor.dtype == TYPES[stated.type]
                scale = stated.quantization.scale if stated.quantization else None
                found = tensor.quantization
                assert (None if found is None else list(found.scale)) == (
                    None if scale is None else scale.tolist()
                )


def test_facts_are_json_of_strings() -> None:
    stated = {"edge_sdk.layouts": json.dumps({"y": [0, 2, 1]}), "ä": "ö"}
    assert read_tflite(mean_model(metadata=facts(json.dumps(stated)))).facts == stated

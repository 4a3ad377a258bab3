from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import schema_py_generated as schema

from device_profiles.errors import ContractError, DataError, EngineError, ModelError, RequestError
from runtime.contract import InputContract
from runtime.model_file import (
    FileOptions,
    ModelFile,
    is_model_file,
    open_model_file,
    open_plain,
    read_model_file,
)
from runtime.preprocess import byte_values, normalize
from runtime.probe import probe
from tests.runtime.tflite_cases import T, build, facts, mean_model, theirs

FRAME = np.random.default_rng(0).integers(0, 256, (1, 6, 8, 3), np.uint8)
SIZED = ",height=6,width=8"


def _file(tmp_path: Path, data: bytes, **said: Any) -> ModelFile:
    path = tmp_path / "net.tflite"
    path.write_bytes(data)
    return open_model_file(path, FileOptions(**said))


def _fixed(
    dtype: str, shape: tuple[int, ...], scale: float = 0, zero: int = 0, **rest: Any
) -> bytes:
    """Return a model that hands its picture out again."""
    codes = {"scale": (scale,), "zero": (zero,)} if scale else {}
    tensors = [T("picture", dtype, shape, **codes), T("same", dtype, shape, **codes)]  # type: ignore[arg-type]
    tensors.append(T("shape", "int32", (len(shape),), np.array(shape)))
    options = schema.ReshapeOptionsT()
    options.newShape = list(shape)
    return build(tensors, [("RESHAPE", (0, 2), (1,), options)], (0,), (1,), **rest)


@pytest.mark.parametrize("color", ["RGB", "BGR"])
@pytest.mark.parametrize("first", [False, True], ids=["nhwc", "nchw"])
def test_a_float_model_gets_what_the_original_got(color: str, first: bool, tmp_path: Path) -> None:
    """Bit for bit what `normalize` gives, in either layout."""
    shape = (1, 3, 6, 8) if first else (1, 6, 8, 3)
    file = _file(tmp_path, _fixed("float32", shape), preprocess=f"imagenet,color={color}")
    assert (file.contract.height, file.contract.width, file.contract.color) == (6, 8, color)
    engine = file.open_engine(tried=True)
    assert engine.inputs[0].shape == (1, 6, 8, 3)
    expected = normalize(FRAME, file.contract)
    expected = expected if first else expected.transpose(0, 2, 3, 1)
    np.testing.assert_array_equal(engine.run([FRAME])[0], expected)


@pytest.mark.parametrize(
    ("dtype", "scale", "zero"),
    [("uint8", 1 / 128, 128), ("int8", 1 / 255, -128), ("int8", 1, -128)],
)
def test_without_metadata_the_quantization_says_it(
    dtype: str, scale: float, zero: int, tmp_path: Path
) -> None:
    """The bytes as they are, and each stands for the number that the file says."""
    file = _file(tmp_path, _fixed(dtype, (1, 6, 8, 3), scale, zero))
    assert "as its quantization says" in file.notes[0]
    first = -128 if dtype == "int8" else 0
    (answer,) = file.open_engine(tried=True).run([FRAME])
    exact = (FRAME[..., ::-1].astype(np.float64) + first - zero) * float(np.float32(scale))
    np.testing.assert_array_equal(answer, exact.astype(np.float32))
    stands_for = (np.arange(256) + first - zero) * scale
    np.testing.assert_allclose(byte_values(file.contract)[0], stands_for, rtol=1e-6, atol=1e-6)


def test_metadata_goes_before_quantization(tmp_path: Path) -> None:
    """Normalised, then rounded to the nearest code: (x - 127.5) / 127.5 in steps of 1/128."""
    said = theirs([127.5], [127.5])
    file = _file(tmp_path, _fixed("uint8", (1, 6, 8, 3), 1 / 128, 128, metadata=said))
    assert "as its TFLite metadata says" in file.notes[0]
    (answer,) = file.open_engine(tried=True).run([FRAME])
    codes = np.clip(np.rint((FRAME[..., ::-1] / 127.5 - 1) * 128) + 128, 0, 255)
    np.testing.assert_array_equal(answer, (codes - 128) / 128)


@pytest.mark.parametrize(("space", "channels"), [(1, 3), (2, 1)])
def test_colour_and_channels(space: int, channels: int, tmp_path: Path) -> None:
    model = _fixed("float32", (1, 6, 8, channels), metadata=theirs([0.0], [255.0], space=space))
    file = _file(tmp_path, model)
    assert file.contract.shape == (6, 8, channels)
    frame = FRAME[..., :channels]
    (answer,) = file.open_engine(tried=True).run([frame])
    np.testing.assert_allclose(answer, frame[..., ::-1] / 255, rtol=1e-6)


def _ours(contract: InputContract, **more: str) -> dict[str, bytes]:
    said = {"edge_sdk.input": json.dumps(contract.to_json()), "edge_sdk.task": "raw", **more}
    return facts(json.dumps(said))


def test_a_file_of_ours_needs_no_word(tmp_path: Path) -> None:
    contract = InputContract(6, 8, color="BGR", mean=(0.5,))
    model = _fixed("uint8", (1, 6, 8, 3), metadata=_ours(contract))
    file = _file(tmp_path, model)
    assert (file.contract, file.task) == (contract, "raw")
    np.testing.assert_array_equal(file.open_engine(tried=True).run([FRAME])[0], FRAME)
    with pytest.raises(ContractError, match="its preprocessing is inside"):
        _file(tmp_path, model, preprocess="unit")


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        (facts('{"edge_sdk.input": "{"}'), "hold no preprocessing"),
        (facts('{"edge_sdk.input": "7"}'), "must be an object"),
        (_ours(InputContract(7, 8)), "belong to another model"),
    ],
)
def test_forged_facts(metadata: dict[str, bytes], words: str, tmp_path: Path) -> None:
    with pytest.raises(ContractError, match=words):
        _file(tmp_path, _fixed("uint8", (1, 6, 8, 3), metadata=metadata))


LABELS = {"metadata": theirs([0.0], [255.0], "l.txt"), "files": {"l.txt": b"red\ngreen\nblue\n"}}


def test_labels_and_task(tmp_path: Path) -> None:
    file = _file(tmp_path, mean_model(**LABELS), preprocess=f"unit{SIZED}")
    assert (file.task, file.labels) == ("classify", ("red", "green", "blue"))
    own = tmp_path / "own.txt"
    own.write_text("a\nb\nc\n")
    file = _file(tmp_path, mean_model(**LABELS), preprocess=f"unit{SIZED}", labels=own, task="raw")
    assert (file.task, file.labels) == ("raw", ("a", "b", "c"))
    own.write_text("a\nb\n")
    with pytest.raises(DataError, match=r"own.txt has 2 labels, .*net.tflite has 3 classes"):
        _file(tmp_path, mean_model(**LABELS), preprocess=f"unit{SIZED}", labels=own)


def test_labels_that_do_not_fit_are_told_of_and_not_used(tmp_path: Path) -> None:
    said = {**LABELS, "files": {"l.txt": b"red\ngreen\n"}}
    file = _file(tmp_path, mean_model(**said), preprocess=f"unit{SIZED}")
    assert file.labels == ()
    assert file.notes[-1] == "its 2 labels do not fit its 3 classes and are not used"


def test_one_score_per_pixel_is_no_classifier(tmp_path: Path) -> None:
    tensors = [T("x", "float32", (1, 6, 8, 1)), T("y", "float32", (1, 48)),
               T("shape", "int32", (2,), np.array([1, 48]))]  # fmt: skip
    options = schema.ReshapeOptionsT()
    options.newShape = [1, 48]
    model = build(tensors, [("RESHAPE", (0, 2), (1,), options)], (0,), (1,))
    assert _file(tmp_path, model, preprocess="unit,color=GRAY").task == "raw"


@pytest.mark.parametrize(
    ("data", "said", "error", "words"),
    [
        (_fixed("float32", (1, 6, 8, 3)), {}, ContractError, "does not say how .* --preprocess"),
        (mean_model(), {}, ContractError, r"leaves the size .* open; .*,height=H,width=W"),
        (mean_model(), {"preprocess": "unit"}, ContractError, "lacks the size"),
        (_fixed("int8", (1, 6, 8, 3)), {}, ContractError, "--preprocess"),
        (_fixed("float32", (1, 6, 8, 3)), {"preprocess": "unit,height=7"}, ContractError,
         r"gives \(7, 8, 3\), the model takes \(6, 8, 3\)"),
        (_fixed("float32", (1, 6, 8, 1)), {"preprocess": "unit"}, ContractError, "color=RGB"),
        (_fixed("float32", (1, 6, 8, 4)), {"preprocess": "unit"}, ModelError, "only models of one"),
        (_fixed("float32", (1, 48)), {"preprocess": "unit"}, ModelError, "only models of one"),
        (_fixed("float32", (1, 6, 8, 3)), {"preprocess": "unit", "task": "abacus"}, RequestError,
         "no task is called 'abacus'"),
        (_fixed("float32", (1, 6, 8, 3), metadata=theirs([0.0], [0.0])), {}, ContractError,
         "must be positive"),
        (b"nothing", {}, ModelError, "net.tflite: not a whole TFLite model"),
    ],
)  # fmt: skip
def test_what_is_refused(
    data: bytes, said: dict[str, Any], error: type[Exception], words: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=words) as caught:
        _file(tmp_path, data, **said)
    assert "\n" not in str(caught.value)


def test_preprocessing_that_the_input_cannot_hold(tmp_path: Path) -> None:
    file = _file(tmp_path, _fixed("uint8", (1, 6, 8, 3), 1 / 128, 128), preprocess="raw")
    with pytest.raises(ContractError, match=r"gives 0 to 255, the model's .* holds -1 to 0.992"):
        file.open_engine(tried=True)


def test_a_file_that_crashes_the_interpreter_is_an_error(tmp_path: Path) -> None:
    """Whole by all that can be read; but LiteRT aborts on scales whose ratio is over 1."""
    tensors = [T("x", "int8", (1, 4), scale=(1e20,), zero=(0,)),
               T("y", "int8", (1, 4), scale=(1e-20,), zero=(0,))]  # fmt: skip
    path = tmp_path / "net.tflite"
    path.write_bytes(build(tensors, [("ADD", (0, 0), (1,), schema.AddOptionsT())], (0,), (1,)))
    with pytest.raises(EngineError, match=r"litert on cpu crashed \(SIGABRT\) when it loaded"):
        open_plain(path, tried=False)


def test_paths(tmp_path: Path) -> None:
    assert is_model_file("a/b.tflite")
    assert is_model_file(Path("B.TFLITE"))
    assert not is_model_file("b.edge")
    assert not is_model_file(7)
    with pytest.raises(ModelError, match="cannot be read"):
        read_model_file(tmp_path / "nowhere.tflite")
    with pytest.raises(RequestError, match="is a bundle, which knows"):
        FileOptions(task="raw").refuse("x.edge")
    FileOptions().refuse("x.edge")


def test_probe(tmp_path: Path) -> None:
    path = tmp_path / "net.tflite"
    path.write_bytes(mean_model())
    found = probe(str(path))
    assert 0 < found["first_inference_ms"] < found["start_to_first_result_ms"]

"""ONNX files of every age and layout: the captured graph answers as the file does, or says why."""

from __future__ import annotations

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import numpy_helper, parser

from converters.capture import IR_VERSION, OPSET, Captured
from converters.graphs import shape_of, to_bytes
from converters.loaders import LoadOptions, load_model
from device_profiles.errors import MissingError, ModelError
from runtime.contract import InputContract
from tests.converters.graph_cases import compute

SMALL = LoadOptions(preprocess="unit,height=8,width=6")
WEIGHT = np.random.default_rng(1).standard_normal((4, 3, 3, 3)).astype(np.float32)


def text(
    body: str,
    inputs: str = "float[1,3,8,6] x",
    outputs: str = "float[N,M,O,P] y",
    opset: int = 20,
    head: str = "",
) -> onnx.ModelProto:
    opsets = f'opset_import: ["": {opset}{head}]'
    proto = parser.parse_model(
        f"<ir_version: 8, {opsets}> g ({inputs}) => ({outputs}) {{ {body} }}"
    )
    proto.graph.initializer.append(numpy_helper.from_array(WEIGHT, "w"))
    return proto


def saved(path: Path, proto: onnx.ModelProto) -> str:
    path.write_bytes(proto.SerializeToString())
    return str(path)


def images(captured: Captured, count: int = 3) -> np.ndarray[Any, Any]:
    """Return float32 NCHW images of the size that the graph takes."""
    shape = shape_of(captured.graph.graph.inputs[0])
    if shape[1] != 3:
        shape = (1, shape[3], shape[1], shape[2])
    return np.random.default_rng(5).standard_normal((count, *shape[1:])).astype(np.float32)


def assert_same_answers(captured: Captured, original: onnx.ModelProto, nhwc: bool = False) -> None:
    """Hold graph and reference against the untouched file.

    Every output adds at most 27 float32 products: 1e-5 of the largest magnitude is 160 roundings.
    """
    graph = ir.to_proto(captured.graph)
    onnx.checker.check_model(graph, full_check=True)
    for image in images(captured)[:, None]:
        fed = {original.graph.input[0].name: image.transpose(0, 2, 3, 1) if nhwc else image}
        expected = compute(original, fed)
        for answers in (compute(graph, fed), captured.reference(image)):
            for ours, theirs in zip(answers, expected, strict=True):
                assert ours.shape == theirs.shape
                assert np.ptp(theirs) > 0
                assert np.abs(ours - theirs).max() <= 1e-5 * np.abs(theirs).max()


UPSAMPLE = "s = Constant<value = float[4] {{1.0,1.0,{0},{0}}}>() y = {1}(x{2}s)"
# Operators whose meaning, attributes or defaults changed between opsets.
AGED = [
    (7, "c = Conv(x,w) y = Relu(c)"),
    (9, UPSAMPLE.format("2.0", 'Upsample<mode="nearest">', ",")),
    (9, UPSAMPLE.format("3.0", 'Upsample<mode="linear">', ",")),
    (10, UPSAMPLE.format("2.0", 'Resize<mode="linear">', ",")),
    (10, UPSAMPLE.format("2.5", 'Resize<mode="nearest">', ",")),
    (10, "y = Clip<min = 0.0, max = 0.5>(x)"),
    (10, "y = Pad<pads = [0,0,1,1,0,0,1,1], value = 1.5>(x)"),
    (11, "e = Constant<value = float[0] {}>() " + UPSAMPLE.format("2.0", "Resize", ",e,")),
    (13, UPSAMPLE.format("2.0", 'Resize<mode="linear">', ",,")),
    (11, "y = Softmax(x)"),
    (11, "a = ReduceMean<axes = [2,3]>(x) y = Squeeze<axes = [2,3]>(a)"),
    (12, "y = Split<axis = 2, split = [8]>(x)"),
    *[(opset, "c = Conv(x,w) r = Relu(c) y = GlobalAveragePool(r)") for opset in range(11, 24)],
]


@pytest.mark.parametrize(("opset", "body"), AGED)
def test_every_opset_is_brought_to_ours_with_the_same_answers(
    tmp_path: Path, opset: int, body: str
) -> None:
    original = text(body, opset=opset)
    captured = load_model(saved(tmp_path / "net.onnx", original))
    assert captured.graph.opset_imports[""] == OPSET
    assert captured.graph.ir_version == IR_VERSION
    assert_same_answers(captured, original)


def test_an_upgrade_that_changes_the_answers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = saved(tmp_path / "net.onnx", text("y = Relu(x)", opset=13))

    def wrong(proto: onnx.ModelProto, opset: int) -> onnx.ModelProto:
        return text("y = Abs(x)")

    monkeypatch.setattr(onnx.version_converter, "convert_version", wrong)
    refused(spec, f"output y is another after the upgrade to opset {OPSET}; export it again")


CONV = "c = Conv(x,w) y = Relu(c)"
FREE = [
    ("float[N,3,8,6] x", False),
    ("float[N,3,H,W] x", False),
    ("float[N,C,H,W] x", False),
    ("float[1,3,H,6] x", False),
    ("float[N,8,6,3] x", True),
    ("float[N,H,W,3] x", True),
    ("float[1,8,6,3] x", True),
]


@pytest.mark.parametrize(("inputs", "nhwc"), FREE)
def test_free_dimensions_and_layouts(tmp_path: Path, inputs: str, nhwc: bool) -> None:
    body = "t = Transpose<perm = [0,3,1,2]>(x) c = Conv(t,w) y = Relu(c)" if nhwc else CONV
    original = text(body, inputs)
    captured = load_model(saved(tmp_path / "net.onnx", original), SMALL)
    assert shape_of(captured.graph.graph.inputs[0]) == ((1, 8, 6, 3) if nhwc else (1, 3, 8, 6))
    assert shape_of(captured.graph.graph.outputs[0]) == (1, 4, 6, 4)
    assert captured.contract == InputContract(8, 6)
    assert_same_answers(captured, original, nhwc)


def test_a_fixed_size_completes_the_preprocessing(tmp_path: Path) -> None:
    spec = saved(tmp_path / "net.onnx", text(CONV))
    assert load_model(spec, LoadOptions(preprocess="unit")).contract == InputContract(8, 6)
    assert load_model(spec).contract is None


def test_a_fixed_batch_becomes_one_where_nothing_hangs_on_it(tmp_path: Path) -> None:
    spec = saved(tmp_path / "net.onnx", text(CONV, "float[4,3,8,6] x", "float[4,4,6,4] y"))
    captured = load_model(spec)
    assert shape_of(captured.graph.graph.outputs[0]) == (1, 4, 6, 4)
    assert_same_answers(captured, text(CONV))


def test_many_outputs_keep_names_order_and_shapes(tmp_path: Path) -> None:
    body = "z = Conv(x,w) a = ReduceMean<keepdims = 0>(x) i = ArgMax<axis = 1>(x)"
    original = text(body, outputs="float[N,M,O,P] z, float a, int64[N,M,O,P] i")
    captured = load_model(saved(tmp_path / "net.onnx", original))
    found = {value.name: shape_of(value) for value in captured.graph.graph.outputs}
    assert list(found.items()) == [("z", (1, 4, 6, 4)), ("a", ()), ("i", (1, 1, 8, 6))]
    for answer in captured.reference(images(captured, 1)):
        assert answer.dtype == np.float32
    first = images(captured)[:1]
    for ours, theirs in zip(
        captured.reference(first), compute(original, {"x": first}), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_initializers_that_are_also_inputs_are_not_inputs(tmp_path: Path) -> None:
    # All files of IR version 3 are like this.
    original = text(CONV, "float[1,3,8,6] x, float[4,3,3,3] w", opset=8)
    original.ir_version = 3
    captured = load_model(saved(tmp_path / "net.onnx", original))
    assert [value.name for value in captured.graph.graph.inputs] == ["x"]
    assert_same_answers(captured, original)


WRONG_SHAPES = [
    text(CONV, outputs="float[1,4,9,9] y"),
    text(CONV, outputs="float[1,4] y"),
    text(
        "t = Constant<value = bool {1}>()"
        "y = If(t)<then_branch = a () => (float[1,3,9,9] p) { p = Relu(x) },"
        " else_branch = b () => (float[1,3,9,9] q) { q = Abs(x) }>"
    ),
]


@pytest.mark.parametrize("original", WRONG_SHAPES, ids=range(len(WRONG_SHAPES)))
def test_wrong_shapes_in_a_file_that_runs_do_not_matter(
    tmp_path: Path, original: onnx.ModelProto
) -> None:
    with pytest.raises(onnx.shape_inference.InferenceError):
        onnx.shape_inference.infer_shapes(original, strict_mode=True, data_prop=True)
    captured = load_model(saved(tmp_path / "net.onnx", original))
    image = images(captured, 1)
    (answer,) = captured.reference(image)
    assert shape_of(captured.graph.graph.outputs[0]) == answer.shape
    assert np.ptp(answer) > 0
    np.testing.assert_array_equal(compute(ir.to_proto(captured.graph), {"x": image})[0], answer)


def test_an_operator_that_nothing_infers_gets_the_shape_it_gave(tmp_path: Path) -> None:
    original = text("y = com.microsoft.QuickGelu(x)", head=', "com.microsoft": 1')
    captured = load_model(saved(tmp_path / "net.onnx", original))
    assert shape_of(captured.graph.graph.outputs[0]) == (1, 3, 8, 6)
    assert_same_answers(captured, original)


def test_functions_of_the_file_are_written_out(tmp_path: Path) -> None:
    original = parser.parse_model(
        '<ir_version: 8, opset_import: ["": 17, "own": 1]> '
        "g (float[1,3,8,6] x) => (float[N,M,O,P] y) { y = own.twice(x) } "
        '<domain: "own", opset_import: ["": 17]> twice (a) => (b) { b = Add(a, a) }'
    )
    captured = load_model(saved(tmp_path / "net.onnx", original))
    assert [node.op_type for node in captured.graph.graph] == ["Add"]
    assert_same_answers(captured, original)


def with_side_file(folder: Path) -> tuple[str, Path]:
    folder.mkdir(exist_ok=True)
    onnx.save(
        text(CONV),
        folder / "net.onnx",
        save_as_external_data=True,
        location="net.data",
        size_threshold=0,
    )
    return str(folder / "net.onnx"), folder / "net.data"


def test_weights_in_a_side_file(tmp_path: Path) -> None:
    spec, side = with_side_file(tmp_path)
    captured = load_model(spec)
    assert_same_answers(captured, text(CONV))
    assert captured.origin == {
        "model": "net.onnx",
        "sha256": hashlib.sha256(Path(spec).read_bytes()).hexdigest(),
        "data_sha256": {"net.data": hashlib.sha256(side.read_bytes()).hexdigest()},
    }
    # Nothing of the capture hangs on the file any more.
    before = to_bytes(captured.graph)
    side.unlink()
    assert to_bytes(captured.graph) == before


def test_a_side_file_that_is_lost_short_or_elsewhere(tmp_path: Path) -> None:
    spec, side = with_side_file(tmp_path / "net")
    data = side.read_bytes()
    side.write_bytes(data[:-1])
    refused(spec, "not a valid ONNX model: .*data file beside it")
    side.unlink()
    refused(spec, "net.data.*fetch it again, with the data file beside it")
    (tmp_path / "net.data").write_bytes(data)
    proto = onnx.load(spec, load_external_data=False)
    proto.graph.initializer[0].external_data[0].value = "../net.data"
    refused(saved(tmp_path / "net" / "net.onnx", proto), "not a valid ONNX model")


def test_capturing_twice_gives_the_same_bytes(tmp_path: Path) -> None:
    spec = saved(tmp_path / "net.onnx", text(CONV, opset=11))
    assert to_bytes(load_model(spec).graph) == to_bytes(load_model(spec).graph)


def refused(spec: str, words: str, options: LoadOptions | None = None) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        load_model(spec, options)
    assert "\n" not in str(caught.value)
    assert spec in str(caught.value)


SCALE = "s = Constant<value = float {0.5}>() z = Constant<value = uint8 {0}>() "
BATCH = "s = Constant<value = int64[2] {4,-1}>() y = Reshape(x,s)"
BAD = [
    (text("y = Relu(x)", "float[3,8,6] x", "float[3,8,6] y"), r"input x .*\[3,8,6\]; .*4-D"),
    (text("y = Add(x,v)", "float[1,3,8,6] x, float[1,3,8,6] v"), r"2 inputs \(x, v\)"),
    (text("y = Cast<to = 1>(x)", "uint8[1,3,8,6] x"), "input x is UINT8; .*float32"),
    (text("y = Cast<to = 1>(x)", "float16[1,3,8,6] x"), "input x is FLOAT16; .*float32"),
    (text(CONV, "float[N,3,H,W] x"), "free; state them with --preprocess, .*height=320"),
    (
        text(SCALE + "q = QuantizeLinear(x,s,z) y = DequantizeLinear(q,s,z)"),
        r"already quantized \(DequantizeLinear, QuantizeLinear\); give the float model",
    ),
    (
        text(SCALE + "q, t, u = DynamicQuantizeLinear(x) y = Cast<to = 1>(q)"),
        r"already quantized \(DynamicQuantizeLinear\)",
    ),
    (
        text(
            SCALE + "q = com.microsoft.QLinearSigmoid(x,s,z,s,z) y = Cast<to = 1>(q)",
            head=', "com.microsoft": 1',
        ),
        r"already quantized \(QLinearSigmoid\)",
    ),
    (text("y = Nonsense(x)"), "does not run: .*Nonsense"),
    (text("y = own.Thing(x)", head=', "own": 1'), "does not run: .*own:Thing"),
    (text("y = SequenceConstruct(x)", outputs="seq(float[1]) y"), "does not run: .*seq"),
    (text(BATCH, "float[4,3,8,6] x", "float[4,P] y"), "batch is fixed at 4, and output y"),
    (
        text("b = Constant<value = bool {1}>() r = Constant<value = float {0.5}>()"
             "y = Dropout(x,r,b)"),
        "Dropout .*training mode; call model.eval",
    ),
    (
        text("s = Constant<value = float[3] {1.0,2.0,3.0}>()"
             "y, m, v = BatchNormalization<training_mode = 1>(x,s,s,s,s)"),
        "BatchNormalization .*training mode",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("proto", "words"), BAD, ids=range(len(BAD)))
def test_what_cannot_be_converted_is_one_line(
    tmp_path: Path, proto: onnx.ModelProto, words: str
) -> None:
    refused(saved(tmp_path / "net.onnx", proto), words)


def test_damaged_files_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "net.onnx"
    whole = text(CONV).SerializeToString()
    random = np.random.default_rng(0)
    damaged = [b"", whole[: len(whole) // 2], whole[:-1], *(random.bytes(99) for _ in range(20))]
    for data in damaged:
        path.write_bytes(data)
        refused(str(path), "not a valid ONNX model: .*; export or fetch it again")


def test_no_such_file(tmp_path: Path) -> None:
    refused(str(tmp_path / "net.onnx"), "no such file")
    (tmp_path / "net.onnx").mkdir()
    refused(str(tmp_path / "net.onnx"), "no such file")


def test_weights_beside_a_file_that_has_its_own(tmp_path: Path) -> None:
    spec = saved(tmp_path / "net.onnx", text(CONV))
    refused(spec, "carries its weights; leave --weights out", LoadOptions(Path("w.pth")))


@pytest.mark.parametrize("package", ["onnx", "onnxruntime"])
def test_a_missing_package_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    spec = saved(tmp_path / "net.onnx", text(CONV))
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingError, match=rf"{package} is not installed; .*edge-sdk\["):
        load_model(spec)


PACK = [  # file, preprocessing, outputs, first output's shape
    ("detection/weights/FastestDet.onnx", "unit,color=BGR", 1, (1, 85, 22, 22)),
    ("detection/weights/version-RFB-320.onnx", "unit", 2, (1, 4420, 2)),
    ("detection/weights/version-RFB-320_simplified.onnx", "unit", 2, (1, 4420, 2)),
    ("detection/weights/yunet_n_320_320.onnx", "raw,color=BGR", 12, (1, 1600, 1)),
]


@pytest.mark.models
@pytest.mark.parametrize(("file", "preprocess", "outputs", "shape"), PACK)
def test_detectors_of_the_pack(
    model_pack: Path, file: str, preprocess: str, outputs: int, shape: tuple[int, ...]
) -> None:
    captured = load_model(str(model_pack / file), LoadOptions(preprocess=preprocess))
    assert captured.contract is not None
    assert len(captured.graph.graph.inputs) == 1
    assert len(captured.graph.graph.outputs) == outputs
    assert shape_of(captured.graph.graph.outputs[0]) == shape
    image = images(captured, 1)
    graph = ir.to_proto(captured.graph)
    answers = compute(graph, {graph.graph.input[0].name: image})
    for ours, theirs in zip(answers, captured.reference(image), strict=True):
        assert np.ptp(theirs) > 0
        # Upgraded operators run the same kernels in the same order.
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * np.abs(theirs).max())

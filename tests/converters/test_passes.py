"""Running passes: their order, what the base checks, a user's own pass, and whole random nets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from converters import passes
from converters.passes import Pass, PassReport, Skip
from device_profiles.errors import ModelError, RequestError
from runtime import plugins
from tests.converters.graph_cases import Case, assert_same, build, compute, counts, frozen, ops
from tests.converters.test_passes_fold import FIRES as FOLDS
from tests.converters.test_passes_fold import RESTS as FOLD_RESTS
from tests.converters.test_passes_fuse import FIRES as FUSIONS
from tests.converters.test_passes_fuse import RESTS as FUSION_RESTS

OWN_PASS = '''
"""Hard limits of 6 become limits of 4."""
import numpy as np
from converters.passes import Decline, Pass, is_op, needed, set_constant

class SixToFour(Pass):
    """Lower the upper bound of every Clip."""
    after = ("fuse_activation",)
    def rewrite(self, node):
        if not is_op(node, "Clip"):
            return False
        if needed(node.inputs[2], "its max") != 6:
            raise Decline("it is not bounded by 6")
        set_constant(node, 2, np.float32(4), "max")
        return True
'''


def relu() -> ir.Model:
    return build("a = Relu (x) y = Relu (a)", {})


class Breaks(Pass):
    """A pass that does what it must not; `how` says what."""

    def __init__(self, how: str) -> None:
        self.how = how

    def rewrite(self, node: ir.Node) -> bool:
        value = node.outputs[0]
        if self.how == "crashes":
            raise KeyError(node.op_type)
        if self.how == "renames the output" and value.is_graph_output():
            value.name = "z"
        if self.how == "changes its shape" and value.is_graph_output():
            value.shape = ir.Shape([2, 3, 8, 8])
        if self.how == "dangles" and not value.is_graph_output():
            node.graph.remove(node, safe=False)  # type: ignore[union-attr]
        return False


class Restless(Pass):
    """A pass that always claims a change."""

    def rewrite(self, node: ir.Node) -> bool:
        return True


class Early(Pass):
    """A pass that waits for nothing."""

    name = "aaa"

    def rewrite(self, node: ir.Node) -> bool:
        return False


def test_every_pass_has_cases_that_fire_and_cases_that_rest() -> None:
    names = set(passes.names()) - {"fuse_gelu"}  # all its cases are tests of their own
    extra = {"eliminate_identity", "inline_functions"}  # so are the firing cases of these
    assert {case.name for case in (*FOLDS, *FUSIONS)} | extra == names
    assert {case.name for case in (*FOLD_RESTS, *FUSION_RESTS)} == names


def test_names_are_the_files_in_an_order_that_keeps_every_after() -> None:
    order = passes.names()
    assert sorted(order) == plugins.names("converters.passes")
    for name in order:
        for earlier in passes.load(name).after:
            assert order.index(earlier) < order.index(name)


def test_run_reports_every_pass_and_repeats_until_nothing_changes() -> None:
    model = Case("", "a = Pad (x, p) b = Identity (a) c = Conv (b, w) y = Relu (c)",
                 constants={"p": [0, 0, 1, 1, 0, 0, 1, 1], "w": (8, 3, 3, 3)}).model()  # fmt: skip
    reports = {report.name: report for report in passes.run(model)}
    assert list(reports) == passes.names()
    assert ops(model) == "Conv Relu"
    assert (reports["fuse_pad"].fired, reports["eliminate_identity"].fired) == (1, 1)
    assert reports["gemm"] == PassReport("gemm", 0)
    assert all(report.fired == 0 for report in passes.run(model))


def test_a_classifier_written_as_a_convolution_ends_as_a_plain_gemm() -> None:
    body = "a = ReduceMean (x, i) b = Conv (a, w) c = Add (b, t) d = Flatten (c) y = Mul (d, s)"
    constants = {"i": [2, 3], "w": (5, 3, 1, 1), "t": (5, 1, 1), "s": (5,)}
    model = build(body, constants, "float[B,3,8,8] x", "float[N,M] y")
    before = frozen(model)
    passes.run(model)
    assert ops(model) == "GlobalAveragePool Reshape Gemm"
    assert "w" in model.graph.initializers
    assert_same(before, frozen(model))


def test_a_report_keeps_the_reasons() -> None:
    model = Case("", "y = Pad (x, p)", constants={"p": [0, 0, 1, 1, 0, 0, 1, 1]}).model()
    report = next(r for r in passes.run(model) if r.name == "fuse_pad")
    assert report.skips == (Skip("Pad_0", "it feeds an output, which does not pad"),)


def test_only_limits_the_passes() -> None:
    model = build("a = Identity (x) b = Relu (a) y = Relu (b)", {})
    assert [r.name for r in passes.run(model, only=["fuse_activation"])] == ["fuse_activation"]
    assert ops(model) == "Identity Relu"


def test_a_pass_of_ones_own_comes_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "six_to_four.py"
    path.write_text(OWN_PASS)
    constants = {"zero": 0.0, "six": 6.0}
    model = build("a = Max (x, zero) y = Min (a, six)", constants)
    reports = passes.run(model, extra=[passes.load_path(path)])
    mine = next(report for report in reports if report.name == "six_to_four")
    assert mine.fired == 1
    assert mine.skips[0].reason == "it is not bounded by 6"
    proto = frozen(model)
    assert compute(proto, {"x": np.full((1, 3, 8, 8), 9, np.float32)})[0].max() == 4


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "no pass file at .*mine.py; give the path"),
        ("x = 1", "mine.py defines 0 passes; a pass file defines exactly one"),
        (OWN_PASS + OWN_PASS.replace("SixToFour", "Other"), "defines 2 passes"),
        ("import nothing_of_this_name", "mine.py does not import: No module named"),
        ("class A(:", "mine.py does not import: invalid syntax"),
    ],
)
def test_a_bad_pass_file_is_refused(tmp_path: Path, text: str | None, message: str) -> None:
    path = tmp_path / "mine.py"
    if text is not None:
        path.write_text(text)
    with pytest.raises(RequestError, match=message):
        passes.load_path(path)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("renames the output", "pass test_passes changed the model's inputs or outputs"),
        ("changes its shape", "pass test_passes changed the model's inputs or outputs"),
        ("crashes", r"pass test_passes failed at Relu_0: KeyError\('Relu'\); leave it out"),
        ("dangles", "pass test_passes left a without a producer before Relu_1"),
    ],
)
def test_a_pass_that_breaks_the_graph_is_named(how: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        Breaks(how)(relu())


def test_passes_that_never_rest_are_named() -> None:
    with pytest.raises(ModelError, match="test_passes still fire after 20 rounds"):
        passes.run(relu(), only=[], extra=[Restless()])


def test_passes_of_one_name_or_in_a_circle_are_refused() -> None:
    with pytest.raises(RequestError, match="two passes are called test_passes"):
        passes.run(relu(), extra=[Restless(), Breaks("")])
    circle = type("Circle", (Early,), {"name": "gemm", "after": ("aaa",)})
    first = type("First", (Early,), {"name": "aaa", "after": ("gemm",)})
    with pytest.raises(RequestError, match="wait for each other"):
        passes.run(relu(), only=[], extra=[circle(), first()])


def test_an_unknown_pass_names_the_nearest() -> None:
    with pytest.raises(RequestError, match="fuse_pad"):
        passes.run(relu(), only=["fuse_pat"])


def test_an_old_opset_is_refused() -> None:
    with pytest.raises(ModelError, match="opset 9; export it again with opset 11"):
        passes.run(build("y = Relu (x)", {}, opset=9))


def test_a_pass_asks_for_inlined_functions() -> None:
    model = relu()
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20})
    model.functions[("local", "f", "")] = ir.Function("local", "f", graph=graph, attributes=[])
    with pytest.raises(ModelError, match="pass gemm needs a model without functions"):
        passes.load("gemm")(model)


class Net:
    """A random CNN in the making; every value can be computed while it grows."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.tensors: list[Any] = []
        colours = 2 * self.random.standard_normal((4, 3, 1, 1))  # pooled noise is all the same
        images = colours + self.random.standard_normal((4, 3, 16, 16))
        self.sample = {"x": images.astype(np.float32)}

    def constant(self, array: Any, dtype: Any = np.float32) -> str:
        self.tensors.append(
            numpy_helper.from_array(np.asarray(array, dtype), f"c{len(self.tensors)}")
        )
        return str(self.tensors[-1].name)

    def add(self, op_type: str, *inputs: str, **attributes: Any) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(op_type, inputs, [name], f"n_{name}", **attributes))
        return name

    def proto(self, output: str, batch: int = 1) -> Any:
        values = [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, 3, 16, 16]),
            helper.make_tensor_value_info(output, TensorProto.FLOAT, None),
        ]
        graph = helper.make_graph(self.nodes, "net", values[:1], values[1:], self.tensors)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=8)

    def value(self, name: str) -> np.ndarray[Any, Any]:
        return compute(self.proto(name, batch=4), self.sample)[0]

    def settled_norm(self, value: str) -> str:
        """Batch normalisation with the statistics that `value` really has on a random batch."""
        now = self.value(value)
        channels = now.shape[1]
        numbers = (
            self.random.uniform(0.5, 1.5, channels),
            self.random.standard_normal(channels) / 2,
            now.mean(axis=(0, 2, 3)),
            now.var(axis=(0, 2, 3)),
        )
        return self.add("BatchNormalization", value, *map(self.constant, numbers))

    def convolution(self, value: str, channels: int, first: bool) -> tuple[str, int]:
        kinds = ["plain", "depthwise", "padded by Pad", "transposed"]
        kind = self.random.choice(kinds[:-1] if first else kinds)
        made = channels if kind == "depthwise" else int(self.random.integers(4, 12))
        pads = {} if kind == "padded by Pad" else {"pads": [1, 1, 1, 1]}
        if kind == "padded by Pad":
            value = self.add("Pad", value, self.constant([0, 0, 1, 1, 0, 0, 1, 1], np.int64))
        shape = (channels, made) if kind == "transposed" else (made, channels)
        if kind == "depthwise":
            shape, pads["group"] = (made, 1), channels  # type: ignore[assignment]
        weight = self.constant(self.random.standard_normal((*shape, 3, 3)) / np.sqrt(9 * shape[1]))
        bias = (
            [self.constant(self.random.standard_normal(made))] if self.random.random() < 0.5 else []
        )
        op_type = "ConvTranspose" if kind == "transposed" else "Conv"
        return self.add(op_type, value, weight, *bias, **pads), made

    def activation(self, value: str) -> str:
        zero, three, six = (self.constant(number) for number in (0, 3, 6))
        match self.random.integers(5):
            case 0:
                return self.add("Min", self.add("Max", value, zero), six)
            case 1:
                gate = self.add("Clip", self.add("Add", value, three), zero, six)
                return self.add("Div", self.add("Mul", value, gate), six)
            case 2:
                return self.add("Clip", self.add("Relu", value), zero, six)
            case 3:
                nhwc = self.add("Transpose", value, perm=[0, 2, 3, 1])
                return self.add("Transpose", self.add("Relu", nhwc), perm=[0, 3, 1, 2])
            case _:
                return self.add("Relu", value)

    def grow(self) -> Any:
        scale = self.constant(self.random.uniform(0.5, 2, (3, 1, 1)))
        mean = self.constant(self.random.standard_normal((3, 1, 1)))
        value, channels = self.add("Div", self.add("Sub", "x", mean), scale), 3
        for layer in range(5):
            start = value
            value, made = self.convolution(value, channels, first=layer == 0)
            value = self.settled_norm(value)
            if made == channels and layer > 0:
                value = self.add("Add", value, start)
            value, channels = self.activation(self.add("Identity", value)), made
        value = self.settled_norm(value)
        axes = self.constant([2, 3], np.int64)
        value = self.add("ReduceMean", value, axes, keepdims=int(self.random.integers(2)))
        value = self.add("Reshape", value, self.constant([-1, channels], np.int64))
        weight = self.constant(self.random.standard_normal((channels, 10)))
        value = self.add("MatMul", value, weight)
        return self.proto(self.add("Add", value, self.constant(self.random.standard_normal(10))))


@pytest.mark.parametrize("seed", range(12))
def test_a_random_net_keeps_its_answers(seed: int) -> None:
    net = Net(seed)
    before = net.grow()
    answers = net.value(before.graph.output[0].name)
    assert answers.std(axis=0).min() > 1e-2 * np.abs(answers).max(), "the net has collapsed"
    model = ir.from_proto(before)
    again = ir.from_proto(before)
    passes.run(model)
    passes.run(again)
    after = frozen(model)
    assert after.SerializeToString() == frozen(again).SerializeToString()
    assert_same(before, after)
    gone = ("Pad", "ReduceMean", "MatMul", "Identity", "Transpose", "Div", "Min", "Max")
    assert not set(gone) & set(counts(after))
    assert not counts(after)["BatchNormalization"]
    assert all(report.fired == 0 for report in passes.run(model))

"""Small ONNX graphs as text, and what is asked of every rewrite of one."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
from onnx import numpy_helper, parser, shape_inference

EPS = float(np.finfo(np.float32).eps)
TERMS = ("Conv", "ConvTranspose", "Gemm", "MatMul")


@dataclass(frozen=True)
class Case:
    """A graph, the pass that should see it, and the operators (or the reason) that it leaves.

    `constants` become initializers: a tuple is the shape of random numbers, a list int64 numbers,
    anything else is taken as it is.
    """

    name: str  # of the pass
    body: str
    after: str = ""
    constants: dict[str, Any] = field(default_factory=dict)
    inputs: str = "float[1,3,8,8] x"
    outputs: str = "float[N,M,O,P] y"
    reason: str = ""
    opset: int = 20

    def __str__(self) -> str:
        return f"{self.name}: {self.body.replace(chr(10), ' ')}"[:90]

    def model(self) -> ir.Model:
        return build(self.body, self.constants, self.inputs, self.outputs, self.opset)


def build(
    body: str,
    constants: dict[str, Any],
    inputs: str = "float[1,3,8,8] x",
    outputs: str = "float[N,M,O,P] y",
    opset: int = 20,
) -> ir.Model:
    text = f'<ir_version: 8, opset_import: ["": {opset}]> g ({inputs}) => ({outputs}) {{ {body} }}'
    proto = parser.parse_model(text)
    random = np.random.default_rng(0)
    for name, value in constants.items():
        array = array_of(value, random)
        proto.graph.initializer.append(numpy_helper.from_array(array, name))
    for index, node in enumerate(proto.graph.node):
        node.name = f"{node.op_type}_{index}"
    for value in proto.graph.output:  # the shape in the text only gives the rank
        value.type.tensor_type.ClearField("shape")
    proto = shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    onnx.checker.check_model(proto)
    return ir.from_proto(proto)


def array_of(value: Any, random: np.random.Generator) -> np.ndarray[Any, Any]:
    if isinstance(value, tuple):
        return random.standard_normal(value).astype(np.float32)
    if isinstance(value, list):
        return np.array(value, np.int64)
    return np.asarray(value, None if isinstance(value, np.ndarray) else np.float32)


def ops(model: ir.Model) -> str:
    return " ".join(node.op_type for node in model.graph)


def frozen(model: ir.Model) -> onnx.ModelProto:
    """Return the model as it is now, checked."""
    proto = ir.to_proto(model)
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    onnx.checker.check_model(copy, full_check=True)
    return copy


def feeds(proto: onnx.ModelProto, seed: int = 0) -> dict[str, np.ndarray[Any, Any]]:
    """Return random inputs: standard normal, or any byte; free dimensions are 2."""
    random = np.random.default_rng(seed)
    result: dict[str, np.ndarray[Any, Any]] = {}
    for value in proto.graph.input:
        tensor = value.type.tensor_type
        shape = [dim.dim_value or 2 for dim in tensor.shape.dim]
        if tensor.elem_type == onnx.TensorProto.UINT8:
            result[value.name] = random.integers(0, 256, shape, np.uint8)
        else:
            result[value.name] = 2 * random.standard_normal(shape).astype(np.float32)
    return result


def compute(proto: onnx.ModelProto, feed: dict[str, Any]) -> list[np.ndarray[Any, Any]]:
    """Run a model exactly as it is written: no graph optimisation."""
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(proto.SerializeToString(), options)
    return [np.asarray(one) for one in session.run(None, feed)]


def terms(proto: onnx.ModelProto) -> int:
    """Return how many float32 roundings an output can go through: sums, then one per node."""
    sizes = {one.name: list(one.dims) for one in proto.graph.initializer}
    weights = [sizes.get(n.input[1], [1]) for n in proto.graph.node if n.op_type in TERMS]
    return int(sum(np.prod(size) // min(size) for size in weights)) + len(proto.graph.node)


def assert_same(before: onnx.ModelProto, after: onnx.ModelProto, slack: float = 1.0) -> None:
    """Assert that two graphs compute the same, up to float32 rounding.

    A float32 sum of n terms is off by at most n * eps of the sum of their magnitudes, and both
    graphs round; in these graphs the magnitudes sum to less than four times the largest output.
    """
    feed = feeds(before)
    for expected, actual in zip(compute(before, feed), compute(after, feed), strict=True):
        assert expected.shape == actual.shape
        assert expected.dtype == actual.dtype
        assert np.ptp(expected) > 0, "an output that never varies proves nothing"
        bound = slack * 8 * max(terms(before), terms(after)) * EPS * np.abs(expected).max()
        assert np.abs(expected.astype(np.float64) - actual).max() <= bound


def counts(proto: onnx.ModelProto) -> Counter[str]:
    return Counter(node.op_type for node in proto.graph.node)

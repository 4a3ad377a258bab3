from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from device_profiles.errors import EngineError, MissingError, RequestError
from runtime.engines import EngineOptions, open_engine, traits
from runtime.engines import onnxruntime as module
from runtime.engines.null import null_model
from runtime.manifest import TensorSpec

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")

ROOT = Path(__file__).resolve().parents[2]
IMAGE = np.arange(48, dtype=np.uint8).reshape(1, 4, 4, 3)
NULL_INPUTS = [TensorSpec("image", "uint8", (-1, 4, 4, 3))]
NULL_OUTPUTS = [TensorSpec("y", "float32", (-1, 5))]


def _model(nodes: list[Any], inputs: Any, outputs: Any, constants: dict[str, Any]) -> bytes:
    tensors = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = onnx.helper.make_graph(nodes, "g", [inputs], [outputs], tensors)
    opset = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opset, ir_version=9)
    onnx.helper.set_model_props(model, {"edge_sdk.precision": "fp32"})
    data: bytes = model.SerializeToString()
    return data


def _mean_model() -> bytes:
    """Return a model that gives the mean colour of a batch of 4 x 4 images."""
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    return _model(
        [
            node("Cast", ["image"], ["f"], to=onnx.TensorProto.FLOAT),
            node("ReduceMean", ["f"], ["mean"], keepdims=0, axes=[1, 2]),
        ],
        value("image", onnx.TensorProto.UINT8, ["batch", 4, 4, 3]),
        value("mean", onnx.TensorProto.FLOAT, ["batch", 3]),
        {},
    )


DEPTH = 64
CODES = np.random.default_rng(0).integers(-127, 128, (DEPTH, 3), np.int8)


def _quantized_model() -> bytes:
    """Return uint8 -> DequantizeLinear -> MatMul -> QuantizeLinear -> DequantizeLinear."""
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    return _model(
        [
            node("DequantizeLinear", ["x", "one", "zero"], ["xf"]),
            node("DequantizeLinear", ["w", "fine", "zero_w"], ["wf"]),
            node("MatMul", ["xf", "wf"], ["yf"]),
            node("QuantizeLinear", ["yf", "coarse", "middle"], ["yq"]),
            node("DequantizeLinear", ["yq", "coarse", "middle"], ["y"]),
        ],
        value("x", onnx.TensorProto.UINT8, [1, DEPTH]),
        value("y", onnx.TensorProto.FLOAT, [1, 3]),
        {
            "w": CODES,
            "one": np.float32(1),
            "fine": np.float32(0.125),
            "coarse": np.float32(128),
            "zero": np.uint8(0),
            "zero_w": np.int8(0),
            "middle": np.uint8(128),
        },
    )


def test_onnxruntime_runs_a_model() -> None:
    engine = open_engine("onnxruntime", _mean_model())
    assert engine.inputs == (TensorSpec("image", "uint8", (-1, 4, 4, 3)),)
    assert engine.outputs == (TensorSpec("mean", "float32", (-1, 3)),)
    assert (engine.name, engine.provider, engine.version) == ("onnxruntime", "cpu", ort.__version__)
    batch = np.concatenate([IMAGE, IMAGE + np.uint8(1)])
    np.testing.assert_allclose(engine.run([batch])[0], batch.mean(axis=(1, 2)), rtol=1e-6)


def test_onnxruntime_takes_read_only_and_strided_arrays() -> None:
    engine = open_engine("onnxruntime", _mean_model(), EngineOptions(threads=1))
    image = np.repeat(IMAGE, 2, axis=1)[:, ::2]
    image.setflags(write=False)
    np.testing.assert_allclose(engine.run([image])[0], IMAGE.mean(axis=(1, 2)), rtol=1e-6)


def test_onnxruntime_tells_metadata_and_placement() -> None:
    engine: Any = open_engine("onnxruntime", _mean_model())
    assert engine.metadata == {"edge_sdk.precision": "fp32"}
    assert engine.placement in ({"CPUExecutionProvider": 2}, {})


def test_simulation_computes_the_quantized_operators_in_float() -> None:
    """The model's numbers are small multiples of powers of two: in float they are exact."""
    x = np.random.default_rng(1).integers(0, 256, (1, DEPTH), np.uint8)
    exact = x.astype(np.float64) @ (CODES * 0.125)
    expected = np.clip(np.rint(exact / 128), -128, 127) * 128
    engine = open_engine("onnxruntime", _quantized_model(), EngineOptions(simulate=True))
    np.testing.assert_array_equal(engine.run([x])[0], expected)


def test_simulation_switches_the_optimisations_off(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = []
    real = ort.InferenceSession

    def spy(model: bytes, options: Any, **rest: Any) -> Any:
        levels.append(options.graph_optimization_level)
        return real(model, options, **rest)

    monkeypatch.setattr(ort, "InferenceSession", spy)
    for simulate in (False, True):
        open_engine("onnxruntime", _quantized_model(), EngineOptions(simulate=simulate))
    known = ort.GraphOptimizationLevel
    assert levels == [known.ORT_ENABLE_ALL, known.ORT_DISABLE_ALL]


NULL = null_model(NULL_INPUTS, NULL_OUTPUTS)


@pytest.mark.parametrize("name", ["onnxruntime", "null"])
@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "takes 1 inputs, 0 were given"),
        ([IMAGE, IMAGE], "takes 1 inputs, 2 were given"),
        ([IMAGE.astype(np.float32)], r"'image' takes uint8 \[-1, 4, 4, 3\], not float32"),
        ([IMAGE[0]], r"not uint8 \[4, 4, 3\]"),
        ([IMAGE[:, :3]], r"not uint8 \[1, 3, 4, 3\]"),
    ],
)
def test_wrong_inputs(name: str, arrays: list[NDArray[Any]], message: str) -> None:
    engine = open_engine(name, {"onnxruntime": _mean_model(), "null": NULL}[name])
    with pytest.raises(EngineError, match=message):
        engine.run(arrays)
    assert len(engine.run([IMAGE])) == 1


@pytest.mark.parametrize("name", ["onnxruntime", "null"])
def test_a_closed_engine(name: str) -> None:
    engine = open_engine(name, {"onnxruntime": _mean_model(), "null": NULL}[name])
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run([IMAGE])


@pytest.mark.parametrize("name", ["onnxruntime", "null"])
@pytest.mark.parametrize("model", [b"", b"junk", b"[]", b"[" * 100_000, b"\x08\x09:\xff"])
def test_models_that_do_not_load(name: str, model: bytes) -> None:
    with pytest.raises(EngineError, match="cannot load the model") as caught:
        open_engine(name, model)
    assert "\n" not in str(caught.value)


def test_onnxruntime_refuses_a_model_that_was_cut() -> None:
    model = _mean_model()
    with pytest.raises(EngineError, match="cannot load the model"):
        open_engine("onnxruntime", model[: len(model) // 2])


def test_an_error_while_running_is_one_line() -> None:
    node, value = onnx.helper.make_node, onnx.helper.make_tensor_value_info
    model = _model(
        [node("Reshape", ["x", "shape"], ["y"])],
        value("x", onnx.TensorProto.FLOAT, ["n"]),
        value("y", onnx.TensorProto.FLOAT, [2, 2]),
        {"shape": np.array([2, 2])},
    )
    engine = open_engine("onnxruntime", model)
    with pytest.raises(EngineError, match="failed while it ran") as caught:
        engine.run([np.zeros(3, np.float32)])
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is not None


def test_a_model_with_inputs_that_are_no_tensors() -> None:
    node, helper = onnx.helper.make_node, onnx.helper
    sequence = helper.make_tensor_sequence_value_info("s", onnx.TensorProto.FLOAT, None)
    output = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    model = _model([node("ConcatFromSequence", ["s"], ["y"], axis=0)], sequence, output, {})
    with pytest.raises(EngineError, match=r"'s' is a seq\(tensor\(float\)\)"):
        open_engine("onnxruntime", model)


def test_an_unknown_engine_and_provider() -> None:
    with pytest.raises(RequestError, match="did you mean onnxruntime"):
        open_engine("onnxruntim", b"")
    with pytest.raises(EngineError, match="did you mean cuda"):
        open_engine("onnxruntime", _mean_model(), EngineOptions(provider="cudaa"))


def test_a_provider_that_this_build_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.PROVIDERS, "abacus", ("AbacusExecutionProvider", {}))
    with pytest.raises(EngineError, match="is built without AbacusExecutionProvider"):
        open_engine("onnxruntime", _mean_model(), EngineOptions(provider="abacus"))


@pytest.mark.skipif(
    "CUDAExecutionProvider" in ort.get_available_providers(), reason="this build has CUDA"
)
@pytest.mark.filterwarnings("ignore:Specified provider")
def test_a_session_on_another_provider_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of providers is what was compiled, not what works: here it promises too much."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    with pytest.raises(EngineError, match="chose CPUExecutionProvider instead of CUDA"):
        open_engine("onnxruntime", _mean_model(), EngineOptions(provider="cuda"))


@pytest.mark.skipif(
    "AzureExecutionProvider" not in ort.get_available_providers()
    or not hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"),
    reason="needs a provider that takes no node, and an onnxruntime that tells",
)
def test_a_session_whose_nodes_are_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(module.PROVIDERS, "azure", ("AzureExecutionProvider", {}))
    with pytest.raises(EngineError, match=r"placed no node on Azure.*2 on CPUExecutionProvider"):
        open_engine("onnxruntime", _mean_model(), EngineOptions(provider="azure"))


def test_without_onnxruntime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match=r"pip install 'edge-sdk\[onnx\]'"):
        open_engine("onnxruntime", _mean_model())


def test_the_null_engine_follows_its_input() -> None:
    engine = open_engine("null", NULL)
    frames = np.random.default_rng(0).integers(0, 256, (16, 4, 4, 3), np.uint8)
    together = engine.run([frames])[0]
    assert (together.shape, together.dtype) == ((16, 5), np.float32)
    alone = np.concatenate([engine.run([frame[None]])[0] for frame in frames])
    np.testing.assert_allclose(alone, together, rtol=1e-5)
    assert len(np.unique(together, axis=0)) == 16
    assert len(set(together.argmax(axis=1))) > 1


@pytest.mark.parametrize(
    ("dtype", "least", "most"), [("uint8", 0, 255), ("int8", -128, 127), ("int64", -1e4, 1e4)]
)
def test_the_null_engine_answers_in_integers(dtype: str, least: float, most: float) -> None:
    model = null_model(NULL_INPUTS, [TensorSpec("y", dtype, (-1, 50))])
    answer = open_engine("null", model).run([np.full((1, 4, 4, 3), 255, np.uint8)])[0]
    assert answer.dtype == np.dtype(dtype)
    assert least <= answer.min() < answer.max() <= most


def test_the_null_engine_fails_and_delays_as_told() -> None:
    engine = open_engine("null", null_model(NULL_INPUTS, NULL_OUTPUTS, fail_after=2, delay_ms=20))
    start = time.perf_counter()
    engine.run([IMAGE])
    engine.run([IMAGE])
    assert time.perf_counter() - start >= 0.04
    with pytest.raises(EngineError, match="fail_after"):
        engine.run([IMAGE])


def test_the_null_engine_answers_with_nan_as_told() -> None:
    engine = open_engine("null", null_model(NULL_INPUTS, NULL_OUTPUTS, nan_after=1))
    assert np.isfinite(engine.run([IMAGE])[0]).all()
    assert np.isnan(engine.run([IMAGE])[0]).all()
    with pytest.raises(EngineError, match="fail_after"):
        open_engine("null", null_model(NULL_INPUTS, NULL_OUTPUTS, fail_after=-1))


@pytest.mark.parametrize("name", ["onnxruntime", "litert", "null"])
def test_every_engine_says_what_is_to_be_known_before_it_is_imported(name: str) -> None:
    """The interpreter is not imported, and plain code for the CPU is what it names."""
    code = (
        "import sys\n"
        "from runtime.engines import traits\n"
        f"found = traits({name!r})\n"
        "assert 'cpu' in found.in_process, found\n"
        "assert not {'onnxruntime', 'ai_edge_litert', *found.packages} & set(sys.modules)\n"
        "assert all(seconds > 60 for seconds in found.patience_s.values())\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
    assert not {"cuda", "tensorrt", "openvino", "edgetpu"} & set(traits(name).in_process)


def test_the_null_engine_answers_by_seed_and_noise() -> None:
    plain, seeded, noisy = (
        open_engine("null", null_model(NULL_INPUTS, NULL_OUTPUTS, **b)).run([IMAGE])[0]
        for b in ({}, {"seed": 1}, {"noise": 0.5})
    )
    assert not np.allclose(plain, seeded)
    np.testing.assert_allclose(noisy, plain + np.float32(0.5), rtol=1e-5)


def test_the_null_engine_claims_the_providers_of_its_model() -> None:
    model = null_model(NULL_INPUTS, NULL_OUTPUTS, providers=["cpu", "npu"])
    assert open_engine("null", model, EngineOptions(provider="npu")).provider == "npu"
    with pytest.raises(EngineError, match="runs on cpu, npu, not on cuda"):
        open_engine("null", model, EngineOptions(provider="cuda"))


@pytest.mark.parametrize(
    ("inputs", "outputs"),
    [
        ([], NULL_OUTPUTS),
        (NULL_INPUTS, []),
        (NULL_INPUTS, [TensorSpec("y", "float32", ())]),
        (NULL_INPUTS, [TensorSpec("y", "float32", (1, -1))]),
        (NULL_INPUTS, [TensorSpec("y", "object", (1, 2))]),
        (NULL_INPUTS, [TensorSpec("y", "float33", (1, 2))]),
    ],
)
def test_null_models_that_make_no_sense(inputs: Any, outputs: Any) -> None:
    with pytest.raises(EngineError, match="cannot load the model"):
        open_engine("null", null_model(inputs, outputs))


def test_onnxruntime_reports_to_nobody() -> None:
    """Its thread for that would also change latencies and counts of instructions."""
    code = "import os, runtime, onnxruntime; print(len(os.listdir('/proc/self/task')))"
    env = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # numpy's own threads are not meant
    env.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=env, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "1"

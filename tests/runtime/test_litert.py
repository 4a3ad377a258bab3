from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("ai_edge_litert")

from ai_edge_litert import interpreter
from ai_edge_litert import schema_py_generated as schema

from device_profiles.errors import EngineError, MissingError
from runtime import worker
from runtime.engines import Engine, EngineOptions, open_engine
from runtime.engines import litert as module
from runtime.engines._check import sample_inputs
from runtime.manifest import TensorSpec
from runtime.tflite import Quantization
from tests.runtime.tflite_cases import T, build, facts, mean_model

IMAGE = np.random.default_rng(0).random((1, 4, 4, 3)).astype(np.float32)
BYTES = np.random.default_rng(0).integers(0, 256, (1, 4, 4, 3), np.uint8)


def _open(model: bytes, **options: Any) -> Any:
    return open_engine("litert", model, EngineOptions(**options))


def test_runs_a_model() -> None:
    engine: Engine = _open(mean_model())
    assert engine.inputs == (TensorSpec("image", "float32", (-1, -1, -1, 3)),)
    assert engine.outputs == (TensorSpec("mean", "float32", (-1, 3)),)
    assert (engine.name, engine.provider) == ("litert", "cpu")
    assert engine.version[0].isdigit()
    np.testing.assert_allclose(engine.run([IMAGE])[0], IMAGE.mean(axis=(1, 2)), rtol=1e-6)


def test_a_free_size_may_change_from_run_to_run() -> None:
    engine = _open(mean_model())
    for shape in ((2, 4, 4, 3), (1, 4, 4, 3), (1, 7, 5, 3)):
        image = np.random.default_rng(1).random(shape).astype(np.float32)
        (mean,) = engine.run([image])
        assert mean.shape == (shape[0], 3)
        np.testing.assert_allclose(mean, image.mean(axis=(1, 2)), rtol=1e-5)


def test_a_fixed_size_may_not() -> None:
    tensors = [T("x", "float32", (1, 3)), T("y", "float32", (1, 3))]
    engine = _open(build(tensors, [("ABS", (0,), (1,), None)], (0,), (1,)))
    with pytest.raises(EngineError, match=r"'x' takes float32 \[1, 3\], not float32 \[2, 3\]"):
        engine.run([np.zeros((2, 3), np.float32)])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16"])
def test_quantized_outputs_are_real_numbers(dtype: str) -> None:
    """(code - zero point) * scale, rounded once to float32, as TFLite's own DEQUANTIZE."""
    zero = {"uint8": 131, "int8": -7, "int16": 0}[dtype]
    tensors = [T("x", dtype, (1, 256), scale=(0.1,), zero=(zero,)),
               T("y", dtype, (1, 256), scale=(0.1,), zero=(zero,))]  # fmt: skip
    model = build(tensors, [("MAXIMUM", (0, 0), (1,), None)], (0,), (1,))
    engine = _open(model)
    assert engine.outputs == (TensorSpec("y", "float32", (1, 256)),)
    assert engine.quantization == (Quantization((pytest.approx(0.1),), (zero,)),)
    limits = np.iinfo(dtype)
    codes = np.linspace(limits.min, limits.max, 256).round().astype(dtype)[None]
    (real,) = engine.run([codes])
    assert real.dtype == np.float32
    exact = (codes.astype(np.float64) - zero) * float(np.float32(0.1))
    np.testing.assert_array_equal(real, exact.astype(np.float32))


def test_integers_without_a_scale_stay_integers() -> None:
    tensors = [T("x", "float32", (1, 5)), T("axis", "int32", (), np.array(1)),
               T("best", "int64", (1,))]  # fmt: skip
    options = schema.ArgMaxOptionsT()
    options.outputType = schema.TensorType.INT64
    engine = _open(build(tensors, [("ARG_MAX", (0, 1), (2,), options)], (0,), (2,)))
    (best,) = engine.run([np.array([[0, 3, 9, 1, 2]], np.float32)])
    assert (best.dtype, best.tolist()) == (np.int64, [2])


def _with_layout(perm: Any) -> bytes:
    tensors = [T("x", "float32", (1, 2, 3, 4)), T("y", "float32", (1, 2, 3, 4))]
    layouts = facts(json.dumps({"edge_sdk.layouts": json.dumps({"y": perm})}))
    return build(tensors, [("ABS", (0,), (1,), None)], (0,), (1,), metadata=layouts)


def test_layouts_are_undone_without_a_copy() -> None:
    """Axis k of the file holds axis perm[k] of the model: (N, H, W, C) holds (N, C, H, W)."""
    engine = _open(_with_layout([0, 2, 3, 1]))
    assert engine.outputs == (TensorSpec("y", "float32", (1, 4, 2, 3)),)
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    (y,) = engine.run([x])
    np.testing.assert_array_equal(y, x.transpose(0, 3, 1, 2))
    assert y.base is not None
    assert engine.metadata["edge_sdk.layouts"]


@pytest.mark.parametrize("perm", [[0, 1, 2], [0, 1, 2, 2], [0, 1, 2, 4], ["a"], 7])
def test_layouts_that_are_none(perm: Any) -> None:
    with pytest.raises(EngineError, match="layout"):
        _open(_with_layout(perm))


def test_answers_are_the_callers_own() -> None:
    """The next run neither changes them nor fails because they are kept."""
    engine = _open(mean_model())
    first = engine.run([IMAGE])[0]
    kept, copy = first[:, 1:], first.copy()
    second = engine.run([IMAGE * 2])[0]
    np.testing.assert_array_equal(first, copy)
    np.testing.assert_allclose(second, 2 * copy, rtol=1e-6)
    assert kept.base is not None


def test_read_only_and_strided_arrays() -> None:
    image = np.repeat(IMAGE, 2, axis=1)[:, ::2]
    image.setflags(write=False)
    (mean,) = _open(mean_model(), threads=1).run([image])
    np.testing.assert_allclose(mean, IMAGE.mean(axis=(1, 2)), rtol=1e-6)


def _spied(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    real = interpreter.Interpreter

    def spy(**named: Any) -> Any:
        seen.append(named)
        return real(**named)

    monkeypatch.setattr(interpreter, "Interpreter", spy)
    return seen


def test_threads_and_kernels(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = _spied(monkeypatch)
    cores = len(os.sched_getaffinity(0))
    for options in ({}, {"threads": 3}, {"provider": "reference"}, {"simulate": True}):
        _open(mean_model(), **options)
    assert [named["num_threads"] for named in seen] == [cores, 3, cores, cores]
    kernels = [named.get("experimental_op_resolver_type") for named in seen]
    assert kernels == [None, None, interpreter.OpResolverType.BUILTIN_REF, None]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ([], "takes 1 inputs, 0 were given"),
        ([IMAGE, IMAGE], "takes 1 inputs, 2 were given"),
        ([BYTES], r"'image' takes float32 \[-1, -1, -1, 3\], not uint8"),
        ([IMAGE[0]], r"not float32 \[4, 4, 3\]"),
    ],
)
def test_wrong_inputs(arrays: list[Any], message: str) -> None:
    engine = _open(mean_model())
    with pytest.raises(EngineError, match=message):
        engine.run(arrays)
    assert len(engine.run([IMAGE])) == 1


def test_a_closed_engine() -> None:
    engine = _open(mean_model())
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run([IMAGE])


@pytest.mark.parametrize("data", [b"", b"no model", mean_model()[:200], mean_model()[:-40]])
def test_what_is_no_model(data: bytes) -> None:
    with pytest.raises(EngineError, match="litert cannot load the model: not a whole TFLite"):
        _open(data)


def test_an_operator_that_the_interpreter_refuses() -> None:
    tensors = [T("x", "float32", (1, 3)), T("y", "int8", (1, 3))]
    with pytest.raises(EngineError, match="litert cannot load the model: "):
        _open(build(tensors, [("ABS", (0,), (1,), None)], (0,), (1,)))


def test_no_interpreter(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ai_edge_litert.interpreter", "tflite_runtime", "tflite_runtime.interpreter"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingError, match=r"pip install 'edge-sdk\[tflite\]'"):
        _open(mean_model())


def test_where_only_tflite_runtime_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """An old one, without the choice of kernels: it is refused, not ignored."""
    old = types.ModuleType("tflite_runtime.interpreter")
    old.Interpreter = interpreter.Interpreter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", old)
    monkeypatch.setattr(module, "version", lambda name: f"{name} 2.14")
    engine = _open(mean_model())
    assert engine.version == "tflite-runtime 2.14"
    assert engine.run([IMAGE])[0].shape == (1, 3)
    with pytest.raises(EngineError, match="cannot choose the kernels"):
        _open(mean_model(), provider="reference")


def test_unknown_and_absent_delegates() -> None:
    with pytest.raises(EngineError, match="litert has no provider 'edgetpv'; did you mean edgetpu"):
        _open(mean_model(), provider="edgetpv")
    with pytest.raises(EngineError, match=r"there is no delegate .*/nowhere.so; give the path"):
        _open(mean_model(), provider="delegate:nowhere.so")
    with pytest.raises(
        EngineError, match=r"libvx_delegate.so: .*install the driver .*provider cpu"
    ):
        _open(mean_model(), provider="vx")


# The ABI of external delegates: tensorflow/lite/core/c/common.h.
COMMON = """
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
typedef struct Context Context;
typedef struct { int size; int data[]; } Ints;
typedef struct { int type; void* data; } Tensor;
typedef struct { Ints* inputs; Ints* outputs; } Node;
typedef struct Delegate {
  void* data;
  int (*prepare)(Context*, struct Delegate*);
  void* buffers[3];
  int64_t flags;
  void* builder;
} Delegate;
typedef struct {
  void* (*init)(Context*, const char*, size_t);
  void (*release)(Context*, void*);
  int (*prepare)(Context*, Node*);
  int (*invoke)(Context*, Node*);
  void* profiling;
  int32_t builtin_code;
  const char* custom_name;
  int version;
  void* rest[3];
} Registration;
struct Context {
  size_t tensors_size;
  int (*plan)(Context*, Ints**);
  char* tensors;
  void* impl;
  void* calls[4];
  int (*replace)(Context*, Registration, const Ints*, Delegate*);
};
static Delegate delegate;
void tflite_plugin_destroy_delegate(void* made) {}
"""
MADE = """
void* tflite_plugin_create_delegate(char** k, char** v, size_t n, void (*say)(const char*)) {
  delegate.prepare = prepare;
  return &delegate;
}
"""
DELEGATES = {
    "crash": "void* tflite_plugin_create_delegate() { abort(); }",
    "hang": "void* tflite_plugin_create_delegate() { for (;;) sleep(1); }",
    "refuse": """
void* tflite_plugin_create_delegate(char** k, char** v, size_t n, void (*say)(const char*)) {
  say("no such device");
  return 0;
}""",
    "idle": "static int prepare(Context* c, Delegate* d) { return 0; }" + MADE,
    # Takes every node and leaves the outputs as they are.
    "take": """
static void* init(Context* c, const char* b, size_t n) { return 0; }
static void release(Context* c, void* d) {}
static int nothing(Context* c, Node* n) { return 0; }
static int prepare(Context* c, Delegate* d) {
  Ints* plan;
  Registration r = {init, release, nothing, nothing, 0, 51, "taken", 1, {0}};
  c->plan(c, &plan);
  return c->replace(c, r, plan, d);
}"""
    + MADE,
}


@pytest.fixture
def delegate(tmp_path: Path) -> Callable[[str], str]:
    """Compile a delegate; return its provider."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler")

    def made(name: str) -> str:
        source, library = tmp_path / f"{name}.c", tmp_path / f"{name}.so"
        source.write_text(COMMON + DELEGATES[name])
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True)
        return f"delegate:{library}"

    return made


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("crash", r"litert on delegate:/.*crash.so crashed \(SIGABRT\) when it loaded the model"),
        ("refuse", "cannot load the delegate .*no such device; install the driver"),
        ("idle", "took none of the model's 1 operators"),
    ],
)
def test_delegates_that_do_not_work(name: str, words: str, delegate: Callable[[str], str]) -> None:
    with pytest.raises(EngineError, match=words) as caught:
        _open(mean_model(), provider=delegate(name))
    assert "\n" not in str(caught.value)


def test_a_delegate_that_hangs(
    delegate: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PATIENCE_S", 4.0)
    with pytest.raises(EngineError, match="did not end within 4 s when it loaded the model"):
        _open(mean_model(), provider=delegate("hang"))


def test_a_delegate_that_works(
    delegate: Callable[[str], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """It runs instead of the model's operator, and its path may be relative."""
    provider = delegate("take")
    monkeypatch.chdir(tmp_path)
    engine = _open(mean_model(), provider="delegate:take.so")
    assert provider.endswith("take.so")
    assert engine.provider == "delegate:take.so"
    # Nothing writes the output: whatever is in its memory does not depend on the image.
    (first,), (second,) = engine.run([IMAGE]), engine.run([2 * IMAGE])
    assert first.shape == (1, 3)
    assert first.tobytes() == second.tobytes()


def test_sample_inputs_are_what_engines_take() -> None:
    specs = [TensorSpec("a", "int8", (-1, 2)), TensorSpec("b", "float16", (3,)),
             TensorSpec("c", "int64", (2, 2)), TensorSpec("d", "uint8", (1, 64))]  # fmt: skip
    arrays = sample_inputs(specs)
    assert [(str(a.dtype), a.shape) for a in arrays] == [
        ("int8", (1, 2)), ("float16", (3,)), ("int64", (2, 2)), ("uint8", (1, 64))
    ]  # fmt: skip
    assert not arrays[2].any()
    assert len(np.unique(arrays[3])) > 30

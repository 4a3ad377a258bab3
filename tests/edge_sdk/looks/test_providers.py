from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest

from device_profiles.errors import EngineError
from edge_sdk.looks import providers as looks
from edge_sdk.looks._samples import onnx_sample, tflite_sample
from edge_sdk.looks.base import Ask, Finding, Scene, Trial
from runtime.engines import EngineOptions, open_engine
from runtime.engines import onnxruntime as engine
from runtime.engines._check import sample_inputs
from runtime.tflite import read_tflite


def doing(module: str, ask: Ask) -> Trial:
    """Ask in this process: what is asked is not known to crash."""
    assert module == "runtime.engines.onnxruntime"
    try:
        return Trial(answer=ask(engine))
    except EngineError as error:
        return Trial(failure=str(error))


def listing(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(names))


def test_a_provider_that_is_listed_and_dead_is_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tried for real: this wheel has no CUDA, whatever its list says."""
    listing(monkeypatch, "CUDAExecutionProvider", "CPUExecutionProvider")
    listed, cpu, cuda = looks.look_at_providers(Scene(packages={}, attempt=doing))
    assert listed.detail == "onnxruntime lists CUDA, CPU"
    assert cpu == Finding("provider cpu", "ok", "ran a convolution")
    assert (cuda.name, cuda.level) == ("provider cuda", "fault")
    assert cuda.detail.startswith("listed, but does not run: ")
    assert "without cuda" in cuda.remedy


def test_a_provider_that_crashes_is_a_fault() -> None:
    trials = iter([Trial(answer=json.dumps([["CPUExecutionProvider"], ["cpu"]])),
                   Trial(failure="dies of SIGSEGV (segmentation fault)", signal=11)])  # fmt: skip
    where = Scene(packages={}, attempt=lambda module, ask: next(trials))
    found = looks.look_at_providers(where)[1]
    assert (found.level, found.detail) == (
        "fault", "does not run: dies of SIGSEGV (segmentation fault)",
    )  # fmt: skip
    assert "--force-reinstall" in found.remedy


def test_without_onnxruntime_there_is_nothing_to_say() -> None:
    for trial in (Trial(found=False), Trial(failure="No module named 'onnxruntime'")):
        where = SimpleNamespace(attempt=lambda module, ask, trial=trial: trial)
        assert looks.look_at_providers(where) == []  # type: ignore[arg-type]


def test_the_samples_are_one_model() -> None:
    model = onnx.load_from_string(onnx_sample())
    onnx.checker.check_model(model, full_check=True)
    assert [node.op_type for node in model.graph.node] == ["Conv"]
    assert "CONV_2D" in [step.name for step in read_tflite(tflite_sample()).operators]
    answers = []
    for name, sample in (("onnxruntime", onnx_sample()), ("litert", tflite_sample())):
        opened = open_engine(name, sample, EngineOptions(threads=1))
        answers += opened.run(sample_inputs(opened.inputs))
        opened.close()
    assert answers[0].any()
    np.testing.assert_allclose(*answers, rtol=1e-5)

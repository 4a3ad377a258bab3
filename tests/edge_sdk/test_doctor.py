from __future__ import annotations

import importlib
import importlib.util
import sys
from importlib.metadata import distributions
from types import ModuleType, SimpleNamespace
from typing import Any

import cv2
import pytest

from edge_sdk import doctor
from edge_sdk.workflows import doctor as rooms
from runtime.host import Host
from tests.edge_sdk.cli_cases import Run


@pytest.fixture(autouse=True)
def quick(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Most tests are not about providers, each of which takes a process."""
    if "tried" not in request.node.name:
        monkeypatch.setattr(rooms, "look_at_providers", list)


def found(name: str) -> dict[str, str]:
    (finding,) = (f for f in doctor().facts["findings"] if f["name"] == name)
    return dict(finding)


def test_this_machine_can_run_the_tests_and_providers_are_tried(edge: Run) -> None:
    said = edge("doctor", "--json")
    findings = {f["name"]: f for f in said.json["facts"]["findings"]}
    assert {"python", "cpu", "numpy", "onnxruntime", "opencv", "camera", "disk"} <= set(findings)
    for name in ("python", "numpy", "onnxruntime", "torch", "onnx"):
        assert findings[name]["level"] == "ok", findings[name]
    assert cv2.__version__ in findings["opencv"]["detail"]
    assert "CPU" in findings["providers"]["detail"]
    faults = [f for f in findings.values() if f["level"] == "fault"]
    assert said.code == bool(faults)
    assert len(said.json["gates"]) == len(faults)


def test_text(edge: Run) -> None:
    said = edge("doctor")
    assert "This machine" in said.out
    assert "faults in" in said.out


def test_two_opencv_wheels(monkeypatch: pytest.MonkeyPatch, edge: Run) -> None:
    """They write into one folder, and what is imported is a mixture."""
    wheels = ("opencv-python", "OpenCV-Contrib-Python")
    extra = [SimpleNamespace(metadata={"Name": name}) for name in wheels]
    real = [d for d in distributions() if not (d.metadata["Name"] or "").startswith("opencv")]
    monkeypatch.setattr(rooms, "distributions", lambda: [*real, *extra])
    said = edge("doctor")
    assert said.code == 1
    line = found("opencv")
    assert "2 wheels overwrite each other: opencv-contrib-python, opencv-python" in line["detail"]
    assert line["remedy"].startswith("pip uninstall -y opencv-contrib-python opencv-python && pip")
    assert "FAIL  opencv" in said.out


def without(monkeypatch: pytest.MonkeyPatch, module: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == module else real(name, *a)
    )


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("onnxruntime", "onnxruntime", "onnx"),
        ("torch", "torch", "convert"),
        ("ai-edge-litert", "ai_edge_litert", "tflite"),
        ("opencv", "cv2", "camera"),
    ],
)
def test_what_is_not_installed_is_a_note(
    name: str, module: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    without(monkeypatch, module)
    line = found(name)
    assert line["level"] == "note"
    assert line["remedy"] == f"pip install 'edge-sdk[{extra}]'"


def test_tflite_runtime_stands_in_for_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine runs on it where LiteRT has no wheels."""
    real = importlib.util.find_spec
    stand_in = {"ai_edge_litert": None, "tflite_runtime": real("json")}
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *a: stand_in[name] if name in stand_in else real(name, *a),
    )
    monkeypatch.setitem(sys.modules, "tflite_runtime", ModuleType("tflite_runtime"))
    assert found("tflite-runtime")["level"] == "ok"


@pytest.mark.parametrize(
    "error",
    [ImportError("libGL.so.1: cannot open\nshared object"), OSError("bad ELF"), AttributeError()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("module", ["onnxruntime", "cv2"])
def test_what_is_installed_and_broken_is_a_fault(
    module: str, error: Exception, monkeypatch: pytest.MonkeyPatch, edge: Run
) -> None:
    """The doctor does not die of the disease."""
    real = importlib.import_module

    def broken(name: str, *rest: Any) -> Any:
        if name == module:
            raise error
        return real(name, *rest)

    monkeypatch.setattr(rooms.importlib, "import_module", broken)
    assert edge("doctor").code == 1
    line = found({"cv2": "opencv"}.get(module, module))
    assert line["level"] == "fault"
    reason = (str(error).splitlines() or [type(error).__name__])[0]
    assert line["detail"] == f"installed, but does not import: {reason}"


def test_a_cpu_whose_int8_saturates_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms, "host", lambda: Host("x86_64", frozenset({"avx2"})))
    assert "saturate" in found("cpu")["detail"]
    monkeypatch.setattr(rooms, "host", lambda: Host("aarch64", frozenset({"neon"})))
    assert found("cpu")["level"] == "ok"


def test_a_full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms.shutil, "disk_usage", lambda path: SimpleNamespace(free=100 << 20))
    assert found("disk") == {
        "name": "disk", "level": "fault", "detail": "100 MiB free", "remedy": "free some space",
    }  # fmt: skip


def test_an_old_python(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rooms.sys, "version_info", (3, 9, 2))
    assert found("python")["level"] == "fault"
